//! What a look at the replicas changes in what is remembered of them.

use super::model::{Condition, Happening, Known, Moment, Observed, Replica, Stage, State};
use super::plan::Plan;
use super::{LONGEST_LOOK, TELL_AGAIN, milliseconds};
use crate::value::ContainerId;

/// The first pause before a replacement, and the longest.
const FIRST_PAUSE: Moment = 1_000;
const LONGEST_PAUSE: Moment = 60_000;

impl State {
    /// Lets the time pass; true if the caller's clock has begun anew.
    pub(super) fn advance(&mut self, now: Moment) -> bool {
        let rebooted = now < self.seen;
        let passed = if rebooted { 0 } else { (now - self.seen).min(LONGEST_LOOK) };
        self.clock = self.clock.saturating_add(passed);
        self.seen = now;
        rebooted
    }

    /// Compares what is there with what was there. Ends found after a reboot are the machine's doing, not the revision's.
    pub(super) fn remember(&mut self, observed: &Observed, rebooted: bool, happenings: &mut Vec<Happening>) {
        let before = std::mem::take(&mut self.known);
        let mut lost = false;
        for replica in &observed.replicas {
            let known = before.iter().find(|known| known.id == replica.id).cloned();
            let mut known = known.unwrap_or_else(|| adopt(replica, self.clock));
            let stopping = known.stopping.is_some();
            let (crashes, ended) = known.notice_crashes(replica);
            if crashes > 0 && !stopping && !rebooted {
                happenings.push(Happening::Crashed { id: known.id.clone(), revision: known.revision });
                if known.revision == self.goal.revision {
                    self.crashes = self.crashes.saturating_add(crashes);
                    lost |= ended && known.leaving_since.is_none();
                }
            }
            self.note_availability(&mut known, replica, crashes > 0, happenings);
            self.known.push(known);
        }
        if lost || observed.failed_starts.iter().any(|(revision, _)| *revision == self.goal.revision) {
            self.pause();
        }
    }

    /// A replica counts as available once it has been ready without a break for the minimum healthy time, and until it
    /// is no longer ready.
    fn note_availability(&self, known: &mut Known, replica: &Replica, broke: bool, happenings: &mut Vec<Happening>) {
        let minimum = milliseconds(self.goal.strategy.guard().minimum_healthy_time);
        let ready = replica.condition == Condition::Ready;
        let unbroken = known.ready_since.filter(|_| !broke);
        known.ready_since = ready.then(|| unbroken.unwrap_or(self.clock));
        let was = known.unavailable_since.is_none();
        let long_enough = known.ready_since.is_some_and(|since| self.clock.saturating_sub(since) >= minimum);
        let is = ready && (long_enough || (was && !broke));
        let (id, revision) = (known.id.clone(), known.revision);
        let happening = match (was, is) {
            (false, true) => Happening::Available { id, revision },
            (true, false) => Happening::Unready { id, revision },
            _ => return,
        };
        known.unavailable_since = (!is).then_some(self.clock);
        known.proven |= is;
        if known.stopping.is_none() {
            happenings.push(happening);
        }
    }

    /// Puts off the next start. The pause doubles while replacements do not last for longer than the longest pause.
    pub(super) fn pause(&mut self) {
        if self.clock < self.not_before {
            return;
        }
        if self.clock.saturating_sub(self.not_before) > LONGEST_PAUSE {
            self.replacements = 0;
        }
        let pause = FIRST_PAUSE.checked_shl(self.replacements.min(16)).unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE);
        self.replacements = self.replacements.saturating_add(1);
        self.not_before = self.clock.saturating_add(pause);
    }

    /// Notes who is on the way out, and since when nobody new has been sent there.
    pub(super) fn note_leaving(&mut self, plan: &Plan, observed: &Observed, happenings: &mut Vec<Happening>) {
        let standing = |known: &Known| known.stopping.is_none();
        for (known, replica) in self.known.iter_mut().zip(&observed.replicas).filter(|(known, _)| standing(known)) {
            if !plan.leaving.contains(&known.id) {
                known.leaving_since = None;
                continue;
            }
            if known.leaving_since.is_none() {
                happenings.push(Happening::Leaving { id: known.id.clone(), revision: known.revision });
            }
            // While it is still in traffic the time to drain has not begun.
            let since = known.leaving_since.filter(|_| !replica.in_traffic);
            known.leaving_since = Some(since.unwrap_or(self.clock));
        }
    }

    /// Whether to tell this replica to stop now: it is on its way out, out of traffic, and idle or out of time.
    pub(super) fn tell_to_stop(&mut self, id: &ContainerId, in_traffic: bool, idle: bool) -> bool {
        let (clock, drain) = (self.clock, milliseconds(self.goal.drain));
        let stuck = self.stage.is_rolling_back() && self.is_goals_own(id);
        let Some(known) = self.known.iter_mut().find(|known| known.id == *id) else { return false };
        let due = match (known.stopping, known.leaving_since) {
            (Some(told), _) => clock.saturating_sub(told) >= TELL_AGAIN,
            (None, Some(since)) => !in_traffic && (idle || clock.saturating_sub(since) >= drain),
            (None, None) => false,
        };
        if due {
            let first = known.stopping.replace(clock).is_none();
            if first && stuck {
                self.pause();
            }
        }
        due
    }

    fn is_goals_own(&self, id: &ContainerId) -> bool {
        self.known.iter().any(|known| known.id == *id && known.revision == self.goal.revision)
    }
}

impl Stage {
    pub(super) fn is_rolling_back(&self) -> bool {
        matches!(self, Stage::RollingBack { .. })
    }
}

impl Known {
    /// How often it has crashed since the last look, and whether it has ended for good since.
    fn notice_crashes(&mut self, replica: &Replica) -> (u32, bool) {
        let restarts = replica.restarts.saturating_sub(self.restarts);
        self.restarts = replica.restarts;
        let ended = replica.condition == Condition::Ended && !self.ended;
        self.ended |= ended;
        (restarts.saturating_add(u32::from(ended)), ended)
    }
}

/// A replica seen for the first time: it has just been started, or its start was never recorded.
fn adopt(replica: &Replica, clock: Moment) -> Known {
    Known {
        id: replica.id.clone(),
        revision: replica.revision,
        first_seen: clock,
        ready_since: None,
        unavailable_since: Some(clock),
        proven: false,
        ended: false,
        restarts: 0,
        leaving_since: None,
        stopping: None,
    }
}
