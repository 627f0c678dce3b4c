//! The keeper: parent of a detached container's first process.
//!
//! It starts the plan in a child, copies the container's output to the log, looks after it (see `care.rs`), records how
//! it ended, and undoes what it held. It is what lives on when the host does not.

use super::care::Care;
use super::clock::since_boot;
use super::constant::*;
use super::files::{close, open_host, replace};
use super::log::{Log, Source};
use super::parent::CloneArguments;
use super::program::Program;
use super::record::{self, End};
use super::watch::{Watch, reap_all};
use super::call::call;
use super::syscall::Errno;
use super::{notify, process};
use crate::plan::layout::{KeeperOrders, State};
use crate::plan::op::NO_SLOT;
use core::sync::atomic::Ordering;

/// More reads than a pipe of the largest size (1 MiB) can fill.
const LAST_READS: usize = 4096;

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

/// Starts the payload for the first time.
fn start(program: &mut Program, orders: &KeeperOrders) -> Result<Watch, Errno> {
    let bit = |signal: usize| 1u64 << (signal - 1);
    let care = program.care();
    let mut watch = Watch::open(bit(SIGCHLD) | if care.is_some() { bit(SIGUSR1) } else { 0 }, orders)?;
    watch.start(program, orders, None)?;
    if !care.is_some_and(|care| Care::keeps_descriptors(&care)) {
        // What belongs to the payload must end with the payload.
        let header = *program.header();
        for index in 0..header.inherited_count as usize {
            let (slot, descriptor) = program.inherited(index);
            if slot != NO_SLOT {
                close(descriptor);
            }
        }
    }
    Ok(watch)
}

/// Copies output until the container has ended; whether its end could be recorded.
fn serve(program: &mut Program, orders: &KeeperOrders, log: &mut Log, mut watch: Watch) -> bool {
    let mut sources = [Source::new(orders.streams[0], b"stdout"), Source::new(orders.streams[1], b"stderr")];
    // Room for the last word, before the container can fill the disk.
    let _ = record::reserve(orders.directory);
    // Before the host learns of the start: it then finds what is published.
    let mut care = Care::begin(program, orders);
    release_host(program, care.is_some());
    let mut first = true;
    let end = loop {
        watch.follow(program);
        let noteworthy = care.as_ref().is_none_or(Care::is_noteworthy);
        if watch.pid != watch.recorded && noteworthy && record::running(orders.directory, watch.pid, first).is_ok() {
            (watch.recorded, first) = (watch.pid, false);
        }
        wait_for_something(&sources, watch.signals, care.as_ref());
        for source in &mut sources {
            source.read(log);
        }
        let words = watch.take_signals();
        let found = watch.find_end(program, |zombie| {
            if let Some(care) = &mut care {
                care.child_ended(program, zombie);
            }
        });
        if let Some(found) = found.filter(|_| !care.as_ref().is_some_and(Care::is_at_rest)) {
            let end = watch.end_of(program, orders, &found);
            drain(&mut sources, log);
            let last = match &mut care {
                Some(care) => care.ended(program, orders, &mut watch, end),
                None => Some(end),
            };
            if let Some(last) = last {
                break last;
            }
        }
        if let Some(care) = &mut care
            && let Some(last) = care.step(program, orders, &mut watch, words)
        {
            break last;
        }
    };
    finish(orders, log, &end)
}

/// Lets the host know that the payload alone holds the socket. Whoever starts another one keeps its number taken: the
/// plan counts it among what stays open.
fn release_host(program: &Program, keep_number: bool) {
    let status = program.header().status;
    if keep_number && let Ok(null) = open_host(c"/dev/null".as_ptr().cast(), O_RDONLY) {
        let _ = replace(null, status);
        close(null);
        return;
    }
    close(status as i32);
}

/// Every process of the PID namespace is gone: what is in the pipes is all there will be, unless somebody outside has
/// got hold of one and goes on writing.
fn drain(sources: &mut [Source; 2], log: &mut Log) {
    for source in sources {
        for _ in 0..LAST_READS {
            if !source.read(log) {
                break;
            }
        }
        source.finish(log);
    }
}

/// Records the end; whether that succeeded.
fn finish(orders: &KeeperOrders, log: &mut Log, end: &End) -> bool {
    log.sync();
    let recorded = record::ended(orders.directory, end).is_ok();
    // Without a record the number stays taken until this keeper is gone.
    if recorded {
        reap_all();
    }
    recorded
}

fn wait_for_something(sources: &[Source; 2], signals: i32, care: Option<&Care>) {
    let entry = |descriptor: i32, events: i16| [descriptor as u32, events as u16 as u32];
    let [channel, check] = care.map_or([(-1, 0); 2], Care::polled);
    // A descriptor of -1 is passed over by the kernel.
    let mut polled = [
        entry(sources[0].descriptor, POLLIN),
        entry(sources[1].descriptor, POLLIN),
        entry(signals, POLLIN),
        entry(channel.0, channel.1),
        entry(check.0, check.1),
    ];
    let now = if care.is_some() { since_boot() } else { 0 };
    let wake = care.map_or(u64::MAX, |care| care.wake_at(now));
    let left = wake.saturating_sub(now);
    let timeout = [left / 1_000_000_000, left % 1_000_000_000];
    let timeout = if wake == u64::MAX { core::ptr::null() } else { timeout.as_ptr() };
    // SAFETY: five struct pollfd; a timespec or none; no mask.
    let _ = unsafe { call!(PPOLL, polled.as_mut_ptr(), polled.len(), timeout, 0, 0) };
}

/// Gives back what the container held in the kernel.
fn clean_up(program: &mut Program, orders: &KeeperOrders) {
    if orders.farewell != 0 {
        notify::send(program.bytes(orders.farewell, orders.farewell_size));
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
