//! PID 1 of a container: passes signals on, reaps, and ends with the payload.
//!
//! Without one, a payload as PID 1 ignores every signal it has no handler for, and nobody reaps what it leaves.

use super::constant::*;
use super::process;
use super::program::Program;
use super::call::call;
use super::syscall::Errno;
use crate::plan::layout::{STATUS_KNOWN, State};
use core::sync::atomic::Ordering;

/// Forks: the child goes on with the plan, this process stays as init.
pub(crate) fn stay_as_init(program: &Program) -> Result<(), Errno> {
    // Blocked before the fork, so that no signal is lost between it and the loop.
    process::set_signal_mask(u64::MAX)?;
    // Before the fork: the payload must find no moment in which it may open the memory of its init, which runs without
    // the filter. Its exec makes the payload itself dumpable again.
    process::set_dumpable(false)?;
    // clone(2): a filter that is in force already, as Docker's, may refuse the newer call.
    let child = process::fork(SIGCHLD as u64, core::ptr::null_mut())?;
    if child == 0 {
        return process::set_signal_mask(0);
    }
    // What init does not hold cannot leak from it, and the reader of a pipe sees its end with the payload's.
    // SAFETY: plain numbers.
    unsafe { call!(CLOSE_RANGE, 0, u32::MAX, 0) }?;
    // All that init needs, where it has it: a payload of another user is signalled too.
    let kill = 1u64 << CAP_KILL;
    super::credentials::set_capabilities(kill, kill, 0)
        .or_else(|_| super::credentials::set_capabilities(0, 0, 0))?;
    serve(program, child)
}

fn serve(program: &Program, payload: usize) -> ! {
    let every = u64::MAX;
    loop {
        // SAFETY: a mask of the kernel's size; no siginfo is wanted.
        match unsafe { call!(RT_SIGTIMEDWAIT, &raw const every, 0, 0, 8) } {
            Ok(SIGCHLD) => reap(program, payload),
            Ok(signal) => {
                // SAFETY: plain numbers. The payload may be gone: then its SIGCHLD is on the way.
                let _ = unsafe { call!(KILL, payload, signal) };
            }
            Err(_) => {}
        }
    }
}

/// Reaps every child that has ended; the payload's end is the end.
fn reap(program: &Program, payload: usize) {
    loop {
        let mut info = [0i32; 32];
        // SAFETY: siginfo_t has 128 bytes.
        let found = unsafe { call!(WAITID, P_ALL, 0, info.as_mut_ptr(), WEXITED | WNOHANG, 0) };
        // struct siginfo of 64-bit machines: signal, errno, code, padding, pid, uid, status.
        let (code, pid, status) = (info[2], info[4], info[6]);
        if found.is_err() || pid == 0 {
            return;
        }
        if pid as usize == payload {
            finish(program, code, status);
        }
    }
}

/// Ends as the payload ended: its code, or 128 and its signal.
fn finish(program: &Program, code: i32, status: i32) -> ! {
    let recorder = program.recorder();
    let exited = code == CLD_EXITED;
    let raw = if exited { (status as u32 & 0xff) << 8 } else { status as u32 & 0x7f };
    recorder.payload_status.store(raw | STATUS_KNOWN, Ordering::Release);
    if recorder.state.load(Ordering::Relaxed) == State::FAULTED {
        process::exit(127);
    }
    process::exit(if exited { status } else { 128 + status })
}
