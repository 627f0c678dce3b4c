//! What a container is doing: the runtime specification's "State", with the fields that runc adds.

use crate::value::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Where a container is in its life (runtime-spec, "State"; `paused` as in runc).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is being created, or its creation was cut off.
    Creating,
    /// It is created, and its process waits to be started.
    Created,
    /// Its process runs.
    Running,
    /// Its processes are frozen.
    Paused,
    /// Its process has ended.
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        })
    }
}

/// The state of a container, in JSON as `runc state` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct State {
    /// The version of the specification.
    #[serde(rename = "ociVersion")]
    pub oci_version: String,
    /// Its id.
    pub id: String,
    /// The number of its first process on the host; 0 where it has none.
    pub pid: i32,
    /// Where it is in its life.
    pub status: Status,
    /// The absolute path of its bundle.
    pub bundle: PathBuf,
    /// The absolute path of its root directory.
    pub rootfs: PathBuf,
    /// When it was created.
    pub created: Timestamp,
    /// The annotations of its configuration.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The name of the user who created it, or the number where it has no name.
    pub owner: String,
}

/// The version of the specification that states and features name.
pub(super) const OCI_VERSION: &str = "1.3.0";
