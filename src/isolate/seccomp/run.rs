//! Runs a filter as the kernel does: to know beforehand what becomes of a call.

use super::filter::{AND, EQUAL, Filter, GREATER, GREATER_OR_EQUAL, JUMP, LOAD, SockFilter};
use super::syscall::{Architecture, Syscall};

/// `struct seccomp_data`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) number: u32,
    pub(crate) architecture: u32,
    pub(crate) arguments: [u64; 6],
}

/// What becomes of a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It runs, logged or not.
    Runs,
    /// A supervisor decides.
    Asks,
    /// It fails, or ends the process, or needs a tracer.
    Refused,
}

impl Filter {
    /// What becomes of the system call of this name with this first argument, made by the stage.
    pub(crate) fn decide(&self, name: &str, first: u64) -> Fate {
        let Some(value) = self.value(name, first) else { return Fate::Refused };
        match value & libc::SECCOMP_RET_ACTION_FULL {
            libc::SECCOMP_RET_ALLOW | libc::SECCOMP_RET_LOG => Fate::Runs,
            libc::SECCOMP_RET_USER_NOTIF => Fate::Asks,
            _ => Fate::Refused,
        }
    }

    /// What it returns for a call of the native architecture.
    fn value(&self, name: &str, first: u64) -> Option<u32> {
        let native = Architecture::native()?;
        let number = Syscall::named(name)?.number(native)?;
        let call = Call { number, architecture: native.audit_number(), arguments: [first, 0, 0, 0, 0, 0] };
        Some(self.run(&call))
    }

    /// What it returns for a call.
    pub(crate) fn run(&self, call: &Call) -> u32 {
        let mut accumulator = 0;
        let mut at = 0;
        loop {
            let SockFilter { code, jt, jf, k } = self.instructions[at];
            at += 1;
            let holds = match code {
                LOAD => {
                    accumulator = call.word(k);
                    continue;
                }
                AND => {
                    accumulator &= k;
                    continue;
                }
                JUMP => {
                    at += k as usize;
                    continue;
                }
                EQUAL => accumulator == k,
                GREATER => accumulator > k,
                GREATER_OR_EQUAL => accumulator >= k,
                _ => return k,
            };
            at += usize::from(if holds { jt } else { jf });
        }
    }
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.architecture,
            8 | 12 => 0,
            _ => {
                let argument = self.arguments[(offset as usize - 16) / 8];
                (argument >> (offset % 8 * 8)) as u32
            }
        }
    }
}
