//! What must hold, worked out from what was there and from what was done, not from what the controller remembers.

use super::world::World;
use crate::deploy::controller::model::{
    Action, Condition, Decision, Failure, Happening, Moment, Observed, Replica, RevisionNumber, Stage, State,
};
use crate::deploy::strategy::{OnFailure, Strategy};
use crate::value::ContainerId;
use std::collections::{BTreeMap, BTreeSet};

/// A replica as the watchers saw it.
#[derive(Debug, Clone)]
struct Seen {
    revision: RevisionNumber,
    first: Moment,
    ready_since: Option<Moment>,
    available: bool,
    proven: bool,
    restarts: u32,
    ended: bool,
    told: bool,
    /// Crashes since the look before.
    crashed: bool,
    /// Whether it was last said to be available.
    said: bool,
    /// When it was last seen in traffic.
    in_traffic_at: Moment,
}

/// A rollout as far as it is known from outside.
#[derive(Debug, Clone)]
struct Rollout {
    revision: RevisionNumber,
    begun: Moment,
    crashes: u32,
    best: u32,
    gained: Moment,
}

/// The judge.
#[derive(Debug, Clone)]
pub(super) struct Oracle {
    /// Time that counts: at most a minute from one durable look to the next.
    time: Moment,
    last: Moment,
    seen: BTreeMap<ContainerId, Seen>,
    rollout: Option<Rollout>,
    completed: BTreeSet<RevisionNumber>,
    /// A rollback that has been said to begin, and not yet to have ended.
    rolling_back: Option<RevisionNumber>,
}

/// Why a promise was broken.
pub(super) type Broken = String;

macro_rules! promise {
    ($holds:expr, $($text:tt)*) => {
        if !$holds {
            return Err(format!($($text)*));
        }
    };
}

impl Oracle {
    pub(super) fn new(state: &State, now: Moment) -> Oracle {
        let mut oracle = Oracle {
            time: 0,
            last: now,
            seen: BTreeMap::new(),
            rollout: None,
            completed: BTreeSet::new(),
            rolling_back: None,
        };
        oracle.rollout(state);
        oracle
    }

    /// A new goal was set.
    pub(super) fn set_goal(&mut self, state: &State, now: Moment) {
        if now >= self.last {
            self.tick(now);
        }
        if self.rollout.as_ref().is_none_or(|rollout| rollout.revision != state.goal.revision)
            && state.stage == Stage::Rolling
        {
            self.rollout(state);
            self.rolling_back = None;
        } else if let Some(rollout) = &mut self.rollout {
            rollout.gained = self.time;
        }
    }

    /// It is to be removed.
    pub(super) fn remove(&mut self) {
        self.rollout = None;
        self.rolling_back = None;
    }

    /// A look whose decision was made durable.
    pub(super) fn look(
        &mut self,
        before: &State,
        now: Moment,
        observed: &Observed,
        made: &Decision,
    ) -> Result<(), Broken> {
        let rebooted = now < self.last;
        self.tick(now);
        self.see(before, observed, rebooted);
        promise!(made.again_at.is_none_or(|at| at > now), "it wants to be asked again in the past");
        self.check_verdict(before, observed, made)?;
        self.check_told(made)?;
        self.check_traffic(observed, made)?;
        self.check_actions(observed, made)?;
        self.hear(before, made)
    }

    fn tick(&mut self, now: Moment) {
        self.time += now.saturating_sub(self.last).min(60_000);
        self.last = now;
    }

    fn rollout(&mut self, state: &State) {
        let time = self.time;
        self.rollout = Some(Rollout { revision: state.goal.revision, begun: time, crashes: 0, best: 0, gained: time });
    }

    fn see(&mut self, before: &State, observed: &Observed, rebooted: bool) {
        let minimum = before.goal.strategy.guard().minimum_healthy_time.as_millis() as Moment;
        let time = self.time;
        self.seen.retain(|id, _| observed.replicas.iter().any(|replica| replica.id == *id));
        for replica in &observed.replicas {
            let seen = self.seen.entry(replica.id.clone()).or_insert_with(|| Seen::new(replica, time));
            let ended = replica.condition == Condition::Ended;
            let crashes = replica.restarts - seen.restarts + u32::from(ended && !seen.ended);
            if let Some(rollout) = self.rollout.as_mut().filter(|rollout| rollout.revision == seen.revision)
                && !seen.told
                && !rebooted
            {
                rollout.crashes += crashes;
            }
            (seen.restarts, seen.ended) = (replica.restarts, ended);
            seen.crashed = crashes > 0 && !seen.told && !rebooted;
            if replica.condition != Condition::Ready || crashes > 0 {
                (seen.ready_since, seen.available) = (None, false);
            }
            if replica.condition == Condition::Ready {
                let since = *seen.ready_since.get_or_insert(time);
                seen.available |= time - since >= minimum;
                seen.proven |= seen.available;
            }
            if replica.in_traffic {
                seen.in_traffic_at = time;
            }
        }
    }

