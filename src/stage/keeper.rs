//! The keeper: parent of a detached container's first process.
//!
//! It starts the plan in a child, copies the container's output to the log, records how it ended, and undoes what the
//! container held. It is what lives on when the host does not.

use super::constant::*;
use super::files::{close, write};
use super::interpreter;
use super::log::{Log, Source};
use super::parent::CloneArguments;
use super::process;
use super::program::Program;
use super::record::{self, End};
use super::call::call;
use super::syscall::Errno;
use crate::plan::layout::{KeeperOrders, STATUS_KNOWN, State};
use crate::plan::op::NO_SLOT;
use core::sync::atomic::Ordering;

/// More reads than a pipe of the largest size (1 MiB) can fill.
const LAST_READS: usize = 4096;

const WNOWAIT: usize = 0x0100_0000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Starts the plan in a child and stays until the container has ended.
pub(crate) fn run(program: &mut Program) -> ! {
    if leave_the_host(program).is_err() {
        process::exit(4);
    }
    let orders = program.orders();
    // The log first: a payload whose output has nowhere to go must not run.
    let log = Log::open(orders.log_directory, orders.log_limit, orders.log_files);
    let started = log.and_then(|log| Ok((log, start(program, &orders)?)));
    let ended = match started {
        Ok((mut log, started)) => serve(program, &orders, &mut log, started),
        Err(errno) => {
            program.recorder().errno.store(errno, Ordering::Relaxed);
            program.recorder().state.store(State::FAULTED, Ordering::Release);
            false
        }
    };
    clean_up(program, &orders);
    process::exit(if ended { 0 } else { 127 })
}

/// A session and a parent of its own: the host must not have to wait for it.
fn leave_the_host(program: &Program) -> Result<(), Errno> {
    process::close_others(program, true)?;
    process::set_signal_mask(u64::MAX)?;
    process::set_dumpable(false)?;
    // SAFETY: no arguments; a NUL-terminated name; a fork.
    unsafe {
        call!(SETSID)?;
        call!(PRCTL, PR_SET_NAME, c"coracle-keeper".as_ptr())?;
        let arguments = CloneArguments { exit_signal: SIGCHLD as u64, ..CloneArguments::default() };
        if call!(CLONE3, &raw const arguments, size_of_val(&arguments))? != 0 {
            process::exit(0);
        }
    }
    Ok(())
}

/// What a keeper looks at.
struct Watch {
    /// Becomes readable when a child ends.
    signals: i32,
    /// The container's first process.
    pid: u32,
}

impl Watch {
    /// Follows the container to the child that a forerunner went on in. The page that says so is mapped in the
    /// container's own init: nothing but a child of this keeper is believed.
    fn follow(&mut self, program: &Program) {
        let said = program.recorder().pid.load(Ordering::Acquire);
        if said != self.pid && is_child(said) {
            self.pid = said;
        }
    }
}

/// Whether `pid` is a child of this process, alive or not reaped.
fn is_child(pid: u32) -> bool {
    let mut info = [0i32; 32];
    // SAFETY: siginfo_t has 128 bytes; 1 is P_PID.
    pid != 0 && unsafe { call!(WAITID, 1, pid, info.as_mut_ptr(), WEXITED | WNOHANG | WNOWAIT, 0) }.is_ok()
}

/// Forks the payload.
fn start(program: &mut Program, orders: &KeeperOrders) -> Result<Watch, Errno> {
    let mask = 1u64 << (SIGCHLD - 1);
    // SAFETY: a mask of the kernel's size.
    let signals = unsafe { call!(SIGNALFD4, -1isize, &raw const mask, 8, O_CLOEXEC | 0o4000) }? as i32;
    let arguments = CloneArguments {
        flags: orders.namespaces | CLONE_PARENT_SETTID | if orders.cgroup >= 0 { CLONE_INTO_CGROUP } else { 0 },
        // Written before the child runs, which may hand on to a child of its own and note that one's number here.
        parent_tid: program.recorder().pid.as_ptr() as u64,
        exit_signal: SIGCHLD as u64,
        cgroup: orders.cgroup.max(0) as u64,
        ..CloneArguments::default()
    };
    // SAFETY: a fork: no memory is shared, the stack is copied.
    let child = unsafe { call!(CLONE3, &raw const arguments, size_of_val(&arguments)) }?;
    if child == 0 {
        interpreter::run(program);
    }
    // What belongs to the payload must end with the payload.
    let header = *program.header();
    for index in 0..header.inherited_count as usize {
        let (slot, descriptor) = program.inherited(index);
        if slot != NO_SLOT {
            close(descriptor);
        }
    }
    Ok(Watch { signals, pid: child as u32 })
}

