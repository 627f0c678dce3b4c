//! Who leaves, who is started, who gets traffic: worked out anew at every look, so that a replica on its way out is called
//! back when it is needed again.

use super::model::{Condition, Known, Observed, Replica, Stage, State};
use crate::deploy::Strategy;
use crate::value::ContainerId;
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// What the look comes to.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Who gets no new connections and is told to stop once idle.
    pub(super) leaving: BTreeSet<ContainerId>,
    /// Who gets new connections.
    pub(super) routed: Vec<ContainerId>,
    /// Whether that differs from who gets them now.
    pub(super) reroute: bool,
    /// Places to start replicas of the goal in.
    pub(super) starts: Vec<u32>,
    /// Whether more are to be started once the pause is over.
    pub(super) waiting: bool,
    /// Who has ended and is removed.
    pub(super) removed: Vec<ContainerId>,
    /// Whether exactly as many of the goal's replicas as wanted are there, all available.
    pub(super) complete: bool,
}

/// A replica that runs, with what is remembered of it.
type Running<'a> = (&'a Known, &'a Replica);

/// How many replicas there may be, and how many have to stay available.
struct Bounds {
    most: u32,
    least: u32,
}

impl Plan {
    pub(super) fn of(state: &State, observed: &Observed) -> Plan {
        let standing: Vec<Running<'_>> = state.standing(observed).collect();
        let mut plan = Plan { leaving: state.leaving(&standing, observed), ..Plan::default() };
        let staying: Vec<Running<'_>> =
            standing.into_iter().filter(|(known, _)| !plan.leaving.contains(&known.id)).collect();
        plan.route(state, &staying, observed);
        plan.removed = observed.replicas.iter().filter(|r| state.is_waste(r)).map(|r| r.id.clone()).collect();
        let own: Vec<_> = staying.iter().filter(|(known, _)| known.revision == state.goal.revision).collect();
        plan.complete = own.len() == state.goal.replicas as usize && own.iter().all(|(known, _)| is_available(known));
        plan.start(state, own.len(), observed);
        plan
    }

    /// Available ones; where there is none, those that say that they work: better than nobody.
    fn route(&mut self, state: &State, staying: &[Running<'_>], observed: &Observed) {
        let mut routed: Vec<&ContainerId> =
            staying.iter().filter(|(known, _)| is_available(known)).map(|(known, _)| &known.id).collect();
        if routed.is_empty() && state.stage != Stage::Removing {
            routed.extend(staying.iter().filter(|(_, replica)| is_ready(replica)).map(|(known, _)| &known.id));
        }
        let is: BTreeSet<_> = observed.replicas.iter().filter(|r| r.in_traffic).map(|r| &r.id).collect();
        self.reroute = is != routed.iter().copied().collect();
        self.routed = routed.into_iter().cloned().collect();
    }

    /// As many as are missing and there is room for, in the smallest places that are free.
    fn start(&mut self, state: &State, own: usize, observed: &Observed) {
        if matches!(state.stage, Stage::Failed { .. } | Stage::Removing) {
            return;
        }
        let missing = (state.goal.replicas as usize).saturating_sub(own);
        let number = missing.min(state.room(observed));
        if number > 0 && state.clock < state.not_before {
            self.waiting = true;
            return;
        }
        // Also those that are being removed: if that fails, a start in the same place would too, and be blamed for it.
        let taken: BTreeSet<u32> = observed.replicas.iter().map(|replica| replica.place).collect();
        self.starts = (0..).filter(|place| !taken.contains(place)).take(number).collect();
    }
}

impl State {
    /// Whether a replica more of the goal could be started.
    pub(super) fn has_room(&self, observed: &Observed) -> bool {
        self.room(observed) > 0
    }

    /// How many replicas more there may be. All that run count, also those on their way out.
    fn room(&self, observed: &Observed) -> usize {
        let others = observed.replicas.iter().any(|replica| replica.revision != self.goal.revision);
        if others && matches!(self.goal.strategy, Strategy::Recreate(_)) {
            return 0;
        }
        let running = observed.replicas.iter().filter(|replica| replica.condition != Condition::Ended).count();
        (self.bounds().most as usize).saturating_sub(running)
    }

