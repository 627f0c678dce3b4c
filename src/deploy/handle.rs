//! A deployment, from any process.

use super::controller::model::{Goal, RevisionNumber, Stage};
use super::event::{HistoryEntry, Outcome, RolloutEvent};
use super::record::{self, Directory, Record};
use super::rollout::Rollout;
use super::runner::Runner;
use super::scaling::Fed;
use super::specification::Deployment;
use super::status::{DeploymentStatus, RevisionInfo};
use super::watch::{DeploymentStats, ReplicaStats};
use super::{balancing, check, clock, ledger, status};
use crate::container::{Container, MergedLogs, Services, needs_root};
use crate::error::Context;
use crate::store::StoredImage;
use crate::value::{Name, Reference, Timestamp};
use crate::{Error, ErrorKind, Result};
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

/// A deployment: it goes on when this value is dropped and when this process ends.
#[derive(Debug, Clone)]
pub struct Deployed {
    services: Arc<Services>,
    directory: Directory,
}

/// Rolls `deployment` out: as a new one, as a new revision, or, where only the number of replicas differs, as a change of
/// scale. One that is the same as what runs brings it back in order where it is not.
pub(crate) fn deploy(services: &Arc<Services>, deployment: Deployment) -> Result<Rollout> {
    let shown = deployment.name().to_owned();
    begin(services, deployment).context(|| format!("deploying {shown}"))
}

fn begin(services: &Arc<Services>, deployment: Deployment) -> Result<Rollout> {
    let name = check::check(&deployment)?;
    if !nix::unistd::geteuid().is_root() {
        return Err(needs_root("a deployment", "run single containers, with Network::None or Network::Host"));
    }
    let reference: Reference = deployment.image.parse()?;
    let image = services.store.images().get(&reference)?;
    check::check_command(&deployment, &image)?;
    // Until the revision is written down nothing else leads to what was just found.
    let _lease = services.store.lease()?;
    let directory = Directory::of(services, &name);
    let lock = directory.make_and_lock()?;
    let record = directory.record()?;
    let is_new = record.is_none();
    let begun = accept(services, &directory, lock, record, deployment, image);
    if begun.is_err() && is_new {
        // The first error says what went wrong; a second one would only hide it.
        let _ = balancing::remove(services, &name).and_then(|()| directory.remove());
    }
    begun
}

/// Makes the change durable, if nothing speaks against it.
fn accept(
    services: &Arc<Services>,
    directory: &Directory,
    lock: File,
    record: Option<Record>,
    deployment: Deployment,
    image: StoredImage,
) -> Result<Rollout> {
    let (name, reference) = (directory.name(), image.reference);
    let mut deployment = deployment;
    if let (Some(record), Some(autoscale)) = (&record, &deployment.autoscale) {
        // The load has the say, not what it was to begin with.
        deployment.replicas = record.state.goal.replicas.clamp(autoscale.minimum, autoscale.maximum);
    }
    let _room = ledger::admit(services, &deployment)?;
    if record.as_ref().is_some_and(|record| record.state.stage == Stage::Removing) {
        return Err(Error::new(ErrorKind::InUse, "it is being removed").hint("remove() it to the end first"));
    }
    let before = record.as_ref().map(|record| directory.revision(record.state.goal.revision)).transpose()?;
    let Some((mut record, before)) = record.zip(before) else {
        balancing::ensure(services, name, &deployment)?;
        let (revision, state) = check::first(deployment, reference, image.manifest_descriptor)?;
        directory.write_revision(&revision)?;
        let mut record = Record::new(name.clone(), state);
        record.service_of = Some(revision.number);
        let event = RolloutEvent::Accepted { revision: revision.number, image: revision.deployment.image.clone() };
        record.note([event.clone().now()]);
        directory.write(&record)?;
        return Ok(Rollout::new(Runner::new(services, directory.clone(), record, lock), [event]));
    };
    let same_image = before.manifest.digest == image.manifest_descriptor.digest;
    let failed = matches!(record.state.stage, Stage::Failed { .. });
    if same_image && !failed && check::same_but_for_replicas(&before.deployment, &deployment) {
        return rescale(Runner::new(services, directory.clone(), record, lock), deployment.replicas);
    }
    // Until the new goal is on record: whoever looks after a crash in between makes the service the old one's again.
    record.service_of = None;
    directory.write(&record)?;
    balancing::ensure(services, name, &deployment)?;
    let number = record.next_revision;
    let revision = record::Revision::new(number, deployment, reference, image.manifest_descriptor);
    directory.write_revision(&revision)?;
    record.next_revision += 1;
    record.service_of = Some(number);
    remember_good(&mut record);
    record.state.set_goal(check::goal(&revision), clock::now());
    let event = RolloutEvent::Accepted { revision: number, image: revision.deployment.image };
    record.note([event.clone().now()]);
    directory.write(&record)?;
    Ok(Rollout::new(Runner::new(services, directory.clone(), record, lock), [event]))
}

