//! The attributes of a process of a runtime-spec configuration: everything in `process` but its command line, its
//! terminal and its working directory, and what `linux` says of every process (personality, memory policy, seccomp).

mod capabilities;
mod label;
mod limits;
mod list;
mod scheduling;
mod sysctl;
mod validate;

pub(crate) use sysctl::lower_sysctls;
pub(crate) use validate::process_problems;

use super::landlock::Landlock;
use super::privilege::{Confinement, Privileges, lower_confinement, lower_keyring};
use super::seccomp::{Architecture, Filter, Profile};
use crate::plan::op::OpCode;
use crate::plan::{Builder, Phase};
use crate::{Error, ErrorKind, Result};
use capabilities::granted;
use label::{lower_key_label, lower_labels};
use limits::{limits, lower_raised};
use oci_spec::runtime::{Process, Spec};
use scheduling::{
    lower_affinity, lower_io_priority, lower_memory_policy, lower_personality, lower_scheduler, stays_with_process,
};

const INITIAL_AFFINITY: &str = "process.execCPUAffinity.initial";
const FINAL_AFFINITY: &str = "process.execCPUAffinity.final";

/// What the attributes depend on beside the configuration.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Circumstances<'a> {
    /// Whether the process is in a user namespace of the container's.
    pub(crate) user_namespace: bool,
    /// It joins a container that runs: `exec`.
    pub(crate) joins: bool,
    /// The name of the session keyring, `_ses.ID` as under runc; none: that of the caller is kept (`--no-new-keyring`).
    pub(crate) keyring: Option<&'a str>,
    /// What it may use of files and ports, all that it could by default.
    pub(crate) landlock: Option<&'a Landlock>,
    /// How many descriptors above the standard streams it gets: 3 and up.
    pub(crate) preserved: u32,
}

/// Lowers what must be settled while the host's /proc and this process's own rights are at hand; to be called in phase
/// Fence, behind the fence itself and before control groups and namespaces are entered. It leaves the plan in phase Join.
/// What it sets is inherited by every process of the start.
///
/// runtime-spec, config, "Process": `oomScoreAdj`, `apparmorProfile`, `selinuxLabel`, `execCPUAffinity.initial`, the
/// part of `rlimits` that needs rights of the host; and the session keyring.
///
/// # Errors
/// `Unsupported` for a profile or label that this host cannot enforce; `InvalidInput` naming the field.
pub(crate) fn lower_own(plan: &mut Builder, process: &Process, circumstances: Circumstances<'_>) -> Result<()> {
    if let Some(name) = circumstances.keyring {
        lower_key_label(plan, process, true)?;
        lower_keyring(plan, name);
        lower_key_label(plan, process, false)?;
    }
    let affinity = process.exec_cpu_affinity().as_ref().filter(|_| circumstances.joins);
    if let Some(list) = affinity.and_then(|affinity| affinity.initial().as_deref()) {
        lower_affinity(plan, list, INITIAL_AFFINITY)?;
    }
    if let Some(adjustment) = process.oom_score_adj() {
        let (file, text) = (plan.text("oom_score_adj"), plan.text(adjustment.to_string()));
        plan.push(OpCode::WriteOwn, &[file, text], format!("set process.oomScoreAdj to {adjustment}"))
            .hint(libc::EINVAL, "it must be within -1000 and 1000")
            .hint(libc::EACCES, "lowering it needs CAP_SYS_RESOURCE")
            .hint(libc::EPROTO, "the host's /proc is no procfs")
            .hint(libc::EXDEV, "something is mounted over a part of the host's /proc")
            .hint(libc::ENOENT, "the host has no /proc");
    }
    lower_labels(plan, process)?;
    plan.phase(Phase::Join);
    if circumstances.user_namespace {
        lower_raised(plan, &limits(process)?)?;
    }
    Ok(())
}

/// Lowers the phases EarlyFilter to LateFilter for `process`; `park` adds what is waited for once all privileges but
/// the late filter are settled. Warnings (a capability that cannot be granted) go to `warn`.
///
/// Where `linux.seccomp` hands calls to a supervisor the start's [`Request`](crate::launch::Request) must have a
/// `listener`: see [`Listener`](super::seccomp::Listener).
///
/// # Errors
/// `InvalidInput` naming the field; `Unsupported` for what this host cannot enforce; what `park` returns.
pub(crate) fn lower_process(
    plan: &mut Builder,
    spec: &Spec,
    process: &Process,
    circumstances: Circumstances<'_>,
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
    let confinement = Confinement {
        privileges: &privileges,
        landlock: circumstances.landlock,
        filter: filter.as_ref(),
        parent_leaves: !circumstances.joins,
    };
    // A process that joins forks once more, behind its privileges.
    let (late, early) = process
        .scheduler()
        .iter()
        .partition::<Vec<_>, _>(|scheduler| circumstances.joins && stays_with_process(scheduler));
    let settle = |plan: &mut Builder| {
        lower_running(plan, spec, process, circumstances)?;
        early.into_iter().try_for_each(|scheduler| lower_scheduler(plan, scheduler))
    };
    lower_confinement(plan, confinement, settle, |plan| {
        park(plan)?;
        plan.phase(Phase::LateFilter);
        late.into_iter().try_for_each(|scheduler| lower_scheduler(plan, scheduler))
    })
}

/// Where and how it runs, as far as every child inherits it.
fn lower_running(plan: &mut Builder, spec: &Spec, process: &Process, circumstances: Circumstances<'_>) -> Result<()> {
    let affinity = process.exec_cpu_affinity().as_ref().filter(|_| circumstances.joins);
    if let Some(list) = affinity.and_then(|affinity| affinity.cpu_affinity_final().as_deref()) {
        lower_affinity(plan, list, FINAL_AFFINITY)?;
    }
    if let Some(priority) = process.io_priority() {
        lower_io_priority(plan, priority)?;
    }
    let Some(linux) = spec.linux() else { return Ok(()) };
    if let Some(policy) = linux.memory_policy() {
        lower_memory_policy(plan, policy)?;
    }
    linux.personality().as_ref().map_or(Ok(()), |personality| lower_personality(plan, personality))
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
