//! Runs a hook of the container and waits for it: the state on its standard input, a deadline, the end of what it says.

use super::call::call;
use super::clock;
use super::constant::*;
use super::files::{close, replace};
use super::process;
use super::program::Program;
use super::syscall::Errno;
use super::text::Text;
use crate::plan::layout::{HookEnd, NOTE_SIZE, Recorder};
use core::sync::atomic::Ordering;

/// What of a hook the operation names: offsets into the plan, and seconds.
pub(crate) struct Hook {
    pub(crate) path: u32,
    pub(crate) arguments: u32,
    pub(crate) environment: u32,
    /// Two texts: the state before and behind the number of the container's process.
    pub(crate) state: u32,
    /// 0: no limit.
    pub(crate) timeout: u32,
}

/// Set by the child that cannot execute the hook; its errno is in the recorder.
const NOT_EXECUTED: u32 = 1;

/// Runs it. A hook that ran and failed leaves its end and the last it wrote in the recorder, and the errno is ECANCELED.
pub(crate) fn run(program: &mut Program, hook: &Hook) -> Result<(), Errno> {
    // SAFETY: plain numbers. The container's process as the container sees it (runtime-spec, State).
    let own = unsafe { call!(GETPID) }?;
    let arguments = program.pointers(hook.arguments);
    let environment = program.pointers(hook.environment);
    let mut texts = program.texts(hook.state);
    let mut number = Text::<20>::new();
    number.number(own as u64);
    // SAFETY: the verifier has proved that each text is ended by NUL.
    let mut text = || texts.next().map_or(&b""[..], |text| unsafe { text_at(text) });
    let (before, behind) = (text(), text());
    let path = program.address(hook.path);
    program.part(0);
    program.recorder().hook_end.store(0, Ordering::Relaxed);
    let input = state_pipe(&[before, number.as_bytes(), behind])?;
    let forked = Run::fork(program, path, arguments, environment, input);
    close(input);
    let mut run = forked?;
    let end = run.attend(hook.timeout);
    let status = run.reap();
    if program.recorder().part.load(Ordering::Acquire) == NOT_EXECUTED {
        return Err(program.recorder().errno.load(Ordering::Relaxed));
    }
    let raw = match end? {
        End::Ended => status?,
        End::TimedOut => HookEnd::TIMED_OUT | hook.timeout.min(HookEnd::LONGEST),
    };
    if raw == 0 {
        return Ok(());
    }
    run.note(program.recorder());
    program.recorder().hook_end.store(raw | HookEnd::KNOWN, Ordering::Release);
    Err(ECANCELED)
}

/// How the wait for a hook ended.
enum End {
    Ended,
    TimedOut,
}

/// The read end of a pipe that holds `state`: written before anybody could refuse to read it.
fn state_pipe(state: &[&[u8]; 3]) -> Result<i32, Errno> {
    let mut pipe = [-1i32; 2];
    // SAFETY: room for two descriptors.
    unsafe { call!(PIPE2, pipe.as_mut_ptr(), O_CLOEXEC) }?;
    let size: usize = state.iter().map(|piece| piece.len()).sum();
    let filled = fill(pipe[1], state, size);
    close(pipe[1]);
    match filled {
        Ok(()) => Ok(pipe[0]),
        Err(errno) => {
            close(pipe[0]);
            Err(errno)
        }
    }
}

fn fill(pipe: i32, state: &[&[u8]; 3], size: usize) -> Result<(), Errno> {
    if size > PIPE_SIZE {
        // SAFETY: plain numbers.
        unsafe { call!(FCNTL, pipe, F_SETPIPE_SZ, size) }?;
    }
    state.iter().try_for_each(|piece| super::files::write(pipe, piece))
}

/// How often its output is read before the time is looked at again.
const READS_AT_ONCE: usize = 128;

/// What a pipe holds unless it is enlarged.
const PIPE_SIZE: usize = 65_536;

/// A hook that runs.
struct Run {
    pid: i32,
    pidfd: i32,
    /// The read end of its standard output and error; -1 once it is closed.
    output: i32,
    /// The last it wrote: a ring.
    said: [u8; NOTE_SIZE],
    written: usize,
}

impl Run {
    fn fork(
        program: &Program,
        path: *const u8,
        arguments: *const usize,
        environment: *const usize,
        input: i32,
    ) -> Result<Run, Errno> {
        let mut output = [-1i32; 2];
        // SAFETY: room for two descriptors; F_SETFL of the end that stays here.
        unsafe {
            call!(PIPE2, output.as_mut_ptr(), O_CLOEXEC)?;
            call!(FCNTL, output[0], F_SETFL, O_NONBLOCK)?;
        }
        let mut pidfd = -1i32;
        let pid = process::fork_with_descriptor(&mut pidfd)?;
        if pid == 0 {
            // SAFETY: the texts are NUL-terminated, the lists ended by 0.
            let errno = unsafe { become_hook(input, output[1], path, arguments, environment) };
            program.recorder().errno.store(errno, Ordering::Relaxed);
            program.recorder().part.store(NOT_EXECUTED, Ordering::Release);
            process::exit(127);
        }
        close(output[1]);
        Ok(Run { pid, pidfd, output: output[0], said: [0; NOTE_SIZE], written: 0 })
    }

