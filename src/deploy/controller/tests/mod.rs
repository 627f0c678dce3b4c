//! The ordinary courses of a deployment, each as a trace that can be read: when, what was done, `*` what happened.
//! `r2/0` is the replica of revision 2 in place 0.

mod arbitrary;
mod failure;
mod rollout;
mod steady;
mod trace;

use crate::deploy::{Guard, Rolling, Strategy};
use std::time::Duration;

fn rolling() -> Rolling {
    Rolling::new().minimum_healthy_time(Duration::from_secs(1))
}

fn recreate() -> Strategy {
    Strategy::Recreate(Guard::default())
}