    /// Those that run and have not been told to stop.
    fn standing<'a>(&'a self, observed: &'a Observed) -> impl Iterator<Item = Running<'a>> {
        let both = self.known.iter().zip(&observed.replicas);
        both.filter(|(known, replica)| known.stopping.is_none() && replica.condition != Condition::Ended)
    }

    /// Ended replicas are removed; where everything is to stay as it is, only those that were told to stop.
    fn is_waste(&self, replica: &Replica) -> bool {
        let frozen = matches!(self.stage, Stage::Failed { .. }) && self.hopeless() != Some(replica.revision);
        let told = || self.known.iter().any(|known| known.id == replica.id && known.stopping.is_some());
        replica.condition == Condition::Ended && (!frozen || told())
    }

    fn bounds(&self) -> Bounds {
        let wanted = self.goal.replicas;
        let (surge, unavailable) = match &self.goal.strategy {
            // Refused by the specification; as Kubernetes does, one fewer rather than none ever replaced.
            Strategy::Rolling(rolling) if rolling.surge == 0 => (0, rolling.unavailable.max(1)),
            Strategy::Rolling(rolling) => (rolling.surge, rolling.unavailable),
            Strategy::Recreate(_) => (0, 0),
        };
        let most = wanted.saturating_add(surge);
        // However many may be unavailable: where there can be two, one is not taken out before the other is in.
        let one = u32::from(wanted > 0 && most > 1);
        Bounds { most, least: wanted.saturating_sub(unavailable).max(one) }
    }

    /// Who is to leave: all who should, as far as enough stay available.
    fn leaving(&self, standing: &[Running<'_>], observed: &Observed) -> BTreeSet<ContainerId> {
        let all = |which: &dyn Fn(&Known) -> bool| {
            standing.iter().filter(|(known, _)| which(known)).map(|(known, _)| known.id.clone()).collect()
        };
        match &self.stage {
            Stage::Removing => return all(&|_| true),
            Stage::Failed { .. } => return all(&|known| self.hopeless() == Some(known.revision)),
            _ => {}
        }
        let others = observed.replicas.iter().any(|replica| replica.revision != self.goal.revision);
        if others && matches!(self.goal.strategy, Strategy::Recreate(_)) {
            return all(&|known| known.revision != self.goal.revision);
        }
        let least = self.bounds().least as usize;
        let mut available = standing.iter().filter(|(known, _)| is_available(known)).count();
        let mut ready = standing.iter().filter(|(_, replica)| is_ready(replica)).count();
        let mut leaving = BTreeSet::new();
        for (known, replica) in self.candidates(standing) {
            // What works counts even before it has worked for long enough: after a fault of all at once, for example.
            if is_ready(replica) && ready <= least || is_available(known) && available <= least {
                continue;
            }
            available -= usize::from(is_available(known));
            ready -= usize::from(is_ready(replica));
            leaving.insert(known.id.clone());
        }
        leaving
    }

    /// Who should leave, first those who are missed least: old ones by their places, then too many of the goal's.
    fn candidates<'a>(&self, standing: &[Running<'a>]) -> Vec<Running<'a>> {
        let failed = match &self.stage {
            Stage::RollingBack { failed, .. } => Some(*failed),
            _ => None,
        };
        let (mut own, mut old): (Vec<_>, Vec<_>) =
            standing.iter().copied().partition(|(known, _)| known.revision == self.goal.revision);
        old.sort_by_key(|(known, replica)| {
            (
                worth(known, replica),
                known.leaving_since.is_none(),
                Some(known.revision) != failed,
                known.revision,
                replica.place,
            )
        });
        let stuck = |known: &Known| self.stage.is_rolling_back() && self.is_overdue(known);
        own.sort_by_key(|(known, replica)| {
            (!stuck(known), worth(known, replica), known.leaving_since.is_none(), Reverse(replica.place))
        });
        let surplus = own.len().saturating_sub(self.goal.replicas as usize);
        let stuck = own.iter().filter(|(known, _)| stuck(known)).count();
        own.truncate(surplus.max(stuck));
        old.extend(own);
        old
    }
}

fn is_available(known: &Known) -> bool {
    known.unavailable_since.is_none()
}

fn is_ready(replica: &Replica) -> bool {
    replica.condition == Condition::Ready
}

/// 0 for what does not work, 2 for what is available.
fn worth(known: &Known, replica: &Replica) -> u8 {
    u8::from(is_ready(replica)) + u8::from(is_available(known))
}
