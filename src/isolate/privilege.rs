//! Ids, capabilities and limits of the payload, in the order that security depends on: the bounding set while
//! CAP_SETPCAP is held, groups before ids, capabilities after ids, ambient ones last; then all five sets are read back.

use super::capability::CapabilitySets;
use super::landlock::{Landlock, lower_landlock};
use super::rlimit::ResourceLimit;
use super::seccomp::{Fate, Filter};
use crate::plan::op::{OpCode, Tolerate};
use crate::plan::{Builder, HAND_OVER, Phase};
use crate::{Error, Result};

/// What the payload keeps.
#[derive(Debug, Clone)]
pub(crate) struct Privileges {
    pub(crate) user: u32,
    pub(crate) group: u32,
    pub(crate) additional_groups: Vec<u32>,
    /// In a user namespace of one id, which denies setgroups, an empty list changes nothing.
    pub(crate) in_user_namespace: bool,
    pub(crate) umask: u32,
    pub(crate) capabilities: CapabilitySets,
    pub(crate) limits: Vec<ResourceLimit>,
    pub(crate) no_new_privileges: bool,
    /// How many descriptors above the standard streams the payload gets: 3 and up.
    pub(crate) preserved: u32,
    /// Whether it dies with its parent, and looks at the socket to it (1) or not (0).
    pub(crate) die_with_parent: Option<u32>,
}

/// How a process is confined.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Confinement<'a> {
    pub(crate) privileges: &'a Privileges,
    pub(crate) landlock: Option<&'a Landlock>,
    pub(crate) filter: Option<&'a Filter>,
    /// Whether the parent is gone once the process has parked: a filter's descriptor must reach it before.
    pub(crate) parent_leaves: bool,
}

/// Lowers the phases EarlyFilter to LateFilter. `settle` adds what needs the privileges that are then given up, `park`
/// what is waited for once all of them are.
///
/// Landlock and filter are the last things before the exec where `no_new_privs` is on; else they need CAP_SYS_ADMIN, and
/// the filter must itself allow what is left to do. A filter with a supervisor comes before `park` where the parent, which
/// hands on its descriptor, leaves there.
///
/// # Errors
/// What `settle` and `park` return, and `InvalidInput` for a filter that refuses a system call of the rest of the start,
/// which it names.
pub(crate) fn lower_confinement(
    plan: &mut Builder,
    confinement: Confinement<'_>,
    settle: impl FnOnce(&mut Builder) -> Result<()>,
    park: impl FnOnce(&mut Builder) -> Result<()>,
) -> Result<()> {
    let Confinement { privileges, filter, .. } = confinement;
    plan.phase(Phase::EarlyFilter);
    plan.push(OpCode::CloseOnExec, &[3 + privileges.preserved], "have the exec close descriptors");
    // From here on it has no more rights than its neighbours in a shared PID namespace, and its filter is to come.
    plan.push(OpCode::Hide, &[], "hide from tracers");
    let mut filtered_from = plan.len();
    if !privileges.no_new_privileges {
        filtered_from = lower_filters(plan, confinement)?;
    }
    plan.phase(Phase::Privilege);
    settle(plan)?;
    lower_privileges(plan, privileges);
    plan.phase(Phase::Park);
    let before_park = confinement.parent_leaves && filter.is_some_and(Filter::notifies);
    if privileges.no_new_privileges && before_park {
        filtered_from = lower_filters(plan, confinement)?;
    }
    park(plan)?;
    if privileges.no_new_privileges && !before_park {
        plan.phase(Phase::LateFilter);
        filtered_from = lower_filters(plan, confinement)?;
    }
    filter.map_or(Ok(()), |filter| check_filter(plan, filtered_from, filter))
}

/// Landlock, then the filter; the number of the first operation behind them.
fn lower_filters(plan: &mut Builder, confinement: Confinement<'_>) -> Result<usize> {
    if let Some(landlock) = confinement.landlock {
        lower_landlock(plan, landlock)?;
    }
    if let Some(filter) = confinement.filter {
        load_filter(plan, filter);
    }
    Ok(plan.len())
}

/// A session keyring of its own: the host's keys are not the container's. Processes that give the same `name` share
/// one; an empty name is shared with nobody.
pub(crate) fn lower_keyring(plan: &mut Builder, name: &str) {
    let name = plan.text(name);
    // A kernel without keyrings has none to share, and an outer filter that refuses this refuses the payload too.
    plan.push(OpCode::NewKeyring, &[name], "create a session keyring")
        .tolerate(Tolerate::UNKNOWN | Tolerate::REFUSED)
        .hint(libc::EDQUOT, "this user has too many keyrings: sysctl kernel.keys.maxkeys");
}

