//! Talking to the parent over the status socket.

use super::constant::*;
use super::files::close;
use super::process;
use super::program::Program;
use super::call::call;
use super::syscall::Errno;
use crate::plan::layout::{Message, NOTE_SIZE, State};
use core::sync::atomic::{AtomicU32, Ordering};

#[repr(C)]
struct IoVector {
    base: *const u8,
    length: usize,
}

#[repr(C)]
struct MessageHeader {
    name: usize,
    name_length: usize,
    vectors: *const IoVector,
    vector_count: usize,
    control: *const Rights,
    control_length: usize,
    flags: usize,
}

/// One descriptor on its way (struct cmsghdr with SCM_RIGHTS).
#[repr(C)]
struct Rights {
    length: usize,
    level: i32,
    kind: i32,
    descriptor: i32,
    padding: i32,
}

/// clone3(2)'s argument, as far as it is used.
#[repr(C)]
#[derive(Default)]
pub(crate) struct CloneArguments {
    pub(crate) flags: u64,
    pub(crate) pidfd: u64,
    pub(crate) child_tid: u64,
    pub(crate) parent_tid: u64,
    pub(crate) exit_signal: u64,
    pub(crate) stack: u64,
    pub(crate) stack_size: u64,
    pub(crate) tls: u64,
    pub(crate) set_tid: u64,
    pub(crate) set_tid_size: u64,
    pub(crate) cgroup: u64,
}

/// Sends one byte, with a descriptor where there is one.
pub(crate) fn send(socket: i32, message: u8, descriptor: Option<i32>) -> Result<(), Errno> {
    send_text(socket, &[message], descriptor)
}

/// Sends a text, with a descriptor where there is one.
pub(crate) fn send_text(socket: i32, text: &[u8], descriptor: Option<i32>) -> Result<(), Errno> {
    let vector = IoVector { base: text.as_ptr(), length: text.len() };
    let rights = Rights {
        length: 20,
        level: SOL_SOCKET,
        kind: SCM_RIGHTS,
        descriptor: descriptor.unwrap_or(0),
        padding: 0,
    };
    let header = MessageHeader {
        name: 0,
        name_length: 0,
        vectors: &raw const vector,
        vector_count: 1,
        control: &raw const rights,
        control_length: if descriptor.is_some() { size_of::<Rights>() } else { 0 },
        flags: 0,
    };
    // SAFETY: every pointer of the header is live.
    unsafe { call!(SENDMSG, socket, &raw const header, MSG_NOSIGNAL) }.map(drop)
}

