//! What a keeper publishes of a running container: its health and its restarts.
//!
//! The file `health` holds lines of a key, a space and a value. The keeper replaces it by a rename whenever something
//! changes; there is none for a container with neither a health check nor a restart rule.

use super::health::{HealthReport, HealthState};
use crate::error::During;
use crate::value::Timestamp;
use crate::{Error, ErrorKind, Result};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The file's name.
pub(crate) const FILE: &str = "health";

/// Larger than all that a keeper writes.
const BUDGET: u64 = 4096;

/// The content of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) health: HealthReport,
    pub(crate) restarts: u32,
}

impl Published {
    /// What is published in a container's directory.
    pub(crate) fn read(directory: &Path) -> Result<Option<Published>> {
        let path = directory.join(FILE);
        let operation = || format!("read {}", path.display());
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.during(operation)?,
        };
        let mut text = Vec::new();
        file.take(BUDGET).read_to_end(&mut text).during(operation)?;
        Published::parse(&String::from_utf8_lossy(&text)).map(Some)
    }

    fn parse(text: &str) -> Result<Published> {
        let parse = || -> Option<Published> {
            let field = |key: &str| {
                text.lines()
                    .filter_map(|line| line.split_once(' '))
                    .find(|(name, _)| *name == key)
                    .map(|(_, value)| value)
            };
            let state = match field("state")? {
                "unchecked" => HealthState::Unchecked,
                "starting" => HealthState::Starting,
                "healthy" => HealthState::Healthy,
                "unhealthy" => HealthState::Unhealthy,
                _ => return None,
            };
            let since: Timestamp = field("since")?.parse().ok()?;
            let (failures, restarts) = (field("failures")?.parse().ok()?, field("restarts")?.parse().ok()?);
            let finding = field("finding").map(str::to_owned);
            Some(Published { health: HealthReport { state, since, failures, finding }, restarts })
        };
        parse().ok_or_else(|| Error::new(ErrorKind::Corrupt, "the file of the container's health is malformed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_strictly() {
        let text =
            "state unhealthy\nsince 2026-11-21T06:30:36.123456789Z\nfailures 3\nrestarts 2\nfinding status 503\n";
        let published = Published::parse(text).unwrap();
        assert_eq!((published.health.state, published.health.failures), (HealthState::Unhealthy, 3));
        assert_eq!((published.restarts, published.health.finding.as_deref()), (2, Some("status 503")));
        let without = text.replace("finding status 503\n", "");
        assert_eq!(Published::parse(&without).unwrap().health.finding, None);
        for bad in ["", "state", &text.replace("unhealthy", "ill"), &text.replace("failures 3", "failures -1")] {
            assert_eq!(Published::parse(bad).unwrap_err().kind(), ErrorKind::Corrupt, "{bad}");
        }
    }
}