/// Gives up everything else.
fn lower_privileges(plan: &mut Builder, privileges: &Privileges) {
    for &limit in &privileges.limits {
        lower_limit(plan, limit);
    }
    let sets = privileges.capabilities;
    let [low, high] = halves(sets.bounding.bits());
    plan.push(OpCode::DropBounding, &[low, high], "drop capabilities from the bounding set");
    let words: Vec<u8> = privileges.additional_groups.iter().flat_map(|group| group.to_ne_bytes()).collect();
    let groups = plan.bytes(&words);
    plan.push(OpCode::SetGroups, &[groups, privileges.additional_groups.len() as u32], "set supplementary groups")
        .tolerate(if privileges.in_user_namespace && words.is_empty() { Tolerate::REFUSED } else { Tolerate::NONE })
        .hint(libc::EPERM, "it needs CAP_SETGID, and a user namespace of a single id has no supplementary groups")
        .hint(libc::EINVAL, "a group is not mapped in the user namespace");
    let Privileges { user, group, .. } = *privileges;
    plan.push(OpCode::SetIds, &[user, group], format!("become user {user} and group {group}"))
        .hint(libc::EINVAL, "the id is not mapped in the user namespace");
    lower_capabilities(plan, sets);
    if let Some(look) = privileges.die_with_parent {
        // A change of ids clears it.
        plan.push(OpCode::DieWithParent, &[look], "tie the payload's life to the host's");
    }
    if privileges.no_new_privileges {
        plan.push(OpCode::NoNewPrivileges, &[], "set no_new_privs");
    }
    plan.push(OpCode::Umask, &[privileges.umask], "set the umask");
}

fn lower_capabilities(plan: &mut Builder, sets: CapabilitySets) {
    let [effective, permitted, inheritable] =
        [sets.effective, sets.permitted, sets.inheritable].map(|set| halves(set.bits()));
    let arguments = [effective, permitted, inheritable].concat();
    plan.push(OpCode::SetCapabilities, &arguments, "set capabilities")
        .hint(libc::EPERM, "a capability was asked for that this process does not have");
    if !sets.ambient.is_empty() {
        let [low, high] = halves(sets.ambient.bits());
        plan.push(OpCode::RaiseAmbient, &[low, high], "raise ambient capabilities")
            .hint(libc::EPERM, "an ambient capability must be permitted and inheritable");
    }
    let words: Vec<u8> =
        sets.each().into_iter().flat_map(|set| halves(set.bits())).flat_map(u32::to_ne_bytes).collect();
    let expected = plan.bytes(&words);
    plan.push(OpCode::CheckCapabilities, &[expected, (words.len() / 4) as u32], "read the capabilities back")
        .hint(libc::EPROTO, "the kernel gives more or fewer than were set: a security module, or securebits");
}

/// Limits a resource.
pub(crate) fn lower_limit(plan: &mut Builder, limit: ResourceLimit) {
    let [soft, hard] = [limit.soft(), limit.hard()].map(halves);
    let arguments = [limit.resource().number(), soft[0], soft[1], hard[0], hard[1]];
    plan.push(OpCode::ResourceLimit, &arguments, format!("set the resource limit {limit}"))
        .hint(libc::EPERM, "the hard limit is above this process's own, which needs CAP_SYS_RESOURCE");
}

fn load_filter(plan: &mut Builder, filter: &Filter) {
    let bytes = plan.bytes(&filter.to_bytes());
    let count = filter.instructions().len() as u32;
    let code = if filter.notifies() { OpCode::LoadListeningFilter } else { OpCode::LoadFilter };
    plan.push(code, &[bytes, count, filter.flags()], "load the seccomp filter")
        .hint(libc::EINVAL, "the kernel refuses the filter or one of its flags: CONFIG_SECCOMP_FILTER")
        .hint(libc::EACCES, "a filter without no_new_privs needs CAP_SYS_ADMIN")
        .hint(libc::EBUSY, "a filter with a supervisor is in force already, and there can be but one");
}

/// Finds what the filter refuses of the system calls that operations from `first` on still make, and of the exec. What
/// it hands to a supervisor it does not refuse, but for the calls by which the supervisor is reached.
fn check_filter(plan: &Builder, first: usize, filter: &Filter) -> Result<()> {
    let handing_over = if filter.notifies() { &HAND_OVER[..] } else { &[] };
    let reach = handing_over.iter().filter(|(name, argument)| filter.decide(name, *argument) != Fate::Runs);
    let rest = plan.calls_from(first).filter(|(name, argument)| filter.decide(name, *argument) == Fate::Refused);
    let mut refused: Vec<&str> = reach.copied().chain(rest).map(|(name, _)| name).collect();
    if refused.is_empty() {
        return Ok(());
    }
    refused.sort_unstable();
    refused.dedup();
    let calls = refused.join(", ");
    Err(Error::invalid(format!("the seccomp profile refuses {calls}, which the start needs once the filter is loaded"))
        .hint("allow these system calls; with noNewPrivileges the filter is loaded last and needs no more than execve"))
}

/// The low and the high word.
fn halves(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}
