//! The health checks of a keeper: one after the other, each with its deadline.

use super::care::NEVER;
use super::command::Command;
use super::constant::*;
use super::probe::{Finding, Probe, plain};
use super::program::{Page, Program};
use super::record;
use super::text::Text;
use super::verdict::{Findings, Rules, Verdict};
use super::watch::Zombie;
use super::{clock, log};
use crate::plan::layout::{CareOrders, CheckKind, KeeperOrders};

/// A check under way.
enum Check {
    None,
    Probe(Probe),
    Command(Command),
}

/// A container's checks and what they have found.
pub(crate) struct Checks {
    rules: Rules,
    checked: bool,
    findings: Findings,
    check: Check,
    /// When the next one begins.
    next: u64,
    /// When the one under way has taken too long.
    deadline: u64,
    timeout: u64,
    /// What came of a command.
    outcome: Option<Result<(), Finding>>,
    /// What the last failure was.
    finding: Finding,
    /// Since when the verdict holds, by the system's clock.
    since: [i64; 2],
    /// Shared with the processes that enter the container.
    page: Option<Page>,
}

impl Checks {
    pub(crate) fn begin(orders: &CareOrders) -> Checks {
        let CareOrders { interval, start_period, retries, healthy_after, .. } = *orders;
        let rules = Rules { interval, start_period, retries, healthy_after };
        let checked = orders.check != CheckKind::NONE;
        Checks {
            rules,
            checked,
            findings: Findings::begin(rules, first_verdict(checked), clock::since_boot()),
            check: Check::None,
            next: NEVER,
            deadline: NEVER,
            timeout: orders.timeout,
            outcome: None,
            finding: Finding::new(),
            since: log::now(),
            page: None,
        }
    }

    pub(crate) fn verdict(&self) -> Verdict {
        self.findings.verdict()
    }

    /// The command is executed: from now on it is asked.
    pub(crate) fn executed(&mut self, now: u64) {
        if self.checked {
            self.findings = Findings::begin(self.rules, Verdict::Starting, now);
            self.next = now.saturating_add(self.findings.pause(now));
        }
    }

    /// It has ended: nothing is asked any more.
    pub(crate) fn stop(&mut self) {
        if let Check::Command(command) = &mut self.check {
            // One that has not got inside yet does not end with the container.
            command.kill();
        }
        self.check = Check::None;
        self.outcome = None;
        (self.next, self.deadline) = (NEVER, NEVER);
    }

    /// Nothing is known of the next run.
    pub(crate) fn rest(&mut self) {
        if self.checked {
            self.since = log::now();
            self.findings = Findings::begin(self.rules, Verdict::Starting, clock::since_boot());
        }
    }

    /// What the check under way waits for.
    pub(crate) fn polled(&self, orders: &CareOrders) -> (i32, i16) {
        match &self.check {
            Check::None => (-1, 0),
            Check::Probe(probe) => (probe.socket, probe.events(orders)),
            Check::Command(command) => (command.output, POLLIN),
        }
    }

    /// When to look again.
    pub(crate) fn wake_at(&self) -> u64 {
        self.next.min(self.deadline)
    }

    /// A child of the keeper has ended.
    pub(crate) fn child_ended(&mut self, zombie: Zombie, last: u32) {
        if let Check::Command(command) = &mut self.check
            && let Some(outcome) = command.child_ended(zombie, last)
        {
            self.outcome = Some(outcome);
        }
    }

    /// Goes on with the check under way, or begins the next; whether there is news to publish.
    pub(crate) fn step(
        &mut self,
        program: &mut Program,
        keeper: &KeeperOrders,
        orders: &CareOrders,
        first: u32,
        now: u64,
    ) -> bool {
        // First: a command that was killed for its time, and has been counted, makes room for the next.
        if self.is_doomed() && self.outcome.take().is_some() {
            self.check = Check::None;
        }
        if now >= self.next {
            self.next = NEVER;
            self.deadline = now.saturating_add(self.timeout);
            if let Err(finding) = self.begin_check(program, keeper, orders, first) {
                return self.conclude(Err(finding), now);
            }
        }
        let outcome = match &mut self.check {
            Check::None => None,
            Check::Probe(probe) => probe.progress(program, orders),
            Check::Command(command) => {
                command.read();
                self.outcome.take()
            }
        };
        match outcome {
            Some(outcome) => {
                self.check = Check::None;
                self.conclude(outcome, now)
            }
            None if now >= self.deadline => {
                match &mut self.check {
                    // Its processes may take a while to be gone; none other begins before.
                    Check::Command(command) => command.kill(),
                    _ => self.check = Check::None,
                }
                self.conclude(Err(plain(b"timed out")), now)
            }
            None => false,
        }
    }

    fn begin_check(
        &mut self,
        program: &mut Program,
        keeper: &KeeperOrders,
        orders: &CareOrders,
        first: u32,
    ) -> Result<(), Finding> {
        if self.is_doomed() {
            // Killed, and still not gone.
            return Err(plain(b"timed out"));
        }
        self.check = match orders.check {
            CheckKind::COMMAND => {
                let page = match self.page {
                    Some(page) => page,
                    None => *self.page.insert(Page::new().map_err(|_| plain(b"no memory for the check"))?),
                };
                Check::Command(Command::begin(program, keeper, orders, page, first)?)
            }
            _ => Check::Probe(Probe::begin(orders)?),
        };
        Ok(())
    }

    /// Counts an outcome.
    fn conclude(&mut self, outcome: Result<(), Finding>, now: u64) -> bool {
        let before = self.findings.verdict();
        let news = match outcome {
            Ok(()) => self.findings.succeed(),
            Err(finding) => {
                let other = finding.as_bytes() != self.finding.as_bytes();
                self.finding = finding;
                self.findings.fail(now) || other
            }
        };
        self.deadline = NEVER;
        self.next = now.saturating_add(self.findings.pause(now));
        if self.findings.verdict() != before {
            self.since = log::now();
        }
        news
    }

    fn is_doomed(&self) -> bool {
        matches!(&self.check, Check::Command(command) if command.is_doomed())
    }

    /// Writes the file that readers look at.
    pub(crate) fn publish(&self, directory: i32, restarts: u32) {
        let mut text = Text::<512>::new();
        text.push(b"state ").push(self.findings.verdict().name());
        text.push(b"\nsince ").time(self.since[0], self.since[1]);
        text.push(b"\nfailures ").number(u64::from(self.findings.failures()));
        text.push(b"\nrestarts ").number(u64::from(restarts));
        if !self.finding.as_bytes().is_empty() {
            text.push(b"\nfinding ").push(self.finding.as_bytes());
        }
        text.push(b"\n");
        // On a full disk readers keep the old text; the next news tries again.
        let _ = record::publish(directory, c"health", text.as_bytes());
    }
}

fn first_verdict(checked: bool) -> Verdict {
    if checked { Verdict::Starting } else { Verdict::Unchecked }
}
