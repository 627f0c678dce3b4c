//! How every process of a container begins: shut out what came with the clone, enter the control groups.

use super::seccomp::Filter;
use crate::plan::op::{OpCode, Tolerate};
use crate::plan::{Builder, Phase, Slot};

/// Shuts out what came with the fork.
pub(crate) fn lower_fence(plan: &mut Builder) {
    plan.push(OpCode::CloseOthers, &[], "close foreign descriptors");
    plan.push(OpCode::ResetSignals, &[], "reset signals");
    plan.push(OpCode::ResetAffinity, &[], "reset the processor affinity").tolerate(Tolerate::UNKNOWN);
    plan.push(OpCode::Umask, &[0], "reset the umask");
}

/// A session keyring of its own: the host's keys are not the container's.
pub(crate) fn lower_keyring(plan: &mut Builder) {
    // A kernel without keyrings has none to share, and an outer filter that refuses this refuses the payload too.
    plan.push(OpCode::NewKeyring, &[], "create a session keyring")
        .tolerate(Tolerate::UNKNOWN | Tolerate::REFUSED)
        .hint(libc::EDQUOT, "this user has too many keyrings: sysctl kernel.keys.maxkeys");
}

/// The null device in a slot: the host's, since the root may have none.
pub(crate) fn lower_null(plan: &mut Builder) -> Slot {
    let null = plan.slot();
    let path = plan.text("/dev/null");
    plan.push(OpCode::OpenHost, &[path, libc::O_RDWR as u32, null.into()], "open the null device");
    null
}

/// Enters the control groups whose `tasks` files these are.
pub(crate) fn lower_join_cgroup(plan: &mut Builder, tasks: &[Slot]) {
    plan.phase(Phase::Join);
    let itself = plan.text("0");
    for &slot in tasks {
        plan.push(OpCode::Write, &[slot.into(), itself], "enter the control group");
    }
}

/// Loads a system call filter, in the phase that the plan is in.
pub(crate) fn lower_filter(plan: &mut Builder, filter: &Filter) {
    let bytes = plan.bytes(&filter.to_bytes());
    let count = filter.instructions().len() as u32;
    plan.push(OpCode::LoadFilter, &[bytes, count, filter.flags()], "load the seccomp filter")
        .hint(libc::EINVAL, "the kernel refuses the filter: CONFIG_SECCOMP_FILTER")
        .hint(libc::EACCES, "a filter without no_new_privs needs CAP_SYS_ADMIN");
}
