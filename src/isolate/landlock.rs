//! Landlock: which files and ports a process may use, whatever its user: landlock(7).

use crate::error::During;
use crate::kernel::{LandlockRuleset, landlock_version};
use crate::plan::op::OpCode;
use crate::plan::{Builder, Slot};
use crate::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What a process may use; everything else of the same kind is refused it, by the kernel's Landlock, on top of users,
/// capabilities and mounts. What it opened before stays open.
///
/// Paths are those of the container. A rule for a directory holds for all below it.
///
/// ```
/// let landlock = coracle::Landlock::new().read_only("/usr").read_only("/etc").read_write("/tmp").connect([443]);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Landlock {
    read_only: Vec<PathBuf>,
    read_write: Vec<PathBuf>,
    connect: Option<Vec<u16>>,
    bind: Option<Vec<u16>>,
}

/// The rights of `linux/landlock.h`: execute, read a file, read a directory.
const READ: u64 = 0b1101;
/// All rights on files: the thirteen of the first version, and those of later ones.
const FIRST: u64 = (1 << 13) - 1;
const REFER: u64 = 1 << 13;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEVICE: u64 = 1 << 15;
/// The rights on TCP ports.
const BIND: u64 = 1;
const CONNECT: u64 = 2;
/// The version since which ports can be ruled.
const PORTS: u32 = 4;

impl Landlock {
    /// Nothing may be used: no file can be opened, not even the program to execute.
    pub fn new() -> Landlock {
        Landlock::default()
    }

    /// Files at and below `path` may be read and executed.
    #[must_use]
    pub fn read_only(mut self, path: impl Into<PathBuf>) -> Landlock {
        self.read_only.push(path.into());
        self
    }

    /// Files at and below `path` may be used in every way.
    #[must_use]
    pub fn read_write(mut self, path: impl Into<PathBuf>) -> Landlock {
        self.read_write.push(path.into());
        self
    }

    /// TCP connections may be made to these ports alone; without a call to any. Needs Linux 6.7.
    #[must_use]
    pub fn connect(mut self, ports: impl IntoIterator<Item = u16>) -> Landlock {
        self.connect.get_or_insert_default().extend(ports);
        self
    }

    /// TCP sockets may be bound to these ports alone; without a call to any. Needs Linux 6.7.
    #[must_use]
    pub fn bind(mut self, ports: impl IntoIterator<Item = u16>) -> Landlock {
        self.bind.get_or_insert_default().extend(ports);
        self
    }
}

/// Lowers the rules, which hold from here on.
///
/// # Errors
/// `Unsupported` where the kernel has no Landlock, or one without ports where ports are ruled; `InvalidInput` for a path
/// that is not absolute.
pub(crate) fn lower_landlock(plan: &mut Builder, landlock: &Landlock) -> Result<()> {
    let version = landlock_version().map_err(|errno| unsupported(errno as i32))?;
    let handled = rights(version);
    let ports = [(&landlock.bind, BIND), (&landlock.connect, CONNECT)];
    let ports_handled = ports.iter().filter(|(list, _)| list.is_some()).fold(0, |rights, (_, right)| rights | right);
    if ports_handled != 0 && version < PORTS {
        return Err(Error::new(ErrorKind::Unsupported, "landlock: this kernel cannot rule TCP ports")
            .hint("it needs Linux 6.7; a network namespace without a way out needs no rules"));
    }
    let ruleset = LandlockRuleset::new(handled, ports_handled).during(|| "create a landlock ruleset")?;
    for (list, right) in ports {
        for &port in list.iter().flatten() {
            ruleset.allow_port(port, right).during(|| format!("allow TCP port {port} by landlock"))?;
        }
    }
    let ruleset = plan.inherit(ruleset.into());
    for path in &landlock.read_only {
        lower_path(plan, ruleset, path, READ)?;
    }
    for path in &landlock.read_write {
        lower_path(plan, ruleset, path, handled)?;
    }
    plan.push(OpCode::LandlockRestrict, &[ruleset.into()], "put landlock in force")
        .hint(libc::EPERM, "without no_new_privs it needs CAP_SYS_ADMIN")
        .hint(libc::E2BIG, "16 layers of landlock are in force already");
    Ok(())
}

fn lower_path(plan: &mut Builder, ruleset: Slot, path: &Path, rights: u64) -> Result<()> {
    let bytes = path.as_os_str().as_bytes();
    if !path.is_absolute() || bytes.contains(&0) {
        return Err(Error::invalid(format!("landlock: path {} is not absolute", path.display())));
    }
    let text = plan.text(bytes);
    let arguments = [ruleset.into(), text, rights as u32];
    plan.push(OpCode::LandlockAllow, &arguments, format!("allow {} by landlock", path.display()))
        .hint(libc::ENOENT, "the path does not exist in the container");
    Ok(())
}

/// All rights on files that this version of Landlock knows.
fn rights(version: u32) -> u64 {
    let later = [(2, REFER), (3, TRUNCATE), (5, IOCTL_DEVICE)];
    later.iter().filter(|(since, _)| version >= *since).fold(FIRST, |rights, (_, right)| rights | right)
}

fn unsupported(errno: i32) -> Error {
    let error = Error::os("landlock cannot be enforced: this kernel has none", errno);
    error.with_kind(ErrorKind::Unsupported).hint("it needs CONFIG_SECURITY_LANDLOCK and lsm=landlock,...")
}
