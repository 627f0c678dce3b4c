//! Observes a deployment, asks the controller, and does what it says.

use super::autoscale::Autoscale;
use super::clock;
use super::controller::{
    model::{Action, Condition, Decision, Happening, Moment, Observed, Replica, RevisionNumber, Stage},
    next,
};
use super::event::RolloutEvent;
use super::record::{Directory, REVISIONS, Record, Revision};
use super::scaling::Fed;
use super::specification::DeploymentMount;
use super::{balancing, replica, stop};
use crate::container::{self, Container, ContainerExit, ContainerState, HealthState, ReplicaOf, Services};
use crate::value::{ContainerId, Name};
use crate::{Error, ErrorKind, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Whoever has one holds the deployment's lock.
#[derive(Debug)]
pub(crate) struct Runner {
    services: Arc<Services>,
    directory: Directory,
    record: Record,
    revisions: BTreeMap<RevisionNumber, Revision>,
    replicas: BTreeMap<ContainerId, Container>,
    /// Containers that are none of its replicas.
    strangers: BTreeSet<ContainerId>,
    failed_starts: Vec<(RevisionNumber, String)>,
    /// How long it took to count connections.
    counting: Duration,
    _lock: File,
}

/// What a look brought.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) events: Vec<RolloutEvent>,
    pub(crate) settled: bool,
    /// For how long nothing is to be done, if nothing happens.
    pub(crate) pause: Duration,
    /// The first thing that was to be done and could not be; the others were done.
    pub(crate) error: Option<Error>,
}

/// While something is on its way out its connections are counted this often.
const COUNTING: Duration = Duration::from_millis(20);
/// No event tells that an interval of connections or a restart is over: look again after this.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

impl Runner {
    /// Of the deployment in `directory`, whose lock is `lock`.
    pub(crate) fn new(services: &Arc<Services>, directory: Directory, record: Record, lock: File) -> Runner {
        Runner {
            services: services.clone(),
            directory,
            record,
            revisions: BTreeMap::new(),
            replicas: BTreeMap::new(),
            strangers: BTreeSet::new(),
            failed_starts: Vec::new(),
            counting: Duration::ZERO,
            _lock: lock,
        }
    }

    /// What is on record.
    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// The deployment's name.
    pub(crate) fn name(&self) -> &Name {
        self.directory.name()
    }

