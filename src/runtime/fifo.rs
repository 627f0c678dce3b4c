//! The two fifos of a start by another process than the creator: a word to go on, and the outcome.
//!
//! The parked process holds both ends of both. So whoever opens the first for writing without waiting learns at once
//! whether there is anybody parked (`ENXIO` otherwise), and the second closes by the payload's exec.

use super::record::Home;
use crate::error::During;
use crate::plan::layout::NOTE_SIZE;
use crate::{Error, ErrorKind, Result};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

const START: &str = "start";
const OUTCOME: &str = "outcome";

/// What the parked process said of its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It has executed the payload, or was killed.
    Closed,
    /// This operation failed with this errno.
    Faulted { op: u32, errno: i32 },
    /// This operation ran a hook, which ended so and said this last.
    HookFailed { op: u32, end: u32, said: Vec<u8> },
}

/// The words in front of what a hook said: operation, errno, part, end of the hook.
const WORDS: usize = 16;

/// Makes both; the descriptors are for the parked process.
pub(super) fn make(home: &Home) -> Result<[OwnedFd; 2]> {
    let make = |name: &str| -> Result<OwnedFd> {
        let path = home.path(name);
        let made = nix::unistd::mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR)
            .and_then(|()| nix::fcntl::open(&path, OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty()));
        made.during(|| format!("make the fifo {}", path.display()))
    };
    Ok([make(START)?, make(OUTCOME)?])
}

/// Whether a process is parked.
pub(super) fn is_parked(home: &Home) -> bool {
    open(home, START, OFlag::O_WRONLY).is_ok()
}

/// Lets the parked process go on, and waits for the outcome.
pub(super) fn start(home: &Home) -> Result<Outcome> {
    // Opened first: an outcome is not to be missed.
    let outcome = open(home, OUTCOME, OFlag::O_RDONLY);
    let start = open(home, START, OFlag::O_WRONLY);
    let (mut outcome, mut start) = match (outcome, start) {
        (Ok(outcome), Ok(start)) => (File::from(outcome), File::from(start)),
        (Err(errno), _) | (_, Err(errno)) if matches!(errno, Errno::ENXIO | Errno::ENOENT) => {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("cannot start container {}: it does not wait to be started", home.id()),
            ));
        }
        (Err(errno), _) | (_, Err(errno)) => {
            return Err(Error::os(format!("open the fifos of container {}", home.id()), errno as i32));
        }
    };
    // As long as there is a reader of our own, a process that is killed now costs this one no SIGPIPE.
    let _reader = open(home, START, OFlag::O_RDONLY).during(|| "open the fifo of a start")?;
    start.write_all(b"s").during(|| format!("start container {}", home.id()))?;
    loop {
        let mut polled = [PollFd::new(outcome.as_fd(), PollFlags::POLLIN)];
        match poll(&mut polled, PollTimeout::NONE) {
            Ok(_) => break,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::os("wait for the outcome of a start", errno as i32)),
        }
    }
    let mut message = [0u8; WORDS + NOTE_SIZE];
    let length = outcome.read(&mut message).during(|| "read the outcome of a start")?;
    if length < WORDS {
        return Ok(Outcome::Closed);
    }
    let word = |index: usize| {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&message[index * 4..index * 4 + 4]);
        u32::from_ne_bytes(bytes)
    };
    Ok(match word(3) {
        0 => Outcome::Faulted { op: word(0), errno: word(1) as i32 },
        end => Outcome::HookFailed { op: word(0), end, said: message[WORDS..length].to_vec() },
    })
}

fn open(home: &Home, name: &str, flags: OFlag) -> nix::Result<OwnedFd> {
    nix::fcntl::open(&home.path(name), flags | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC, Mode::empty())
}
