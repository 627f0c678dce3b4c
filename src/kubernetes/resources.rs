//! Limits and requests.

use super::draft::Draft;
use crate::value::{Cpus, Memory};
use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;

/// What the container may use, and what is set aside for it.
pub(super) fn resources(draft: &mut Draft<'_>) -> Option<ResourceRequirements> {
    let (limits, request) = (&draft.deployment.limits, &draft.deployment.request);
    if limits.memory.zip(request.memory).is_some_and(|(limit, request)| request > limit) {
        draft.problem("request.memory: it is more than the limit");
    }
    if limits.cpus.zip(request.cpus).is_some_and(|(limit, request)| request > limit) {
        draft.problem("request.cpus: it is more than the limit");
    }
    let without_counterpart = [
        ("limits.pids", limits.pids.is_some(), "the number of processes is limited for all pods of a node alike"),
        ("limits.memory_swap", limits.memory_swap.is_some(), "swap follows the settings of the node"),
        ("limits.cpu_weight", limits.cpu_weight.is_some(), "the weight follows from the processors requested"),
        ("limits.io_weight", limits.io_weight.is_some(), "there is no weight of block devices"),
        ("request.pids", request.pids.is_some(), "processes cannot be requested"),
    ];
    for (field, _, there) in without_counterpart.into_iter().filter(|(_, asked, _)| *asked) {
        draft.differs(field, "it is enforced for each replica", there, "set it up on the nodes where it matters");
    }
    if limits.memory.is_some() && !limits.oom_group {
        draft.differs(
            "limits.oom_group",
            "one process is killed where the memory limit is reached",
            "with control groups of version 2 all processes of the container are",
            "set singleProcessOOMKill on the nodes where that matters",
        );
    }
    let quantities = |cpus: Option<Cpus>, memory: Option<Memory>| {
        let cpu = cpus.map(|cpus| ("cpu".to_owned(), processors(cpus)));
        let memory = memory.map(|memory| ("memory".to_owned(), bytes(memory)));
        let all: BTreeMap<String, Quantity> = cpu.into_iter().chain(memory).collect();
        (!all.is_empty()).then_some(all)
    };
    // What is not requested is taken from the limits, there as here.
    let limits = quantities(limits.cpus, limits.memory);
    let requests = quantities(request.cpus, request.memory);
    let some = limits.is_some() || requests.is_some();
    some.then(|| ResourceRequirements { limits, requests, ..ResourceRequirements::default() })
}

/// In mebibytes where that is exact.
pub(super) fn bytes(memory: Memory) -> Quantity {
    const MIB: u64 = 1 << 20;
    let bytes = memory.as_bytes();
    Quantity(if bytes > 0 && bytes.is_multiple_of(MIB) { format!("{}Mi", bytes / MIB) } else { bytes.to_string() })
}

fn processors(cpus: Cpus) -> Quantity {
    let millis = cpus.as_millis();
    Quantity(if millis.is_multiple_of(1000) { (millis / 1000).to_string() } else { format!("{millis}m") })
}
