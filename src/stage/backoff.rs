//! Whether and when a container is started again: a machine without I/O and clock.

use crate::plan::layout::RestartCondition;

/// After a run of this many nanoseconds the pauses begin anew.
const STEADY: u64 = 10_000_000_000;

/// The rule, and how often it has been used.
#[derive(Debug)]
pub(crate) struct Restarts {
    condition: u32,
    most: u32,
    delay: u64,
    longest: u64,
    /// The restarts so far.
    count: u32,
    /// The next pause.
    next: u64,
}

/// How a run ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    /// With another status than 0, by a signal, or before the command ran.
    pub(crate) failed: bool,
    /// Stopped by the keeper for being unhealthy.
    pub(crate) unhealthy: bool,
    /// How long the command ran, in nanoseconds.
    pub(crate) ran: u64,
}

impl Restarts {
    /// `condition` as in [`RestartCondition`]; `most` [`u32::MAX`] for no limit; pauses in nanoseconds.
    pub(crate) fn new(condition: u32, most: u32, delay: u64, longest: u64) -> Restarts {
        Restarts { condition, most, delay, longest, count: 0, next: delay }
    }

    /// The restarts so far.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Whether one more is allowed.
    pub(crate) fn is_left(&self) -> bool {
        self.most == u32::MAX || self.count < self.most
    }

    /// The pause before the restart that follows this end, or `None` where none does.
    pub(crate) fn pause_after(&mut self, end: Ended) -> Option<u64> {
        let covered = match self.condition {
            RestartCondition::ALWAYS => true,
            RestartCondition::ON_FAILURE => end.failed || end.unhealthy,
            _ => end.unhealthy,
        };
        if !covered || !self.is_left() {
            return None;
        }
        if end.ran >= STEADY {
            self.next = self.delay;
        }
        let pause = self.next;
        // From a delay of 0 no doubling leads anywhere.
        self.next = self.next.saturating_mul(2).min(self.longest);
        Some(pause)
    }

    /// It is started again.
    pub(crate) fn note(&mut self) {
        self.count = self.count.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRASH: Ended = Ended { failed: true, unhealthy: false, ran: 0 };
    const DONE: Ended = Ended { failed: false, unhealthy: false, ran: 0 };
    const SICK: Ended = Ended { failed: false, unhealthy: true, ran: 0 };

    #[test]
    fn each_condition_covers_its_ends() {
        for (condition, covered) in [
            (RestartCondition::NEVER, [false, false, true]),
            (RestartCondition::ON_FAILURE, [true, false, true]),
            (RestartCondition::ALWAYS, [true, true, true]),
        ] {
            let ends = [CRASH, DONE, SICK].map(|end| Restarts::new(condition, 9, 1, 1).pause_after(end).is_some());
            assert_eq!(ends, covered, "{condition}");
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew() {
        let mut restarts = Restarts::new(RestartCondition::ALWAYS, u32::MAX, 100, 450);
        let pauses: Vec<u64> = (0..5).filter_map(|_| restarts.pause_after(CRASH)).collect();
        assert_eq!(pauses, [100, 200, 400, 450, 450]);
        assert_eq!(restarts.pause_after(Ended { ran: STEADY, ..CRASH }), Some(100));
        assert_eq!(restarts.pause_after(Ended { ran: STEADY - 1, ..CRASH }), Some(200));
        let mut huge = Restarts::new(RestartCondition::ALWAYS, u32::MAX, u64::MAX / 4, u64::MAX / 4);
        assert_eq!((huge.pause_after(CRASH), huge.pause_after(CRASH)), (Some(u64::MAX / 4), Some(u64::MAX / 4)));
    }

    #[test]
    fn no_more_than_the_most() {
        let mut restarts = Restarts::new(RestartCondition::ALWAYS, 2, 1, 1);
        for count in 1..=2 {
            assert!(restarts.pause_after(CRASH).is_some());
            restarts.note();
            assert_eq!(restarts.count(), count);
        }
        assert!(!restarts.is_left() && restarts.pause_after(CRASH).is_none());
    }
}
