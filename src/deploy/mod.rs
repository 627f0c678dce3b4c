//! Deployments: replicas of one image behind one address, replaced without a gap, rolled back by themselves.

mod admission;
mod autoscale;
pub(crate) mod controller;
#[cfg(test)]
mod simulation;
pub(crate) mod specification;

pub use admission::{Admission, Amounts, Holder};
pub use autoscale::Autoscale;
pub use specification::{Deployment, Guard, OnFailure, Request, Rolling, Strategy};
