//! What happens in a rollout, for whoever watches and for the history.

use super::controller::model::{Failure, RevisionNumber};
use crate::value::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Something that happened to a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RolloutEvent {
    /// A revision was accepted; its rollout begins.
    Accepted {
        /// Its number, from 1.
        revision: RevisionNumber,
        /// The reference of its image.
        image: String,
    },
    /// Somebody asked to go back to a revision on record; its rollout begins.
    GoingBack {
        /// Its number.
        to: RevisionNumber,
        /// The reference of its image.
        image: String,
    },
    /// The number of replicas was changed.
    Scaled {
        /// Before.
        from: u32,
        /// From now on.
        to: u32,
    },
    /// A replica was started.
    Started {
        /// The name of its container.
        replica: String,
        /// Its revision.
        revision: RevisionNumber,
    },
    /// A replica works, and gets connections.
    Available {
        /// The name of its container.
        replica: String,
        /// Its revision.
        revision: RevisionNumber,
    },
    /// A replica's command ended by itself, or was killed.
    Crashed {
        /// The name of its container.
        replica: String,
        /// Its revision.
        revision: RevisionNumber,
    },
    /// A replica no longer works; it gets no new connections.
    Unready {
        /// The name of its container.
        replica: String,
        /// Its revision.
        revision: RevisionNumber,
    },
    /// A replica gets no new connections; it is stopped once those it has are done.
    Leaving {
        /// The name of its container.
        replica: String,
        /// Its revision.
        revision: RevisionNumber,
    },
    /// A replica is gone.
    Removed {
        /// The name of its container.
        replica: String,
        /// Its revision.
        revision: RevisionNumber,
    },
    /// The content of a volume was kept before a revision began to use it.
    VolumeKept {
        /// The volume.
        volume: String,
        /// The revision.
        before: RevisionNumber,
    },
    /// The content of a volume was brought back.
    VolumeRestored {
        /// The volume.
        volume: String,
        /// As it was before this revision.
        before: RevisionNumber,
    },
    /// All replicas of the revision are available; what is left of others is on its way out.
    Complete {
        /// The revision.
        revision: RevisionNumber,
    },
    /// The revision failed; the last good one comes back.
    RollingBack {
        /// The revision that failed.
        failed: RevisionNumber,
        /// The one that comes back.
        to: RevisionNumber,
        /// Why.
        because: Failure,
    },
    /// The last good revision is back.
    RolledBack {
        /// The revision that failed.
        failed: RevisionNumber,
        /// The one that is back.
        to: RevisionNumber,
        /// Why.
        because: Failure,
    },
    /// The revision failed, and nothing comes back: there is no good revision, or nobody wants it back.
    Failed {
        /// The revision that failed.
        failed: RevisionNumber,
        /// Why.
        because: Failure,
    },
    /// The deployment is gone.
    Gone,
}

/// An entry of a deployment's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HistoryEntry {
    /// When.
    pub time: Timestamp,
    /// What.
    pub event: RolloutEvent,
}

/// How a rollout ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// All replicas of this revision are available.
    Complete(RevisionNumber),
    /// The revision failed, and the last good one is back.
    RolledBack {
        /// The revision that failed.
        failed: RevisionNumber,
        /// The one that is back.
        to: RevisionNumber,
        /// Why.
        because: Failure,
    },
    /// The revision failed, and nothing came back.
    Failed {
        /// The revision that failed.
        failed: RevisionNumber,
        /// Why.
        because: Failure,
    },
    /// The deployment is gone.
    Gone,
}

impl RolloutEvent {
    /// Happened now.
    pub(crate) fn now(self) -> HistoryEntry {
        HistoryEntry { time: Timestamp::now(), event: self }
    }

    /// The outcome, where this is one.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        match self {
            RolloutEvent::Complete { revision } => Some(Outcome::Complete(*revision)),
            RolloutEvent::RolledBack { failed, to, because } => {
                Some(Outcome::RolledBack { failed: *failed, to: *to, because: because.clone() })
            }
            RolloutEvent::Failed { failed, because } => {
                Some(Outcome::Failed { failed: *failed, because: because.clone() })
            }
            RolloutEvent::Gone => Some(Outcome::Gone),
            _ => None,
        }
    }
}

/// One line for a person.
impl fmt::Display for RolloutEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RolloutEvent::Accepted { revision, image } => write!(f, "revision {revision} accepted: {image}"),
            RolloutEvent::GoingBack { to, image } => write!(f, "going back to revision {to}, as asked: {image}"),
            RolloutEvent::Scaled { from, to } => write!(f, "scaled from {from} to {to} replicas"),
            RolloutEvent::Started { replica, .. } => write!(f, "{replica} started"),
            RolloutEvent::Available { replica, .. } => write!(f, "{replica} available"),
            RolloutEvent::Crashed { replica, .. } => write!(f, "{replica} crashed"),
            RolloutEvent::Unready { replica, .. } => write!(f, "{replica} is not ready any more"),
            RolloutEvent::Leaving { replica, .. } => write!(f, "{replica} leaves"),
            RolloutEvent::Removed { replica, .. } => write!(f, "{replica} removed"),
            RolloutEvent::VolumeKept { volume, before } => {
                write!(f, "volume {volume} kept as it was before revision {before}")
            }
            RolloutEvent::VolumeRestored { volume, before } => {
                write!(f, "volume {volume} restored as it was before revision {before}")
            }
            RolloutEvent::Complete { revision } => write!(f, "revision {revision} complete"),
            RolloutEvent::RollingBack { failed, to, because } => {
                write!(f, "revision {failed} failed ({because}), going back to revision {to}")
            }
            RolloutEvent::RolledBack { failed, to, because } => {
                write!(f, "back on revision {to}: revision {failed} failed ({because})")
            }
            RolloutEvent::Failed { failed, because } => write!(f, "revision {failed} failed: {because}"),
            RolloutEvent::Gone => f.write_str("removed"),
        }
    }
}

/// One line for a person.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Complete(revision) => write!(f, "revision {revision} is live"),
            Outcome::RolledBack { failed, to, because } => {
                write!(f, "back on revision {to}: revision {failed} failed ({because})")
            }
            Outcome::Failed { failed, because } => write!(f, "revision {failed} failed: {because}"),
            Outcome::Gone => f.write_str("removed"),
        }
    }
}

/// Why a revision failed, for a person.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Crashed { crashes, finding } => {
                match crashes {
                    1 => f.write_str("a replica crashed")?,
                    crashes => write!(f, "its replicas crashed {crashes} times")?,
                }
                finding.as_ref().map_or(Ok(()), |finding| write!(f, ": {finding}"))
            }
            Failure::NotHealthy { finding: Some(finding), .. } => {
                write!(f, "a replica was not available in time: health check: {finding}")
            }
            Failure::NotHealthy { .. } => f.write_str("a replica was not available in time"),
            Failure::NoProgress { finding: Some(finding) } => {
                write!(f, "no further replica became available in time: health check: {finding}")
            }
            Failure::NoProgress { .. } => f.write_str("no further replica became available in time"),
            Failure::NotStarted { error } => write!(f, "a replica could not be started: {error}"),
        }
    }
}
