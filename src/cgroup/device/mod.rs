//! Which device nodes the processes of a group may make, read and write.
//!
//! The rules are a list, in whose order the runtime-spec (config-linux, "Allowed Device list") has them applied: of
//! those that match a device and a kind of access, the last one decides; where none matches, access is denied.

mod attach;
mod exceptions;
mod program;

pub(super) use attach::{attach, detach};
pub(super) use exceptions::{check as check_exceptions, write as write_exceptions};

use crate::{Error, Result};
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};
use std::fmt;

/// The kinds of device nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeviceKind {
    /// Block devices.
    Block,
    /// Character devices.
    Character,
}

/// What is done with a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeviceAccess {
    /// Opening for reading.
    pub read: bool,
    /// Opening for writing.
    pub write: bool,
    /// Making a node of it.
    pub mknod: bool,
}

/// One line of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRule {
    /// Whether access is allowed or denied.
    pub allow: bool,
    /// The kind; `None` is both.
    pub kind: Option<DeviceKind>,
    /// The major number; `None` is any.
    pub major: Option<u32>,
    /// The minor number; `None` is any.
    pub minor: Option<u32>,
    /// The access that the rule speaks of.
    pub access: DeviceAccess,
}

/// The kernel's numbers (`BPF_DEVCG_ACC_*`, linux/bpf.h).
const MKNOD: u8 = 1;
const READ: u8 = 2;
const WRITE: u8 = 4;

impl DeviceAccess {
    /// All three.
    pub const ALL: DeviceAccess = DeviceAccess { read: true, write: true, mknod: true };

    fn bits(self) -> u8 {
        u8::from(self.mknod) * MKNOD + u8::from(self.read) * READ + u8::from(self.write) * WRITE
    }

    /// `rwm` and parts of it.
    fn parse(text: &str) -> Option<DeviceAccess> {
        let known = !text.is_empty() && text.len() <= 3 && text.chars().all(|c| "rwm".contains(c));
        known.then(|| DeviceAccess { read: text.contains('r'), write: text.contains('w'), mknod: text.contains('m') })
    }
}

impl DeviceKind {
    /// The kernel's number (`BPF_DEVCG_DEV_*`).
    fn number(self) -> u8 {
        match self {
            DeviceKind::Block => 1,
            DeviceKind::Character => 2,
        }
    }
}

impl DeviceRule {
    /// Allows every access to one character device.
    const fn character(major: u32, minor: Option<u32>) -> DeviceRule {
        let kind = Some(DeviceKind::Character);
        DeviceRule { allow: true, kind, major: Some(major), minor, access: DeviceAccess::ALL }
    }

    const fn nodes(kind: DeviceKind) -> DeviceRule {
        let access = DeviceAccess { read: false, write: false, mknod: true };
        DeviceRule { allow: true, kind: Some(kind), major: None, minor: None, access }
    }

    /// A rule for every access to everything.
    pub const fn everything(allow: bool) -> DeviceRule {
        DeviceRule { allow, kind: None, major: None, minor: None, access: DeviceAccess::ALL }
    }

    /// What every container may use: the devices of the runtime-spec ("Default Devices"), its terminals, and making
    /// nodes, which gives no access to what they stand for (runc's list).
    pub const fn defaults() -> [DeviceRule; 10] {
        [
            DeviceRule::nodes(DeviceKind::Character),
            DeviceRule::nodes(DeviceKind::Block),
            DeviceRule::character(1, Some(3)),
            DeviceRule::character(1, Some(8)),
            DeviceRule::character(1, Some(7)),
            DeviceRule::character(5, Some(0)),
            DeviceRule::character(1, Some(5)),
            DeviceRule::character(1, Some(9)),
            DeviceRule::character(136, None),
            DeviceRule::character(5, Some(2)),
        ]
    }

    /// One entry of `linux.resources.devices`: without a type both kinds, without a number all, without an access
    /// every one.
    pub(super) fn from_runtime_spec(spec: &LinuxDeviceCgroup) -> Result<DeviceRule> {
        let wrong = |what: String| Error::invalid(format!("linux.resources.devices: {what}"));
        let kind = match spec.typ() {
            None | Some(LinuxDeviceType::A) => None,
            Some(LinuxDeviceType::B) => Some(DeviceKind::Block),
            Some(LinuxDeviceType::C | LinuxDeviceType::U) => Some(DeviceKind::Character),
            Some(LinuxDeviceType::P) => return Err(wrong("type p: a FIFO is no device".to_owned())),
        };
        let number = |name: &str, value: Option<i64>| match value {
            None | Some(-1) => Ok(None),
            Some(value) => match u32::try_from(value) {
                Ok(value) => Ok(Some(value)),
                Err(_) => Err(wrong(format!("{name} {value} is no device number"))),
            },
        };
        let access = match spec.access().as_deref() {
            None | Some("") => DeviceAccess::ALL,
            Some(text) => DeviceAccess::parse(text)
                .ok_or_else(|| wrong(format!("access {text:?} is no combination of r, w and m")))?,
        };
        let (major, minor) = (number("major", spec.major())?, number("minor", spec.minor())?);
        Ok(DeviceRule { allow: spec.allow(), kind, major, minor, access })
    }

    /// Whether the rule speaks of the device.
    #[cfg(test)]
    fn matches(&self, kind: DeviceKind, major: u32, minor: u32) -> bool {
        self.kind.is_none_or(|own| own == kind)
            && self.major.is_none_or(|own| own == major)
            && self.minor.is_none_or(|own| own == minor)
    }

    fn is_about_everything(&self) -> bool {
        (self.kind, self.major, self.minor, self.access) == (None, None, None, DeviceAccess::ALL)
    }
}

/// Whether the list lets everything through, so that nothing has to be enforced.
pub(super) fn allows_everything(rules: &[DeviceRule]) -> bool {
    let last = rules.iter().rposition(DeviceRule::is_about_everything);
    last.is_some_and(|at| rules[at..].iter().all(|rule| rule.allow))
}

/// As the kernel's files have it: `c 1:3 rwm`, `b *:* m`.
impl fmt::Display for DeviceRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
        f.write_str(match self.kind {
            None => "a",
            Some(DeviceKind::Block) => "b",
            Some(DeviceKind::Character) => "c",
        })?;
        write!(f, " {}:{} ", number(self.major), number(self.minor))?;
        for (flag, letter) in [(self.access.read, "r"), (self.access.write, "w"), (self.access.mknod, "m")] {
            f.write_str(if flag { letter } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
