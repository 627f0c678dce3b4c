//! Health checks by a command in the container, with no more rights than the container's own processes.

use super::constant::*;
use super::files::{close, open_host, replace};
use super::interpreter;
use super::probe::{Finding, plain, sentence};
use super::program::{Page, Program};
use super::watch::{Zombie, fork, is_child, raw_status, signal};
use super::call::call;
use super::syscall::Errno;
use super::text::Text;
use crate::plan::layout::{CareOrders, KeeperOrders, State};
use core::sync::atomic::Ordering;

/// How much of what it writes is kept: the begin of its first line.
const OUTPUT_KEPT: usize = 128;

/// How often a pipe is read before other work goes on.
const READS_AT_ONCE: usize = 16;

/// A command that runs.
pub(crate) struct Command {
    pid: u32,
    /// The read end of its standard output and error; -1 once it has ended.
    pub(crate) output: i32,
    line: [u8; OUTPUT_KEPT],
    length: usize,
    page: Page,
    /// It took too long and has been killed; its end is still to come.
    doomed: bool,
}

impl Command {
    /// Forks a process that enters the container whose first process is `first`.
    pub(crate) fn begin(
        program: &mut Program,
        orders: &KeeperOrders,
        care: &CareOrders,
        page: Page,
        first: u32,
    ) -> Result<Command, Finding> {
        let target = if care.through_payload == 1 { open_payload_below(first) } else { open_process(first) };
        let target = target.map_err(|errno| sentence(b"find the container", errno))?;
        let begun = Command::fork(program, orders, care, page, target);
        close(target);
        begun.map_err(|errno| sentence(b"fork", errno))
    }

    fn fork(
        program: &mut Program,
        orders: &KeeperOrders,
        care: &CareOrders,
        page: Page,
        target: i32,
    ) -> Result<Command, Errno> {
        let mut pipe = [-1i32; 2];
        // SAFETY: room for two descriptors; F_SETFL of the read end alone.
        unsafe {
            call!(PIPE2, pipe.as_mut_ptr(), O_CLOEXEC)?;
            let _ = call!(FCNTL, pipe[0], F_SETFL, O_NONBLOCK);
        }
        page.recorder().clear();
        let forked = fork(page.recorder(), 0, orders.cgroup);
        if forked == Ok(0) {
            program.replace_recorder(page);
            // In the places that the operations know, which stay open when all others are closed.
            let placed = replace(target, care.target as u32).and_then(|()| replace(pipe[1], care.output as u32));
            if placed.is_err() {
                super::process::exit(127);
            }
            interpreter::enter(program);
        }
        close(pipe[1]);
        match forked {
            Ok(pid) => {
                Ok(Command { pid, output: pipe[0], line: [0; OUTPUT_KEPT], length: 0, page, doomed: false })
            }
            Err(errno) => {
                close(pipe[0]);
                Err(errno)
            }
        }
    }

    /// Reads what it has written. All of it is taken, so that it does not hang on a full pipe; the begin is kept.
    pub(crate) fn read(&mut self) {
        let mut buffer = [0u8; 1024];
        for _ in 0..READS_AT_ONCE {
            if self.output < 0 {
                return;
            }
            // SAFETY: the buffer is live.
            match unsafe { call!(READ, self.output, buffer.as_mut_ptr(), buffer.len()) } {
                Ok(0) => self.close_output(),
                Ok(count) => {
                    let kept = count.min(OUTPUT_KEPT - self.length);
                    self.line[self.length..self.length + kept].copy_from_slice(&buffer[..kept]);
                    self.length += kept;
                }
                Err(_) => return,
            }
        }
    }