    /// Reads what it writes until it ends, or for `timeout` seconds; then it is killed.
    ///
    /// What it leaves running may keep its output open: only its own end counts.
    fn attend(&mut self, timeout: u32) -> Result<End, Errno> {
        let begin = clock::since_boot();
        let limit = (timeout != 0).then(|| begin.saturating_add(u64::from(timeout) * 1_000_000_000));
        loop {
            let now = clock::since_boot();
            if limit.is_some_and(|limit| now >= limit) {
                self.kill();
                return Ok(End::TimedOut);
            }
            let [ended, readable] = self.poll(limit.map(|limit| limit - now))?;
            if ended || readable {
                self.read();
            }
            if ended {
                return Ok(End::Ended);
            }
        }
    }

    /// Waits for its end and its output; for `left` nanoseconds where there is a limit.
    fn poll(&self, left: Option<u64>) -> Result<[bool; 2], Errno> {
        let entry = |descriptor: i32| [descriptor as u32, POLLIN as u32];
        let mut polled = [entry(self.pidfd), entry(self.output)];
        let mut limit = left.map(|left| [left / 1_000_000_000, left % 1_000_000_000]);
        let pointer = limit.as_mut().map_or(core::ptr::null_mut(), |limit| limit.as_mut_ptr());
        // SAFETY: two struct pollfd (descriptor, events and revents), and a timespec or none.
        match unsafe { call!(PPOLL, polled.as_mut_ptr(), polled.len(), pointer, 0, 0) } {
            Ok(_) | Err(EINTR) => Ok(polled.map(|entry| entry[1] >> 16 != 0)),
            Err(errno) => Err(errno),
        }
    }

    /// Takes what it has written; the last of it is kept.
    fn read(&mut self) {
        let mut buffer = [0u8; 1024];
        for _ in 0..READS_AT_ONCE {
            if self.output < 0 {
                return;
            }
            // SAFETY: the buffer is live.
            match unsafe { call!(READ, self.output, buffer.as_mut_ptr(), buffer.len()) } {
                Ok(0) => {
                    close(self.output);
                    self.output = -1;
                }
                Ok(count) => {
                    for &byte in &buffer[..count.min(buffer.len())] {
                        self.said[self.written % NOTE_SIZE] = byte;
                        self.written = self.written.wrapping_add(1);
                    }
                }
                Err(_) => return,
            }
        }
    }

    fn kill(&mut self) {
        // SAFETY: plain numbers; it is not reaped, so the number is its own. It leads its session and group.
        unsafe {
            let _ = call!(KILL, self.pid.wrapping_neg(), SIGKILL);
            let _ = call!(KILL, self.pid, SIGKILL);
        }
        self.read();
    }

    /// Waits for its end; how it ended, as a wait status.
    fn reap(&mut self) -> Result<u32, Errno> {
        close(self.pidfd);
        if self.output >= 0 {
            close(self.output);
        }
        let mut info = [0i32; 32];
        loop {
            // SAFETY: siginfo_t has 128 bytes.
            match unsafe { call!(WAITID, P_PID, self.pid, info.as_mut_ptr(), WEXITED, 0) } {
                Ok(_) => return Ok(super::watch::raw_status(info[2], info[6])),
                Err(EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Puts the last it wrote into the recorder.
    fn note(&self, recorder: &Recorder) {
        let length = self.written.min(NOTE_SIZE);
        for (index, place) in recorder.note.iter().take(length).enumerate() {
            place.store(self.said[(self.written - length + index) % NOTE_SIZE], Ordering::Relaxed);
        }
        recorder.note_length.store(length as u32, Ordering::Relaxed);
    }
}

/// The child: its streams, a session of its own, and the exec; returns only to fail.
///
/// # Safety
/// The path must be NUL-terminated, the lists ended by 0.
unsafe fn become_hook(
    input: i32,
    output: i32,
    path: *const u8,
    arguments: *const usize,
    environment: *const usize,
) -> Errno {
    let placed = replace(input, 0).and_then(|()| replace(output, 1)).and_then(|()| replace(output, 2));
    if let Err(errno) = placed.and_then(|()| process::close_on_exec(3)) {
        return errno;
    }
    // SAFETY: no arguments; handed on.
    unsafe {
        let _ = call!(SETSID);
        call!(EXECVE, path, arguments, environment).err().unwrap_or(EPROTO)
    }
}

/// # Safety
/// `text` must be ended by NUL and stay.
unsafe fn text_at(text: *const u8) -> &'static [u8] {
    // SAFETY: handed on.
    unsafe { core::ffi::CStr::from_ptr(text.cast()) }.to_bytes()
}
