//! The runtime under test: ours, or one of those that the table itself is measured against.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Which runtime it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// `examples/runtime` of this crate.
    Ours,
    Runc,
    Crun,
}

impl Peer {
    /// The runtime that the variable `CORACLE_RUNTIME` names, by default ours.
    pub fn current() -> Peer {
        let name = program().file_name().unwrap_or_default().to_string_lossy().into_owned();
        match name.as_str() {
            name if name.starts_with("runc") => Peer::Runc,
            name if name.starts_with("crun") => Peer::Crun,
            _ => Peer::Ours,
        }
    }

    /// A command that starts the runtime, without arguments yet: the one under test, or the one that is installed.
    pub fn command(self) -> Command {
        if self == Peer::current() {
            return command(self, program());
        }
        let name = if self == Peer::Crun { "crun" } else { "runc" };
        command(self, &crate::program::require_program(name, name))
    }
}

fn command(peer: Peer, program: &Path) -> Command {
    if peer != Peer::Crun || !Path::new("/sys/fs/cgroup/unified").exists() {
        return Command::new(program);
    }
    // crun refuses a host with both cgroup versions, so it is shown one in mounts of its own.
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c"]);
    command.arg("umount -l /sys/fs/cgroup/unified; exec \"$0\" \"$@\"").arg(program);
    command
}

/// The path of the runtime: cargo puts examples beside the directory of the tests.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(named) = std::env::var_os("CORACLE_RUNTIME") {
            let path = PathBuf::from(&named);
            let name = path.to_str().filter(|name| !name.contains('/'));
            return name.map_or(path.clone(), |name| crate::program::require_program(name, name));
        }
        let tests = std::env::current_exe().expect("a test knows its path");
        let path = tests.ancestors().nth(2).expect("two directories up").join("examples/runtime");
        assert!(path.is_file(), "{} is not built: cargo build --example runtime", path.display());
        path
    })
}
