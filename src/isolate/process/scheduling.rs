//! When and where a process runs: `process.scheduler`, `process.ioPriority`, `process.execCPUAffinity`,
//! `linux.memoryPolicy`, and `linux.personality`.

use super::list::mask_of_list;
use crate::plan::Builder;
use crate::plan::op::OpCode;
use crate::{Error, Result};
use oci_spec::runtime::{
    IOPriorityClass, LinuxIOPriority, LinuxMemoryPolicy, LinuxPersonality, LinuxPersonalityDomain, LinuxSchedulerFlag,
    LinuxSchedulerPolicy, MemoryPolicyFlagType, MemoryPolicyModeType, Scheduler,
};

/// The highest processor and node numbers that are taken: those of the largest kernels (`NR_CPUS`, `MAX_NUMNODES`).
const PROCESSORS: usize = 8192;
const NODES: usize = 1024;

/// `struct sched_attr` with the clamps of utilization (`SCHED_ATTR_SIZE_VER1`).
const SCHEDULING_SIZE: u32 = 56;

/// Whether a child does not get what its parent has: then it must be set in the last process of a start.
pub(super) fn stays_with_process(scheduler: &Scheduler) -> bool {
    let reset = scheduler.flags().iter().flatten().any(|flag| *flag == LinuxSchedulerFlag::SchedResetOnFork);
    reset || *scheduler.policy() == LinuxSchedulerPolicy::SchedDeadline
}

/// sched_setattr(2), as `process.scheduler` says.
pub(super) fn lower_scheduler(plan: &mut Builder, scheduler: &Scheduler) -> Result<()> {
    check_scheduler(scheduler)?;
    let flags: u64 = scheduler.flags().iter().flatten().map(scheduler_flag).fold(0, |flags, flag| flags | flag);
    let mut attributes = Vec::with_capacity(SCHEDULING_SIZE as usize);
    attributes.extend(SCHEDULING_SIZE.to_ne_bytes());
    attributes.extend(policy_number(*scheduler.policy()).to_ne_bytes());
    attributes.extend(flags.to_ne_bytes());
    attributes.extend(scheduler.nice().unwrap_or(0).to_ne_bytes());
    attributes.extend(scheduler.priority().unwrap_or(0).to_ne_bytes());
    for time in [scheduler.runtime(), scheduler.deadline(), scheduler.period()] {
        attributes.extend(time.unwrap_or(0).to_ne_bytes());
    }
    // The configuration has no field for the clamps of utilization.
    attributes.resize(SCHEDULING_SIZE as usize, 0);
    let words = plan.bytes(&attributes);
    let sentence = format!("set process.scheduler to {}", scheduler.policy());
    plan.push(OpCode::SetScheduler, &[words, SCHEDULING_SIZE / 4], sentence)
        .hint(libc::EPERM, "it needs CAP_SYS_NICE on the host, or RLIMIT_RTPRIO and RLIMIT_NICE that allow it")
        .hint(libc::EINVAL, "the kernel does not know the policy, or refuses its parameters")
        .hint(libc::EBUSY, "the processors cannot keep what the deadline promises");
    Ok(())
}

/// Whether the parameters are those of the policy.
pub(super) fn check_scheduler(scheduler: &Scheduler) -> Result<()> {
    use LinuxSchedulerPolicy::{SchedBatch, SchedDeadline, SchedFifo, SchedOther, SchedRr};
    let policy = *scheduler.policy();
    let wrong = |field: &str, what: String| Err(Error::invalid(format!("process.scheduler.{field}: {what}")));
    if let Some(nice) = *scheduler.nice() {
        if !(-20..=19).contains(&nice) {
            return wrong("nice", format!("{nice} is not within -20 and 19"));
        }
        if nice != 0 && !matches!(policy, SchedOther | SchedBatch) {
            return wrong("nice", format!("{policy} has no nice value"));
        }
    }
    let real_time = matches!(policy, SchedFifo | SchedRr);
    match *scheduler.priority() {
        Some(priority) if real_time && !(1..=99).contains(&priority) => {
            return wrong("priority", format!("{priority} is not within 1 and 99"));
        }
        None if real_time => return wrong("priority", format!("{policy} needs one, within 1 and 99")),
        Some(priority) if !real_time && priority != 0 => {
            return wrong("priority", format!("{policy} has no priority"));
        }
        _ => {}
    }
    let times =
        [("runtime", *scheduler.runtime()), ("deadline", *scheduler.deadline()), ("period", *scheduler.period())];
    match times.iter().find(|(_, time)| time.is_some_and(|time| time != 0)) {
        Some((field, _)) if policy != SchedDeadline => wrong(field, format!("{policy} has none")),
        _ => Ok(()),
    }
}

fn policy_number(policy: LinuxSchedulerPolicy) -> u32 {
    match policy {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        // Reserved by Linux, which refuses it.
        LinuxSchedulerPolicy::SchedIso => 4,
        LinuxSchedulerPolicy::SchedIdle => 5,
        LinuxSchedulerPolicy::SchedDeadline => 6,
    }
}

/// `SCHED_FLAG_*` of linux/sched.h.
fn scheduler_flag(flag: &LinuxSchedulerFlag) -> u64 {
    match flag {
        LinuxSchedulerFlag::SchedResetOnFork => 0x01,
        LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    }
}

