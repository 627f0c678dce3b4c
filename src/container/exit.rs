//! How a detached container ended, as its keeper recorded it.

use crate::launch::ExitStatus;
use crate::value::{Memory, Timestamp};
use crate::{Error, ErrorKind, Result};
use serde::Deserialize;
use std::time::Duration;

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContainerExit {
    /// How its command ended; [`ExitStatus::Unknown`] where its keeper was killed before it.
    pub status: ExitStatus,
    /// Whether the kernel killed one of its processes for exceeding the memory limit.
    pub oom_killed: bool,
    /// When.
    pub finished: Timestamp,
    /// Processor time of the command, user and system together.
    pub cpu: Duration,
    /// The most memory that one of its processes had resident.
    pub peak_resident: Memory,
    /// Whether it ended before its command was executed.
    pub failed_to_start: bool,
}

/// The keeper's file.
#[derive(Deserialize)]
struct Record {
    version: u32,
    status: u32,
    oom_killed: bool,
    #[serde(default)]
    fault_operation: Option<u32>,
    #[serde(default)]
    unknown: bool,
    user_us: u64,
    system_us: u64,
    peak_resident_kib: u64,
    finished: Timestamp,
}

impl ContainerExit {
    /// Reads the keeper's record.
    pub(crate) fn parse(text: &[u8]) -> Result<ContainerExit> {
        let record: Record = serde_json::from_slice(text).map_err(|error| {
            Error::new(ErrorKind::Corrupt, "the record of the container's exit is malformed").source_error(error)
        })?;
        if record.version != 1 {
            return Err(Error::new(ErrorKind::Unsupported, "a newer version of this crate recorded the exit"));
        }
        let status = match (record.unknown, record.status & 0x7f) {
            (true, _) => ExitStatus::Unknown,
            (false, 0) => ExitStatus::Exited((record.status >> 8) as u8),
            (false, signal) => ExitStatus::Signaled(signal as u8),
        };
        Ok(ContainerExit {
            status,
            oom_killed: record.oom_killed,
            finished: record.finished,
            cpu: Duration::from_micros(record.user_us.saturating_add(record.system_us)),
            peak_resident: Memory::bytes(record.peak_resident_kib.saturating_mul(1024)),
            failed_to_start: record.fault_operation.is_some(),
        })
    }

    /// The end of a container of which nothing is on record.
    pub(crate) fn lost() -> ContainerExit {
        ContainerExit {
            status: ExitStatus::Unknown,
            oom_killed: false,
            finished: Timestamp::now(),
            cpu: Duration::ZERO,
            peak_resident: Memory::bytes(0),
            failed_to_start: false,
        }
    }

    /// The record of a container whose keeper died without one.
    pub(crate) fn unknown() -> String {
        format!(
            "{{\"version\":1,\"status\":0,\"unknown\":true,\"oom_killed\":false,\"user_us\":0,\"system_us\":0,\
             \"peak_resident_kib\":0,\"finished\":\"{}\"}}\n",
            Timestamp::now()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_of_a_lost_container_can_be_read() {
        let exit = ContainerExit::parse(ContainerExit::unknown().as_bytes()).unwrap();
        assert_eq!(exit.status, ExitStatus::Unknown);
        assert!(ContainerExit::parse(b"{").is_err());
    }
}
