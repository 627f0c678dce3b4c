//! Ids, capabilities and limits of the payload, in the order that security depends on: the bounding set while
//! CAP_SETPCAP is held, groups before ids, capabilities after ids.

use crate::plan::op::{OpCode, Tolerate};
use crate::plan::{Builder, Phase};

/// What the payload keeps.
#[derive(Debug, Clone)]
pub(crate) struct Privileges {
    pub(crate) user: u32,
    pub(crate) group: u32,
    pub(crate) additional_groups: Vec<u32>,
    /// In a user namespace of one id, which denies setgroups, an empty list changes nothing.
    pub(crate) in_user_namespace: bool,
    /// Capabilities as bits; inheritable and ambient stay empty (CVE-2022-24769).
    pub(crate) capabilities: u64,
    /// Resource number, soft and hard limit.
    pub(crate) limits: Vec<(u32, u64, u64)>,
    pub(crate) no_new_privileges: bool,
    /// Whether it dies with its parent, and looks at the socket to it (1) or not (0).
    pub(crate) die_with_parent: Option<u32>,
}

/// Gives up everything else.
pub(crate) fn lower_privileges(plan: &mut Builder, privileges: &Privileges) {
    plan.phase(Phase::Privilege);
    for &(resource, soft, hard) in &privileges.limits {
        let (low, high) = (|limit: u64| limit as u32, |limit: u64| (limit >> 32) as u32);
        plan.push(
            OpCode::ResourceLimit,
            &[resource, low(soft), high(soft), low(hard), high(hard)],
            format!("set resource limit {resource} to {soft}:{hard}"),
        )
        .hint(libc::EPERM, "the hard limit is above this process's own, which needs CAP_SYS_RESOURCE");
    }
    let (low, high) = (privileges.capabilities as u32, (privileges.capabilities >> 32) as u32);
    plan.push(OpCode::DropBounding, &[low, high], "drop capabilities from the bounding set");
    let words: Vec<u8> = privileges.additional_groups.iter().flat_map(|group| group.to_ne_bytes()).collect();
    let groups = plan.bytes(&words);
    plan.push(OpCode::SetGroups, &[groups, privileges.additional_groups.len() as u32], "set supplementary groups")
        .tolerate(if privileges.in_user_namespace && words.is_empty() { Tolerate::REFUSED } else { Tolerate::NONE })
        .hint(libc::EPERM, "it needs CAP_SETGID, and a user namespace of a single id has no supplementary groups");
    let Privileges { user, group, .. } = *privileges;
    plan.push(OpCode::SetIds, &[user, group], format!("become user {user} and group {group}"))
        .hint(libc::EINVAL, "the id is not mapped in the user namespace");
    plan.push(OpCode::SetCapabilities, &[low, high, low, high, 0, 0], "set capabilities")
        .hint(libc::EPERM, "a capability was asked for that this process does not have");
    if let Some(look) = privileges.die_with_parent {
        // A change of ids clears it.
        plan.push(OpCode::DieWithParent, &[look], "tie the payload's life to the host's");
    }
    if privileges.no_new_privileges {
        plan.push(OpCode::NoNewPrivileges, &[], "set no_new_privs");
    }
    plan.push(OpCode::Umask, &[0o022], "set the umask");
}
