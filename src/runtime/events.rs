//! What happens to a container while it runs, as `runc events` prints it.

use super::container::Container;
use crate::cgroup::{Cgroup, OomWatch, Usage};
use crate::kernel::PidFd;
use crate::{Error, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::ser::{Serialize, SerializeStruct, Serializer};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// What happened; in JSON as runc has it: `{"type":"stats","id":"web-1","data":{...}}`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// This is used.
    Stats {
        /// The container's id.
        id: String,
        /// What is used.
        stats: Box<Usage>,
    },
    /// The container ran out of memory, and the kernel killed a process of it.
    OutOfMemory {
        /// The container's id.
        id: String,
    },
}

impl Event {
    /// The event of what the container `id` uses.
    pub fn stats(id: &str, stats: Usage) -> Event {
        Event::Stats { id: id.to_owned(), stats: Box::new(stats) }
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let (kind, id, data) = match self {
            Event::Stats { id, stats } => ("stats", id, Some(stats)),
            Event::OutOfMemory { id } => ("oom", id, None),
        };
        let mut event = serializer.serialize_struct("Event", 3)?;
        event.serialize_field("type", kind)?;
        event.serialize_field("id", id)?;
        match data {
            Some(stats) => event.serialize_field("data", stats)?,
            None => event.skip_field("data")?,
        }
        event.end()
    }
}

/// The events of a container, until its first process ends: [`Container::events`].
#[derive(Debug)]
pub struct Events {
    container: Container,
    process: PidFd,
    watch: OomWatch,
    interval: Duration,
    next: Instant,
    /// The kills that were counted, and those of them that are not handed out yet.
    counted: u64,
    kills: u64,
    /// How often the count is looked at again: version 1 tells of a kill before it counts it.
    looks: u8,
    ended: bool,
}

/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(25);

/// Half a second in all.
const LOOKS: u8 = 20;

impl Events {
    pub(super) fn watch(container: Container, process: PidFd, group: Cgroup, interval: Duration) -> Result<Events> {
        let watch = group.watch_oom()?;
        let counted = group.memory_events()?.oom_kill;
        let next = Instant::now() + interval;
        Ok(Events { container, process, watch, interval, next, counted, kills: 0, looks: 0, ended: false })
    }

    /// Waits for the next thing to look at; whether it is time for statistics.
    fn wait(&mut self) -> Result<bool> {
        let mut left = self.next.saturating_duration_since(Instant::now());
        if self.looks > 0 {
            self.looks -= 1;
            left = left.min(LOOK);
        }
        // Rounded up: a rest below a millisecond must not become a busy loop.
        let millis = left.as_millis().min(3_600_000) as i32 + i32::from(!left.is_zero());
        let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::ZERO);
        let ended = PollFd::new(self.process.as_fd(), PollFlags::POLLIN);
        let mut polled = [ended, PollFd::new(self.watch.as_fd(), PollFlags::POLLIN)];
        match poll(&mut polled, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::os("wait for events", errno as i32)),
        }
        self.ended = polled[0].any().unwrap_or(true);
        let told = polled[1].any().unwrap_or(false);
        let Some(events) = self.watch.read()? else { return Ok(false) };
        self.kills = events.oom_kill.saturating_sub(self.counted);
        self.counted = self.counted.max(events.oom_kill);
        self.looks = match (self.kills, told) {
            (0, true) => LOOKS,
            (0, false) => self.looks,
            _ => 0,
        };
        Ok(self.next <= Instant::now())
    }
}

impl Iterator for Events {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Result<Event>> {
        loop {
            if self.kills > 0 {
                self.kills -= 1;
                return Some(Ok(Event::OutOfMemory { id: self.container.id().to_owned() }));
            }
            if self.ended {
                return None;
            }
            match self.wait() {
                Ok(true) if !self.ended && self.kills == 0 => {
                    self.next += self.interval;
                    match self.container.stats() {
                        // It has ended in between.
                        Err(_) if self.process.wait_readable(Duration::ZERO) => {}
                        stats => return Some(stats.map(|stats| Event::stats(self.container.id(), stats))),
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
    }
}
