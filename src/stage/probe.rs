//! Health checks over a connection: does the port answer, and does it answer well?
//!
//! The other side is the container's: it may hang, flood or talk nonsense. No call waits, and no more is read than a
//! status line can take.

use super::constant::*;
use super::files::close;
use super::http::{Answer, answer};
use super::program::Program;
use super::call::call;
use super::syscall::Errno;
use super::text::Text;
use crate::plan::layout::{CareOrders, CheckKind};

/// What a failed check found, for people.
pub(crate) type Finding = Text<160>;

/// More than a status line takes up to its code.
const ANSWER_SIZE: usize = 256;

/// A connection on its way.
pub(crate) struct Probe {
    pub(crate) socket: i32,
    connected: bool,
    sent: usize,
    answer: [u8; ANSWER_SIZE],
    length: usize,
}

/// struct sockaddr_in.
#[repr(C)]
struct Address {
    family: u16,
    port: u16,
    address: u32,
    zero: [u8; 8],
}

impl Probe {
    /// Begins to connect.
    pub(crate) fn begin(orders: &CareOrders) -> Result<Probe, Finding> {
        let kind = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
        // SAFETY: plain numbers.
        let socket = unsafe { call!(SOCKET, AF_INET, kind, 0) }.map_err(|errno| sentence(b"socket", errno))? as i32;
        let probe = Probe { socket, connected: false, sent: 0, answer: [0; ANSWER_SIZE], length: 0 };
        let (address, port) = (orders.address, orders.port as u16);
        let address = Address { family: AF_INET as u16, port, address, zero: [0; 8] };
        // SAFETY: a struct sockaddr_in and its size.
        match unsafe { call!(CONNECT, socket, &raw const address, size_of::<Address>()) } {
            Ok(_) | Err(EINPROGRESS) => Ok(probe),
            Err(errno) => Err(sentence(b"connect", errno)),
        }
    }

    /// What to wait for.
    pub(crate) fn events(&self, orders: &CareOrders) -> i16 {
        if self.connected && self.sent >= orders.request_size as usize { POLLIN } else { POLLOUT }
    }

    /// Goes on as far as it can without waiting; what came of it, once that is known.
    pub(crate) fn progress(&mut self, program: &Program, orders: &CareOrders) -> Option<Result<(), Finding>> {
        if !self.connected {
            if !is_ready(self.socket, POLLOUT) {
                return None;
            }
            if let Err(errno) = socket_error(self.socket) {
                return Some(Err(sentence(b"connect", errno)));
            }
            self.connected = true;
        }
        if orders.check == CheckKind::TCP {
            return Some(Ok(()));
        }
        match self.send(program.bytes(orders.request, orders.request_size)) {
            Ok(true) => self.receive(),
            Ok(false) => None,
            Err(errno) => Some(Err(sentence(b"send", errno))),
        }
    }

    /// Whether the whole request has been sent.
    fn send(&mut self, request: &[u8]) -> Result<bool, Errno> {
        while let Some(rest) = request.get(self.sent..).filter(|rest| !rest.is_empty()) {
            // SAFETY: the slice is live.
            match unsafe { call!(SENDTO, self.socket, rest.as_ptr(), rest.len(), MSG_NOSIGNAL) } {
                Ok(count) => self.sent += count,
                Err(EAGAIN) => return Ok(false),
                Err(EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(true)
    }

    fn receive(&mut self) -> Option<Result<(), Finding>> {
        let rest = &mut self.answer[self.length..];
        // SAFETY: the slice is live.
        match unsafe { call!(READ, self.socket, rest.as_mut_ptr(), rest.len()) } {
            Ok(0) => return Some(Err(plain(b"closed without an answer"))),
            Ok(count) => self.length += count,
            Err(EAGAIN | EINTR) => return None,
            Err(errno) => return Some(Err(sentence(b"receive", errno))),
        }
        match answer(&self.answer[..self.length]) {
            Answer::Incomplete => None,
            Answer::Status(200..=399) => Some(Ok(())),
            Answer::Status(status) => {
                let mut finding = plain(b"status ");
                finding.number(u64::from(status));
                Some(Err(finding))
            }
            Answer::Foreign => Some(Err(plain(b"the answer is not HTTP/1"))),
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        close(self.socket);
    }
}

/// A finding of these words.
pub(crate) fn plain(words: &[u8]) -> Finding {
    let mut finding = Finding::new();
    finding.push(words);
    finding
}

/// The finding of a refused call.
pub(crate) fn sentence(what: &[u8], errno: Errno) -> Finding {
    let known: &[u8] = match errno {
        ECONNREFUSED => b"connection refused",
        ECONNRESET => b"connection reset",
        EHOSTUNREACH => b"no route to the container",
        ETIMEDOUT => b"timed out",
        ENOENT => b"no such file or directory",
        EACCES | EPERM => b"permission denied",
        EAGAIN => b"a limit of processes is reached",
        _ => b"",
    };
    let mut finding = Finding::new();
    if known.is_empty() || !what.is_empty() && errno < ECONNRESET {
        finding.push(what).push(if what.is_empty() { b"" } else { b": " });
    }
    if known.is_empty() {
        finding.push(b"error ").number(errno as u64);
    }
    finding.push(known);
    finding
}

/// Whether `events` have happened on a descriptor.
fn is_ready(descriptor: i32, events: i16) -> bool {
    let mut polled = [descriptor as u32, events as u16 as u32];
    let now = [0usize; 2];
    // SAFETY: one struct pollfd and a timespec of zero.
    matches!(unsafe { call!(PPOLL, polled.as_mut_ptr(), 1, now.as_ptr(), 0, 0) }, Ok(1))
}

/// How the connection went.
fn socket_error(socket: i32) -> Result<(), Errno> {
    let (mut errno, mut size) = (0i32, 4u32);
    // SAFETY: an int and its size.
    unsafe { call!(GETSOCKOPT, socket, SOL_SOCKET, SO_ERROR, &raw mut errno, &raw mut size) }?;
    if errno == 0 { Ok(()) } else { Err(errno) }
}
