//! What a deployment is: typed, checked as a whole, with every problem named at once.

use super::autoscale::Autoscale;
use super::strategy::{Rolling, Strategy};
use crate::cgroup::Limits;
use crate::container::{Health, Restart};
use crate::network::{Balance, PublishedPort};
use crate::value::{Cpus, Memory, Port};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Several replicas of one image behind one stable address, and how they are replaced by new ones.
///
/// Setters never fail; [`Engine::deploy`](crate::Engine::deploy) reports everything that is wrong at once, each with its
/// field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    pub(crate) name: String,
    /// The name by which others of its networks find it; its own where there is none.
    pub(crate) alias: Option<String>,
    pub(crate) image: String,
    pub(crate) replicas: u32,
    pub(crate) entrypoint: Option<Vec<String>>,
    pub(crate) command: Option<Vec<String>>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) working_directory: Option<PathBuf>,
    pub(crate) user: Option<String>,
    pub(crate) hostname: Option<String>,
    pub(crate) read_only: bool,
    pub(crate) init: bool,
    pub(crate) stop_signal: Option<String>,
    pub(crate) mounts: Vec<DeploymentMount>,
    pub(crate) limits: Limits,
    pub(crate) request: Request,
    pub(crate) networks: Vec<String>,
    pub(crate) ports: Vec<Port>,
    pub(crate) published: Vec<PublishedPort>,
    pub(crate) balance: Balance,
    pub(crate) weights: Vec<u32>,
    pub(crate) health: Option<Health>,
    /// Whether the image's health check applies where none is given.
    pub(crate) image_health: bool,
    pub(crate) restart: Restart,
    pub(crate) rollout: Strategy,
    pub(crate) autoscale: Option<Autoscale>,
    pub(crate) stop_grace: Duration,
    pub(crate) drain: Duration,
    pub(crate) labels: BTreeMap<String, String>,
}

/// Something of the host's in every replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeploymentMount {
    Bind { source: PathBuf, target: PathBuf, read_only: bool },
    Volume { name: String, target: PathBuf, read_only: bool, snapshot: bool },
    Tmpfs { target: PathBuf, size: u64 },
}

/// What each replica asks to be set aside for it; what is not named is taken from its limits (as Kubernetes does).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub(crate) cpus: Option<Cpus>,
    pub(crate) memory: Option<Memory>,
    pub(crate) pids: Option<u32>,
}

impl Request {
    /// Nothing beyond the limits.
    pub fn new() -> Request {
        Request::default()
    }

    /// Processors.
    #[must_use]
    pub fn cpus(mut self, cpus: Cpus) -> Request {
        self.cpus = Some(cpus);
        self
    }

    /// Memory.
    #[must_use]
    pub fn memory(mut self, memory: Memory) -> Request {
        self.memory = Some(memory);
        self
    }

    /// Processes and threads.
    #[must_use]
    pub fn pids(mut self, pids: u32) -> Request {
        self.pids = Some(pids);
        self
    }
}

impl Deployment {
    /// One replica of `image` under `name`, by which it is also found on the network.
    pub fn new(name: impl Into<String>, image: impl Into<String>) -> Deployment {
        Deployment {
            name: name.into(),
            alias: None,
            image: image.into(),
            replicas: 1,
            entrypoint: None,
            command: None,
            environment: BTreeMap::new(),
            working_directory: None,
            user: None,
            hostname: None,
            read_only: false,
            init: true,
            stop_signal: None,
            mounts: Vec::new(),
            limits: Limits::new(),
            request: Request::new(),
            networks: Vec::new(),
            ports: Vec::new(),
            published: Vec::new(),
            balance: Balance::default(),
            weights: Vec::new(),
            health: None,
            image_health: true,
            restart: Restart::always(),
            rollout: Rolling::default().into(),
            autoscale: None,
            stop_grace: Duration::from_secs(10),
            drain: Duration::from_secs(30),
            labels: BTreeMap::new(),
        }
    }

