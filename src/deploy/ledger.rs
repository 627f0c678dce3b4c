//! Who holds what of the machine: the deployments and containers of this root.

use super::admission::{Admission, Amounts, Holder, Machine};
use super::handle::list;
use super::specification::{Deployment, Request};
use super::strategy::Strategy;
use crate::Result;
use crate::container::{self, Container, Services};
use std::fs::File;
use std::sync::Arc;

/// The machine and who holds how much of it.
pub(crate) fn admission(services: &Arc<Services>) -> Result<Admission> {
    let mut holders = Vec::new();
    for deployed in list(services)? {
        // One that is removed meanwhile holds nothing.
        if let Ok(deployment) = deployed.deployment() {
            holders.push(holder(&deployment));
        }
    }
    for id in container::list(services)? {
        let Ok(container) = Container::open(services, &id) else { continue };
        if container.replica_of().is_none() && container.is_running().unwrap_or(false) {
            let limits = container.limits();
            let request = Request { cpus: limits.cpus, memory: limits.memory, pids: limits.pids };
            holders.push(Holder::new(container.shown(), 1, Amounts::of(&request)));
        }
    }
    Ok(Admission { machine: Machine::read()?, holders })
}

/// Refuses what does not fit beside the others. Nobody else is admitted before the caller drops what this returns: by
/// then what was admitted is on record.
pub(crate) fn admit(services: &Arc<Services>, deployment: &Deployment) -> Result<File> {
    let lock = services.admission_lock()?;
    admission(services)?.admit(&holder(deployment)).map(|()| lock)
}

fn holder(deployment: &Deployment) -> Holder {
    let besides = match deployment.rollout {
        Strategy::Rolling(rolling) => rolling.surge,
        Strategy::Recreate(_) => 0,
    };
    let replicas = deployment.replicas.saturating_add(besides);
    Holder::new(&deployment.name, replicas, Amounts::of(&deployment.effective_request()))
}
