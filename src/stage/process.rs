//! The process itself: its end, its signals, its descriptors.

use super::constant::*;
use super::program::Program;
use super::call::call;
use super::syscall::Errno;
use crate::plan::op::NO_SLOT;

/// Ends the process.
pub(crate) fn exit(code: i32) -> ! {
    loop {
        // SAFETY: exit_group takes a number and does not return.
        let _ = unsafe { call!(EXIT_GROUP, code) };
    }
}

/// Kills this very process as SIGKILL would: a drill for tests of the parent.
pub(crate) fn kill_self() {
    // SAFETY: plain numbers.
    unsafe {
        // The kernel lets no signal of its own namespace kill a PID 1, but it does kill whoever breaks strict seccomp.
        let _ = call!(PRCTL, PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
        let pid = call!(GETPID).unwrap_or(0);
        let _ = call!(KILL, pid, SIGKILL);
        // Strict seccomp is refused under a filter.
        #[cfg(target_arch = "x86_64")]
        core::arch::asm!("ud2");
        #[cfg(target_arch = "aarch64")]
        core::arch::asm!("brk #0");
    }
}

/// Closes every descriptor that is neither on the plan's list nor the socket to the parent.
///
/// What only the keeper holds (no slot) is closed too, unless the keeper itself asks.
pub(crate) fn close_others(program: &Program, keeper: bool) -> Result<(), Errno> {
    let header = *program.header();
    let status = header.status as i32;
    let mut from = 0;
    let mut status_seen = false;
    for index in 0..header.inherited_count as usize {
        let (slot, descriptor) = program.inherited(index);
        if slot == NO_SLOT && !keeper {
            continue;
        }
        if !status_seen && status < descriptor {
            from = close_between(from, status)?;
            status_seen = true;
        }
        from = close_between(from, descriptor)?;
    }
    if !status_seen {
        from = close_between(from, status)?;
    }
    // SAFETY: plain numbers.
    unsafe { call!(CLOSE_RANGE, from, u32::MAX, 0) }.map(drop)
}

fn close_between(from: i32, kept: i32) -> Result<i32, Errno> {
    if from < kept {
        // SAFETY: plain numbers.
        unsafe { call!(CLOSE_RANGE, from, kept - 1, 0) }?;
    }
    Ok(kept + 1)
}

/// Marks everything from descriptor `first` on to be closed by the exec; what the stage opens later is so from the
/// begin.
pub(crate) fn close_on_exec(first: u32) -> Result<(), Errno> {
    // SAFETY: plain numbers.
    unsafe { call!(CLOSE_RANGE, first, u32::MAX, CLOSE_RANGE_CLOEXEC) }.map(drop)
}

/// Default action for every signal, none blocked: what the host ignores the payload must not.
pub(crate) fn reset_signals() -> Result<(), Errno> {
    let default = [0usize; 4];
    for signal in 1..=SIGNALS {
        if signal != SIGKILL && signal != SIGSTOP {
            // SAFETY: a sigaction of all zeroes (SIG_DFL, no flags, empty mask) of the kernel's size.
            unsafe { call!(RT_SIGACTION, signal, default.as_ptr(), 0, 8) }?;
        }
    }
    set_signal_mask(0)
}

/// Forks a child, whose descriptor the parent finds in `pidfd`; 0 in the child.
///
/// By the older call: filters that refuse the flags of new namespaces cannot look into clone3's argument, so they refuse
/// all of clone3.
pub(crate) fn fork_with_descriptor(pidfd: &mut i32) -> Result<i32, Errno> {
    fork(CLONE_PIDFD | SIGCHLD as u64, core::ptr::from_mut(pidfd)).map(|child| child as i32)
}

/// clone(2) as a fork: no memory is shared, the stack is copied. `place` gets what the flags put there.
pub(crate) fn fork(flags: u64, place: *mut i32) -> Result<usize, Errno> {
    // SAFETY: flags that share no memory; the third argument is the place on both architectures.
    unsafe { call!(CLONE, flags, 0, place, 0, 0) }
}

/// Blocks exactly the signals of `mask`, bit 0 being signal 1.
pub(crate) fn set_signal_mask(mask: u64) -> Result<(), Errno> {
    // SAFETY: a mask of the kernel's size.
    unsafe { call!(RT_SIGPROCMASK, SIG_SETMASK, &raw const mask, 0, 8) }.map(drop)
}

/// Allows every processor; the kernel keeps to those of the cpuset.
pub(crate) fn reset_affinity() -> Result<(), Errno> {
    let every = [usize::MAX; 128];
    // SAFETY: a processor mask with its size in bytes.
    unsafe { call!(SCHED_SETAFFINITY, 0, size_of_val(&every), every.as_ptr()) }.map(drop)
}

/// Asks for SIGKILL when the launching thread ends, and ends at once where it has ended before.
pub(crate) fn die_with_parent(program: &Program, check_socket: bool) -> Result<(), Errno> {
    // SAFETY: plain numbers.
    unsafe { call!(PRCTL, PR_SET_PDEATHSIG, SIGKILL) }?;
    if check_socket && super::parent::hung_up(program.header().status as i32) {
        exit(0);
    }
    Ok(())
}

/// Whether the process can be traced, dumped and looked into by others of its user.
pub(crate) fn set_dumpable(dumpable: bool) -> Result<(), Errno> {
    // SAFETY: plain numbers.
    unsafe { call!(PRCTL, PR_SET_DUMPABLE, dumpable) }.map(drop)
}
