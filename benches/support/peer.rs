//! The runtimes of others as commands, where they are installed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where a runtime that a machine lacks can be had.
const SOURCES: &[(&str, &str)] = &[
    ("crun", "apt-get install crun"),
    ("runc", "apt-get install runc"),
    (
        "youki",
        "apt-get install libseccomp-dev pkg-config && \
         cargo install youki --locked --no-default-features --features v1,v2,seccomp --root target/peers",
    ),
    ("coracle", "cargo build --release --example runtime"),
];

/// A runtime with the command line of runc, and the directory where it keeps its state.
#[derive(Clone)]
pub struct Peer {
    program: PathBuf,
    flags: Vec<String>,
    state: PathBuf,
}

impl Peer {
    /// The runtime `name`; `coracle` is the example of this crate. The error says where it can be had.
    pub fn find(name: &str, state: &Path, limits: bool) -> Result<Peer, String> {
        let missing = || {
            let how = SOURCES.iter().find(|(known, _)| *known == name).map_or("", |(_, how)| how);
            format!("{name}: not installed, get it by: {how}")
        };
        let program = places(name).into_iter().find(|path| path.exists()).ok_or_else(missing)?;
        // Without limits crun is spared its control group; the others know no such switch.
        let flags = match name {
            "crun" => ["--cgroup-manager", if limits { "cgroupfs" } else { "disabled" }].map(str::to_owned).to_vec(),
            _ => Vec::new(),
        };
        Ok(Peer { program, flags, state: state.to_owned() })
    }

    /// The runtime with these arguments, its streams closed off.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(&self.state).args(&self.flags).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }
}

fn places(name: &str) -> Vec<PathBuf> {
    // target/release/deps/BENCH: the directory of this build, then `target` itself.
    let own = std::env::current_exe().unwrap();
    let build = own.ancestors().nth(2).unwrap();
    if name == "coracle" {
        let named = std::env::var_os("CORACLE_RUNTIME").map(PathBuf::from);
        return named.into_iter().chain([build.join("examples/runtime")]).collect();
    }
    let installed =
        ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"].map(|place| Path::new(place).join(name));
    let peers = build.parent().unwrap().join("peers/bin").join(name);
    installed.into_iter().chain([peers]).collect()
}
