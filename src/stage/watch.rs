//! A keeper's children: the container's first process, and whoever else ends.

use super::constant::*;
use super::interpreter;
use super::parent::CloneArguments;
use super::program::Program;
use super::record::End;
use super::call::call;
use super::syscall::Errno;
use crate::plan::layout::{KeeperOrders, Recorder, STATUS_KNOWN, State};
use core::sync::atomic::Ordering;

/// How many ends of others are looked at before the keeper's other work goes on: a hostile command can make children of
/// the keeper by CLONE_PARENT.
const OTHERS_AT_ONCE: usize = 64;

/// What a keeper looks at.
pub(crate) struct Watch {
    /// Becomes readable when a child ends, or somebody sends word.
    pub(crate) signals: i32,
    /// The container's first process; 0 between two runs.
    pub(crate) pid: u32,
    /// The one that is on record.
    pub(crate) recorded: u32,
    /// Whether the plan goes on in a child of the process that was forked: where it makes a user namespace.
    follows: bool,
    /// The out-of-memory kills in the control group before this run.
    pub(crate) kills: u64,
}

/// A child that has ended and is not reaped.
#[derive(Clone, Copy)]
pub(crate) struct Zombie {
    pub(crate) pid: u32,
    pub(crate) code: i32,
    pub(crate) status: i32,
}

/// What a look at the children has found.
pub(crate) enum Found {
    /// Nothing of interest.
    Nothing,
    /// The container's first process has ended; it stays a zombie.
    First(Zombie),
    /// Another child has ended; it is reaped.
    Other(Zombie),
    /// There is no child left, and the first process's end was never seen.
    Nobody,
}

impl Watch {
    /// For the signals in `mask`, bit 0 being signal 1.
    pub(crate) fn open(mask: u64, orders: &KeeperOrders) -> Result<Watch, Errno> {
        // SAFETY: a mask of the kernel's size.
        let signals = unsafe { call!(SIGNALFD4, -1isize, &raw const mask, 8, O_CLOEXEC | O_NONBLOCK) }? as i32;
        Ok(Watch { signals, pid: 0, recorded: 0, follows: orders.namespaces == 0, kills: 0 })
    }

    /// Forks the payload; `status` takes the place of the socket to the parent.
    pub(crate) fn start(
        &mut self,
        program: &mut Program,
        orders: &KeeperOrders,
        status: Option<i32>,
    ) -> Result<(), Errno> {
        let child = fork(program.recorder(), orders.namespaces, orders.cgroup)?;
        if child == 0 {
            if let Some(status) = status {
                let _ = super::files::replace(status, program.header().status);
            }
            interpreter::run(program);
        }
        self.pid = child;
        Ok(())
    }

    /// Follows the container to the child that a forerunner went on in. The page that says so is mapped in the
    /// container's own init: nothing but a child of this keeper is believed, and nothing at all where there is no
    /// forerunner, for a check is a child too.
    pub(crate) fn follow(&mut self, program: &Program) {
        let said = program.recorder().pid.load(Ordering::Acquire);
        if self.follows && self.pid != 0 && said != self.pid && is_child(said) {
            self.pid = said;
        }
    }

    /// Takes the signals that have come; how often somebody sent word.
    pub(crate) fn take_signals(&self) -> u32 {
        let mut info = [0u32; 32];
        let mut words = 0;
        // SAFETY: a struct signalfd_siginfo of 128 bytes, which begins with the number; the descriptor does not block.
        while unsafe { call!(READ, self.signals, info.as_mut_ptr(), size_of_val(&info)) }.is_ok() {
            words += u32::from(info[0] == SIGUSR1 as u32);
        }
        words
    }

    /// Looks for a child that has ended. The container's first process stays a zombie until it is recorded: as long as
    /// it is on record its number is its own, for whoever wants to signal it.
    pub(crate) fn look(&mut self, program: &Program) -> Found {
        let mut info = [0i32; 32];
        // SAFETY: siginfo_t has 128 bytes.
        let found = unsafe { call!(WAITID, P_ALL, 0, info.as_mut_ptr(), WEXITED | WNOHANG | WNOWAIT, 0) };
        let zombie = Zombie { pid: info[4] as u32, code: info[2], status: info[6] };
        if found == Err(ECHILD) && self.pid != 0 {
            return Found::Nobody;
        }
        if found.is_err() || zombie.pid == 0 {
            return Found::Nothing;
        }
        self.follow(program);
        if zombie.pid == self.pid {
            return Found::First(zombie);
        }
        // A forerunner that has handed on to its child, a check, or what a check has left.
        reap(zombie.pid);
        Found::Other(zombie)
    }

    /// Hands the ends of others to `other` until the first process has ended.
    pub(crate) fn find_end(&mut self, program: &Program, mut other: impl FnMut(Zombie)) -> Option<Found> {
        for _ in 0..OTHERS_AT_ONCE {
            match self.look(program) {
                Found::Nothing => return None,
                Found::Other(zombie) => other(zombie),
                found => return Some(found),
            }
        }
        // More are waiting, and no new signal says so.
        // SAFETY: plain numbers; getpid has none.
        let _ = unsafe { call!(GETPID).and_then(|own| call!(KILL, own, SIGCHLD)) };
        None
    }

