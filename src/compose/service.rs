//! What a service is: typed, complete, nothing of the file left out.

use crate::cgroup::Limits;
use crate::container::{Health, Restart};
use crate::deploy::{Request, Strategy};
use crate::network::PublishedPort;
use crate::value::{Memory, Port};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A service of a project, with variables replaced and files of variables read.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Service {
    /// Its name, by which the others of the project find it.
    pub name: String,
    /// The name of its deployment, or of its container where it runs once: `<project>-<service>`, or `container_name`.
    pub full_name: String,
    /// How its image is built, where it is.
    pub build: Option<ServiceBuild>,
    /// The reference of its image; that of the build is `<project>-<service>` where none is given.
    pub image: String,
    /// In place of the image's entry point.
    pub entrypoint: Option<Vec<String>>,
    /// In place of the image's command.
    pub command: Option<Vec<String>>,
    /// Its environment beside the image's.
    pub environment: BTreeMap<String, String>,
    /// In place of the image's.
    pub working_directory: Option<PathBuf>,
    /// In place of the image's.
    pub user: Option<String>,
    /// In place of the container's name.
    pub hostname: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether its root file system is read-only.
    pub read_only: bool,
    /// Whether an init is its PID 1; the engine's choice where the file does not say.
    pub init: Option<bool>,
    /// Ports of the host that lead to it.
    pub published: Vec<PublishedPort>,
    /// Ports for the others of the project.
    pub exposed: Vec<Port>,
    /// What is mounted in it, in the order of the file.
    pub mounts: Vec<ServiceMount>,
    /// The keys of its networks.
    pub networks: Vec<String>,
    /// What it waits for, by service.
    pub depends_on: BTreeMap<String, Condition>,
    /// Its health check.
    pub health: ServiceHealth,
    /// How many replicas.
    pub replicas: u32,
    /// What each replica may use.
    pub limits: Limits,
    /// What is set aside for each replica.
    pub request: Request,
    /// How replicas are replaced.
    pub rollout: Strategy,
    /// When a replica is started again. [`Restart::never`] makes it a service that runs once.
    pub restart: Restart,
    /// How long a replica may take to stop; 10 s by default.
    pub stop_grace: Duration,
    /// In place of the image's.
    pub stop_signal: Option<String>,
    /// Whether it runs once to its end, in place of being kept running.
    pub once: bool,
    /// Its line in the file.
    pub line: usize,
}

/// How a service's image is built.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceBuild {
    /// The directory with what is copied from, absolute.
    pub context: PathBuf,
    /// The Dockerfile, where it is not the context's `Dockerfile`; relative to the context, or absolute.
    pub dockerfile: Option<PathBuf>,
    /// Build arguments.
    pub arguments: BTreeMap<String, String>,
    /// The stage.
    pub target: Option<String>,
}

/// Something that is mounted in a service.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServiceMount {
    /// A file or directory of the host.
    Bind {
        /// Absolute.
        source: PathBuf,
        /// Absolute, in the container.
        target: PathBuf,
        /// Whether the container may not write to it.
        read_only: bool,
    },
    /// A volume.
    Volume {
        /// The key in the file's `volumes`.
        volume: String,
        /// Absolute, in the container.
        target: PathBuf,
        /// Whether the container may not write to it.
        read_only: bool,
    },
    /// A memory file system.
    Tmpfs {
        /// Absolute, in the container.
        target: PathBuf,
        /// The most it may hold; half of the machine's memory where the file does not say.
        size: Option<Memory>,
    },
}

/// What is waited for before a service starts that depends on another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// It was started. A deployment counts as started once its replicas are available.
    Started,
    /// Its health check succeeds.
    Healthy,
    /// It has ended with status 0.
    Completed,
}

/// The health check of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServiceHealth {
    /// The image's, where that has one.
    Image,
    /// None, whatever the image says.
    Disabled,
    /// This one.
    Own(Health),
}

impl ServiceMount {
    /// Where it is in the container.
    pub fn target(&self) -> &Path {
        match self {
            ServiceMount::Bind { target, .. }
            | ServiceMount::Volume { target, .. }
            | ServiceMount::Tmpfs { target, .. } => target,
        }
    }
}
