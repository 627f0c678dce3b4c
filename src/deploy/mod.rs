//! Deployments: replicas of one image behind one address, replaced without a gap, rolled back by themselves.

mod admission;
mod autoscale;
mod balancing;
mod check;
mod clock;
pub(crate) mod controller;
mod event;
mod handle;
mod ledger;
mod record;
mod replica;
mod rollout;
mod runner;
mod scaling;
#[cfg(test)]
mod simulation;
pub(crate) mod specification;
mod status;
mod stop;
mod strategy;
mod supervise;
mod volumes;
mod wait;
mod watch;

pub use admission::{Admission, Amounts, Holder};
pub use autoscale::Autoscale;
pub use controller::model::Failure as RolloutFailure;
pub use event::{HistoryEntry, Outcome, RolloutEvent};
pub use handle::Deployed;
pub(crate) use handle::{deploy, find, list, resume};
pub(crate) use ledger::admission;
pub use rollout::Rollout;
pub use specification::{Deployment, Request};
pub use status::{DeploymentStage, DeploymentStatus, ReplicaStatus, RevisionInfo};
pub use strategy::{Guard, OnFailure, Rolling, Strategy};
pub use supervise::Supervisor;
pub use watch::{DeploymentStats, DeploymentTotals, Rates, ReplicaStats, Stalls, TimeShares, metrics};
