//! The two fifos of a start by another process than the creator: a word to go on, and the outcome.
//!
//! The parked process holds both ends of both. So whoever opens the first for writing without waiting learns at once
//! whether there is anybody parked (`ENXIO` otherwise), and the second closes by the payload's exec.

use super::record::Home;
use crate::error::During;
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It has executed the payload, or was killed.
    Closed,
    /// This operation failed with this errno, in this part of it.
    Faulted { op: u32, errno: i32, part: u32 },
}

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
    let mut words = [0u8; 12];
    let length = outcome.read(&mut words).during(|| "read the outcome of a start")?;
    if length < words.len() {
        return Ok(Outcome::Closed);
    }
    let word = |index: usize| {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&words[index * 4..index * 4 + 4]);
        u32::from_ne_bytes(bytes)
    };
    Ok(Outcome::Faulted { op: word(0), errno: word(1) as i32, part: word(2) })
}

fn open(home: &Home, name: &str, flags: OFlag) -> nix::Result<OwnedFd> {
    nix::fcntl::open(&home.path(name), flags | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC, Mode::empty())
}