/// Copies output until the container has ended; whether its end could be recorded.
fn serve(program: &Program, orders: &KeeperOrders, log: &mut Log, mut watch: Watch) -> bool {
    let mut sources = [Source::new(orders.streams[0], b"stdout"), Source::new(orders.streams[1], b"stderr")];
    let mut recorded = 0;
    // Room for the last word, before the container can fill the disk.
    let _ = record::reserve(orders.directory);
    close(program.header().status as i32);
    loop {
        watch.follow(program);
        if watch.pid != recorded && record::running(orders.directory, watch.pid).is_ok() {
            recorded = watch.pid;
        }
        wait_for_something(&sources, watch.signals);
        for source in &mut sources {
            source.read(log);
        }
        drain_signals(watch.signals);
        if let Some(end) = find_end(program, orders, &mut watch) {
            // Every process of the PID namespace is gone: what is in the pipes is all there will be, unless somebody
            // outside has got hold of one and goes on writing.
            for source in &mut sources {
                for _ in 0..LAST_READS {
                    if !source.read(log) {
                        break;
                    }
                }
            }
            log.sync();
            let recorded = record::ended(orders.directory, &end).is_ok();
            // Without a record the number stays taken until this keeper is gone.
            if recorded {
                reap_all();
            }
            return recorded;
        }
    }
}

fn wait_for_something(sources: &[Source; 2], signals: i32) {
    let entry = |descriptor: i32| [descriptor as u32, POLLIN as u32];
    let mut polled = [entry(sources[0].descriptor), entry(sources[1].descriptor), entry(signals)];
    // A descriptor of -1 is passed over by the kernel.
    // SAFETY: three struct pollfd; no timeout, no mask.
    let _ = unsafe { call!(PPOLL, polled.as_mut_ptr(), polled.len(), 0, 0, 0) };
}

fn drain_signals(signals: i32) {
    let mut buffer = [0u64; 16];
    // SAFETY: a struct signalfd_siginfo of 128 bytes; the descriptor does not block.
    while unsafe { call!(READ, signals, buffer.as_mut_ptr(), size_of_val(&buffer)) }.is_ok() {}
}

/// The end of the container's first process, which stays a zombie until it is recorded: as long as there is no record
/// its number is its own, for whoever wants to signal it.
fn find_end(program: &Program, orders: &KeeperOrders, watch: &mut Watch) -> Option<End> {
    loop {
        let mut info = [0i32; 32];
        // SAFETY: siginfo_t has 128 bytes.
        let found = unsafe { call!(WAITID, P_ALL, 0, info.as_mut_ptr(), WEXITED | WNOHANG | WNOWAIT, 0) };
        let (code, pid, status) = (info[2], info[4], info[6]);
        if found == Err(ECHILD) {
            // Nobody is left, and the container's end was never seen.
            let unknown = End { unknown: true, ..end(program, orders, CLD_EXITED, 0, ([0; 2], 0)) };
            return Some(unknown);
        }
        if found.is_err() || pid == 0 {
            return None;
        }
        watch.follow(program);
        if pid as u32 == watch.pid {
            let usage = usage_of(pid);
            return Some(end(program, orders, code, status, usage));
        }
        // A forerunner that has handed on to its child.
        reap(pid);
    }
}

fn end(program: &Program, orders: &KeeperOrders, code: i32, status: i32, usage: ([u64; 2], u64)) -> End {
    let recorder = program.recorder();
    let exact = recorder.payload_status.load(Ordering::Acquire);
    let raw = if exact & STATUS_KNOWN != 0 {
        exact & !STATUS_KNOWN
    } else if code == CLD_EXITED {
        (status as u32 & 0xff) << 8
    } else {
        status as u32 & 0x7f
    };
    let fault = match recorder.state.load(Ordering::Acquire) {
        State::FAULTED => Some((recorder.errno.load(Ordering::Relaxed), recorder.op.load(Ordering::Relaxed))),
        State::EXECUTING => None,
        _ => Some((0, recorder.op.load(Ordering::Relaxed))),
    };
    let (processor, peak_resident) = usage;
    End { status: raw, unknown: false, out_of_memory: out_of_memory(orders.oom_file), fault, processor, peak_resident }
}

