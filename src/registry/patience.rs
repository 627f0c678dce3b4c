//! How often and when to try again.

use std::time::Duration;

/// The longest pause between two attempts; a registry that asks for more by `Retry-After` is given up.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How many bytes more than ever before a transfer must have moved for its failures to be forgotten.
const FORGIVENESS: u64 = 1 << 20;

/// Counts failures of one request or transfer; a machine without clock.
///
/// Failures are forgotten only when the transfer got further than ever before, so a registry that breaks off every
/// answer can cost at most `retries` attempts and one more for each mebibyte.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    retries: u32,
    first_pause: Duration,
    failures: u32,
    furthest: u64,
}

impl Patience {
    /// Allows `retries` failures in a row, with pauses of `first_pause`, twice that, four times that and so on.
    pub(super) fn new(retries: u32, first_pause: Duration) -> Patience {
        Patience { retries, first_pause, failures: 0, furthest: 0 }
    }

    /// An attempt failed with `moved` bytes of the transfer done: how long to wait, or `None` to give up.
    pub(super) fn failed(&mut self, moved: u64, retry_after: Option<Duration>) -> Option<Duration> {
        if moved >= self.furthest + FORGIVENESS {
            self.failures = 0;
        }
        self.furthest = self.furthest.max(moved);
        if self.failures >= self.retries || retry_after.is_some_and(|wanted| wanted > LONGEST_PAUSE) {
            return None;
        }
        let pause = self.first_pause.saturating_mul(1 << self.failures.min(16)).min(LONGEST_PAUSE);
        self.failures += 1;
        Some(retry_after.map_or(pause, |wanted| wanted.max(pause)))
    }

    /// The failures in a row so far.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_end() {
        let mut patience = Patience::new(3, Duration::from_millis(200));
        let pauses: Vec<_> = std::iter::from_fn(|| patience.failed(0, None)).map(|pause| pause.as_millis()).collect();
        assert_eq!(pauses, [200, 400, 800]);
        assert_eq!(Patience::new(0, Duration::ZERO).failed(0, None), None);
    }

    #[test]
    fn only_new_ground_counts() {
        let mut patience = Patience::new(1, Duration::ZERO);
        assert!(patience.failed(2 << 20, None).is_some());
        assert!(patience.failed(2 << 20, None).is_none(), "the same distance again is no progress");
        assert!(patience.failed(3 << 20, None).is_some());
        assert!(patience.failed((3 << 20) + 1, None).is_none());
    }

    #[test]
    fn the_registry_may_ask_for_longer_within_reason() {
        let mut patience = Patience::new(5, Duration::from_millis(1));
        assert_eq!(patience.failed(0, Some(Duration::from_secs(2))), Some(Duration::from_secs(2)));
        assert_eq!(patience.failed(0, Some(Duration::from_secs(3600))), None);
    }
}
