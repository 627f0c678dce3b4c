//! The pure state machine of a deployment: no clock, no input, no output.
//!
//! [`next`] is given what is remembered, the time and what is there, and answers with what to remember, what to do and
//! what has happened. The caller makes the answer's state and happenings durable, then carries out the actions in their
//! order, then looks again. It may die between any two of these steps: whoever goes on looks at what is there and asks
//! again. So no action is taken for done until its effect is seen.

mod check;
pub(crate) mod model;
mod plan;
mod remember;
#[cfg(test)]
mod tests;
mod verdict;

use model::{Action, Condition, Decision, Goal, Moment, Observed, Stage, State};
use plan::Plan;

/// How soon to look again for what no timer tells: that an action has taken effect, that connections have ended.
const SOON: Moment = 100;
/// The most that counts as passed between two looks, and so the longest wait for one.
const LONGEST_LOOK: Moment = 60_000;
/// How long after a replica was told to stop it is told again: the first time may have been lost in a crash.
const TELL_AGAIN: Moment = 10_000;

impl State {
    /// A deployment that begins with `goal`.
    pub(crate) fn new(goal: Goal, now: Moment) -> State {
        State {
            goal,
            stage: Stage::Rolling,
            stable: None,
            clock: now,
            seen: now,
            begun: now,
            progressed: now,
            best: 0,
            crashes: 0,
            known: Vec::new(),
            replacements: 0,
            not_before: now,
        }
    }

    /// Wants something else from now on: another revision begins a rollout, also in the middle of one; the same one with
    /// another number of replicas leaves the stage as it is. A deployment that is being removed stays so.
    pub(crate) fn set_goal(&mut self, goal: Goal, now: Moment) {
        if self.stage == Stage::Removing {
            return;
        }
        // A clock that has begun anew is left for the next look, which takes it for the sign of a reboot.
        if now >= self.seen {
            self.advance(now);
        }
        let new = goal.revision != self.goal.revision;
        self.goal = goal;
        if new {
            self.begin(Stage::Rolling);
        } else {
            self.progressed = self.clock;
            self.not_before = self.clock;
        }
    }

    /// Wants nothing to be left.
    pub(crate) fn remove(&mut self) {
        if self.stage != Stage::Removing {
            self.begin(Stage::Removing);
        }
    }

    fn begin(&mut self, stage: Stage) {
        self.stage = stage;
        self.begun = self.clock;
        self.progressed = self.clock;
        self.best = 0;
        self.crashes = 0;
        self.replacements = 0;
        self.not_before = self.clock;
    }
}

/// What to do now.
pub(crate) fn next(state: &State, now: Moment, observed: &Observed) -> Decision {
    let mut state = state.clone();
    let mut happenings = Vec::new();
    let rebooted = state.advance(now);
    state.remember(observed, rebooted, &mut happenings);
    state.judge(observed, &mut happenings);
    let plan = Plan::of(&state, observed);
    state.note_leaving(&plan, observed, &mut happenings);
    let actions = act(&mut state, &plan, observed);
    state.conclude(&plan, observed, &mut happenings);
    let settled = actions.is_empty() && state.is_settled(&plan, observed);
    let again_at = again_at(&state, &plan, observed, !actions.is_empty());
    Decision { state, actions, happenings, again_at, settled }
}

/// Traffic first, so that nobody is sent to a replica that is told to stop next.
fn act(state: &mut State, plan: &Plan, observed: &Observed) -> Vec<Action> {
    let mut actions = Vec::new();
    if plan.reroute {
        actions.push(Action::Route(plan.routed.clone()));
    }
    for replica in observed.replicas.iter().filter(|replica| replica.condition != Condition::Ended) {
        let idle = !replica.in_traffic && replica.connections == 0;
        if state.tell_to_stop(&replica.id, replica.in_traffic, idle) {
            actions.push(Action::Stop(replica.id.clone()));
        }
    }
    actions.extend(plan.removed.iter().cloned().map(Action::Remove));
    let revision = state.goal.revision;
    actions.extend(plan.starts.iter().map(|&place| Action::Start { revision, place }));
    actions
}

/// The first timer that is due, on the caller's clock.
fn again_at(state: &State, plan: &Plan, observed: &Observed, acting: bool) -> Option<Moment> {
    let guard = state.goal.strategy.guard();
    let mut due: Vec<Moment> = Vec::new();
    for known in state.known.iter().filter(|known| !known.ended) {
        if let Some(told) = known.stopping {
            due.push(told.saturating_add(TELL_AGAIN));
            continue;
        }
        match (known.ready_since, known.unavailable_since) {
            (Some(ready), Some(_)) => due.push(ready.saturating_add(milliseconds(guard.minimum_healthy_time))),
            (None, Some(since)) if known.revision == state.goal.revision => due.extend(state.deadline(known, since)),
            _ => {}
        }
        if known.leaving_since.is_some() {
            due.push(state.clock.saturating_add(SOON));
        }
    }
    if state.stage == Stage::Rolling {
        due.push(state.progressed.saturating_add(milliseconds(guard.progress_deadline)));
    }
    if plan.waiting {
        due.push(state.not_before);
    }
    if acting || !observed.failed_starts.is_empty() {
        due.push(state.clock.saturating_add(SOON));
    }
    let wait = due.into_iter().min()?.saturating_sub(state.clock).clamp(1, LONGEST_LOOK);
    Some(state.seen.saturating_add(wait))
}

/// A duration on the controller's clock.
fn milliseconds(time: std::time::Duration) -> Moment {
    Moment::try_from(time.as_millis()).unwrap_or(Moment::MAX)
}
