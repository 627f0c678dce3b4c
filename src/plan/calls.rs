//! The system calls that operations make once a filter may be in force.

use super::op::{Op, OpCode};

const PR_SET_PDEATHSIG: u64 = 1;
const PR_SET_DUMPABLE: u64 = 4;
const PR_SET_KEEPCAPS: u64 = 8;
const PR_CAPBSET_READ: u64 = 23;
const PR_CAPBSET_DROP: u64 = 24;
const PR_SET_NO_NEW_PRIVS: u64 = 38;
const PR_CAP_AMBIENT: u64 = 47;

/// A system call by its name, and its first argument where that is a plain number known beforehand.
pub(crate) type SystemCall = (&'static str, u64);

const CLONE_PIDFD: u64 = 0x1000;
const CLONE_PARENT: u64 = 0x8000;
const CLONE_PARENT_SETTID: u64 = 0x10_0000;
const SIGCHLD: u64 = 17;

/// A hook: two pipes, a fork, the wait for its end.
const RUN_HOOK: [SystemCall; 14] = [
    ("getpid", 0),
    ("pipe2", 0),
    ("fcntl", 0),
    ("write", 0),
    ("clone", CLONE_PIDFD | SIGCHLD),
    ("clock_gettime", 0),
    ("ppoll", 0),
    ("read", 0),
    ("waitid", 0),
    ("close", 0),
    ("dup3", 0),
    ("close_range", 3),
    ("setsid", 0),
    EXECUTE,
];

/// The exec at the end of every plan.
pub(super) const EXECUTE: SystemCall = ("execve", 0);

/// How the descriptor of a filter that was just loaded gets to the supervisor.
pub(crate) const HAND_OVER: [SystemCall; 2] = [("sendmsg", 0), ("read", 0)];

/// What `op` calls, whatever the outcome; empty for operations that cannot stand behind a filter.
pub(super) fn calls(op: &Op) -> Vec<SystemCall> {
    let Some(code) = OpCode::from_number(op.code) else { return Vec::new() };
    let first = u64::from(op.arguments[0]);
    match code {
        OpCode::ResourceLimit => vec![("prlimit64", 0)],
        OpCode::DropBounding => vec![("prctl", PR_CAPBSET_DROP)],
        OpCode::SetGroups => vec![("setgroups", first)],
        OpCode::SetIds if first == 0 => vec![("setresgid", u64::from(op.arguments[1])), ("setresuid", 0)],
        OpCode::SetIds => {
            vec![("setresgid", u64::from(op.arguments[1])), ("setresuid", first), ("prctl", PR_SET_KEEPCAPS)]
        }
        OpCode::SetCapabilities => vec![("prctl", PR_CAP_AMBIENT), ("capset", 0)],
        OpCode::RaiseAmbient => vec![("prctl", PR_CAP_AMBIENT)],
        OpCode::CheckCapabilities => vec![("prctl", PR_CAPBSET_READ), ("prctl", PR_CAP_AMBIENT), ("capget", 0)],
        OpCode::SetScheduler => vec![("sched_setattr", 0)],
        OpCode::SetIoPriority => vec![("ioprio_set", 1)],
        OpCode::SetPersonality => vec![("personality", first)],
        OpCode::SetMemoryPolicy => vec![("set_mempolicy", first)],
        OpCode::SetAffinity => vec![("sched_setaffinity", 0)],
        OpCode::NoNewPrivileges => vec![("prctl", PR_SET_NO_NEW_PRIVS)],
        OpCode::Umask => vec![("umask", first)],
        OpCode::Write => vec![("write", 0)],
        OpCode::DieWithParent => vec![("prctl", PR_SET_PDEATHSIG)],
        OpCode::NewSession => vec![("setsid", 0)],
        OpCode::GoOnInside => vec![("prctl", PR_SET_DUMPABLE), ("clone", CLONE_PARENT | CLONE_PARENT_SETTID)],
        OpCode::GoOnInChild => vec![("prctl", PR_SET_DUMPABLE), ("clone", CLONE_PARENT | CLONE_PIDFD), ("sendmsg", 0)],
        OpCode::Gate => vec![("sendmsg", 0), ("read", 0)],
        OpCode::ControllingTerminal => vec![("ioctl", 0)],
        OpCode::RunHook => RUN_HOOK.to_vec(),
        OpCode::StayAsInit => vec![("rt_sigprocmask", 0), ("prctl", PR_SET_DUMPABLE), ("clone", SIGCHLD)],
        OpCode::Wait => vec![("sendmsg", 0), ("read", 0)],
        OpCode::AwaitStart => vec![("prctl", PR_SET_DUMPABLE), ("close", 0), ("read", 0)],
        OpCode::Execute => vec![EXECUTE],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::op::Tolerate;
    use crate::plan::phase::Phase;
    use crate::plan::signature::signature;

    #[test]
    fn every_operation_that_can_stand_behind_a_filter_says_what_it_calls() {
        for &code in OpCode::ALL {
            use OpCode::{CloseOnExec, LandlockAllow, LandlockRestrict, LoadFilter, LoadListeningFilter};
            let before =
                [CloseOnExec, LandlockAllow, LandlockRestrict, LoadFilter, LoadListeningFilter].contains(&code);
            let op = Op { code: code as u16, phase: 0, tolerate: Tolerate::NONE, arguments: [0; 7] };
            let late = signature(code).phases.1 > Phase::EarlyFilter;
            assert_eq!(late && !before, !calls(&op).is_empty(), "{}", signature(code).name);
        }
    }
}
