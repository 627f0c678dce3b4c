//! Waiting for something to happen to replicas: their keepers write it down, and the kernel tells.

use crate::Result;
use crate::container::Container;
use crate::error::During;
use crate::value::ContainerId;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::time::Duration;

/// Watches the directories of containers.
#[derive(Debug)]
pub(crate) struct Watch {
    events: Option<Inotify>,
    watched: BTreeMap<ContainerId, WatchDescriptor>,
}

impl Watch {
    pub(crate) fn new() -> Watch {
        Watch { events: None, watched: BTreeMap::new() }
    }

    /// Waits until a keeper writes something down about one of `replicas`, at most `limit`.
    pub(crate) fn wait<'a>(&mut self, replicas: impl Iterator<Item = &'a Container>, limit: Duration) -> Result<()> {
        let fresh = self.follow(replicas)?;
        // What happened before its directory was watched raised no event.
        let limit = if fresh { limit.min(Duration::from_millis(1)) } else { limit };
        let Some(events) = &self.events else {
            std::thread::sleep(limit);
            return Ok(());
        };
        let mut polled = [PollFd::new(events.as_fd(), PollFlags::POLLIN)];
        let timeout = u16::try_from(limit.as_millis()).unwrap_or(u16::MAX);
        match poll(&mut polled, PollTimeout::from(timeout)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno).during(|| "watch replicas"),
        }
        while events.read_events().is_ok_and(|events| !events.is_empty()) {}
        Ok(())
    }

    /// Watches exactly these; whether any is new.
    fn follow<'a>(&mut self, replicas: impl Iterator<Item = &'a Container>) -> Result<bool> {
        if self.events.is_none() {
            let flags = InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK;
            self.events = Some(Inotify::init(flags).during(|| "watch replicas")?);
        }
        let Some(events) = &self.events else { return Ok(false) };
        let mut gone = std::mem::take(&mut self.watched);
        let mut fresh = false;
        for replica in replicas {
            let id = replica.id().clone();
            if let Some(watch) = gone.remove(&id) {
                self.watched.insert(id, watch);
                continue;
            }
            // Records are renamed into place.
            if let Ok(watch) = events.add_watch(replica.directory().path(), AddWatchFlags::IN_MOVED_TO) {
                self.watched.insert(id, watch);
                fresh = true;
            }
        }
        for watch in gone.into_values() {
            // Its directory is gone, and the watch with it.
            let _ = events.rm_watch(watch);
        }
        Ok(fresh)
    }
}