    /// It fails exactly when it has to, and says why truly.
    fn check_verdict(&mut self, before: &State, observed: &Observed, made: &Decision) -> Result<(), Broken> {
        if before.stage != Stage::Rolling {
            return Ok(());
        }
        let grounds = self.grounds(before, observed);
        let failed = made.happenings.iter().find_map(|happening| match happening {
            Happening::RollingBack { because, .. } | Happening::Failed { because, .. } => Some(because.clone()),
            _ => None,
        });
        match failed {
            Some(because) => promise!(grounds.contains(&because), "it failed because of {because:?}, not {grounds:?}"),
            None => promise!(grounds.is_empty(), "it goes on in spite of {grounds:?}"),
        }
        Ok(())
    }

    fn grounds(&mut self, before: &State, observed: &Observed) -> Vec<Failure> {
        let Some(mut rollout) = self.rollout.clone() else { return Vec::new() };
        let guard = before.goal.strategy.guard();
        let mut grounds = Vec::new();
        for (_, error) in observed.failed_starts.iter().filter(|(revision, _)| *revision == rollout.revision) {
            grounds.push(Failure::NotStarted { error: error.clone() });
        }
        if rollout.crashes >= guard.crashes {
            let mut findings = observed.replicas.iter().filter(|replica| replica.revision == rollout.revision);
            let finding = findings.find_map(|replica| replica.finding.clone());
            grounds.push(Failure::Crashed { crashes: rollout.crashes, finding });
        }
        let leaving =
            |id: &ContainerId| before.known.iter().any(|known| known.id == *id && known.leaving_since.is_some());
        let (mut all, mut available, mut finding) = (0, 0, None);
        for replica in observed.replicas.iter().filter(|r| r.revision == rollout.revision && !leaving(&r.id)) {
            let seen = &self.seen[&replica.id];
            if seen.told || seen.ended {
                continue;
            }
            all += 1;
            available += u32::from(seen.available);
            if !seen.available {
                finding = finding.or_else(|| Some(replica.finding.clone()));
            }
            let age = self.time - seen.first.max(rollout.begun);
            if !seen.proven && age >= guard.healthy_deadline.as_millis() as Moment {
                grounds.push(Failure::NotHealthy { replica: replica.id.clone(), finding: replica.finding.clone() });
            }
        }
        let others = observed.replicas.iter().any(|replica| replica.revision != rollout.revision);
        let recreate = matches!(before.goal.strategy, Strategy::Recreate(_));
        let full = running(observed) >= most(before) || (recreate && others);
        if available > rollout.best || (all == available && all < before.goal.replicas && full) {
            rollout.gained = self.time;
            rollout.best = rollout.best.max(available);
        }
        if self.time - rollout.gained >= guard.progress_deadline.as_millis() as Moment {
            grounds.push(Failure::NoProgress { finding: finding.flatten() });
        }
        self.rollout = Some(rollout);
        grounds
    }

    /// Everything that befell a replica is said, once, unless it had been told to stop.
    fn check_told(&mut self, made: &Decision) -> Result<(), Broken> {
        for (id, seen) in self.seen.iter_mut().filter(|(_, seen)| !seen.told) {
            let (id, revision, was) = (id.clone(), seen.revision, seen.said);
            let said = |what: &Happening| made.happenings.iter().filter(|happening| *happening == what).count();
            let crashed = said(&Happening::Crashed { id: id.clone(), revision });
            let available = said(&Happening::Available { id: id.clone(), revision });
            let unready = said(&Happening::Unready { id: id.clone(), revision });
            seen.said = seen.available;
            promise!(crashed == usize::from(seen.crashed), "a crash of {id} is said {crashed} times");
            promise!(available == usize::from(!was && seen.said), "{id} is said {available} times to be available");
            promise!(unready == usize::from(was && !seen.said), "{id} is said {unready} times to be unready");
        }
        Ok(())
    }

