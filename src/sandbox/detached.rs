//! A start under a keeper: the process outlives its host.

use super::Sandbox;
use super::care::{CareTask, With};
use crate::Result;
use crate::launch::{Launcher, Request, start_keeper};
use crate::plan::layout::{KeeperOrders, Role};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// What the keeper of a detached container holds and does.
#[derive(Debug)]
pub(crate) struct KeeperTask {
    /// The read ends of standard output and error; they must not block.
    pub(crate) streams: [OwnedFd; 2],
    /// Where the logs go.
    pub(crate) log_directory: OwnedFd,
    /// Where `pid` and `exit` are recorded.
    pub(crate) directory: OwnedFd,
    /// A file with an `oom_kill N` line.
    pub(crate) oom_file: Option<OwnedFd>,
    /// Past this many bytes the log is rotated; 0: never.
    pub(crate) log_limit: u64,
    /// How many rotated logs are kept.
    pub(crate) log_files: u32,
    /// Held open until the end: the lock that says it lives, the sockets that hold published ports.
    pub(crate) held: Vec<OwnedFd>,
    /// Removed at the end: control groups.
    pub(crate) remove: Vec<PathBuf>,
    /// A netfilter netlink batch to send at the end; may be empty.
    pub(crate) farewell: Vec<u8>,
    /// One to send whenever the container becomes ready to serve: healthy, or, without a health check, started. May be
    /// empty.
    pub(crate) ready: Vec<u8>,
    /// One to send whenever it no longer is; may be empty.
    pub(crate) unready: Vec<u8>,
    /// What is done beyond one start.
    pub(crate) care: CareTask,
}

impl Sandbox {
    /// Starts it under a keeper; returns the number of its first process once the command is executed.
    pub(crate) fn detach(mut self, task: KeeperTask) -> Result<i32> {
        self.kept = true;
        let launcher = match &self.launcher {
            Some(launcher) => launcher.clone(),
            None => Launcher::shared()?,
        };
        let init = self.init;
        let mut lowered = self.lower(task.care.inside())?;
        let plan = &mut lowered.plan;
        let remove = if task.remove.is_empty() {
            0
        } else {
            plan.texts(task.remove.iter().map(|path| path.as_os_str().as_bytes()))
        };
        let farewell = if task.farewell.is_empty() { 0 } else { plan.bytes(&task.farewell) };
        let with = With {
            ready: &task.ready,
            unready: &task.unready,
            enter: lowered.enter,
            id_map: lowered.id_map.as_ref(),
            init,
        };
        let care = task.care.lower(plan, &with);
        let mut keep = |descriptor: Option<OwnedFd>| descriptor.map_or(-1, |descriptor| plan.keep(descriptor));
        let [output, error] = task.streams;
        let orders = KeeperOrders {
            namespaces: lowered.namespaces,
            log_limit: task.log_limit,
            log_files: task.log_files,
            cgroup: keep(lowered.cgroup),
            streams: [keep(Some(output)), keep(Some(error))],
            log_directory: keep(Some(task.log_directory)),
            directory: keep(Some(task.directory)),
            oom_file: keep(task.oom_file),
            remove,
            farewell,
            farewell_size: task.farewell.len() as u32,
            care,
            reserved: 0,
        };
        for descriptor in task.held {
            keep(Some(descriptor));
        }
        let request = Request {
            id_map: lowered.id_map,
            after_exec_of_stage: lowered.arm.map(|arm| arm as _),
            ..Request::new(
                lowered.plan.finish_as(Role::KEEPER, &orders.to_bytes(), lowered.channel.child())?,
                lowered.channel,
            )
        };
        start_keeper(&launcher, request)
    }
}

impl KeeperOrders {
    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size_of::<KeeperOrders>());
        bytes.extend_from_slice(&self.namespaces.to_ne_bytes());
        bytes.extend_from_slice(&self.log_limit.to_ne_bytes());
        bytes.extend_from_slice(&self.log_files.to_ne_bytes());
        let descriptors =
            [self.cgroup, self.streams[0], self.streams[1], self.log_directory, self.directory, self.oom_file];
        descriptors.iter().for_each(|number| bytes.extend_from_slice(&number.to_ne_bytes()));
        let rest = [self.remove, self.farewell, self.farewell_size, self.care, self.reserved];
        rest.iter().for_each(|number| bytes.extend_from_slice(&number.to_ne_bytes()));
        bytes
    }
}

#[cfg(test)]
mod tests;
