//! How long threads waited for a processor: the run delay of Documentation/scheduler/sched-stats.rst, which the kernel
//! keeps for each thread, with either version of control groups.

use super::Cgroup;
use super::controller::{Controller, Version};
use super::directory::Directory;
use crate::Result;
use std::collections::BTreeMap;
use std::time::Duration;

/// One file is read for each thread: a group of more is not looked at.
const MOST_THREADS: usize = 4096;

/// How long each living thread of a group has waited for a processor so far, although it could have run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessorWait {
    threads: BTreeMap<i32, Duration>,
}

impl ProcessorWait {
    /// How long the threads have waited since `earlier`, taken together. What threads that have ended in between had
    /// waited is not in it.
    pub fn since(&self, earlier: &ProcessorWait) -> Duration {
        let waited = self.threads.iter().map(|(thread, &now)| match earlier.threads.get(thread) {
            // A number that has gone to a new thread begins at 0.
            Some(&before) => now.checked_sub(before).unwrap_or(now),
            None => now,
        });
        waited.sum()
    }

    /// How many threads were looked at.
    pub fn threads(&self) -> usize {
        self.threads.len()
    }
}

impl Cgroup {
    /// How long the threads of the group have waited for a processor; `None` where the kernel does not account for it,
    /// and where there are more than 4096. What a thread waits because the limit of processors is used up is in it on
    /// kernels that keep such threads in their queues.
    ///
    /// # Errors
    /// `NotFound` where the group is gone.
    pub fn processor_wait(&self) -> Result<Option<ProcessorWait>> {
        let (version, directory) = self.directory(Controller::CpuAcct)?;
        let file = match version {
            Version::V1 => "tasks",
            Version::V2 => "cgroup.threads",
        };
        Ok(read(&directory, file))
    }
}

fn read(directory: &Directory, file: &str) -> Option<ProcessorWait> {
    let listed = directory.read(file).ok()?;
    let threads: Vec<i32> = listed.lines().filter_map(|line| line.parse().ok()).collect();
    if threads.len() > MOST_THREADS || !std::path::Path::new("/proc/self/schedstat").exists() {
        return None;
    }
    // A thread that has ended since the list was read has no file.
    let waits = threads.into_iter().filter_map(|thread| Some((thread, run_delay(thread)?)));
    Some(ProcessorWait { threads: waits.collect() })
}

/// `TIME_ON_PROCESSOR RUN_DELAY TIMESLICES`, the times in nanoseconds.
fn run_delay(thread: i32) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{thread}/schedstat")).ok()?;
    text.split_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_and_reused_numbers_count_from_their_beginning() {
        let of = |threads: &[(i32, u64)]| ProcessorWait {
            threads: threads.iter().map(|&(thread, wait)| (thread, Duration::from_millis(wait))).collect(),
        };
        let earlier = of(&[(1, 100), (2, 50), (3, 70)]);
        let later = of(&[(1, 130), (2, 10), (4, 5)]);
        assert_eq!(later.since(&earlier), Duration::from_millis(30 + 10 + 5));
        assert_eq!(later.since(&ProcessorWait::default()), Duration::from_millis(145));
    }
}
