//! How every process of a container begins: shut out what came with the clone, enter the control groups.

use crate::plan::op::{OpCode, Tolerate};
use crate::plan::{Builder, Phase, Slot};

/// Shuts out what came with the fork.
pub(crate) fn lower_fence(plan: &mut Builder) {
    plan.push(OpCode::CloseOthers, &[], "close foreign descriptors");
    plan.push(OpCode::ResetSignals, &[], "reset signals");
    plan.push(OpCode::ResetAffinity, &[], "reset the processor affinity").tolerate(Tolerate::UNKNOWN);
    plan.push(OpCode::Umask, &[0], "reset the umask");
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
