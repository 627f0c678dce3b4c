//! `process.capabilities`: what of it can be granted here.

use crate::Result;
use crate::isolate::capability::{Capability, CapabilitySet, CapabilitySets};
use oci_spec::runtime::{Capabilities, Process};

/// The sets that `process` ends up with. What cannot be granted is left out and told to `warn`, as the runtime-spec asks
/// (config, "Linux Process", `capabilities`). Without the field all sets are empty, as under runc.
pub(super) fn granted(process: &Process, user_namespace: bool, warn: &mut dyn FnMut(String)) -> Result<CapabilitySets> {
    let Some(asked) = process.capabilities() else { return Ok(CapabilitySets::default()) };
    let (bounds, held) = if user_namespace {
        // The first process of a user namespace has all that the kernel knows.
        let all = known_to_kernel();
        (all, all)
    } else {
        (CapabilitySet::bounding()?, CapabilitySet::permitted()?)
    };
    let mut take = |field: &str, asked: &Option<Capabilities>, available: CapabilitySet, why: &str| -> Result<_> {
        let asked = set_of(asked)?;
        let missing = asked.difference(available);
        if !missing.is_empty() {
            warn(format!("process.capabilities.{field}: {missing} cannot be granted: {why}"));
        }
        Ok(asked.intersection(available))
    };
    let not_held = "this process does not have it";
    let bounding = take("bounding", asked.bounding(), bounds, not_held)?;
    let permitted = take("permitted", asked.permitted(), held, not_held)?;
    let effective = take("effective", asked.effective(), permitted, "it is not permitted")?;
    let inheritable =
        take("inheritable", asked.inheritable(), held.intersection(bounding), "it is not in the bounding set")?;
    let carried = permitted.intersection(inheritable);
    let ambient = take("ambient", asked.ambient(), carried, "it is not both permitted and inheritable")?;
    Ok(CapabilitySets { bounding, effective, permitted, inheritable, ambient })
}

fn set_of(names: &Option<Capabilities>) -> Result<CapabilitySet> {
    names.iter().flatten().map(|name| name.to_string().parse::<Capability>()).collect()
}

/// The capabilities up to the kernel's last one.
fn known_to_kernel() -> CapabilitySet {
    let last = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").ok();
    let last = last.and_then(|text| text.trim().parse::<u32>().ok()).unwrap_or(63).min(63);
    CapabilitySet::from_bits(u64::MAX >> (63 - last))
}