/// What the process used: waitid leaves the usage of a zombie it does not reap out, so it is read while reaping is
/// still to come.
fn usage_of(pid: i32) -> ([u64; 2], u64) {
    let mut info = [0i32; 32];
    let mut usage = [0u64; 18];
    // SAFETY: siginfo_t has 128 bytes, struct rusage 144; 1 is P_PID.
    let found = unsafe {
        super::syscall::syscall(
            super::number::WAITID,
            [1, pid as usize, info.as_mut_ptr() as usize, WEXITED | WNOWAIT, usage.as_mut_ptr() as usize, 0],
        )
    };
    if found.is_err() {
        return ([0; 2], 0);
    }
    ([usage[0] * 1_000_000 + usage[1], usage[2] * 1_000_000 + usage[3]], usage[4])
}

fn reap(pid: i32) {
    // SAFETY: nothing is to be written; 1 is P_PID.
    let _ = unsafe { call!(WAITID, 1, pid, 0, WEXITED, 0) };
}

fn reap_all() {
    loop {
        let mut info = [0i32; 32];
        // SAFETY: siginfo_t has 128 bytes.
        let found = unsafe { call!(WAITID, P_ALL, 0, info.as_mut_ptr(), WEXITED | WNOHANG, 0) };
        if found.is_err() || info[4] == 0 {
            return;
        }
    }
}

/// Whether the line `oom_kill N` says more than 0.
fn out_of_memory(file: i32) -> bool {
    let mut buffer = [0u8; 512];
    if file < 0 {
        return false;
    }
    // SAFETY: the buffer is live.
    let Ok(length) = (unsafe { call!(PREAD64, file, buffer.as_mut_ptr(), buffer.len(), 0) }) else { return false };
    let key = b"oom_kill ";
    buffer[..length]
        .split(|&byte| byte == b'\n')
        .any(|line| line.len() > key.len() && line.starts_with(key) && line[key.len()..] != *b"0")
}

/// Gives back what the container held in the kernel.
fn clean_up(program: &mut Program, orders: &KeeperOrders) {
    if orders.farewell != 0 {
        send_farewell(program.address(orders.farewell), orders.farewell_size as usize);
    }
    if orders.remove == 0 {
        return;
    }
    let mut path = program.pointers(orders.remove);
    // SAFETY: the list is ended by 0, its texts by NUL.
    unsafe {
        while *path != 0 {
            remove_group(*path);
            path = path.add(1);
        }
    }
}

/// Removes a control group; its last processes may take a moment to be gone.
///
/// # Safety
/// The path must be NUL-terminated.
unsafe fn remove_group(path: usize) {
    const AT_REMOVEDIR: usize = 0x200;
    const EBUSY: i32 = 16;
    for _ in 0..200 {
        let pause = [0usize, 1_000_000];
        // SAFETY: as promised; ppoll without descriptors is a sleep of 1 ms.
        unsafe {
            match call!(UNLINKAT, AT_FDCWD, path, AT_REMOVEDIR) {
                Err(EBUSY) => call!(PPOLL, 0, 0, pause.as_ptr(), 0, 0).map(drop).unwrap_or(()),
                _ => return,
            }
        }
    }
}

/// Sends the prepared netlink batches, one message a 32-bit length each; what they undo may be gone already.
fn send_farewell(message: *const u8, size: usize) {
    const AF_NETLINK: usize = 16;
    const SOCK_RAW: usize = 3;
    const NETLINK_NETFILTER: usize = 12;
    // SAFETY: plain numbers; the verifier has proved that the message lies within the plan.
    unsafe {
        if let Ok(socket) = call!(SOCKET, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER) {
            let _ = write(socket as i32, core::slice::from_raw_parts(message, size));
            close(socket as i32);
        }
    }
}