/// ioprio_set(2), as `process.ioPriority` says.
pub(super) fn lower_io_priority(plan: &mut Builder, priority: &LinuxIOPriority) -> Result<()> {
    let number = check_io_priority(priority)?;
    let class: u32 = match priority.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    plan.push(OpCode::SetIoPriority, &[class << 13 | number], "set process.ioPriority")
        .hint(libc::EPERM, "the real-time class needs CAP_SYS_ADMIN or CAP_SYS_NICE on the host");
    Ok(())
}

/// The priority within its class.
pub(super) fn check_io_priority(priority: &LinuxIOPriority) -> Result<u32> {
    match u32::try_from(priority.priority()) {
        Ok(number @ 0..=7) => Ok(number),
        _ => Err(Error::invalid(format!("process.ioPriority.priority: {} is not within 0 and 7", priority.priority()))),
    }
}

/// sched_setaffinity(2) for the processors of `list`, the value of `field`.
pub(super) fn lower_affinity(plan: &mut Builder, list: &str, field: &'static str) -> Result<()> {
    let mask = check_affinity(list, field)?;
    let bytes = plan.bytes(&mask);
    plan.push(OpCode::SetAffinity, &[bytes, mask.len() as u32], ("set ", field))
        .hint(libc::EINVAL, "none of these processors is there, or none is in the cpuset of the control group");
    Ok(())
}

/// The mask of the processors.
pub(super) fn check_affinity(list: &str, field: &str) -> Result<Vec<u8>> {
    let mask = mask_of_list(list, PROCESSORS).map_err(|error| error.context(field.to_owned()))?;
    if mask.is_empty() { Err(Error::invalid(format!("{field}: no processor"))) } else { Ok(mask) }
}

/// set_mempolicy(2), as `linux.memoryPolicy` says.
pub(super) fn lower_memory_policy(plan: &mut Builder, policy: &LinuxMemoryPolicy) -> Result<()> {
    let mask = check_memory_policy(policy)?;
    let mode = match policy.mode() {
        MemoryPolicyModeType::MpolDefault => 0,
        MemoryPolicyModeType::MpolPreferred => 1,
        MemoryPolicyModeType::MpolBind => 2,
        MemoryPolicyModeType::MpolInterleave => 3,
        MemoryPolicyModeType::MpolLocal => 4,
        MemoryPolicyModeType::MpolPreferredMany => 5,
        MemoryPolicyModeType::MpolWeightedInterleave => 6,
    };
    let flags = policy.flags().iter().flatten().map(|flag| match flag {
        MemoryPolicyFlagType::MpolFStaticNodes => 1u32 << 15,
        MemoryPolicyFlagType::MpolFRelativeNodes => 1 << 14,
        MemoryPolicyFlagType::MpolFNumaBalancing => 1 << 13,
    });
    let mode = flags.fold(mode, |mode, flag| mode | flag);
    let nodes = plan.bytes(&mask);
    plan.push(OpCode::SetMemoryPolicy, &[mode, nodes, mask.len() as u32], "set linux.memoryPolicy")
        .hint(libc::EINVAL, "a node is not there, or the kernel does not know the mode or the flags")
        .hint(libc::ENOSYS, "the kernel has no memory policies: CONFIG_NUMA");
    Ok(())
}

/// The mask of the nodes.
pub(super) fn check_memory_policy(policy: &LinuxMemoryPolicy) -> Result<Vec<u8>> {
    use MemoryPolicyModeType::{MpolDefault, MpolLocal, MpolPreferred};
    let field = "linux.memoryPolicy.nodes";
    let nodes = policy.nodes().as_deref().unwrap_or_default();
    let mask = mask_of_list(nodes, NODES).map_err(|error| error.context(field))?;
    match policy.mode() {
        mode @ (MpolDefault | MpolLocal) if !mask.is_empty() => {
            Err(Error::invalid(format!("{field}: {mode} takes no nodes")))
        }
        mode if mask.is_empty() && !matches!(mode, MpolDefault | MpolLocal | MpolPreferred) => {
            Err(Error::invalid(format!("{field}: {mode} needs nodes")))
        }
        _ => Ok(mask),
    }
}

/// personality(2), as `linux.personality` says.
pub(super) fn lower_personality(plan: &mut Builder, personality: &LinuxPersonality) -> Result<()> {
    check_personality(personality)?;
    let domain = match personality.domain() {
        LinuxPersonalityDomain::PerLinux => 0x0,
        LinuxPersonalityDomain::PerLinux32 => 0x8,
    };
    plan.push(OpCode::SetPersonality, &[domain], "set linux.personality")
        .hint(libc::EINVAL, "this machine runs no programs of that kind");
    Ok(())
}

/// The runtime-spec knows no flags yet (config-linux, "Personality").
pub(super) fn check_personality(personality: &LinuxPersonality) -> Result<()> {
    match personality.flags().iter().flatten().next() {
        Some(flag) => Err(Error::invalid(format!("linux.personality.flags: {flag:?} is not supported"))
            .hint("the runtime-spec knows no flags")),
        None => Ok(()),
    }
}
