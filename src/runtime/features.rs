//! What this runtime can do: the runtime specification's "Features".

use super::state::OCI_VERSION;
use crate::isolate::{CapabilitySet, mount_option_names};
use oci_spec::runtime::{
    Apparmor, Arch, Cgroup, Features, IDMap, IntelRdt, LinuxFeature, LinuxNamespaceType, LinuxSeccompAction,
    MemoryPolicy, MountExtensions, NetDevices, Seccomp, Selinux,
};
use std::collections::HashMap;

/// What this runtime can do. As the specification wants, this is about the program: the host may lack something of it.
pub fn features() -> Features {
    let mut features = Features::default();
    features
        .set_oci_version_min("1.0.0".to_owned())
        .set_oci_version_max(OCI_VERSION.to_owned())
        .set_hooks(Some(owned(&[
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        ])))
        .set_mount_options(Some(mount_option_names()))
        .set_linux(Some(linux()))
        .set_annotations(Some(HashMap::from([
            ("org.opencontainers.runc.checkpoint.enabled".to_owned(), "true".to_owned()),
            ("io.github.coracle.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ])))
        .set_potentially_unsafe_config_annotations(Some(Vec::new()));
    features
}

fn linux() -> LinuxFeature {
    use LinuxNamespaceType::{Cgroup as CgroupNamespace, Ipc, Mount, Network, Pid, Time, User, Uts};
    let mut linux = LinuxFeature::default();
    linux
        .set_namespaces(Some(vec![CgroupNamespace, Ipc, Mount, Network, Pid, Time, User, Uts]))
        .set_capabilities(Some(CapabilitySet::ALL.iter().map(|capability| capability.name().to_owned()).collect()))
        .set_cgroup(Some(cgroup()))
        .set_seccomp(Some(seccomp()))
        .set_apparmor(Some(Apparmor::default().set_enabled(Some(true)).clone()))
        .set_selinux(Some(Selinux::default().set_enabled(Some(true)).clone()))
        .set_intel_rdt(Some(IntelRdt::default().set_enabled(Some(false)).clone()))
        .set_memory_policy(Some(memory_policy()))
        .set_mount_extensions(Some(
            MountExtensions::default().set_idmap(Some(IDMap::default().set_enabled(Some(true)).clone())).clone(),
        ))
        .set_net_devices(Some(NetDevices::default().set_enabled(Some(true)).clone()));
    linux
}

fn cgroup() -> Cgroup {
    let mut cgroup = Cgroup::default();
    cgroup
        .set_v1(Some(true))
        .set_v2(Some(true))
        .set_systemd(Some(true))
        .set_systemd_user(Some(true))
        .set_rdma(Some(true));
    cgroup
}

fn seccomp() -> Seccomp {
    use LinuxSeccompAction::{
        ScmpActAllow, ScmpActErrno, ScmpActKill, ScmpActKillProcess, ScmpActKillThread, ScmpActLog, ScmpActNotify,
        ScmpActTrace, ScmpActTrap,
    };
    let flags = ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"];
    let flags = [owned(&flags), owned(&["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"])].concat();
    let mut seccomp = Seccomp::default();
    seccomp
        .set_enabled(Some(true))
        .set_actions(Some(vec![
            ScmpActAllow,
            ScmpActErrno,
            ScmpActKill,
            ScmpActKillProcess,
            ScmpActKillThread,
            ScmpActLog,
            ScmpActNotify,
            ScmpActTrace,
            ScmpActTrap,
        ]))
        .set_operators(Some(owned(&[
            "SCMP_CMP_EQ",
            "SCMP_CMP_GE",
            "SCMP_CMP_GT",
            "SCMP_CMP_LE",
            "SCMP_CMP_LT",
            "SCMP_CMP_MASKED_EQ",
            "SCMP_CMP_NE",
        ])))
        .set_archs(Some(vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm, Arch::ScmpArchX86, Arch::ScmpArchX86_64]))
        .set_known_flags(Some(flags.clone()))
        .set_supported_flags(Some(flags));
    seccomp
}

fn memory_policy() -> MemoryPolicy {
    let modes = [
        "MPOL_DEFAULT",
        "MPOL_BIND",
        "MPOL_INTERLEAVE",
        "MPOL_WEIGHTED_INTERLEAVE",
        "MPOL_PREFERRED",
        "MPOL_PREFERRED_MANY",
        "MPOL_LOCAL",
    ];
    let flags = ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"];
    let mut policy = MemoryPolicy::default();
    policy.set_modes(Some(owned(&modes))).set_flags(Some(owned(&flags)));
    policy
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_null_and_names_are_those_of_the_specification() {
        let text = serde_json::to_string(&features()).unwrap();
        assert!(!text.contains("null"), "{text}");
        for name in
            ["\"SCMP_ACT_KILL_PROCESS\"", "\"SCMP_ARCH_X86_64\"", "\"network\"", "\"CAP_BPF\"", "\"rnosymfollow\""]
        {
            assert!(text.contains(name), "{name}: {text}");
        }
    }
}
