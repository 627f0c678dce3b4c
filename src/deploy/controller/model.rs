//! What the controller remembers, sees and decides. Times that it is given are milliseconds of a clock that does not
//! stop for suspends and begins anew with each boot. Times that it remembers are by a clock of its own, which goes on
//! from look to look, but by no more than a minute between two: a suspend or a reboot ages nothing.

use crate::deploy::Strategy;
use crate::value::ContainerId;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Milliseconds.
pub(crate) type Moment = u64;

/// The number of a revision, from 1.
pub(crate) type RevisionNumber = u32;

/// What should run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Goal {
    pub(crate) revision: RevisionNumber,
    pub(crate) replicas: u32,
    pub(crate) strategy: Strategy,
    /// How long established connections may hold a replica up that is on its way out.
    pub(crate) drain: Duration,
}

/// Everything the controller has to remember; durable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) goal: Goal,
    pub(crate) stage: Stage,
    /// The last revision that was completely available, if there was one.
    pub(crate) stable: Option<RevisionNumber>,
    /// The controller's own clock; all remembered moments are by it. At first what the caller's clock said.
    pub(crate) clock: Moment,
    /// What the caller's clock said at the last look: one that goes back has begun anew.
    pub(crate) seen: Moment,
    /// When the stage began.
    pub(crate) begun: Moment,
    /// When `best` last grew, or when others than the goal's replicas last held it up.
    pub(crate) progressed: Moment,
    /// The most replicas of the goal that were available at once in this stage.
    pub(crate) best: u32,
    /// Crashes of the goal's replicas in this stage.
    pub(crate) crashes: u32,
    /// What each replica was like at the last look, for what has changed.
    pub(crate) known: Vec<Known>,
    /// How often in a row a replica had to be replaced, and when next: the pause doubles.
    pub(crate) replacements: u32,
    pub(crate) not_before: Moment,
}

/// Where a deployment is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// A new revision replaces the others.
    Rolling,
    /// The last good revision comes back; why.
    RollingBack { failed: RevisionNumber, because: Failure },
    /// The goal's revision is proven; only numbers change, and replicas that end are replaced.
    Steady,
    /// It failed, and everything stays as it is, or (without a good revision) is stopped.
    Failed { failed: RevisionNumber, because: Failure },
    /// Everything is taken down.
    Removing,
}

/// Why a revision failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Failure {
    /// Its replicas crashed.
    Crashed {
        /// How often, taken together.
        crashes: u32,
        /// How one of them ended at last.
        finding: Option<String>,
    },
    /// A replica did not become available in time, and what its health check found.
    NotHealthy {
        /// Its container.
        replica: ContainerId,
        /// What its health check found at last.
        finding: Option<String>,
    },
    /// No replica more became available in time.
    NoProgress {
        /// What the health check of one that is not available found at last.
        finding: Option<String>,
    },
    /// A replica could not be started.
    NotStarted {
        /// The error.
        error: String,
    },
}

/// What is remembered of a replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) id: ContainerId,
    pub(crate) revision: RevisionNumber,
    pub(crate) first_seen: Moment,
    /// Since when it has been ready without a break, if it is.
    pub(crate) ready_since: Option<Moment>,
    /// Since when it has not been available: since it was first seen, or since it was last available. None while it is.
    pub(crate) unavailable_since: Option<Moment>,
    /// Whether it was ever available.
    pub(crate) proven: bool,
    /// Whether its command had ended for good at the last look.
    pub(crate) ended: bool,
    /// Restarts at the last look.
    pub(crate) restarts: u32,
    /// Since when it gets no new connections because it is on its way out. It may still be called back.
    pub(crate) leaving_since: Option<Moment>,
    /// When it was last told to stop, if it was.
    pub(crate) stopping: Option<Moment>,
}

/// What is there: every replica from the moment at which its start was begun (as [`Condition::Starting`]) until it has
/// been removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Observed {
    pub(crate) replicas: Vec<Replica>,
    /// Starts that failed since the last look: revision and the error.
    pub(crate) failed_starts: Vec<(RevisionNumber, String)>,
}

/// A replica as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replica {
    pub(crate) id: ContainerId,
    pub(crate) revision: RevisionNumber,
    /// Its place: the smallest number that no other replica had when it was started.
    pub(crate) place: u32,
    pub(crate) condition: Condition,
    /// How often its keeper has started it again.
    pub(crate) restarts: u32,
    /// Whether the balancer sends it new connections.
    pub(crate) in_traffic: bool,
    /// Connections it still has.
    pub(crate) connections: u32,
    /// How its command ended at last, or what its health check found at last: what says more.
    pub(crate) finding: Option<String>,
}

/// What a replica is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It runs; its health check has not decided yet.
    Starting,
    /// It runs, and its health check (if it has one) says that it works.
    Ready,
    /// It runs, and does not work.
    Unhealthy,
    /// Its command has ended; its keeper will start it again.
    Restarting,
    /// Its command has ended for good.
    Ended,
}

/// What is to be done, in this order. Each can be asked for again after a crash, and must then do no harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Sends new connections to exactly these, in one transaction.
    Route(Vec<ContainerId>),
    /// Starts a replica.
    Start { revision: RevisionNumber, place: u32 },
    /// Asks a replica to stop; it is removed once it has ended.
    Stop(ContainerId),
    /// Removes a replica that has ended.
    Remove(ContainerId),
}

/// What has happened, for the history and for whoever watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Happening {
    /// A replica counts as available.
    Available { id: ContainerId, revision: RevisionNumber },
    /// A replica crashed.
    Crashed { id: ContainerId, revision: RevisionNumber },
    /// A replica is no longer ready.
    Unready { id: ContainerId, revision: RevisionNumber },
    /// A replica gets no new connections, and is stopped once those it has are done.
    Leaving { id: ContainerId, revision: RevisionNumber },
    /// The revision is complete.
    Complete { revision: RevisionNumber },
    /// The revision failed; `to` comes back.
    RollingBack { failed: RevisionNumber, to: RevisionNumber, because: Failure },
    /// `to` is back, completely available.
    RolledBack { failed: RevisionNumber, to: RevisionNumber, because: Failure },
    /// The revision failed, and there is nothing to go back to, or nobody wants it.
    Failed { failed: RevisionNumber, because: Failure },
    /// All is gone. Said at every look from then on.
    Removed,
}

/// The controller's answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Decision {
    pub(crate) state: State,
    pub(crate) actions: Vec<Action>,
    pub(crate) happenings: Vec<Happening>,
    /// When it wants to be asked again at the latest, if nothing happens before.
    pub(crate) again_at: Option<Moment>,
    /// Whether there is nothing left to do: the stage is over and all is as it should be.
    pub(crate) settled: bool,
}