    /// What is set aside for each replica: the request, else the limit.
    pub(crate) fn effective_request(&self) -> Request {
        Request {
            cpus: self.request.cpus.or(self.limits.cpus),
            memory: self.request.memory.or(self.limits.memory),
            pids: self.request.pids.or(self.limits.pids),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name by which others of its networks find it, in place of its own: unique in each network, not in the engine.
    #[must_use]
    pub fn alias(mut self, alias: impl Into<String>) -> Deployment {
        self.alias = Some(alias.into());
        self
    }

    /// How many replicas, one by default; with [`autoscale`](Self::autoscale) how many to begin with.
    #[must_use]
    pub fn replicas(mut self, replicas: u32) -> Deployment {
        self.replicas = replicas;
        self
    }

    /// The entry point, in place of the image's.
    #[must_use]
    pub fn entrypoint<A: Into<String>>(mut self, entrypoint: impl IntoIterator<Item = A>) -> Deployment {
        self.entrypoint = Some(entrypoint.into_iter().map(Into::into).collect());
        self
    }

    /// The command, in place of the image's.
    #[must_use]
    pub fn command<A: Into<String>>(mut self, command: impl IntoIterator<Item = A>) -> Deployment {
        self.command = Some(command.into_iter().map(Into::into).collect());
        self
    }

    /// A variable of the environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Deployment {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// The working directory, in place of the image's.
    #[must_use]
    pub fn workdir(mut self, directory: impl Into<PathBuf>) -> Deployment {
        self.working_directory = Some(directory.into());
        self
    }

    /// `user[:group]`, in place of the image's.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Deployment {
        self.user = Some(user.into());
        self
    }

    /// The host name of each replica; its container's name by default.
    #[must_use]
    pub fn hostname(mut self, hostname: impl Into<String>) -> Deployment {
        self.hostname = Some(hostname.into());
        self
    }

    /// Makes the root file systems read-only.
    #[must_use]
    pub fn read_only(mut self, on: bool) -> Deployment {
        self.read_only = on;
        self
    }

    /// Whether an init runs as PID 1 of each replica; see [`ContainerBuilder::init`](crate::ContainerBuilder::init).
    #[must_use]
    pub fn init(mut self, on: bool) -> Deployment {
        self.init = on;
        self
    }

    /// The signal that asks a replica to stop, in place of the image's.
    #[must_use]
    pub fn stop_signal(mut self, signal: impl Into<String>) -> Deployment {
        self.stop_signal = Some(signal.into());
        self
    }

    /// Binds a file or directory of the host into every replica.
    #[must_use]
    pub fn bind(mut self, source: impl Into<PathBuf>, target: impl Into<PathBuf>, read_only: bool) -> Deployment {
        self.mounts.push(DeploymentMount::Bind { source: source.into(), target: target.into(), read_only });
        self
    }

    /// Mounts a named volume into every replica; it is made where it is missing.
    #[must_use]
    pub fn volume(mut self, name: impl Into<String>, target: impl Into<PathBuf>) -> Deployment {
        let (name, target) = (name.into(), target.into());
        self.mounts.push(DeploymentMount::Volume { name, target, read_only: false, snapshot: false });
        self
    }

    /// As [`volume`](Self::volume); its content is kept before each rollout and brought back by a rollback. Needs
    /// [`Strategy::Recreate`]: while it is copied nobody may write to it.
    #[must_use]
    pub fn volume_with_snapshot(mut self, name: impl Into<String>, target: impl Into<PathBuf>) -> Deployment {
        let (name, target) = (name.into(), target.into());
        self.mounts.push(DeploymentMount::Volume { name, target, read_only: false, snapshot: true });
        self
    }

    /// Mounts an empty memory file system into every replica.
    #[must_use]
    pub fn tmpfs(mut self, target: impl Into<PathBuf>, size: Memory) -> Deployment {
        self.mounts.push(DeploymentMount::Tmpfs { target: target.into(), size: size.as_bytes() });
        self
    }

    /// What each replica may use at most.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Deployment {
        self.limits = limits;
        self
    }

    /// What is set aside for each replica; see [`Request`].
    #[must_use]
    pub fn request(mut self, request: Request) -> Deployment {
        self.request = request;
        self
    }

    /// A network it belongs to besides others named; `default` where none is named. Only containers that share a network
    /// reach each other.
    #[must_use]
    pub fn network(mut self, name: impl Into<String>) -> Deployment {
        self.networks.push(name.into());
        self
    }

    /// A port of the stable address that leads to the same port of a replica.
    #[must_use]
    pub fn port(mut self, port: impl Into<Port>) -> Deployment {
        self.ports.push(port.into());
        self
    }

    /// A port of the host, on all its addresses, that leads to a port of a replica. Host port 0 is the kernel's choice;
    /// [`DeploymentStatus::published`](crate::DeploymentStatus::published) says which.
    #[must_use]
    pub fn publish(self, host_port: u16, port: impl Into<Port>) -> Deployment {
        self.publish_on(PublishedPort::new(host_port, port))
    }

    /// A port of one address of the host that leads to a port of a replica.
    #[must_use]
    pub fn publish_on(mut self, port: PublishedPort) -> Deployment {
        self.published.push(port);
        self
    }

    /// How connections are spread over the replicas.
    #[must_use]
    pub fn balance(mut self, balance: Balance) -> Deployment {
        self.balance = balance;
        self
    }

    /// Spreads connections in proportion to these weights (1 to 1000), one for each place of a replica, begun again where
    /// there are more replicas than weights.
    #[must_use]
    pub fn weights(mut self, weights: impl Into<Vec<u32>>) -> Deployment {
        self.balance = Balance::Weighted;
        self.weights = weights.into();
        self
    }

    /// What tells that a replica works. Without it the image's check does; without that, a replica works as soon as its
    /// command is executed.
    #[must_use]
    pub fn health(mut self, health: Health) -> Deployment {
        self.health = Some(health);
        self
    }

    /// No health check, not even the image's.
    #[must_use]
    pub fn no_health(mut self) -> Deployment {
        self.health = None;
        self.image_health = false;
        self
    }

    /// When a replica is started again; always by default.
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> Deployment {
        self.restart = restart;
        self
    }

    /// How replicas are replaced by those of the next revision; [`Rolling::new`] by default.
    #[must_use]
    pub fn rollout(mut self, strategy: impl Into<Strategy>) -> Deployment {
        self.rollout = strategy.into();
        self
    }

    /// Lets the number of replicas follow the load, while a [`Supervisor`](crate::Supervisor) runs.
    #[must_use]
    pub fn autoscale(mut self, autoscale: Autoscale) -> Deployment {
        self.autoscale = Some(autoscale);
        self
    }

    /// How long a replica may take to stop before it is killed; 10 s by default.
    #[must_use]
    pub fn stop_grace(mut self, grace: Duration) -> Deployment {
        self.stop_grace = grace;
        self
    }

    /// How long established connections of a replica may go on before it is stopped; 30 s by default.
    #[must_use]
    pub fn drain(mut self, limit: Duration) -> Deployment {
        self.drain = limit;
        self
    }

    /// A label of every replica: free text by key, inert.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Deployment {
        self.labels.insert(key.into(), value.into());
        self
    }
}