/// Keeps what runs well for a rollback; what is still on its way has not shown that it does.
fn remember_good(record: &mut Record) {
    if record.state.stage == Stage::Steady && record.state.stable == Some(record.state.goal.revision) {
        record.good = Some(record.state.goal.clone());
    }
}

fn rescale(mut runner: Runner, replicas: u32) -> Result<Rollout> {
    let goal = runner.record().state.goal.clone();
    let mut events = Vec::new();
    if goal.replicas != replicas {
        let event = RolloutEvent::Scaled { from: goal.replicas, to: replicas };
        runner.change(|record| {
            record.state.set_goal(Goal { replicas, ..goal }, clock::now());
            record.note([event.clone().now()]);
        })?;
        events.push(event);
    }
    Ok(Rollout::new(runner, events))
}

/// The deployment `name`.
pub(crate) fn find(services: &Arc<Services>, name: &str) -> Result<Deployed> {
    let parsed: Name = name.parse()?;
    let directory = Directory::of(services, &parsed);
    match directory.record()? {
        Some(_) => Ok(Deployed { services: services.clone(), directory }),
        None => Err(missing(name)),
    }
}

/// All deployments, by name.
pub(crate) fn list(services: &Arc<Services>) -> Result<Vec<Deployed>> {
    let mut all = Vec::new();
    for name in record::names(services)? {
        let directory = Directory::of(services, &name);
        // One that is damaged is there: what is done with it will say so, and nothing else.
        if !matches!(directory.record(), Ok(None)) {
            all.push(Deployed { services: services.clone(), directory });
        }
    }
    Ok(all)
}

/// The deployment `name`; `None` where it was never finished, or is gone.
pub(super) fn open(services: &Arc<Services>, name: &Name) -> Result<Option<Deployed>> {
    let directory = Directory::of(services, name);
    Ok(directory.record()?.map(|_| Deployed { services: services.clone(), directory }))
}

/// Goes on with every deployment whose change was cut off; makes the network's rules again where they are gone.
pub(crate) fn resume(services: &Arc<Services>) -> Result<Vec<Rollout>> {
    services.networks.restore()?;
    undo_unfinished(services)?;
    let mut rollouts = Vec::new();
    for deployed in list(services)? {
        match deployed.runner(Duration::ZERO) {
            // Another process is at it, or it is gone, or damaged, which is no reason not to go on with the others.
            Err(error) if error.kind() != ErrorKind::Os => {}
            runner => rollouts.push(Rollout::new(runner?, [])),
        }
    }
    Ok(rollouts)
}

/// Removes what a host that was killed had begun to make of a deployment that never was.
fn undo_unfinished(services: &Arc<Services>) -> Result<()> {
    for name in record::names(services)? {
        let directory = Directory::of(services, &name);
        let lock = match directory.lock(Duration::ZERO) {
            // Somebody is making it.
            Err(error) if error.kind() == ErrorKind::InUse => continue,
            lock => lock?,
        };
        if lock.is_some() && directory.record()?.is_none() {
            balancing::remove(services, &name)?;
            directory.remove()?;
        }
    }
    Ok(())
}

impl Deployed {
    /// Its name.
    pub fn name(&self) -> &Name {
        self.directory.name()
    }

    /// What it is now.
    ///
    /// # Errors
    /// `NotFound` once it has been removed.
    pub fn status(&self) -> Result<DeploymentStatus> {
        status::read(&self.services, &self.directory, &self.record()?)
    }

    /// What has happened to it, oldest first; the last 500 entries.
    ///
    /// # Errors
    /// As [`status`](Self::status).
    pub fn history(&self) -> Result<Vec<HistoryEntry>> {
        Ok(self.record()?.history)
    }

    /// Its revisions on record, oldest first.
    ///
    /// # Errors
    /// As [`status`](Self::status).
    pub fn revisions(&self) -> Result<Vec<RevisionInfo>> {
        let record = self.record()?;
        let numbers = self.directory.revisions()?;
        numbers.into_iter().map(|number| Ok(RevisionInfo::of(&self.directory.revision(number)?, &record))).collect()
    }

    /// What it was asked to be.
    ///
    /// # Errors
    /// As [`status`](Self::status).
    pub fn deployment(&self) -> Result<Deployment> {
        let goal = self.record()?.state.goal;
        let revision = self.directory.revision(goal.revision)?;
        Ok(Deployment { replicas: goal.replicas, ..revision.deployment })
    }

    /// The containers of its replicas.
    ///
    /// # Errors
    /// What reading the root reports.
    pub fn replicas(&self) -> Result<Vec<Container>> {
        status::replicas(&self.services, self.name())
    }