    /// A child of the keeper has ended and is reaped; what came of the check, if that was its last process. `last` is the
    /// operation that executes the command.
    pub(crate) fn child_ended(&mut self, zombie: Zombie, last: u32) -> Option<Result<(), Finding>> {
        let before = self.pid;
        self.follow();
        if zombie.pid != self.pid {
            if self.doomed && before != self.pid {
                // The forerunner went on in a child while it was being killed.
                self.kill();
            }
            return None;
        }
        self.read();
        let state = self.page.recorder().state.load(Ordering::Acquire);
        let raw = raw_status(zombie.code, zombie.status);
        Some(match (state, raw) {
            _ if self.doomed => Err(plain(b"timed out")),
            (State::EXECUTING, 0) => Ok(()),
            (State::EXECUTING, _) if raw & 0x7f != 0 => Err(self.finding(b"killed by signal ", raw & 0x7f)),
            (State::EXECUTING, _) => Err(self.finding(b"exit status ", raw >> 8)),
            (State::FAULTED, _) => Err(self.fault(last)),
            _ => Err(plain(b"killed before the command was executed")),
        })
    }

    /// It takes too long.
    pub(crate) fn kill(&mut self) {
        self.doomed = true;
        self.follow();
        if is_child(self.pid) {
            // It leads its session and group, unless it has not come so far.
            signal((self.pid as i32).wrapping_neg() as u32, SIGKILL);
            signal(self.pid, SIGKILL);
        }
    }

    /// Whether it has been killed and has not ended yet.
    pub(crate) fn is_doomed(&self) -> bool {
        self.doomed
    }

    /// The child of the keeper in which the forked process has gone on.
    fn follow(&mut self) {
        let said = self.page.recorder().pid.load(Ordering::Acquire);
        // Reaped already where it is the zombie that is being looked at.
        if said != self.pid && said != 0 {
            self.pid = said;
        }
    }

    fn fault(&self, last: u32) -> Finding {
        let recorder = self.page.recorder();
        let (errno, op) = (recorder.errno.load(Ordering::Relaxed), recorder.op.load(Ordering::Relaxed));
        if op == last {
            return sentence(b"execute the command", errno);
        }
        let mut what = Text::<64>::new();
        what.push(b"enter the container (step ").number(u64::from(op)).push(b" of the plan)");
        sentence(what.as_bytes(), errno)
    }

    /// How it ended and the first line of what it wrote.
    fn finding(&self, what: &[u8], number: u32) -> Finding {
        let mut finding = plain(what);
        finding.number(u64::from(number));
        let written = &self.line[..self.length];
        let line = written.split(|&byte| byte == b'\n').next().unwrap_or_default();
        if !line.is_empty() {
            finding.push(b": ");
        }
        for &byte in line {
            // What is shown on somebody's terminal must not steer it.
            finding.push(&[if matches!(byte, b' '..=b'~') { byte } else { b'?' }]);
        }
        finding
    }

    fn close_output(&mut self) {
        close(self.output);
        self.output = -1;
    }
}

impl Drop for Command {
    fn drop(&mut self) {
        if self.output >= 0 {
            close(self.output);
        }
    }
}

/// A descriptor of a process.
fn open_process(pid: u32) -> Result<i32, Errno> {
    // SAFETY: plain numbers.
    unsafe { call!(PIDFD_OPEN, pid, 0) }.map(|descriptor| descriptor as i32)
}

/// A descriptor of the payload of an init, which stays there as long as it: the number still is the payload's after it
/// was opened, so what was opened is the payload.
fn open_payload_below(init: u32) -> Result<i32, Errno> {
    let payload = payload_below(init)?;
    let opened = open_process(payload)?;
    if payload_below(init) == Ok(payload) {
        return Ok(opened);
    }
    close(opened);
    Err(ENOENT)
}

/// The oldest child of a container's init: its payload. An ordinary user may enter a user namespace of its own through
/// a process that has executed something there, not through one that still has the keeper's memory.
fn payload_below(init: u32) -> Result<u32, Errno> {
    let mut path = Text::<64>::new();
    path.push(b"/proc/").number(u64::from(init)).push(b"/task/").number(u64::from(init)).push(b"/children");
    let file = open_host(path.as_path(), O_RDONLY)?;
    let mut text = [0u8; 16];
    // SAFETY: the buffer is live.
    let read = unsafe { call!(READ, file, text.as_mut_ptr(), text.len()) };
    close(file);
    let digits = text[..read?].split(|&byte| byte == b' ').next().unwrap_or_default();
    if digits.is_empty() {
        return Err(ENOENT);
    }
    digits.iter().try_fold(0u32, |number, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(u32::from(digit))
    }).ok_or(EPROTO)
}
