//! The programs of this machine that tests use.

use std::path::PathBuf;

/// The path of a program of this machine; panics with the Debian package to install where it is missing.
pub fn require_program(name: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| panic!("this test needs the program {name}: apt-get install {package}"))
}