/// Waits for the word to go on; the parent's end ends this process.
fn wait_to_go_on(socket: i32) -> Result<(), Errno> {
    let mut answer = 0u8;
    loop {
        // SAFETY: one live byte.
        match unsafe { call!(READ, socket, &raw mut answer, 1) } {
            Ok(1) if answer == Message::GO => return Ok(()),
            Ok(0) => process::exit(0),
            Ok(_) => return Err(EPROTO),
            Err(EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Tells the parent `message` and waits for the word to go on.
pub(crate) fn ask(program: &Program, message: u8) -> Result<(), Errno> {
    let socket = program.header().status as i32;
    send(socket, message, None)?;
    wait_to_go_on(socket)
}

/// Hands the parent the descriptor of a filter and waits until the supervisor has it. A filter is in force: nothing else
/// is called.
pub(crate) fn hand_over_listener(program: &Program, listener: i32) -> Result<(), Errno> {
    let socket = program.header().status as i32;
    send(socket, Message::LISTENER, Some(listener))?;
    wait_to_go_on(socket)
}

/// Lets go of the parent and waits for whoever writes a byte into the fifo `start`. This process holds both ends of it, so
/// that it waits although nobody else has opened it.
pub(crate) fn await_start(program: &mut Program, start: u32, outcome: u32) -> Result<(), Errno> {
    // It may wait for long where others of its user see it, and the filter may be still to come.
    process::set_dumpable(false)?;
    program.recorder().state.store(State::PARKED, Ordering::Release);
    close(program.header().status as i32);
    let (start, mut word) = (program.slot(start), 0u8);
    loop {
        // SAFETY: one live byte.
        match unsafe { call!(READ, start, &raw mut word, 1) } {
            Ok(_) => break,
            Err(EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    close(start);
    program.outcome = program.slot(outcome);
    Ok(())
}

/// Writes down for whoever started this parked process which operation failed, with which errno, in which part of it;
/// where it was a hook that failed, how it ended and the last it wrote.
pub(crate) fn tell_starter(program: &Program, errno: Errno) {
    if program.outcome == super::program::EMPTY {
        return;
    }
    let recorder = program.recorder();
    let number = |number: &AtomicU32| number.load(Ordering::Relaxed);
    let words =
        [number(&recorder.op), errno as u32, number(&recorder.part), recorder.hook_end.load(Ordering::Acquire)];
    let mut message = [0u8; 16 + NOTE_SIZE];
    for (place, word) in message.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_ne_bytes());
    }
    let length = (number(&recorder.note_length) as usize).min(NOTE_SIZE);
    for (place, byte) in message[16..].iter_mut().zip(&recorder.note) {
        *place = byte.load(Ordering::Relaxed);
    }
    // SAFETY: within the live array. Where the starter is gone nobody asks.
    let _ = unsafe { call!(WRITE, program.outcome, message.as_ptr(), 16 + length) };
}

/// Gets the id maps of this process written. The files of a process that is not dumpable, as the child of a keeper is,
/// belong to root: an ordinary user could not open them.
pub(crate) fn ask_for_id_maps(program: &Program) -> Result<(), Errno> {
    // SAFETY: plain number.
    let before = unsafe { call!(PRCTL, PR_GET_DUMPABLE) }?;
    process::set_dumpable(true)?;
    ask(program, Message::MAPS)?;
    process::set_dumpable(before == 1)
}

/// Whether the other end of the socket is gone.
pub(crate) fn hung_up(socket: i32) -> bool {
    let mut polled = [socket as u32, 0u32];
    let now = [0usize; 2];
    // SAFETY: one pollfd (descriptor, events and revents) and a timespec of zero.
    let ready = unsafe { call!(PPOLL, polled.as_mut_ptr(), 1, now.as_ptr(), 0, 0) };
    ready.is_ok() && ((polled[1] >> 16) as i16) & POLLHUP != 0
}

/// Goes on in a child, which becomes a child of the parent too; this process ends. `filtered`: a filter may be in force.
pub(crate) fn go_on_in_child(program: &Program, filtered: bool) -> Result<(), Errno> {
    let mut pidfd = -1i32;
    let child = if filtered {
        hide_from_those_within()?;
        // By the older call: filters that refuse the flags of new namespaces cannot look into clone3's argument. It has
        // one place for both the descriptor and the number.
        process::fork(CLONE_PARENT | CLONE_PIDFD, &raw mut pidfd)?
    } else {
        clone_sibling(program, &raw mut pidfd as u64)?
    };
    if child == 0 {
        return Ok(());
    }
    program.recorder().pid.store(child as u32, Ordering::Release);
    let sent = send(program.header().status as i32, Message::CHILD, Some(pidfd));
    close(pidfd);
    process::exit(if sent.is_ok() { 0 } else { 1 })
}

/// As [`go_on_in_child`], for a keeper that has forked this process: it finds the child's number in the recorder.
pub(crate) fn go_on_inside(program: &Program) -> Result<(), Errno> {
    hide_from_those_within()?;
    match process::fork(CLONE_PARENT | CLONE_PARENT_SETTID, program.recorder().pid.as_ptr().cast())? {
        0 => Ok(()),
        child => {
            // A keeper, whose child it becomes, learns from here which process goes on.
            program.recorder().pid.store(child as u32, Ordering::Release);
            process::exit(0)
        }
    }
}

/// What goes on in a container that runs must find no moment in which a process there may open its memory or descriptors:
/// the filter may still be to come. The exec makes it dumpable again.
fn hide_from_those_within() -> Result<(), Errno> {
    process::set_dumpable(false)
}

/// Forks a child of this process's parent; 0 in the child.
fn clone_sibling(program: &Program, pidfd: u64) -> Result<usize, Errno> {
    let arguments = CloneArguments {
        flags: CLONE_PIDFD | CLONE_PARENT | CLONE_PARENT_SETTID,
        pidfd,
        // The kernel writes it before either side runs: this process may be killed before it can tell.
        parent_tid: program.recorder().pid.as_ptr() as u64,
        ..CloneArguments::default()
    };
    // SAFETY: a fork: no memory is shared, the stack is copied.
    unsafe { call!(CLONE3, &raw const arguments, size_of::<CloneArguments>()) }
}

/// Reads one message without waiting, as the parent of a start does; `Ok(None)` where the other end is closed.
pub(crate) fn receive(socket: i32) -> Result<Option<u8>, Errno> {
    let mut message = 0u8;
    // A descriptor that came along is closed by the kernel: nobody asks for it.
    // SAFETY: one live byte.
    match unsafe { call!(READ, socket, &raw mut message, 1) } {
        Ok(0) | Err(ECONNRESET) => Ok(None),
        Ok(_) => Ok(Some(message)),
        Err(errno) => Err(errno),
    }
}