    /// Changes the record, durably.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Record)) -> Result<()> {
        change(&mut self.record);
        self.directory.write(&self.record)
    }

    /// Revision `number`.
    pub(crate) fn revision(&mut self, number: RevisionNumber) -> Result<&Revision> {
        if !self.revisions.contains_key(&number) {
            let revision = self.directory.revision(number)?;
            self.revisions.insert(number, revision);
        }
        self.revisions
            .get(&number)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no revision {number}")))
    }

    /// What was fed for the metrics of `autoscale`.
    pub(crate) fn fed(&self, autoscale: &Autoscale) -> Result<Vec<Fed>> {
        let mut all = Vec::new();
        for (index, (name, _)) in autoscale.metrics.iter().enumerate() {
            all.extend(self.directory.fed(index)?.filter(|fed| fed.name == *name));
        }
        Ok(all)
    }

    /// The containers of its replicas, by id.
    pub(crate) fn replicas(&self) -> impl Iterator<Item = &Container> {
        self.replicas.values()
    }

    /// Looks once and does what is to be done now.
    ///
    /// What was decided is durable before it is done: whoever comes after a crash finds it decided, looks, and does what
    /// is left.
    pub(crate) fn look(&mut self) -> Result<Look> {
        // A port that is taken, a disk that is full: no reason not to do what else can be done.
        let mut error = self.bring_service_in_order().err();
        self.find_replicas()?;
        let observed = self.observe()?;
        let now = clock::now();
        self.notice_reboot();
        let decision = next(&self.record.state, now, &observed);
        let mut events = self.record_decision(&decision)?;
        for action in &decision.actions {
            let done = self.carry_out(action, &mut events);
            error = error.or(done.err());
        }
        if self.record.state.stage == Stage::Removing && decision.settled {
            balancing::remove(&self.services, self.name())?;
            super::volumes::forget(&self.services, &mut self.record)?;
            self.directory.remove()?;
        } else if decision.settled {
            self.forget_old_revisions()?;
        }
        let leaving = decision.state.known.iter().any(|known| known.leaving_since.is_some());
        // What it costs to count is the kernel's whole memory of connections: never more than a quarter of the time.
        let longest = if leaving { COUNTING.max(self.counting * 3) } else { LONGEST_PAUSE };
        let pause = decision.again_at.map_or(longest, |at| Duration::from_millis(at.saturating_sub(now)).min(longest));
        let error = error.map(|error| error.context(format!("deployment {}", self.name())));
        Ok(Look { events, settled: decision.settled && error.is_none(), pause, error })
    }

    /// After a rollback, or a crash in the middle of a change, the service may still be that of another revision.
    fn bring_service_in_order(&mut self) -> Result<()> {
        let goal = self.record.state.goal.revision;
        if self.record.service_of == Some(goal) || self.record.state.stage == Stage::Removing {
            return Ok(());
        }
        let (services, name) = (self.services.clone(), self.name().clone());
        balancing::ensure(&services, &name, &self.revision(goal)?.deployment)?;
        self.change(|record| record.service_of = Some(goal))
    }

    /// Which of all containers are its replicas: those that were made as such.
    pub(crate) fn find_replicas(&mut self) -> Result<()> {
        let ids: BTreeSet<ContainerId> = container::list(&self.services)?.into_iter().collect();
        self.replicas.retain(|id, _| ids.contains(id));
        self.strangers.retain(|id| ids.contains(id));
        for id in ids {
            if self.replicas.contains_key(&id) || self.strangers.contains(&id) {
                continue;
            }
            let container = match Container::open(&self.services, &id) {
                Ok(container) => container,
                // Removed since the list was read; damaged ones are no replicas that could be run.
                Err(_) => continue,
            };
            match container.replica_of() {
                Some(of) if of.deployment == *self.directory.name() => {
                    self.replicas.insert(id, container);
                }
                _ => {
                    self.strangers.insert(id);
                }
            }
        }
        Ok(())
    }

    fn observe(&mut self) -> Result<Observed> {
        let routed = balancing::members(&self.services, self.directory.name())?;
        let leaving: BTreeSet<&ContainerId> = (self.record.state.known.iter())
            .filter(|known| known.leaving_since.is_some() && known.stopping.is_none())
            .map(|known| &known.id)
            .collect();
        let mut counted = Vec::new();
        let mut replicas = Vec::new();
        for (id, container) in &self.replicas {
            let Some(of) = container.replica_of() else { continue };
            let Some((condition, restarts, finding)) = condition(container)? else { continue };
            let address = container.address();
            let in_traffic = match (&routed, address) {
                (Some(members), Some(address)) => members.contains(&address),
                (Some(_), None) => false,
                (None, _) => self.record.routed.contains(id),
            };
            if let (Some(address), true) = (address, leaving.contains(id)) {
                counted.push((replicas.len(), address));
            }
            let (revision, place) = (of.revision, of.place);
            let id = id.clone();
            replicas.push(Replica { id, revision, place, condition, restarts, in_traffic, connections: 0, finding });
        }
        let addresses: Vec<_> = counted.iter().map(|(_, address)| *address).collect();
        let begin = Instant::now();
        let connections = balancing::connections(&self.services, &addresses)?;
        self.counting = begin.elapsed();
        for ((index, _), connections) in counted.iter().zip(connections) {
            replicas[*index].connections = connections;
        }
        Ok(Observed { replicas, failed_starts: std::mem::take(&mut self.failed_starts) })
    }

    /// The controller takes a clock that goes back for the sign of a reboot; one that has run long enough does not.
    fn notice_reboot(&mut self) {
        let boot = clock::boot();
        if self.record.boot != boot {
            self.record.boot = boot;
            self.record.state.seen = Moment::MAX;
        }
    }

    /// Makes the decision durable where it changes anything but the time of the last look.
    fn record_decision(&mut self, decision: &Decision) -> Result<Vec<RolloutEvent>> {
        let events: Vec<RolloutEvent> = decision.happenings.iter().map(|happening| self.event_of(happening)).collect();
        let mut old = self.record.state.clone();
        (old.seen, old.clock) = (decision.state.seen, decision.state.clock);
        let changed = old != decision.state;
        self.record.state = decision.state.clone();
        for happening in &decision.happenings {
            let Happening::RollingBack { failed, to, .. } = happening else { continue };
            if self.record.kept_before.contains(failed) {
                self.record.bring_back = Some(*failed);
            }
            if let Some(good) = self.record.good.clone().filter(|good| good.revision == *to) {
                self.record.state.set_goal(good, clock::now());
            }
        }
        self.record.note(events.iter().cloned().map(RolloutEvent::now));
        if changed || !events.is_empty() {
            self.directory.write(&self.record)?;
        }
        Ok(events)
    }

    fn carry_out(&mut self, action: &Action, events: &mut Vec<RolloutEvent>) -> Result<()> {
        match action {
            Action::Route(ids) => self.route(ids),
            Action::Start { revision, place } => match self.start(*revision, *place, events) {
                Ok(replica) => {
                    let event = RolloutEvent::Started { replica, revision: *revision };
                    self.note(event, events)
                }
                Err(error) => {
                    self.failed_starts.push((*revision, error.to_string()));
                    Ok(())
                }
            },
            Action::Stop(id) => {
                if let Some(container) = self.replicas.get(id) {
                    stop::begin(container, self.grace_of(container));
                }
                Ok(())
            }
            Action::Remove(id) => self.remove_replica(id, events),
        }
    }

    fn route(&mut self, ids: &[ContainerId]) -> Result<()> {
        let name = self.directory.name().clone();
        let goal = self.record.state.goal.revision;
        let weights = self.revision(goal)?.deployment.weights.clone();
        balancing::route(&self.services, &name, ids.iter().filter_map(|id| self.replicas.get(id)), &weights)?;
        self.change(|record| record.routed = ids.to_vec())
    }

    fn start(&mut self, number: RevisionNumber, place: u32, events: &mut Vec<RolloutEvent>) -> Result<String> {
        self.bring_volumes_in_order(number, events)?;
        let (services, name) = (self.services.clone(), self.directory.name().clone());
        let revision = self.revision(number)?;
        let container = replica::start(&services, ReplicaOf { deployment: name, revision: number, place }, revision)?;
        let shown = container.shown().to_owned();
        self.replicas.insert(container.id().clone(), container);
        Ok(shown)
    }

    /// Before the first replica of a revision its volumes are kept as the one before left them; before the first replica
    /// after a failure they are brought back.
    fn bring_volumes_in_order(&mut self, number: RevisionNumber, events: &mut Vec<RolloutEvent>) -> Result<()> {
        let deployment = self.revision(number)?.deployment.clone();
        let volumes = deployment.mounts.iter().filter_map(|mount| match mount {
            DeploymentMount::Volume { name, snapshot: true, .. } => Some(name.as_str()),
            _ => None,
        });
        let volumes: Vec<&str> = volumes.collect();
        if let Some(before) = self.record.bring_back {
            for volume in &volumes {
                if super::volumes::restore(&self.services, self.directory.name(), volume, before)? {
                    self.note(RolloutEvent::VolumeRestored { volume: (*volume).to_owned(), before }, events)?;
                }
            }
            self.change(|record| record.bring_back = None)?;
        }
        if volumes.is_empty() || self.record.kept_before.contains(&number) || self.record.state.stable == Some(number) {
            return Ok(());
        }
        for volume in &volumes {
            super::volumes::keep(&self.services, self.directory.name(), volume, number)?;
            self.note(RolloutEvent::VolumeKept { volume: (*volume).to_owned(), before: number }, events)?;
        }
        self.change(|record| record.kept_before.push(number))
    }

    fn remove_replica(&mut self, id: &ContainerId, events: &mut Vec<RolloutEvent>) -> Result<()> {
        let Some(container) = self.replicas.remove(id) else { return Ok(()) };
        let replica = container.shown().to_owned();
        let revision = container.replica_of().map_or(0, |of| of.revision);
        container.remove_ended()?;
        self.note(RolloutEvent::Removed { replica, revision }, events)
    }

    fn grace_of(&self, container: &Container) -> Duration {
        let revision = container.replica_of().map_or(0, |of| of.revision);
        match self.revisions.get(&revision) {
            Some(revision) => revision.deployment.stop_grace,
            None => self.directory.revision(revision).map_or(Duration::from_secs(10), |it| it.deployment.stop_grace),
        }
    }

    fn note(&mut self, event: RolloutEvent, events: &mut Vec<RolloutEvent>) -> Result<()> {
        events.push(event.clone());
        self.change(|record| record.note([event.now()]))
    }

    fn event_of(&self, happening: &Happening) -> RolloutEvent {
        let shown = |id: &ContainerId| {
            self.replicas.get(id).map_or_else(|| id.to_string(), |container| container.shown().to_owned())
        };
        match happening.clone() {
            Happening::Available { id, revision } => RolloutEvent::Available { replica: shown(&id), revision },
            Happening::Crashed { id, revision } => RolloutEvent::Crashed { replica: shown(&id), revision },
            Happening::Unready { id, revision } => RolloutEvent::Unready { replica: shown(&id), revision },
            Happening::Leaving { id, revision } => RolloutEvent::Leaving { replica: shown(&id), revision },
            Happening::Complete { revision } => RolloutEvent::Complete { revision },
            Happening::RollingBack { failed, to, because } => RolloutEvent::RollingBack { failed, to, because },
            Happening::RolledBack { failed, to, because } => RolloutEvent::RolledBack { failed, to, because },
            Happening::Failed { failed, because } => RolloutEvent::Failed { failed, because },
            Happening::Removed => RolloutEvent::Gone,
        }
    }

    /// Keeps the newest revisions, the goal and the last good one.
    fn forget_old_revisions(&mut self) -> Result<()> {
        let numbers = self.directory.revisions()?;
        let keep = |number: &RevisionNumber| {
            *number == self.record.state.goal.revision || Some(*number) == self.record.state.stable
        };
        let surplus = numbers.len().saturating_sub(REVISIONS + 2);
        for number in numbers.iter().take(surplus).filter(|number| !keep(number)) {
            super::volumes::forget_before(&self.services, &self.record, *number)?;
            self.directory.remove_revision(*number)?;
        }
        Ok(())
    }
}

