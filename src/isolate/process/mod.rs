//! The attributes of a process of a runtime-spec configuration: everything in `process` but its command line, its
//! terminal and its working directory, and what `linux` says of every process (personality, memory policy, seccomp).

mod capabilities;
mod limits;

use super::privilege::{Privileges, lower_confinement};
use super::seccomp::{Architecture, Filter, Profile};
use crate::plan::op::OpCode;
use crate::plan::{Builder, Phase};
use crate::{Error, ErrorKind, Result};
use capabilities::granted;
use limits::{limits, lower_raised};
use oci_spec::runtime::{Process, Spec};

/// What the attributes depend on beside the configuration.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Circumstances {
    /// Whether the process is in a user namespace of the container's.
    pub(crate) user_namespace: bool,
    /// It joins a container that runs: `exec`.
    pub(crate) joins: bool,
    /// How many descriptors above the standard streams it gets: 3 and up.
    pub(crate) preserved: u32,
}

/// Lowers what must be settled while the host's /proc and this process's own rights are at hand; to be called in phase
/// Fence, before control groups and namespaces are entered. What it sets is inherited by every process of the start.
///
/// runtime-spec, config, "Process": `oomScoreAdj`, `rlimits`.
pub(crate) fn lower_own(plan: &mut Builder, process: &Process, circumstances: Circumstances) -> Result<()> {
    if let Some(adjustment) = process.oom_score_adj() {
        let (file, text) = (plan.text("oom_score_adj"), plan.text(adjustment.to_string()));
        plan.push(OpCode::WriteOwn, &[file, text], format!("set process.oomScoreAdj to {adjustment}"))
            .hint(libc::EACCES, "lowering it needs CAP_SYS_RESOURCE")
            .hint(libc::EPROTO, "the host's /proc is no procfs")
            .hint(libc::EXDEV, "something is mounted over the host's /proc")
            .hint(libc::ENOENT, "the host has no /proc");
    }
    plan.phase(Phase::Join);
    if circumstances.user_namespace {
        lower_raised(plan, &limits(process)?)?;
    }
    Ok(())
}

/// Lowers the phases EarlyFilter to LateFilter for `process`; `park` adds what is waited for once all privileges but
/// the late filter are settled. Warnings (a capability that cannot be granted) go to `warn`.
///
/// # Errors
/// `InvalidInput` naming the field; what `park` returns.
pub(crate) fn lower_process(
    plan: &mut Builder,
    spec: &Spec,
    process: &Process,
    circumstances: Circumstances,
    warn: &mut dyn FnMut(String),
    park: impl FnOnce(&mut Builder) -> Result<()>,
) -> Result<()> {
    let user = process.user();
    let privileges = Privileges {
        user: user.uid(),
        group: user.gid(),
        additional_groups: user.additional_gids().clone().unwrap_or_default(),
        in_user_namespace: circumstances.user_namespace,
        umask: user.umask().map_or_else(own_umask, Ok)?,
        capabilities: granted(process, circumstances.user_namespace, warn)?,
        limits: limits(process)?,
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        preserved: circumstances.preserved,
        die_with_parent: None,
    };
    let filter = filter(spec)?;
    lower_confinement(plan, &privileges, filter.as_ref(), park)
}

/// The filter of `linux.seccomp`.
fn filter(spec: &Spec) -> Result<Option<Filter>> {
    let Some(document) = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref()) else { return Ok(None) };
    let native = Architecture::native()
        .ok_or_else(|| Error::new(ErrorKind::Unsupported, "there is no seccomp filter for this architecture"))?;
    let profile = Profile::from_runtime_spec(document).map_err(|error| error.context("linux.seccomp"))?;
    profile.compile(native).map_err(|error| error.context("linux.seccomp")).map(Some)
}

/// The umask of the calling process, which the payload keeps where the configuration has none (runtime-spec, config,
/// "User").
fn own_umask() -> Result<u32> {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|digits| u32::from_str_radix(digits.trim(), 8).ok()).ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, "process.user.umask is not given, and this process's own cannot be read")
            .hint("give one, or mount /proc")
    })
}

#[cfg(test)]
mod tests;
