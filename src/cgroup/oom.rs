//! Being told when memory runs out in a group.

use super::Cgroup;
use super::controller::{Controller, Version};
use crate::error::During;
use crate::{ErrorKind, Result};
use nix::fcntl::OFlag;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// What the kernel counts about lack of memory in a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryEvents {
    /// How often the limit was met and nothing could be reclaimed; version 2.
    pub oom: u64,
    /// How many processes were killed for it.
    pub oom_kill: u64,
}

/// Readable when memory has run out in a group, and when the group has gone. Holds two descriptors.
#[derive(Debug)]
pub struct OomWatch {
    source: Source,
    group: Cgroup,
}

#[derive(Debug)]
enum Source {
    /// Version 1, Documentation/admin-guide/cgroup-v1/memory.rst, "OOM Control".
    Counter(EventFd),
    /// Version 2: `memory.events` is modified.
    Inotify(Inotify),
}

impl Cgroup {
    /// What the kernel has counted so far.
    ///
    /// # Errors
    /// `Unsupported` where the group has no memory controller, `NotFound` where it is gone.
    pub fn memory_events(&self) -> Result<MemoryEvents> {
        let (version, directory) = self.directory(Controller::Memory)?;
        let file = match version {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        };
        let text = directory.read(file).during(|| self.step(&format!("read {file} of")))?;
        let field = |key| super::stats::field(&text, key);
        Ok(MemoryEvents { oom: field("oom"), oom_kill: field("oom_kill").max(field("oom_group_kill")) })
    }

    /// Begins to watch for lack of memory.
    ///
    /// # Errors
    /// As [`memory_events`](Cgroup::memory_events).
    pub fn watch_oom(&self) -> Result<OomWatch> {
        let (version, directory) = self.directory(Controller::Memory)?;
        let step = || self.step("watch the memory of");
        let source = match version {
            Version::V1 => {
                let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
                let counter = EventFd::from_value_and_flags(0, flags).during(step)?;
                let control = directory.open_at("memory.oom_control", OFlag::O_RDONLY).during(step)?;
                // The kernel holds on to both files by itself from here on.
                let order = format!("{} {}", counter.as_fd().as_raw_fd(), control.as_raw_fd());
                directory.write("cgroup.event_control", &order).during(step)?;
                Source::Counter(counter)
            }
            Version::V2 => {
                let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).during(step)?;
                let path = directory.path().join("memory.events");
                inotify.add_watch(&path, AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_DELETE_SELF).during(step)?;
                Source::Inotify(inotify)
            }
        };
        Ok(OomWatch { source, group: self.clone() })
    }
}

impl OomWatch {
    /// Takes the news and says what has been counted by now; `None` when the group has gone. Never blocks.
    pub fn read(&mut self) -> Result<Option<MemoryEvents>> {
        // Nothing new is no error: the counts are what is asked for.
        match &self.source {
            Source::Counter(counter) => drop(counter.read()),
            Source::Inotify(inotify) => drop(inotify.read_events()),
        }
        match self.group.memory_events() {
            Ok(events) => Ok(Some(events)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.source {
            Source::Counter(counter) => counter.as_fd(),
            Source::Inotify(inotify) => inotify.as_fd(),
        }
    }
}
