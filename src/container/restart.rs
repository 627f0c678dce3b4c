//! When a container is started again.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// When a container is started again after its command has ended. Its keeper does it, so it goes on without the program
/// that started the container; a container that was asked to [`stop`](crate::Container::stop) stays stopped, one that was
/// killed by a signal alone is started again.
///
/// A restart keeps the container's files, address, published ports, control group and log. A start that fails at first
/// is an error of [`detach`](crate::ContainerBuilder::detach) and not tried again; one that fails later counts as a
/// failure.
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

    /// The first pause and the longest one; 100 ms and 60 s by default, 10 ms at least.
    #[must_use]
    pub fn delay(mut self, first: Duration, longest: Duration) -> Restart {
        self.delay = first;
        self.longest_delay = longest;
        self
    }

    /// Whether it is also stopped and started again when it becomes unhealthy: by its stop signal, and after 10 s by
    /// SIGKILL. [`most`](Restart::most) counts these too; when it is reached, the container stays as it is.
    #[must_use]
    pub fn when_unhealthy(mut self, on: bool) -> Restart {
        self.unhealthy = on;
        self
    }
}

/// Never.
impl Default for Restart {
    fn default() -> Restart {
        Restart::never()
    }
}

impl Restart {
    /// Whether it can come to a restart at all.
    pub(crate) fn is_possible(&self) -> bool {
        self.most != Some(0) && (self.unhealthy || self.condition != RestartCondition::Never)
    }

    /// Whether the values make sense.
    pub(crate) fn check(&self) -> Result<()> {
        if self.longest_delay < self.delay {
            return Err(Error::invalid(format!(
                "restart: the longest delay, {:?}, is shorter than the first, {:?}",
                self.longest_delay, self.delay
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_that_shrink_are_refused() {
        assert!(Restart::always().check().is_ok());
        let error = Restart::always().delay(Duration::from_secs(2), Duration::from_secs(1)).check().unwrap_err();
        assert!(error.to_string().contains("shorter than the first"), "{error}");
    }

    #[test]
    fn a_restart_is_possible_where_something_leads_to_it() {
        let second = Duration::from_secs(1);
        for (restart, possible) in [
            (Restart::never(), false),
            (Restart::never().when_unhealthy(true), true),
            (Restart::always().most(0), false),
            (Restart::on_failure().delay(second, second), true),
        ] {
            assert_eq!(restart.is_possible(), possible, "{restart:?}");
        }
    }
}
