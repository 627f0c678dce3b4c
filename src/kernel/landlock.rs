//! Landlock rulesets: landlock(7).

use super::descriptor;
use nix::errno::Errno;
use std::os::fd::{AsRawFd, OwnedFd};

const CREATE_RULESET_VERSION: u32 = 1;
const RULE_NET_PORT: u32 = 2;

/// A ruleset in the making.
#[derive(Debug)]
pub(crate) struct LandlockRuleset(OwnedFd);

/// `struct landlock_ruleset_attr`.
#[repr(C)]
struct Attributes {
    files: u64,
    ports: u64,
}

/// `struct landlock_net_port_attr`.
#[repr(C)]
struct Port {
    rights: u64,
    port: u64,
}

/// The version of the kernel's Landlock, from 1.
pub(crate) fn landlock_version() -> nix::Result<u32> {
    // SAFETY: without attributes the call only answers.
    let version = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<Attributes>(), 0, CREATE_RULESET_VERSION)
    };
    Errno::result(version).map(|version| version as u32)
}

impl LandlockRuleset {
    /// One that refuses these rights on files and on TCP ports but where a rule allows them.
    pub(crate) fn new(files: u64, ports: u64) -> nix::Result<LandlockRuleset> {
        let attributes = Attributes { files, ports };
        // Kernels without rules for ports take the first field alone.
        let size = if ports == 0 { size_of::<u64>() } else { size_of::<Attributes>() };
        // SAFETY: the attributes are live and at least as long as is said.
        descriptor(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attributes, size, 0) })
            .map(LandlockRuleset)
    }

    /// Allows rights on a TCP port.
    pub(crate) fn allow_port(&self, port: u16, rights: u64) -> nix::Result<()> {
        let rule = Port { rights, port: u64::from(port) };
        // SAFETY: the rule is live.
        let result = unsafe {
            libc::syscall(libc::SYS_landlock_add_rule, self.0.as_raw_fd(), RULE_NET_PORT, &raw const rule, 0)
        };
        Errno::result(result).map(drop)
    }
}

impl From<LandlockRuleset> for OwnedFd {
    fn from(ruleset: LandlockRuleset) -> OwnedFd {
        ruleset.0
    }
}
