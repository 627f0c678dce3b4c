//! What tells that a container works, and how often it is asked.

use crate::value::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A health check, run by the container's keeper: it goes on without the program that started the container.
///
/// A check that fails within the start period does not count, unless one has succeeded before. The defaults are Docker's:
/// every 30 s, 30 s each, 3 failures in a row make it unhealthy, 1 success makes it healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    pub(crate) test: HealthTest,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) start_period: Duration,
    pub(crate) retries: u32,
    pub(crate) healthy_after: u32,
}

/// What a health check does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HealthTest {
    /// Runs a command in the container, with its environment, user and confinement; status 0 is healthy.
    Command(Vec<String>),
    /// `GET path` on a port of the container's address; status 200 to 399 is healthy.
    Http {
        /// The TCP port.
        port: u16,
        /// The path, with a leading `/`.
        path: String,
    },
    /// Connects to a port of the container's address.
    Tcp {
        /// The TCP port.
        port: u16,
    },
}

/// Whether a container works, as its checks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HealthState {
    /// It has no health check.
    Unchecked,
    /// Not enough checks have succeeded yet, and not enough have failed.
    Starting,
    /// Its last checks succeeded.
    Healthy,
    /// Its last checks failed.
    Unhealthy,
}

/// What the health checks of a container say.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthReport {
    /// The verdict.
    pub state: HealthState,
    /// Since when.
    pub since: Timestamp,
    /// How many checks in a row have failed.
    pub failures: u32,
    /// What the last failed check found: `connection refused`, `status 503`, `exit status 1`, `timed out`.
    pub finding: Option<String>,
}

impl Health {
    /// `GET path` on `port`.
    pub fn http(port: u16, path: impl Into<String>) -> Health {
        Health::of(HealthTest::Http { port, path: path.into() })
    }

    /// A TCP connection to `port`.
    pub fn tcp(port: u16) -> Health {
        Health::of(HealthTest::Tcp { port })
    }

    /// A command in the container.
    pub fn command<A: Into<String>>(command: impl IntoIterator<Item = A>) -> Health {
        Health::of(HealthTest::Command(command.into_iter().map(Into::into).collect()))
    }

    fn of(test: HealthTest) -> Health {
        Health {
            test,
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(30),
            start_period: Duration::ZERO,
            retries: 3,
            healthy_after: 1,
        }
    }

    /// The time from the end of one check to the next. Until the first verdict it is asked more often, as long as the
    /// interval is longer than 1 s: every second.
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Health {
        self.interval = interval;
        self
    }

    /// A check that takes longer has failed.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Health {
        self.timeout = timeout;
        self
    }

    /// How long after its start failures do not count.
    #[must_use]
    pub fn start_period(mut self, period: Duration) -> Health {
        self.start_period = period;
        self
    }

    /// How many failures in a row make it unhealthy, 1 or more.
    #[must_use]
    pub fn retries(mut self, failures: u32) -> Health {
        self.retries = failures;
        self
    }

    /// How many successes in a row make it healthy, 1 or more.
    #[must_use]
    pub fn healthy_after(mut self, successes: u32) -> Health {
        self.healthy_after = successes;
        self
    }
}
