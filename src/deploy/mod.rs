//! Deployments: replicas of one image behind one address, replaced without a gap, rolled back by themselves.

mod autoscale;
pub(crate) mod controller;
pub(crate) mod specification;
mod watch;

pub use autoscale::Autoscale;
pub use specification::{Deployment, Guard, OnFailure, Request, Rolling, Strategy};
pub use watch::{DeploymentStats, DeploymentTotals, Rates, ReplicaStats, Stalls, TimeShares, metrics};
