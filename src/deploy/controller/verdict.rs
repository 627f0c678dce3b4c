//! Whether a revision has failed, is complete, or has come back.

use super::milliseconds;
use super::model::{Failure, Happening, Known, Moment, Observed, Replica, RevisionNumber, Stage, State};
use super::plan::Plan;
use crate::deploy::OnFailure;

impl State {
    /// Condemns a revision that is being rolled out, if it has failed, and says what follows.
    pub(super) fn judge(&mut self, observed: &Observed, happenings: &mut Vec<Happening>) {
        if self.stage != Stage::Rolling {
            return;
        }
        self.note_progress(observed);
        let Some(because) = self.failure(observed) else { return };
        let failed = self.goal.revision;
        let back = self.stable.filter(|stable| *stable != failed && !self.pauses());
        let Some(to) = back else {
            happenings.push(Happening::Failed { failed, because: because.clone() });
            return self.begin(Stage::Failed { failed, because });
        };
        happenings.push(Happening::RollingBack { failed, to, because: because.clone() });
        self.goal.revision = to;
        self.begin(Stage::RollingBack { failed, because });
    }

    /// Ends a rollout or a rollback once all of the goal's replicas are available. What is left of others leaves later.
    pub(super) fn conclude(&mut self, plan: &Plan, observed: &Observed, happenings: &mut Vec<Happening>) {
        let revision = self.goal.revision;
        match &self.stage {
            Stage::Rolling if plan.complete => {
                self.stable = Some(revision);
                happenings.push(Happening::Complete { revision });
                self.begin(Stage::Steady);
            }
            Stage::RollingBack { failed, because } if plan.complete => {
                let (failed, because) = (*failed, because.clone());
                happenings.push(Happening::RolledBack { failed, to: revision, because });
                self.begin(Stage::Steady);
            }
            Stage::Removing if observed.replicas.is_empty() => happenings.push(Happening::Removed),
            _ => {}
        }
    }

    /// Whether nothing is left to do.
    pub(super) fn is_settled(&self, plan: &Plan, observed: &Observed) -> bool {
        let stopping = self.known.iter().any(|known| known.stopping.is_some());
        let leaving = stopping || !plan.leaving.is_empty();
        match self.stage {
            Stage::Rolling | Stage::RollingBack { .. } => false,
            Stage::Steady => plan.complete && !leaving,
            Stage::Failed { .. } => !leaving,
            Stage::Removing => observed.replicas.is_empty(),
        }
    }

    /// A revision that failed is left for somebody to look at.
    fn pauses(&self) -> bool {
        self.goal.strategy.guard().on_failure == OnFailure::Pause
    }

    /// The revision whose replicas are taken down because it failed and nothing good is known.
    pub(super) fn hopeless(&self) -> Option<RevisionNumber> {
        match self.stage {
            Stage::Failed { failed, .. } if self.stable.is_none() && !self.pauses() => Some(failed),
            _ => None,
        }
    }

    /// When this replica, unavailable `since`, has had its time to become available, if that is limited: the first time
    /// in a rollout, any time while the good revision comes back.
    pub(super) fn deadline(&self, known: &Known, since: Moment) -> Option<Moment> {
        let limit = milliseconds(self.goal.strategy.guard().healthy_deadline);
        match self.stage {
            Stage::Rolling if !known.proven => Some(known.first_seen.max(self.begun).saturating_add(limit)),
            Stage::RollingBack { .. } => Some(since.max(self.begun).saturating_add(limit)),
            _ => None,
        }
    }

    /// Whether that time is over.
    pub(super) fn is_overdue(&self, known: &Known) -> bool {
        let deadline = known.unavailable_since.and_then(|since| self.deadline(known, since));
        deadline.is_some_and(|deadline| self.clock >= deadline)
    }

    fn failure(&self, observed: &Observed) -> Option<Failure> {
        let revision = self.goal.revision;
        let guard = self.goal.strategy.guard();
        if let Some((_, error)) = observed.failed_starts.iter().find(|(of, _)| *of == revision) {
            return Some(Failure::NotStarted { error: error.clone() });
        }
        if self.crashes >= guard.crashes.max(1) {
            let mut of_goal = observed.replicas.iter().filter(|replica| replica.revision == revision);
            let finding = of_goal.find_map(|replica| replica.finding.clone());
            return Some(Failure::Crashed { crashes: self.crashes, finding });
        }
        if let Some((known, replica)) = self.of_goal(observed).find(|(known, _)| self.is_overdue(known)) {
            return Some(Failure::NotHealthy { replica: known.id.clone(), finding: replica.finding.clone() });
        }
        let mut unavailable = self.of_goal(observed).filter(|(known, _)| known.unavailable_since.is_some());
        // Whoever holds the rollout up may know why.
        let finding = unavailable.next().and_then(|(_, replica)| replica.finding.clone());
        let limit = milliseconds(guard.progress_deadline);
        (self.clock.saturating_sub(self.progressed) >= limit).then_some(Failure::NoProgress { finding })
    }

    fn note_progress(&mut self, observed: &Observed) {
        let (mut all, mut available) = (0, 0);
        for (known, _) in self.of_goal(observed) {
            all += 1;
            available += u32::from(known.unavailable_since.is_none());
        }
        // The revision is not to blame for the time that others take to leave: connections drain, programs stop slowly.
        let held_up = all == available && all < self.goal.replicas && !self.has_room(observed);
        if available > self.best || held_up {
            self.best = self.best.max(available);
            self.progressed = self.clock;
        }
    }

    /// The replicas of the goal's revision that run and are not on their way out.
    fn of_goal<'a>(&'a self, observed: &'a Observed) -> impl Iterator<Item = (&'a Known, &'a Replica)> {
        let own = |known: &Known| known.revision == self.goal.revision && !known.ended && known.stopping.is_none();
        self.known.iter().zip(&observed.replicas).filter(move |(known, _)| own(known) && known.leaving_since.is_none())
    }
}
