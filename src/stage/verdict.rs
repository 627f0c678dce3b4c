//! What the results of checks amount to: a machine without I/O and clock.

/// Whether a container works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nobody checks.
    Unchecked,
    /// Not known yet.
    Starting,
    Healthy,
    Unhealthy,
}

impl Verdict {
    /// As the published file has it.
    pub(crate) fn name(self) -> &'static [u8] {
        match self {
            Verdict::Unchecked => b"unchecked",
            Verdict::Starting => b"starting",
            Verdict::Healthy => b"healthy",
            Verdict::Unhealthy => b"unhealthy",
        }
    }
}

/// How results are counted; times in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) interval: u64,
    pub(crate) start_period: u64,
    /// Failures in a row that make it unhealthy.
    pub(crate) retries: u32,
    /// Successes in a row that make it healthy.
    pub(crate) healthy_after: u32,
}

/// The first pause before the first verdict, and how often it doubles: up to 0.8 s.
const FIRST_PAUSE: u64 = 50_000_000;
const DOUBLINGS: u32 = 4;

/// What has been found since a start.
#[derive(Debug)]
pub(crate) struct Findings {
    rules: Rules,
    verdict: Verdict,
    failures: u32,
    successes: u32,
    /// Whether any check has succeeded.
    succeeded: bool,
    begin: u64,
    /// When the last failure counted, at first the start.
    counted: u64,
    /// The checks so far.
    checks: u32,
}

impl Findings {
    /// Nothing yet, at the time of the start.
    pub(crate) fn begin(rules: Rules, verdict: Verdict, now: u64) -> Findings {
        Findings { rules, verdict, failures: 0, successes: 0, succeeded: false, begin: now, counted: now, checks: 0 }
    }

    pub(crate) fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Failures in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// How long to wait before the next check.
    pub(crate) fn pause(&self, now: u64) -> u64 {
        let Rules { interval, start_period, .. } = self.rules;
        if self.verdict != Verdict::Starting {
            return interval;
        }
        let often = interval.min(FIRST_PAUSE << self.checks.min(DOUBLINGS));
        // One that can count is not to be missed.
        let due = self.counted.saturating_add(interval).max(self.begin.saturating_add(start_period));
        if due > now { often.min(due - now) } else { often }
    }

    /// A check has succeeded; whether that is news.
    pub(crate) fn succeed(&mut self) -> bool {
        let before = (self.verdict, self.failures);
        self.checks = self.checks.saturating_add(1);
        self.succeeded = true;
        self.failures = 0;
        self.successes = self.successes.saturating_add(1);
        if self.successes >= self.rules.healthy_after {
            self.verdict = Verdict::Healthy;
        }
        before != (self.verdict, self.failures)
    }

    /// A check has failed; whether that is news.
    pub(crate) fn fail(&mut self, now: u64) -> bool {
        self.checks = self.checks.saturating_add(1);
        self.successes = 0;
        if self.verdict == Verdict::Starting {
            let early = !self.succeeded && now - self.begin < self.rules.start_period;
            // Checks that are more frequent than asked for are there to find it healthy soon, not to lose patience soon.
            if early || now - self.counted < self.rules.interval {
                return false;
            }
            self.counted = now;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures >= self.rules.retries {
            self.verdict = Verdict::Unhealthy;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn findings(interval: u64, start_period: u64, retries: u32, healthy_after: u32) -> Findings {
        let rules = Rules { interval, start_period, retries, healthy_after };
        Findings::begin(rules, Verdict::Starting, 5 * SECOND)
    }

    /// Fails every pause until it is unhealthy; the time of that after the start.
    fn patience(mut findings: Findings) -> u64 {
        let mut now = 5 * SECOND;
        while findings.verdict() != Verdict::Unhealthy {
            now += findings.pause(now);
            findings.fail(now);
            assert!(now < 10_000 * SECOND);
        }
        now - 5 * SECOND
    }

    #[test]
    fn patience_is_that_of_the_interval() {
        assert_eq!(patience(findings(30 * SECOND, 0, 3, 1)), 90 * SECOND);
        assert_eq!(patience(findings(SECOND / 10, 0, 3, 1)), 3 * SECOND / 10);
        // The first failure behind the start period counts.
        assert_eq!(patience(findings(10 * SECOND, 60 * SECOND, 2, 1)), 70 * SECOND);
        assert_eq!(patience(findings(SECOND, 5 * SECOND, 1, 1)), 5 * SECOND);
    }

    #[test]
    fn it_is_asked_soon_and_then_less_often_until_the_first_verdict() {
        let mut findings = findings(30 * SECOND, 0, 3, 1);
        let (mut now, mut pauses) = (5 * SECOND, Vec::new());
        while now < 35 * SECOND {
            pauses.push(findings.pause(now) / 1_000_000);
            now += findings.pause(now);
            findings.fail(now);
        }
        assert_eq!(pauses[..6], [50, 100, 200, 400, 800, 800]);
        assert!(pauses.iter().all(|pause| (1..=800).contains(pause)), "{pauses:?}");
        assert_eq!((now, findings.failures()), (35 * SECOND, 1));
    }

    #[test]
    fn the_start_period_ends_with_a_success() {
        let mut findings = findings(SECOND, 100 * SECOND, 2, 2);
        assert!(!findings.fail(7 * SECOND));
        assert!(!findings.succeed());
        assert_eq!(findings.verdict(), Verdict::Starting);
        assert!(findings.fail(9 * SECOND));
        assert!(findings.fail(10 * SECOND));
        assert_eq!((findings.verdict(), findings.failures()), (Verdict::Unhealthy, 2));
    }

    #[test]
    fn verdicts_turn_after_so_many_in_a_row() {
        let mut findings = findings(10 * SECOND, 0, 2, 3);
        assert_eq!(findings.pause(5 * SECOND), FIRST_PAUSE);
        assert!(!findings.succeed() && !findings.succeed() && findings.succeed());
        assert_eq!((findings.verdict(), findings.pause(0)), (Verdict::Healthy, 10 * SECOND));
        assert!(!findings.succeed(), "no news");
        assert!(findings.fail(0));
        assert_eq!((findings.verdict(), findings.failures()), (Verdict::Healthy, 1));
        assert!(findings.succeed(), "the failures are gone");
        assert!(findings.fail(0) && findings.fail(0));
        assert_eq!(findings.verdict(), Verdict::Unhealthy);
        assert!(findings.succeed());
        assert_eq!(findings.verdict(), Verdict::Unhealthy);
        findings.succeed();
        assert!(findings.succeed());
        assert_eq!(findings.verdict(), Verdict::Healthy);
        let names = [Verdict::Unchecked, Verdict::Starting, Verdict::Healthy, Verdict::Unhealthy].map(Verdict::name);
        assert_eq!(names, [&b"unchecked"[..], b"starting", b"healthy", b"unhealthy"]);
    }
}
