//! Places and needs: directories of one test, the cache of all tests, programs, root.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A directory of one test, with the two directories an engine lives in; removed on drop.
pub struct Scratch {
    directory: TempDir,
}

impl Scratch {
    /// Makes a fresh directory whose name contains `name`.
    pub fn new(name: &str) -> Scratch {
        let directory = tempfile::Builder::new()
            .prefix(&format!("coracle-test-{name}-"))
            .tempdir()
            .expect("a temporary directory can be made");
        for part in ["root", "run"] {
            std::fs::create_dir(directory.path().join(part)).expect("a directory can be made");
        }
        Scratch { directory }
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Where an engine keeps what survives a reboot.
    pub fn root(&self) -> PathBuf {
        self.path().join("root")
    }

    /// Where an engine keeps what a reboot ends.
    pub fn run(&self) -> PathBuf {
        self.path().join("run")
    }

    /// Writes a file below the directory, with the directories above it, and returns its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a name below the scratch")).expect("directories can be made");
        std::fs::write(&path, content).expect("a file can be written");
        path
    }
}

/// The top of the repository.
pub fn repository_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("tests/support lies two below the top")
}

/// Where costly fixtures are kept between runs: `target/test-fixtures`.
pub fn fixtures_directory() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository_root().join("target"), PathBuf::from);
    let directory = target.join("test-fixtures");
    std::fs::create_dir_all(&directory).expect("the fixtures directory can be made");
    directory
}

/// A port of 127.0.0.1 that nobody listens on now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of loopback is free");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// The path of a program of this machine; panics with the Debian package to install where it is missing.
pub fn require_program(name: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| panic!("this test needs the program {name}: apt-get install {package}"))
}

/// Panics where the test does not run as root.
pub fn require_root() {
    assert!(nix::unistd::geteuid().is_root(), "this test needs root");
}
