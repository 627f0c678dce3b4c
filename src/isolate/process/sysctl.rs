//! `linux.sysctl`: kernel parameters of the container's own namespaces.

use crate::isolate::filesystem::mount_new;
use crate::plan::Builder;
use crate::plan::op::OpCode;
use crate::{Error, Result};
use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType, Spec};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The parameters of an IPC namespace beside those of message queues, `fs.mqueue.*`.
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shm_rmid_forced",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
];

/// Writes the parameters of `linux.sysctl`, in the order of their names. To be called in phase Mount, with the
/// namespaces entered: they decide whose parameters are written.
///
/// The /proc they are written through is a fresh one that is attached nowhere, so nothing in the container can cover or
/// change what is opened there (CVE-2025-52881).
pub(crate) fn lower_sysctls(plan: &mut Builder, spec: &Spec) -> Result<()> {
    let parameters = sysctls(spec)?;
    if parameters.is_empty() {
        return Ok(());
    }
    let proc = mount_new(plan, "proc", 0, "mount a private proc for linux.sysctl");
    plan.hint(libc::EPERM, "the outer container masks /proc, so the kernel allows no new one in a user namespace");
    for (path, name, value) in parameters {
        let (file, text) = (plan.text(format!("sys/{path}")), plan.text(value));
        plan.push(OpCode::WriteBelow, &[proc.into(), file, text], format!("set linux.sysctl {name} to {value:?}"))
            .hint(libc::ENOENT, "the kernel has no such parameter")
            .hint(libc::EINVAL, "the kernel refuses the value")
            .hint(libc::EACCES, "it may not be changed from within the container's user namespace")
            .hint(libc::EPERM, "it may not be changed from within the container's user namespace");
    }
    Ok(())
}

/// Path below /proc/sys, name as the configuration has it, and value of each parameter, all of them allowed.
pub(super) fn sysctls(spec: &Spec) -> Result<Vec<(String, &str, &str)>> {
    let mut found: Vec<(String, &str, &str)> = Vec::new();
    let parameters = spec.linux().as_ref().and_then(|linux| linux.sysctl().as_ref());
    for (name, value) in parameters.into_iter().flatten() {
        found.push((check(spec, name, value)?, name, value));
    }
    found.sort_unstable();
    match found.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(Error::invalid(format!("linux.sysctl.{}: {} is the same parameter", pair[0].1, pair[1].1))),
        None => Ok(found),
    }
}

/// The path below /proc/sys of a parameter that may be set.
pub(super) fn check(spec: &Spec, name: &str, value: &str) -> Result<String> {
    let path = path_of(name)?;
    check_namespace(spec, name, &path)?;
    if value.is_empty() || value.contains('\0') {
        return Err(Error::invalid(format!("linux.sysctl.{name}: the value is empty or holds a NUL byte")));
    }
    Ok(path)
}

/// The path of a name: sysctl(8) takes dots between components, with slashes for the dots within them, or slashes, with
/// dots within; the first of either says which it is.
fn path_of(name: &str) -> Result<String> {
    let slashes = name.find(['.', '/']).is_some_and(|at| name.as_bytes()[at] == b'/');
    let path: String = match slashes {
        true => name.to_owned(),
        false => name
            .chars()
            .map(|c| {
                if c == '.' {
                    '/'
                } else if c == '/' {
                    '.'
                } else {
                    c
                }
            })
            .collect(),
    };
    let sound = |component: &str| !matches!(component, "" | "." | "..") && !component.contains('\0');
    if path.contains('/') && path.split('/').all(sound) {
        Ok(path)
    } else {
        Err(Error::invalid(format!("linux.sysctl.{name}: this is no name of a kernel parameter"))
            .hint("net.ipv4.ip_forward for example"))
    }
}

/// Only parameters of namespaces that the container does not share with the host may be set.
fn check_namespace(spec: &Spec, name: &str, path: &str) -> Result<()> {
    let own = |kind: LinuxNamespaceType| {
        let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
        namespaces.into_iter().flatten().any(|namespace| namespace.typ() == kind && !is_hosts(namespace))
    };
    let refuse = |why: &str| Err(Error::invalid(format!("linux.sysctl.{name}: {why}")));
    let dotted = path.replace('/', ".");
    if IPC.contains(&dotted.as_str()) || path.starts_with("fs/mqueue/") {
        return if own(LinuxNamespaceType::Ipc) {
            Ok(())
        } else {
            refuse("it needs an ipc namespace in linux.namespaces")
        };
    }
    if path.starts_with("net/") {
        let fine = own(LinuxNamespaceType::Network);
        return if fine { Ok(()) } else { refuse("it needs a network namespace in linux.namespaces") };
    }
    match dotted.as_str() {
        "kernel.domainname" if own(LinuxNamespaceType::Uts) => Ok(()),
        "kernel.domainname" => refuse("it needs a uts namespace in linux.namespaces"),
        "kernel.hostname" => refuse("the field hostname says the host name"),
        _ => refuse("it is the whole host's, not that of a namespace"),
    }
}

/// Whether a namespace to join is the one that this process is in.
fn is_hosts(namespace: &LinuxNamespace) -> bool {
    let Some(path) = namespace.path().as_ref().filter(|path| !path.as_os_str().is_empty()) else { return false };
    let name = match namespace.typ() {
        LinuxNamespaceType::Ipc => "ipc",
        LinuxNamespaceType::Network => "net",
        _ => "uts",
    };
    let identity = |path: &Path| std::fs::metadata(path).map(|file| (file.dev(), file.ino()));
    match (identity(path), identity(&Path::new("/proc/thread-self/ns").join(name))) {
        (Ok(theirs), Ok(own)) => theirs == own,
        // That it cannot be entered is found when it is.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_dots_or_slashes() {
        for (name, path) in [
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
            ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
            ("net.ipv4.conf.eth0/100.forwarding", "net/ipv4/conf/eth0.100/forwarding"),
            ("net/ipv4/conf/eth0.100/forwarding", "net/ipv4/conf/eth0.100/forwarding"),
        ] {
            assert_eq!(path_of(name).unwrap(), path);
        }
        for bad in
            ["", "net", "net..x", "net/../kernel/core_pattern", ".net.x", "/net/x", "net.x.", "net/x/./y", "a.b\0"]
        {
            assert!(path_of(bad).is_err(), "{bad:?}");
        }
    }
}
