//! Architectures and the numbers that system calls have on them.

use super::numbers::{NO, TABLE};
use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// A system call convention, as the kernel tells a filter (`seccomp_data.arch`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Architecture {
    /// 64-bit x86, without the x32 variant.
    X86_64,
    /// 32-bit x86.
    X86,
    /// 64-bit Arm.
    Aarch64,
    /// 32-bit Arm, EABI.
    Arm,
}

/// One system call, by its name in the kernel; known as of Linux 6.18 on the four architectures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Syscall(u16);

impl Architecture {
    /// The architecture this crate was compiled for; `None` where there are no tables for it.
    pub const fn native() -> Option<Architecture> {
        if cfg!(all(target_arch = "x86_64", target_pointer_width = "64")) {
            Some(Architecture::X86_64)
        } else if cfg!(target_arch = "aarch64") {
            Some(Architecture::Aarch64)
        } else {
            None
        }
    }

    /// The kernel's `AUDIT_ARCH_*` (`linux/audit.h`).
    pub const fn audit_number(self) -> u32 {
        match self {
            Architecture::X86_64 => 0xc000_003e,
            Architecture::X86 => 0x4000_0003,
            Architecture::Aarch64 => 0xc000_00b7,
            Architecture::Arm => 0x4000_0028,
        }
    }

    /// Whether arguments are 64 bits wide.
    pub const fn is_64_bit(self) -> bool {
        matches!(self, Architecture::X86_64 | Architecture::Aarch64)
    }

    /// Whether a kernel of `native` can run programs of this one.
    pub const fn runs_on(self, native: Architecture) -> bool {
        matches!(
            (self, native),
            (Architecture::X86_64 | Architecture::X86, Architecture::X86_64)
                | (Architecture::X86, Architecture::X86)
                | (Architecture::Aarch64 | Architecture::Arm, Architecture::Aarch64)
                | (Architecture::Arm, Architecture::Arm)
        )
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Architecture::X86_64 => "x86_64",
            Architecture::X86 => "i386",
            Architecture::Aarch64 => "aarch64",
            Architecture::Arm => "arm",
        })
    }
}

impl Syscall {
    /// The system call of this name; `None` where none of the four architectures has it.
    pub const fn named(name: &str) -> Option<Syscall> {
        let (mut low, mut high) = (0, TABLE.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match order(TABLE[middle].0.as_bytes(), name.as_bytes()) {
                0 => return Some(Syscall(middle as u16)),
                1 => high = middle,
                _ => low = middle + 1,
            }
        }
        None
    }

    /// The name.
    pub fn name(self) -> &'static str {
        TABLE[usize::from(self.0)].0
    }

    /// The number on `architecture`; `None` where it has no such call.
    pub fn number(self, architecture: Architecture) -> Option<u32> {
        match TABLE[usize::from(self.0)].1[architecture as usize] {
            NO => None,
            number => Some(number as u32),
        }
    }

    /// Every known call.
    pub fn all() -> impl Iterator<Item = Syscall> {
        (0..TABLE.len() as u16).map(Syscall)
    }
}

/// -1, 0 or 1 as `a` is below, equal to or above `b`; `Ord` is not const.
const fn order(a: &[u8], b: &[u8]) -> i8 {
    let mut at = 0;
    loop {
        match (at < a.len(), at < b.len()) {
            (false, false) => return 0,
            (false, true) => return -1,
            (true, false) => return 1,
            (true, true) if a[at] < b[at] => return -1,
            (true, true) if a[at] > b[at] => return 1,
            (true, true) => at += 1,
        }
    }
}

/// Resolves names while the crate is compiled; an unknown one stops the build.
pub(super) const fn resolve<const N: usize>(names: [&str; N]) -> [Syscall; N] {
    let mut calls = [Syscall(0); N];
    let mut at = 0;
    while at < N {
        calls[at] = match Syscall::named(names[at]) {
            Some(call) => call,
            None => panic!("unknown system call"),
        };
        at += 1;
    }
    calls
}

impl FromStr for Syscall {
    type Err = Error;

    fn from_str(name: &str) -> Result<Syscall> {
        Syscall::named(name).ok_or_else(|| Error::invalid(format!("system call {name:?} is not known")))
    }
}

impl fmt::Display for Syscall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_its_numbers_are_the_kernels() {
        assert!(TABLE.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for call in Syscall::all() {
            assert_eq!(Syscall::named(call.name()), Some(call));
        }
        assert_eq!(Syscall::named("no_such_call"), None);
        if let Some(native) = Architecture::native() {
            for (name, number) in [
                ("read", libc::SYS_read),
                ("execve", libc::SYS_execve),
                ("socket", libc::SYS_socket),
                ("prlimit64", libc::SYS_prlimit64),
                ("seccomp", libc::SYS_seccomp),
                ("openat2", libc::SYS_openat2),
                ("mseal", libc::SYS_mseal),
            ] {
                assert_eq!(Syscall::named(name).unwrap().number(native), Some(number as u32), "{name}");
            }
        }
        assert_eq!(Syscall::named("socket").unwrap().number(Architecture::X86), Some(359));
        assert_eq!(Syscall::named("read").unwrap().number(Architecture::Aarch64), Some(63));
        assert_eq!(Syscall::named("set_tls").unwrap().number(Architecture::Arm), Some(0xf0005));
    }

    #[test]
    fn no_number_stands_for_two_calls_save_the_alias_of_arm() {
        use std::collections::BTreeMap;
        for architecture in [Architecture::X86_64, Architecture::X86, Architecture::Aarch64, Architecture::Arm] {
            let mut seen: BTreeMap<u32, Syscall> = BTreeMap::new();
            for call in Syscall::all() {
                let Some(number) = call.number(architecture) else { continue };
                if let Some(other) = seen.insert(number, call) {
                    assert_eq!((architecture, number), (Architecture::Arm, 341), "{other} and {call}");
                }
            }
        }
    }
}