    /// How the run ended.
    pub(crate) fn end_of(&self, program: &Program, orders: &KeeperOrders, found: &Found) -> End {
        let (unknown, code, status, usage) = match found {
            Found::First(zombie) => (false, zombie.code, zombie.status, usage_of(zombie.pid)),
            _ => (true, CLD_EXITED, 0, ([0; 2], 0)),
        };
        let recorder = program.recorder();
        let exact = recorder.payload_status.load(Ordering::Acquire);
        let raw = if exact & STATUS_KNOWN != 0 { exact & !STATUS_KNOWN } else { raw_status(code, status) };
        let fault = match recorder.state.load(Ordering::Acquire) {
            State::FAULTED => Some((recorder.errno.load(Ordering::Relaxed), recorder.op.load(Ordering::Relaxed))),
            State::EXECUTING => None,
            _ => Some((0, recorder.op.load(Ordering::Relaxed))),
        };
        let (processor, peak_resident) = usage;
        End {
            status: raw,
            unknown,
            out_of_memory: kills_for_memory(orders.oom_file) > self.kills,
            fault,
            processor,
            peak_resident,
            finished: super::log::now(),
        }
    }
}

/// Forks a child in these namespaces and this control group (version 2; below 0: the keeper's own); 0 in the child,
/// whose number is in the recorder before it runs.
pub(crate) fn fork(recorder: &Recorder, namespaces: u64, cgroup: i32) -> Result<u32, Errno> {
    let arguments = CloneArguments {
        flags: namespaces | CLONE_PARENT_SETTID | if cgroup >= 0 { CLONE_INTO_CGROUP } else { 0 },
        // Written before the child runs, which may hand on to a child of its own and note that one's number here.
        parent_tid: recorder.pid.as_ptr() as u64,
        exit_signal: SIGCHLD as u64,
        cgroup: cgroup.max(0) as u64,
        ..CloneArguments::default()
    };
    // SAFETY: a fork: no memory is shared, the stack is copied.
    unsafe { call!(CLONE3, &raw const arguments, size_of_val(&arguments)) }.map(|child| child as u32)
}

/// A wait status: code in bits 8 to 15, signal in bits 0 to 6.
pub(crate) fn raw_status(code: i32, status: i32) -> u32 {
    if code == CLD_EXITED { (status as u32 & 0xff) << 8 } else { status as u32 & 0x7f }
}

/// Whether `pid` is a child of this process, alive or not reaped.
pub(crate) fn is_child(pid: u32) -> bool {
    let mut info = [0i32; 32];
    // SAFETY: siginfo_t has 128 bytes.
    pid != 0 && unsafe { call!(WAITID, P_PID, pid, info.as_mut_ptr(), WEXITED | WNOHANG | WNOWAIT, 0) }.is_ok()
}

/// What the process used: waitid leaves the usage of a zombie it does not reap out, so it is read while reaping is
/// still to come.
fn usage_of(pid: u32) -> ([u64; 2], u64) {
    let mut info = [0i32; 32];
    let mut usage = [0u64; 18];
    // SAFETY: siginfo_t has 128 bytes, struct rusage 144.
    let found = unsafe { call!(WAITID, P_PID, pid, info.as_mut_ptr(), WEXITED | WNOWAIT, usage.as_mut_ptr()) };
    if found.is_err() {
        return ([0; 2], 0);
    }
    ([usage[0] * 1_000_000 + usage[1], usage[2] * 1_000_000 + usage[3]], usage[4])
}

/// Takes a zombie's status away, and with it its number.
pub(crate) fn reap(pid: u32) {
    // SAFETY: nothing is to be written.
    let _ = unsafe { call!(WAITID, P_PID, pid, 0, WEXITED, 0) };
}

/// Reaps every child that has ended.
pub(crate) fn reap_all() {
    loop {
        let mut info = [0i32; 32];
        // SAFETY: siginfo_t has 128 bytes.
        let found = unsafe { call!(WAITID, P_ALL, 0, info.as_mut_ptr(), WEXITED | WNOHANG, 0) };
        if found.is_err() || info[4] == 0 {
            return;
        }
    }
}

/// The number of the line `oom_kill N`, 0 where there is none.
pub(crate) fn kills_for_memory(file: i32) -> u64 {
    let mut buffer = [0u8; 512];
    if file < 0 {
        return 0;
    }
    // SAFETY: the buffer is live.
    let Ok(length) = (unsafe { call!(PREAD64, file, buffer.as_mut_ptr(), buffer.len(), 0) }) else { return 0 };
    let number = |line: &[u8]| {
        let digits = line.strip_prefix(b"oom_kill ")?;
        digits.iter().try_fold(0u64, |number, digit| {
            digit.is_ascii_digit().then(|| number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
        })
    };
    buffer[..length].split(|&byte| byte == b'\n').find_map(number).unwrap_or(0)
}

/// Sends a signal to a process of the container that is not reaped.
pub(crate) fn signal(pid: u32, signal: usize) {
    if pid != 0 {
        // SAFETY: plain numbers.
        let _ = unsafe { call!(KILL, pid, signal) };
    }
}
