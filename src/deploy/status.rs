//! What a deployment is now.

use super::balancing;
use super::controller::model::{Failure, RevisionNumber, Stage};
use super::record::{Directory, Record, Revision};
use crate::container::{self, Container, ContainerState, HealthState, Services};
use crate::network::PublishedPort;
use crate::value::{ContainerId, Name, Port, Timestamp};
use crate::{ErrorKind, Result};
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// What a deployment is now.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DeploymentStatus {
    /// Its name.
    pub name: Name,
    /// What is going on.
    pub stage: DeploymentStage,
    /// The revision that is wanted.
    pub revision: RevisionNumber,
    /// The last revision that was completely available.
    pub stable: Option<RevisionNumber>,
    /// The reference of the wanted revision's image.
    pub image: String,
    /// How many replicas are wanted.
    pub wanted: u32,
    /// The stable address, where it has ports.
    pub address: Option<Ipv4Addr>,
    /// The ports of the stable address.
    pub ports: Vec<Port>,
    /// The ports of the host, with the numbers the kernel chose for 0.
    pub published: Vec<PublishedPort>,
    /// The replicas that there are, by revision and place.
    pub replicas: Vec<ReplicaStatus>,
}

/// What is going on with a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeploymentStage {
    /// A revision is being rolled out.
    Rolling,
    /// The last good revision is coming back.
    RollingBack {
        /// The revision that failed.
        failed: RevisionNumber,
        /// Why.
        because: Failure,
    },
    /// The wanted revision is proven.
    Steady,
    /// The wanted revision failed, and nothing came back.
    Failed {
        /// The revision that failed.
        failed: RevisionNumber,
        /// Why.
        because: Failure,
    },
    /// It is being taken down.
    Removing,
}

/// What a replica is now.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ReplicaStatus {
    /// Its container.
    pub id: ContainerId,
    /// Its container's name.
    pub name: String,
    /// Its revision.
    pub revision: RevisionNumber,
    /// Its place among the replicas, from 0.
    pub place: u32,
    /// What it is doing.
    pub state: ContainerState,
    /// What its health check says.
    pub health: HealthState,
    /// How often its keeper has started it again.
    pub restarts: u32,
    /// Whether it gets new connections.
    pub in_traffic: bool,
    /// Its own address.
    pub address: Option<Ipv4Addr>,
    /// How many connections it has by way of the stable address and the published ports.
    pub connections: u32,
}

/// A revision on record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RevisionInfo {
    /// Its number.
    pub number: RevisionNumber,
    /// When it was accepted.
    pub created: Timestamp,
    /// The reference of its image.
    pub image: String,
    /// The digest of the image's manifest.
    pub digest: crate::Digest,
    /// Whether it is the wanted one.
    pub wanted: bool,
    /// Whether it is the last one that was completely available.
    pub stable: bool,
}

impl RevisionInfo {
    pub(crate) fn of(revision: &Revision, record: &Record) -> RevisionInfo {
        RevisionInfo {
            number: revision.number,
            created: revision.created,
            image: revision.reference.to_string(),
            digest: revision.manifest.digest,
            wanted: record.state.goal.revision == revision.number,
            stable: record.state.stable == Some(revision.number),
        }
    }
}

impl DeploymentStatus {
    /// How many replicas of the wanted revision get new connections.
    pub fn available(&self) -> usize {
        self.replicas.iter().filter(|replica| replica.in_traffic && replica.revision == self.revision).count()
    }
}

/// The containers of the deployment's replicas.
pub(crate) fn replicas(services: &Arc<Services>, name: &Name) -> Result<Vec<Container>> {
    let mut found = Vec::new();
    for id in container::list(services)? {
        match Container::open(services, &id) {
            Ok(container) if container.replica_of().is_some_and(|of| of.deployment == *name) => found.push(container),
            _ => {}
        }
    }
    Ok(found)
}

/// Looks at the deployment; needs no lock.
pub(crate) fn read(services: &Arc<Services>, directory: &Directory, record: &Record) -> Result<DeploymentStatus> {
    let goal = &record.state.goal;
    let revision = directory.revision(goal.revision)?;
    let service = balancing::service(services, directory.name())?;
    let members = service.as_ref().map(|service| service.members.iter().map(|member| member.address).collect());
    let containers = replicas(services, directory.name())?;
    let addresses: Vec<Ipv4Addr> = containers.iter().filter_map(Container::address).collect();
    let counts = balancing::connections(services, &addresses).unwrap_or_else(|_| vec![0; addresses.len()]);
    let count = |address: Option<Ipv4Addr>| {
        let index = addresses.iter().position(|other| Some(*other) == address);
        index.and_then(|index| counts.get(index).copied()).unwrap_or(0)
    };
    let mut found = Vec::new();
    for container in &containers {
        if let Some(status) = replica(container, record, members.as_ref(), count(container.address()))? {
            found.push(status);
        }
    }
    found.sort_by_key(|replica| (replica.revision, replica.place));
    Ok(DeploymentStatus {
        name: directory.name().clone(),
        stage: (&record.state.stage).into(),
        revision: goal.revision,
        stable: record.state.stable,
        image: revision.reference.to_string(),
        wanted: goal.replicas,
        address: service.as_ref().map(|service| service.address),
        ports: service.as_ref().map_or_else(Vec::new, |service| service.specification.ports.clone()),
        published: service.map_or_else(Vec::new, |service| service.specification.published),
        replicas: found,
    })
}

fn replica(
    container: &Container,
    record: &Record,
    members: Option<&Vec<Ipv4Addr>>,
    connections: u32,
) -> Result<Option<ReplicaStatus>> {
    let Some(of) = container.replica_of() else { return Ok(None) };
    let state = match container.state() {
        // Removed, or not yet started.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InUse) => return Ok(None),
        state => state?,
    };
    let address = container.address();
    let in_traffic = match (members, address) {
        (Some(members), Some(address)) => members.contains(&address),
        (Some(_), None) => false,
        (None, _) => record.routed.contains(container.id()),
    };
    Ok(Some(ReplicaStatus {
        id: container.id().clone(),
        name: container.shown().to_owned(),
        revision: of.revision,
        place: of.place,
        state,
        health: container.health().map_or(HealthState::Starting, |report| report.state),
        restarts: container.restarts().unwrap_or(0),
        in_traffic,
        address,
        connections,
    }))
}

impl From<&Stage> for DeploymentStage {
    fn from(stage: &Stage) -> DeploymentStage {
        match stage.clone() {
            Stage::Rolling => DeploymentStage::Rolling,
            Stage::RollingBack { failed, because } => DeploymentStage::RollingBack { failed, because },
            Stage::Steady => DeploymentStage::Steady,
            Stage::Failed { failed, because } => DeploymentStage::Failed { failed, because },
            Stage::Removing => DeploymentStage::Removing,
        }
    }
}

/// A word or two for a table.
impl fmt::Display for DeploymentStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeploymentStage::Rolling => f.write_str("rolling out"),
            DeploymentStage::RollingBack { failed, .. } => write!(f, "rolling back from revision {failed}"),
            DeploymentStage::Steady => f.write_str("steady"),
            DeploymentStage::Failed { failed, .. } => write!(f, "revision {failed} failed"),
            DeploymentStage::Removing => f.write_str("being removed"),
        }
    }
}