    /// New connections go to replicas that are available, and to some as long as any work.
    fn check_traffic(&self, observed: &Observed, made: &Decision) -> Result<(), Broken> {
        let now: BTreeSet<&ContainerId> = in_traffic(observed);
        let route = made.actions.iter().find_map(|action| match action {
            Action::Route(ids) => Some(ids.iter().collect::<BTreeSet<_>>()),
            _ => None,
        });
        promise!(route.as_ref() != Some(&now), "it routes to those who are routed to");
        let routed = route.unwrap_or_else(|| now.clone());
        let works = |id: &ContainerId| observed.replicas.iter().any(|r| r.id == *id && r.condition == Condition::Ready);
        promise!(routed.iter().all(|id| works(id)), "it routes to what does not work: {routed:?}");
        let all = routed.iter().all(|id| self.seen[*id].available);
        promise!(all || !routed.iter().any(|id| self.seen[*id].available), "it routes to what is not available");
        let standing = |replica: &&Replica| works(&replica.id) && !self.seen[&replica.id].told;
        let anyone = observed.replicas.iter().any(|replica| standing(&replica));
        if !free_to_stop(made, observed) && made.state.goal.replicas > 0 && most(&made.state) > 1 {
            promise!(!routed.is_empty() || !anyone, "it routes to nobody though somebody works");
            if !all {
                let better = observed.replicas.iter().any(|r| standing(&r) && self.seen[&r.id].available);
                promise!(!better, "it routes to what is not available though somebody is");
            }
        }
        self.check_enough(observed, made, &now, &routed)
    }

    /// What it takes out of traffic itself leaves enough.
    fn check_enough(
        &self,
        observed: &Observed,
        made: &Decision,
        now: &BTreeSet<&ContainerId>,
        routed: &BTreeSet<&ContainerId>,
    ) -> Result<(), Broken> {
        let left = routed.iter().filter(|id| self.seen[**id].available).count();
        let stopped = |id: &ContainerId| made.actions.contains(&Action::Stop(id.clone()));
        let takes = observed.replicas.iter().any(|replica| {
            let (id, seen) = (&replica.id, &self.seen[&replica.id]);
            let out = now.contains(id) && !routed.contains(id);
            seen.available && !seen.told && (out || stopped(id))
        });
        let least = least(&made.state);
        promise!(
            !takes || left >= least || free_to_stop(made, observed),
            "it takes away what is available, though only {left} of {least} are left"
        );
        Ok(())
    }

    fn check_actions(&mut self, observed: &Observed, made: &Decision) -> Result<(), Broken> {
        let mut running = running(observed);
        for action in &made.actions {
            match action {
                Action::Route(_) => {}
                Action::Start { revision, place } => {
                    running += 1;
                    let most = most(&made.state);
                    promise!(running <= most, "{running} replicas, more than {most}");
                    promise!(*revision == made.state.goal.revision, "it starts revision {revision}");
                    let others = observed.replicas.iter().any(|replica| replica.revision != *revision);
                    let recreate = matches!(made.state.goal.strategy, Strategy::Recreate(_));
                    promise!(!(others && recreate), "two revisions at once");
                    promise!(observed.replicas.iter().all(|replica| replica.place != *place), "place {place} is taken");
                }
                Action::Stop(id) => self.check_stop(id, observed, made)?,
                Action::Remove(id) => {
                    let ended = observed.replicas.iter().any(|r| r.id == *id && r.condition == Condition::Ended);
                    promise!(ended, "it removes what has not ended");
                }
            }
        }
        Ok(())
    }

    fn check_stop(&mut self, id: &ContainerId, observed: &Observed, made: &Decision) -> Result<(), Broken> {
        let replica = observed.replicas.iter().find(|replica| replica.id == *id);
        let (Some(replica), Some(seen)) = (replica, self.seen.get_mut(id)) else {
            return Err(format!("it stops {id}, which is not there"));
        };
        promise!(!replica.in_traffic, "it stops what is in traffic");
        let drain = made.state.goal.drain.as_millis() as Moment;
        let out = self.time - seen.in_traffic_at;
        promise!(seen.told || replica.connections == 0 || out >= drain, "it stops before it is drained");
        seen.told = true;
        Ok(())
    }

