//! `process.rlimits`.

use crate::error::During;
use crate::isolate::privilege::lower_limit;
use crate::isolate::rlimit::{Resource, ResourceLimit};
use crate::kernel::resource_limit;
use crate::plan::Builder;
use crate::{Error, Result};
use oci_spec::runtime::Process;

/// The limits, each resource at most once (runtime-spec, config, "POSIX process": duplicates are an error).
pub(super) fn limits(process: &Process) -> Result<Vec<ResourceLimit>> {
    let mut limits: Vec<ResourceLimit> = Vec::new();
    for (index, entry) in process.rlimits().iter().flatten().enumerate() {
        let field = || format!("process.rlimits[{index}]");
        let resource: Resource = entry.typ().to_string().parse()?;
        let limit = ResourceLimit::new(resource, entry.soft(), entry.hard()).map_err(|error| error.context(field()))?;
        if limits.iter().any(|other| other.resource() == resource) {
            return Err(Error::invalid(format!("{}: {} is there twice", field(), entry.typ())));
        }
        limits.push(limit);
    }
    Ok(limits)
}

/// Raises the hard limits that are above this process's own: the rights of the user namespace, which is still to come,
/// do not suffice. The soft limits, which could hinder the start itself, are left for later.
pub(super) fn lower_raised(plan: &mut Builder, limits: &[ResourceLimit]) -> Result<()> {
    for limit in limits {
        let (soft, hard) =
            resource_limit(limit.resource().number()).during(|| "read this process's resource limits")?;
        if limit.hard() > hard {
            lower_limit(plan, ResourceLimit::new(limit.resource(), soft, limit.hard())?);
        }
    }
    Ok(())
}
