//! `process.rlimits`.

use crate::error::During;
use crate::isolate::privilege::lower_limit;
use crate::isolate::rlimit::{Resource, ResourceLimit};
use crate::kernel::resource_limit;
use crate::plan::Builder;
use crate::{Error, Result};
use oci_spec::runtime::{PosixRlimit, Process};

/// The limits, each resource at most once.
pub(super) fn limits(process: &Process) -> Result<Vec<ResourceLimit>> {
    let mut seen = Vec::new();
    process.rlimits().iter().flatten().enumerate().map(|(index, entry)| limit(index, entry, &mut seen)).collect()
}

/// The limit of entry `index`; its resource must not be among those `seen` (runtime-spec, config, "POSIX process":
/// duplicates are an error).
pub(super) fn limit(index: usize, entry: &PosixRlimit, seen: &mut Vec<Resource>) -> Result<ResourceLimit> {
    let field = || format!("process.rlimits[{index}]");
    let resource: Resource = entry.typ().to_string().parse()?;
    if seen.contains(&resource) {
        return Err(Error::invalid(format!("{}: {} is there twice", field(), entry.typ())));
    }
    seen.push(resource);
    ResourceLimit::new(resource, entry.soft(), entry.hard()).map_err(|error| error.context(field()))
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