    /// What is said to have happened is true, and said once.
    fn hear(&mut self, before: &State, made: &Decision) -> Result<(), Broken> {
        for happening in &made.happenings {
            match happening {
                Happening::Complete { revision } => {
                    let rollout = self.rollout.take();
                    promise!(rollout.is_some_and(|r| r.revision == *revision), "complete, but not rolled out");
                    self.completed.insert(*revision);
                }
                Happening::RollingBack { failed, to, .. } => {
                    promise!(self.rollout.take().is_some_and(|r| r.revision == *failed), "fails twice");
                    promise!(self.completed.contains(to), "rolls back to {to}, which was never complete");
                    self.rolling_back = Some(*failed);
                }
                Happening::Failed { failed, .. } => {
                    promise!(self.rollout.take().is_some_and(|r| r.revision == *failed), "fails twice");
                }
                Happening::RolledBack { failed, .. } => {
                    promise!(self.rolling_back.take() == Some(*failed), "rolled back, but not rolling back");
                }
                Happening::Removed => promise!(before.stage == Stage::Removing, "removed unasked"),
                _ => {}
            }
        }
        promise!((made.state.stage == Stage::Rolling) == self.rollout.is_some(), "a rollout ended unsaid");
        let back = matches!(made.state.stage, Stage::RollingBack { .. });
        promise!(back == self.rolling_back.is_some(), "a rollback ended unsaid");
        Ok(())
    }

    /// Once all is quiet and settled, all is as it was wanted.
    pub(super) fn check_end(&self, world: &World, state: &State, jumped: bool) -> Result<(), Broken> {
        let replicas: Vec<&Replica> = world.bodies.iter().map(|body| &body.replica).collect();
        let revision = state.goal.revision;
        match &state.stage {
            Stage::Removing => promise!(replicas.is_empty(), "removed, but something is left"),
            Stage::Steady => {
                promise!(state.stable == Some(revision), "steady, but not stable");
                promise!(replicas.len() == state.goal.replicas as usize, "{} replicas at the end", replicas.len());
                let fine = |r: &&&Replica| r.revision == revision && r.condition == Condition::Ready && r.in_traffic;
                promise!(replicas.iter().all(|r| fine(&r)), "not all are fine at the end");
                let fatal = world.characters.get(&revision).is_some_and(|character| character.is_fatal(jumped));
                promise!(!fatal || state.goal.replicas == 0, "a bad revision stays");
            }
            Stage::Failed { failed, .. } => {
                if is_hopeless(state) {
                    promise!(replicas.iter().all(|r| r.revision != *failed), "the failed revision is still there");
                }
            }
            stage => return Err(format!("settled in {stage:?}")),
        }
        Ok(())
    }
}

impl Seen {
    fn new(replica: &Replica, time: Moment) -> Seen {
        Seen {
            revision: replica.revision,
            first: time,
            ready_since: None,
            available: false,
            proven: false,
            restarts: 0,
            ended: false,
            told: false,
            crashed: false,
            said: false,
            in_traffic_at: time,
        }
    }
}

fn in_traffic(observed: &Observed) -> BTreeSet<&ContainerId> {
    observed.replicas.iter().filter(|replica| replica.in_traffic).map(|replica| &replica.id).collect()
}

fn running(observed: &Observed) -> usize {
    observed.replicas.iter().filter(|replica| replica.condition != Condition::Ended).count()
}

fn most(state: &State) -> usize {
    let surge = match &state.goal.strategy {
        Strategy::Rolling(rolling) => rolling.surge,
        Strategy::Recreate(_) => 0,
    };
    (state.goal.replicas + surge) as usize
}

fn least(state: &State) -> usize {
    let unavailable = match &state.goal.strategy {
        Strategy::Rolling(rolling) => rolling.unavailable,
        Strategy::Recreate(_) => 0,
    };
    state.goal.replicas.saturating_sub(unavailable) as usize
}

/// Whether available replicas may be taken away without regard to how many are left.
fn free_to_stop(made: &Decision, observed: &Observed) -> bool {
    let others = observed.replicas.iter().any(|replica| replica.revision != made.state.goal.revision);
    let recreate = matches!(made.state.goal.strategy, Strategy::Recreate(_)) && others;
    made.state.stage == Stage::Removing || is_hopeless(&made.state) || recreate
}

/// Whether it failed and nothing good is known, so that the failed revision is taken down.
fn is_hopeless(state: &State) -> bool {
    let back = state.goal.strategy.guard().on_failure == OnFailure::RollBack;
    matches!(state.stage, Stage::Failed { .. }) && state.stable.is_none() && back
}
