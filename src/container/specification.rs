//! A container's complete description: everything that its image left open is decided.

use super::health::Health;
use super::restart::Restart;
use crate::cgroup::{Limits, Policy};
use crate::error::Context;
use crate::network::{Network, PublishedPort};
use crate::value::{ContainerId, Digest, EnvVar, Name, Timestamp};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a container is to be.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Specification {
    pub(crate) version: u32,
    pub(crate) id: ContainerId,
    pub(crate) name: Option<Name>,
    /// The image's reference, for people.
    pub(crate) image: String,
    /// The image's layers, lowest first.
    pub(crate) layers: Vec<Digest>,
    pub(crate) command: Vec<String>,
    pub(crate) environment: Vec<EnvVar>,
    pub(crate) working_directory: PathBuf,
    pub(crate) user: u32,
    pub(crate) group: u32,
    pub(crate) additional_groups: Vec<u32>,
    pub(crate) hostname: String,
    pub(crate) limits: Limits,
    pub(crate) policy: Policy,
    pub(crate) network: Network,
    pub(crate) ports: Vec<PublishedPort>,
    /// The networks on the bridge that it belongs to; none is `default` alone.
    #[serde(default)]
    pub(crate) networks: Vec<Name>,
    /// The service that it is a member of: it holds the service's ports of the host while it lives.
    #[serde(default)]
    pub(crate) service: Option<Name>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) init: bool,
    pub(crate) read_only: bool,
    /// Capabilities as bits; `None` for the default set.
    pub(crate) capabilities: Option<u64>,
    /// Whether the default seccomp profile applies.
    pub(crate) seccomp: bool,
    pub(crate) stop_signal: i32,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) log: LogOptions,
    /// How it is asked whether it works.
    #[serde(default)]
    pub(crate) health: Option<Health>,
    /// When its keeper starts it again.
    #[serde(default)]
    pub(crate) restart: Restart,
    pub(crate) created: Timestamp,
    /// What it is a replica of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) replica: Option<ReplicaOf>,
}

/// The place of a container in a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReplicaOf {
    pub(crate) deployment: Name,
    pub(crate) revision: u32,
    pub(crate) place: u32,
}

/// Something of the host's in the container, or memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mount {
    Bind { source: PathBuf, target: PathBuf, read_only: bool },
    Tmpfs { target: PathBuf, size: u64 },
    Volume { name: String, target: PathBuf, read_only: bool },
}

impl Mount {
    /// The name of the volume, where it is one.
    pub(crate) fn volume(&self) -> Option<&str> {
        match self {
            Mount::Volume { name, .. } => Some(name),
            _ => None,
        }
    }

    /// Refuses a volume whose name or mount point makes no sense; of the others the sandbox does.
    pub(crate) fn check(&self) -> Result<()> {
        let Mount::Volume { name, target, .. } = self else { return Ok(()) };
        name.parse::<Name>().context(|| "volume")?;
        if !target.is_absolute() || target.components().count() < 2 {
            let target = target.display();
            return Err(Error::invalid(format!(
                "mount point {target} of volume {name} is not an absolute path below /"
            )));
        }
        Ok(())
    }
}

/// How much of a container's output is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogOptions {
    /// Past this many bytes the log is rotated; 0: never.
    pub limit: u64,
    /// How many rotated logs are kept beside the current one.
    pub files: u32,
}

/// 10 MiB and 2 rotated logs.
impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions { limit: 10 << 20, files: 2 }
    }
}
