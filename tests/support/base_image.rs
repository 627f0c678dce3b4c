//! A real base image: Debian bookworm with python3 and pip.

use std::collections::hash_map::DefaultHasher;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::namespace::require_root;
use super::program::require_program;

const PACKAGES: &str = "python3,python3-pip,python-is-python3,ca-certificates";

/// What mmdebstrap does after the packages: what a base image has no use for goes, and pip may install system-wide
/// (PEP 668 keeps it off a Debian that a person administers, which no image is).
const HOOK: &str = r#"
rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED "$1"/etc/hostname "$1"/etc/resolv.conf
rm -rf "$1"/var/cache/* "$1"/var/log/* "$1"/usr/share/perl5 "$1"/usr/share/bash-completion
find "$1"/usr/lib/python3 "$1"/usr/lib/python3.* -name __pycache__ -prune -exec rm -rf {} +
"#;

/// A tar of the root file system of Debian bookworm with `python`, `python3` and `pip`, about 150 MB, without compression.
///
/// Made once by mmdebstrap (half a minute, from the mirrors this machine uses) and kept for later runs.
pub fn debian_python_base() -> PathBuf {
    let directory = fixtures_directory();
    let mut recipe = DefaultHasher::new();
    (PACKAGES, HOOK, EXCLUDED).hash(&mut recipe);
    let tar = directory.join(format!("debian-python-{:016x}.tar", recipe.finish()));
    let lock = File::create(tar.with_extension("lock")).expect("a lock file can be made");
    lock.lock().expect("the lock can be taken");
    if !tar.is_file() {
        make(&tar);
    }
    tar
}

const EXCLUDED: [&str; 5] =
    ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*", "/usr/share/zoneinfo/*"];

fn make(tar: &Path) {
    require_root();
    let aside = tar.with_extension("part.tar");
    let mut command = Command::new(require_program("mmdebstrap", "mmdebstrap"));
    command.args(["--quiet", "--variant=minbase", "--format=tar"]).arg(format!("--include={PACKAGES}"));
    command.args(["--aptopt=APT::Install-Recommends \"false\"", "--aptopt=Acquire::Languages \"none\""]);
    for pattern in EXCLUDED {
        command.arg(format!("--dpkgopt=path-exclude={pattern}"));
    }
    command.arg(format!("--customize-hook={HOOK}")).arg("bookworm").arg(&aside);
    command.args(machine_sources());
    let output = command.output().expect("mmdebstrap can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "mmdebstrap made no base image: {said}");
    std::fs::rename(&aside, tar).expect("the base image can be put in place");
}

/// The files in which this machine names its Debian mirrors, where it is a bookworm; else mmdebstrap's own default.
fn machine_sources() -> Vec<PathBuf> {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    if !release.contains("VERSION_CODENAME=bookworm") {
        return Vec::new();
    }
    ["/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"]
        .map(PathBuf::from)
        .into_iter()
        .filter(|file| std::fs::read_to_string(file).is_ok_and(|text| text.contains("bookworm")))
        .take(1)
        .collect()
}

/// The top of the repository.
pub fn repository_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where costly fixtures are kept between runs: `target/test-fixtures`.
fn fixtures_directory() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository_root().join("target"), PathBuf::from);
    let directory = target.join("test-fixtures");
    std::fs::create_dir_all(&directory).expect("the fixtures directory can be made");
    directory
}