/// What a replica is doing, how often it was started again, what its health check found or how it ended; `None` once it
/// is gone.
fn condition(container: &Container) -> Result<Option<(Condition, u32, Option<String>)>> {
    let condition = match container.state() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == ErrorKind::InUse => return Ok(Some((Condition::Starting, 0, None))),
        state => match state? {
            ContainerState::Exited(exit) => {
                return Ok(Some((Condition::Ended, container.restarts().unwrap_or(0), Some(how(&exit)))));
            }
            ContainerState::Restarting { .. } => Condition::Restarting,
            ContainerState::Running(_) => Condition::Ready,
        },
    };
    let report = container.health()?;
    let condition = match (condition, report.state) {
        (Condition::Ready, HealthState::Starting) => Condition::Starting,
        (Condition::Ready, HealthState::Unhealthy) => Condition::Unhealthy,
        (condition, _) => condition,
    };
    let ended = container.directory().last().ok().map(|exit| how(&exit));
    // A check of one that has just crashed finds nobody there; how it ended says more.
    let finding = match condition {
        Condition::Unhealthy => report.finding.or(ended),
        _ => ended.or(report.finding),
    };
    Ok(Some((condition, container.restarts()?, finding)))
}

/// `exited with 1`, `killed by SIGKILL for its memory`.
fn how(exit: &ContainerExit) -> String {
    format!("{}{}", exit.status, if exit.oom_killed { " for its memory" } else { "" })
}
