//! What deployments use and do: statistics of replicas and sums of them, rates, metrics for Prometheus, and where the
//! time of a request goes.

mod metrics;
mod rates;
mod shares;

pub use metrics::metrics;
pub use rates::Rates;
pub use shares::{Stalls, TimeShares};

use crate::Result;
use crate::container::{Container, ContainerStats, HealthState};
use crate::value::{ContainerId, Memory, Name};
use std::time::Duration;

/// What one replica uses and does.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ReplicaStats {
    /// Its container.
    pub id: ContainerId,
    /// The name of its container.
    pub name: Option<Name>,
    /// The revision that it belongs to.
    pub revision: u32,
    /// What it uses; `None` once it has ended.
    pub usage: Option<ContainerStats>,
    /// How often it was started again.
    pub restarts: u32,
    /// What its health check says.
    pub health: HealthState,
    /// Whether it gets new connections.
    pub in_traffic: bool,
    /// Connections to it; `None` where they were not counted.
    pub connections: Option<u32>,
}

/// What a deployment uses and does: one sample of all its replicas.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DeploymentStats {
    /// Its name.
    pub deployment: String,
    /// The revision that is wanted.
    pub revision: u32,
    /// How many replicas are wanted.
    pub wanted: u32,
    /// Those that there are, of all revisions.
    pub replicas: Vec<ReplicaStats>,
}

/// Sums over the replicas of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeploymentTotals {
    /// Replicas that run.
    pub running: u32,
    /// Of them, those that work: healthy, or without a health check.
    pub ready: u32,
    /// Memory in use.
    pub memory: Memory,
    /// Processor time that the replicas running now have used.
    pub cpu: Duration,
    /// Processes and threads.
    pub pids: u64,
    /// Restarts of the replicas that there are.
    pub restarts: u64,
    /// Connections, where they were counted.
    pub connections: u64,
    /// Bytes that came in over the network, since the start of each replica.
    pub received_bytes: u64,
    /// Bytes that went out.
    pub sent_bytes: u64,
}

impl ReplicaStats {
    /// A replica that has not been looked at: unchecked, out of traffic, nothing counted.
    pub fn new(container: &Container, revision: u32) -> ReplicaStats {
        ReplicaStats {
            id: container.id().clone(),
            name: container.name().cloned(),
            revision,
            usage: None,
            restarts: 0,
            health: HealthState::Unchecked,
            in_traffic: false,
            connections: None,
        }
    }

    /// Takes in what the container uses now.
    ///
    /// # Errors
    /// As [`Container::stats`], but for a container that has ended.
    pub fn look(&mut self, container: &Container) -> Result<()> {
        self.usage = match container.stats() {
            Ok(usage) => Some(usage),
            Err(error) => match container.is_running() {
                Ok(true) => return Err(error),
                // It has ended, or was removed, since somebody named it.
                Ok(false) | Err(_) => None,
            },
        };
        Ok(())
    }

    /// Whether it runs and works.
    pub fn is_ready(&self) -> bool {
        self.usage.is_some() && matches!(self.health, HealthState::Healthy | HealthState::Unchecked)
    }

    /// The name of its container, or its id.
    fn shown(&self) -> &str {
        self.name.as_ref().map_or(self.id.as_str(), |name| name.as_str())
    }
}

impl DeploymentStats {
    /// A deployment of `wanted` replicas, none of which has been looked at.
    pub fn new(deployment: impl Into<String>, revision: u32, wanted: u32) -> DeploymentStats {
        DeploymentStats { deployment: deployment.into(), revision, wanted, replicas: Vec::new() }
    }

    /// The sums. What counts up in them goes down when a replica goes; see [`rates`](Self::rates).
    pub fn totals(&self) -> DeploymentTotals {
        let used = || self.replicas.iter().filter_map(|replica| replica.usage.as_ref());
        let networks = || used().filter_map(|usage| usage.network);
        let count = |chosen: &dyn Fn(&ReplicaStats) -> bool| self.replicas.iter().filter(|r| chosen(r)).count() as u32;
        DeploymentTotals {
            running: count(&|replica| replica.usage.is_some()),
            ready: count(&ReplicaStats::is_ready),
            memory: Memory::bytes(sum(used().map(|usage| usage.memory.used.as_bytes()))),
            cpu: used().map(|usage| usage.cpu.usage).fold(Duration::ZERO, Duration::saturating_add),
            pids: sum(used().map(|usage| usage.pids.current)),
            restarts: sum(self.replicas.iter().map(|replica| u64::from(replica.restarts))),
            connections: sum(self.replicas.iter().filter_map(|replica| replica.connections.map(u64::from))),
            received_bytes: sum(networks().map(|network| network.received_bytes)),
            sent_bytes: sum(networks().map(|network| network.sent_bytes)),
        }
    }

    /// What the replicas have used for each second since `earlier`, which is `period` ago, taken together. All that a
    /// replica has used counts where it is new since; what one that is gone had used since is not known. `None` for a
    /// period of 0.
    pub fn rates(&self, earlier: &DeploymentStats, period: Duration) -> Option<Rates> {
        let before = |id: &ContainerId| earlier.replicas.iter().find(|replica| replica.id == *id)?.usage.as_ref();
        let used = self.replicas.iter().filter_map(|replica| Some((replica, replica.usage.as_ref()?)));
        let rates = used.map(|(replica, usage)| Rates::between(before(&replica.id), usage, period));
        (!period.is_zero()).then(|| rates.flatten().fold(Rates::default(), Rates::plus))
    }
}

fn sum(values: impl Iterator<Item = u64>) -> u64 {
    values.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests;