    /// What its replicas use and do now.
    ///
    /// # Errors
    /// As [`status`](Self::status), and what the control groups refuse.
    pub fn stats(&self) -> Result<DeploymentStats> {
        let status = self.status()?;
        let mut stats = DeploymentStats::new(self.name().as_str(), status.revision, status.wanted);
        for replica in status.replicas {
            let container = match Container::open(&self.services, &replica.id) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                container => container?,
            };
            let mut sample = ReplicaStats::new(&container, replica.revision);
            sample.look(&container)?;
            (sample.restarts, sample.health, sample.in_traffic) =
                (replica.restarts, replica.health, replica.in_traffic);
            sample.connections = Some(replica.connections);
            stats.replicas.push(sample);
        }
        Ok(stats)
    }

    /// What its replicas have written, as one in the order of time; with [`follow`](MergedLogs::follow) also those that
    /// are started later, until the deployment is removed.
    pub fn logs(&self) -> MergedLogs {
        let (services, directory) = (self.services.clone(), self.directory.clone());
        MergedLogs::new([]).discover(services.containers(), move || {
            let Some(record) = directory.record()? else { return Ok(None) };
            let replicas = status::replicas(&services, directory.name())?;
            // Of one that is being removed no more will come once the last is gone.
            Ok(Some(replicas).filter(|replicas| record.state.stage != Stage::Removing || !replicas.is_empty()))
        })
    }

    /// Goes back (or forward) to a revision on record, as a rollout with that revision's rules; the image is the one it
    /// had. A volume with snapshots is brought back as the revision left it.
    ///
    /// # Errors
    /// `NotFound` where the revision is not on record, `InUse` while a change of the deployment is under way.
    pub fn rollback(&self, to: RevisionNumber) -> Result<Rollout> {
        let mut runner = self.runner(Duration::from_secs(2))?;
        let revision = runner.revision(to)?.clone();
        runner.change(|record| record.service_of = None)?;
        balancing::ensure(&self.services, self.name(), &revision.deployment)?;
        let replicas = runner.record().state.goal.replicas;
        let event = RolloutEvent::GoingBack { to, image: revision.deployment.image.clone() };
        let kept = runner.record().kept_before.iter().copied().filter(|number| *number > to).min();
        runner.change(|record| {
            remember_good(record);
            record.state.set_goal(Goal { replicas, ..check::goal(&revision) }, clock::now());
            record.bring_back = kept;
            record.service_of = Some(to);
            record.note([event.clone().now()]);
        })?;
        Ok(Rollout::new(runner, [event]))
    }

    /// Changes the number of replicas.
    ///
    /// # Errors
    /// `ResourceExhausted` where they do not fit, `InUse` while a change of the deployment is under way.
    pub fn scale(&self, replicas: u32) -> Result<Rollout> {
        let runner = self.runner(Duration::from_secs(2))?;
        let deployment = Deployment { replicas, ..self.deployment()? };
        check::check(&deployment)?;
        let _room = ledger::admit(&self.services, &deployment)?;
        rescale(runner, replicas)
    }

    /// Tells the autoscaler the value of a metric, for all replicas together. It counts for a minute, or for four times the
    /// interval of [`Autoscale::every`](crate::Autoscale::every) where that is longer.
    ///
    /// # Errors
    /// `NotFound` where the deployment does not scale by such a metric, `InvalidInput` for what is not a number from 0 up.
    pub fn feed(&self, metric: &str, value: f64) -> Result<()> {
        let goal = self.record()?.state.goal.revision;
        let autoscale = self.directory.revision(goal)?.deployment.autoscale;
        let names: Vec<String> = autoscale.into_iter().flat_map(|it| it.metrics).map(|(name, _)| name).collect();
        let index = names.iter().position(|name| name == metric).ok_or_else(|| {
            let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            Error::new(ErrorKind::NotFound, format!("deployment {} does not scale by metric {metric:?}", self.name()))
                .hint(format!("its metrics are: {known}"))
        })?;
        if !value.is_finite() || value < 0.0 {
            return Err(Error::invalid(format!("metric {metric}: {value} is not a number from 0 up")));
        }
        self.directory.feed(index, &Fed { name: metric.to_owned(), value, time: Timestamp::now() })
    }

    /// Lets connections finish, stops every replica and removes all there is of the deployment.
    ///
    /// # Errors
    /// `InUse` while a change of the deployment is under way; what the kernel refuses. May be called again.
    pub fn remove(&self) -> Result<()> {
        match self.removal()?.finish()? {
            Outcome::Gone => Ok(()),
            other => Err(Error::new(ErrorKind::InUse, format!("removing {}: {other}", self.name()))),
        }
    }

    /// As [`remove`](Self::remove), step by step.
    ///
    /// # Errors
    /// As [`remove`](Self::remove).
    pub fn removal(&self) -> Result<Rollout> {
        let mut runner = self.runner(Duration::from_secs(2))?;
        runner.change(|record| record.state.remove())?;
        Ok(Rollout::new(runner, []))
    }

    pub(crate) fn runner(&self, patience: Duration) -> Result<Runner> {
        let lock = self.directory.lock(patience)?.ok_or_else(|| missing(self.name().as_str()))?;
        Ok(Runner::new(&self.services, self.directory.clone(), self.record()?, lock))
    }

    fn record(&self) -> Result<Record> {
        self.directory.record()?.ok_or_else(|| missing(self.name().as_str()))
    }
}

fn missing(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no deployment {name}"))
}
