//! How replicas of one revision are replaced by those of the next one, and what a new revision has to hold to.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How replicas of an old revision are replaced by those of a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Strategy {
    /// Some at a time, so that the service goes on.
    Rolling(Rolling),
    /// First all old ones are stopped, then the new ones started: for programs that cannot run twice.
    Recreate(Guard),
}

/// A rolling update: at most `surge` replicas more than wanted at any time, at most `unavailable` fewer that are ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rolling {
    pub(crate) surge: u32,
    pub(crate) unavailable: u32,
    pub(crate) guard: Guard,
}

/// What a new revision has to hold to, and what follows if it does not. The words are those of Nomad's update block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    pub(crate) minimum_healthy_time: Duration,
    pub(crate) healthy_deadline: Duration,
    pub(crate) progress_deadline: Duration,
    pub(crate) crashes: u32,
    pub(crate) on_failure: OnFailure,
}

/// What follows when a new revision fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnFailure {
    /// Back to the last good revision, the default.
    RollBack,
    /// Everything stays as it is at that moment, for somebody to look at.
    Pause,
}

/// A rolling update.
impl From<Rolling> for Strategy {
    fn from(rolling: Rolling) -> Strategy {
        Strategy::Rolling(rolling)
    }
}

/// 1 more, none fewer.
impl Default for Rolling {
    fn default() -> Rolling {
        Rolling { surge: 1, unavailable: 0, guard: Guard::default() }
    }
}

/// Healthy for 1 s; within 5 min; progress at least every 10 min; at most 3 crashes; roll back.
impl Default for Guard {
    fn default() -> Guard {
        Guard {
            minimum_healthy_time: Duration::from_secs(1),
            healthy_deadline: Duration::from_secs(300),
            progress_deadline: Duration::from_secs(600),
            crashes: 3,
            on_failure: OnFailure::RollBack,
        }
    }
}

impl Guard {
    /// How long a replica must have been healthy without a break to count as available; 1 s by default.
    #[must_use]
    pub fn minimum_healthy_time(mut self, time: Duration) -> Guard {
        self.minimum_healthy_time = time;
        self
    }

    /// How long after its start each replica must count as available; 5 min by default.
    #[must_use]
    pub fn healthy_deadline(mut self, time: Duration) -> Guard {
        self.healthy_deadline = time;
        self
    }

    /// How long may pass from one replica that becomes available to the next; 10 min by default.
    #[must_use]
    pub fn progress_deadline(mut self, time: Duration) -> Guard {
        self.progress_deadline = time;
        self
    }

    /// How many crashes of the new revision's replicas, taken together, make it a failure: 1 or more, 3 by default.
    #[must_use]
    pub fn crashes(mut self, crashes: u32) -> Guard {
        self.crashes = crashes;
        self
    }

    /// What follows when it fails; [`OnFailure::RollBack`] by default.
    #[must_use]
    pub fn on_failure(mut self, what: OnFailure) -> Guard {
        self.on_failure = what;
        self
    }
}

impl Rolling {
    /// One more, none fewer.
    pub fn new() -> Rolling {
        Rolling::default()
    }

    /// How many replicas more than wanted there may be at any time.
    #[must_use]
    pub fn surge(mut self, replicas: u32) -> Rolling {
        self.surge = replicas;
        self
    }

    /// How many replicas fewer than wanted may be available at any time.
    #[must_use]
    pub fn unavailable(mut self, replicas: u32) -> Rolling {
        self.unavailable = replicas;
        self
    }

    /// See [`Guard::minimum_healthy_time`].
    #[must_use]
    pub fn minimum_healthy_time(mut self, time: Duration) -> Rolling {
        self.guard.minimum_healthy_time = time;
        self
    }

    /// See [`Guard::healthy_deadline`].
    #[must_use]
    pub fn healthy_deadline(mut self, time: Duration) -> Rolling {
        self.guard.healthy_deadline = time;
        self
    }

    /// See [`Guard::progress_deadline`].
    #[must_use]
    pub fn progress_deadline(mut self, time: Duration) -> Rolling {
        self.guard.progress_deadline = time;
        self
    }

    /// Both deadlines.
    #[must_use]
    pub fn deadline(self, time: Duration) -> Rolling {
        self.healthy_deadline(time).progress_deadline(time)
    }

    /// See [`Guard::crashes`].
    #[must_use]
    pub fn crashes(mut self, crashes: u32) -> Rolling {
        self.guard.crashes = crashes;
        self
    }

    /// See [`Guard::on_failure`].
    #[must_use]
    pub fn on_failure(mut self, what: OnFailure) -> Rolling {
        self.guard.on_failure = what;
        self
    }
}

impl Strategy {
    /// What a new revision has to hold to.
    pub(crate) fn guard(&self) -> &Guard {
        match self {
            Strategy::Rolling(rolling) => &rolling.guard,
            Strategy::Recreate(guard) => guard,
        }
    }
}
