//! What a filter decides, independent of any architecture.

use super::compile::compile;
use super::filter::Filter;
use super::syscall::{Architecture, Syscall};
use crate::Result;
use std::borrow::Cow;

/// What becomes of a system call: seccomp(2), "seccomp_data and actions".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// SIGSYS ends the whole process.
    KillProcess,
    /// SIGSYS ends the thread.
    KillThread,
    /// The thread gets a SIGSYS that it may handle.
    Trap,
    /// The call is not run and fails with this errno, at most 4095.
    Errno(u16),
    /// A supervisor decides over the filter's notification descriptor.
    Notify,
    /// A tracer decides and is told this number; without one the call fails with ENOSYS.
    Trace(u16),
    /// The call runs and is logged.
    Log,
    /// The call runs.
    Allow,
}

/// A comparison of an argument, unsigned and 64 bits wide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// The argument differs from the value.
    NotEqual(u64),
    /// It is below the value.
    Less(u64),
    /// It is at most the value.
    LessOrEqual(u64),
    /// It is the value.
    Equal(u64),
    /// It is at least the value.
    GreaterOrEqual(u64),
    /// It is above the value.
    Greater(u64),
    /// Argument and value agree in the bits of the mask.
    MaskedEqual {
        /// The bits that are compared.
        mask: u64,
        /// What they must be; bits outside the mask do not count.
        value: u64,
    },
}

/// A condition on one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Condition {
    /// Which argument, 0 to 5.
    pub argument: u8,
    /// What must hold of it.
    pub comparison: Comparison,
}

/// System calls that meet an action where all conditions hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) action: Action,
    pub(super) syscalls: Cow<'static, [Syscall]>,
    pub(super) conditions: Cow<'static, [Condition]>,
}

/// Which system call, under which conditions, meets which action.
///
/// Of the rules that match a call the first decides; where none does, the default action. Calls of an architecture that
/// is not listed, and those of the x32 variant of x86_64 (listed or not), kill the process: their numbers mean
/// other things, and Linux distributions have x32 switched off.
///
/// On i386 a rule for a socket or System V call holds for its own number and for its old form as an operation of
/// `socketcall` or `ipc`. These forms keep their arguments in memory, out of a filter's sight: there a rule with
/// conditions that allows does not count, and one that refuses refuses whatever the arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    pub(super) default: Action,
    pub(super) architectures: Vec<Architecture>,
    pub(super) rules: Vec<Rule>,
    pub(super) flags: u32,
}

impl Profile {
    /// A profile without rules, for the native architecture alone.
    pub fn new(default: Action) -> Profile {
        Profile { default, architectures: Vec::new(), rules: Vec::new(), flags: 0 }
    }

    /// The architectures whose programs may run, besides the native one. Those that the kernel at hand cannot run are
    /// passed over by [`Profile::compile`].
    #[must_use]
    pub fn architectures(mut self, architectures: impl IntoIterator<Item = Architecture>) -> Profile {
        self.architectures = architectures.into_iter().collect();
        self
    }

    /// Adds a rule for these system calls whatever their arguments.
    #[must_use]
    pub fn rule(self, action: Action, syscalls: impl IntoIterator<Item = Syscall>) -> Profile {
        self.rule_if(action, syscalls, [])
    }

    /// Adds a rule for these system calls where all `conditions` hold.
    #[must_use]
    pub fn rule_if(
        mut self,
        action: Action,
        syscalls: impl IntoIterator<Item = Syscall>,
        conditions: impl IntoIterator<Item = Condition>,
    ) -> Profile {
        self.rules.push(Rule {
            action,
            syscalls: syscalls.into_iter().collect(),
            conditions: conditions.into_iter().collect(),
        });
        self
    }

    /// Has the kernel log every action but `Allow` (`SECCOMP_FILTER_FLAG_LOG`).
    #[must_use]
    pub fn log(mut self) -> Profile {
        self.flags |= libc::SECCOMP_FILTER_FLAG_LOG as u32;
        self
    }

    /// The program for a kernel of the architecture `native`.
    ///
    /// # Errors
    /// `InvalidInput` for an argument number above 5 or an errno above 4095, and for `Notify` as the default or for
    /// `write` without conditions, with which the supervisor could never be told of the descriptor; `LimitExceeded` for
    /// more than 4096 instructions, the kernel's limit, or rules out of all proportion.
    pub fn compile(&self, native: Architecture) -> Result<Filter> {
        compile(self, native)
    }
}

impl Action {
    /// The value that a filter returns for it (`linux/seccomp.h`).
    pub(super) fn return_value(self) -> u32 {
        match self {
            Action::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
            Action::KillThread => libc::SECCOMP_RET_KILL_THREAD,
            Action::Trap => libc::SECCOMP_RET_TRAP,
            Action::Errno(errno) => libc::SECCOMP_RET_ERRNO | u32::from(errno),
            Action::Notify => libc::SECCOMP_RET_USER_NOTIF,
            Action::Trace(message) => libc::SECCOMP_RET_TRACE | u32::from(message),
            Action::Log => libc::SECCOMP_RET_LOG,
            Action::Allow => libc::SECCOMP_RET_ALLOW,
        }
    }
}

impl Condition {
    /// The argument number `argument`, counted from 0, compares so.
    pub const fn new(argument: u8, comparison: Comparison) -> Condition {
        Condition { argument, comparison }
    }
}

impl Profile {
    /// A rule over a table of this crate's.
    pub(super) fn fixed(mut self, action: Action, syscalls: &'static [Syscall]) -> Profile {
        self.rules.push(Rule { action, syscalls: Cow::Borrowed(syscalls), conditions: Cow::Borrowed(&[]) });
        self
    }
}
