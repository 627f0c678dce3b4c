//! When a container is started again.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// When a container is started again after its command has ended. Its keeper does it, so it goes on without the program
/// that started the container; a container that was asked to stop stays stopped.
///
/// The pause before a restart doubles from `delay` to `longest_delay`, and begins anew once the command has run for
/// 10 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    pub(crate) condition: RestartCondition,
    pub(crate) most: Option<u32>,
    pub(crate) delay: Duration,
    pub(crate) longest_delay: Duration,
    pub(crate) unhealthy: bool,
}

/// After which ends a container is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RestartCondition {
    /// Never.
    Never,
    /// When it ended with another status than 0 or by a signal.
    OnFailure,
    /// Always.
    Always,
}

impl Restart {
    /// It stays ended; the default of a container.
    pub fn never() -> Restart {
        Restart::of(RestartCondition::Never)
    }

    /// Again after failures.
    pub fn on_failure() -> Restart {
        Restart::of(RestartCondition::OnFailure)
    }

    /// Again after every end; the default of a deployment's replicas.
    pub fn always() -> Restart {
        Restart::of(RestartCondition::Always)
    }

    fn of(condition: RestartCondition) -> Restart {
        Restart {
            condition,
            most: None,
            delay: Duration::from_millis(100),
            longest_delay: Duration::from_secs(60),
            unhealthy: false,
        }
    }

    /// At most so many times; without limit by default.
    #[must_use]
    pub fn most(mut self, restarts: u32) -> Restart {
        self.most = Some(restarts);
        self
    }

    /// The first pause and the longest one; 100 ms and 60 s by default.
    #[must_use]
    pub fn delay(mut self, first: Duration, longest: Duration) -> Restart {
        self.delay = first;
        self.longest_delay = longest;
        self
    }

    /// Whether it is also stopped and started again when it becomes unhealthy.
    #[must_use]
    pub fn when_unhealthy(mut self, on: bool) -> Restart {
        self.unhealthy = on;
        self
    }
}
