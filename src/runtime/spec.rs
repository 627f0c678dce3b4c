//! Configurations to begin with: those that `runc spec` writes.
//!
//! ```
//! use coracle::runtime::spec;
//!
//! let mut spec = spec::default();
//! spec.set_hostname(Some("web-1".to_owned()));
//! assert_eq!(spec.process().as_ref().unwrap().args().as_ref().unwrap(), &["sh"]);
//! ```

use oci_spec::runtime::Spec;
use serde_json::{Value, json};

/// A shell in `rootfs`, with a terminal, three capabilities and all namespaces but the user's; for root.
///
/// As runc, it has a control group namespace where the machine has control groups of version 2 alone.
pub fn default() -> Spec {
    typed(document())
}

/// The same for an ordinary user: in a user namespace in which the caller (effective ids) is root, in the host's network,
/// without limits.
pub fn rootless() -> Spec {
    let (user, group) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let mut document = document();
    let mount = |destination: &str| format!("/mounts/{}", index_of_mount(destination));
    if let Some(sys) = document.pointer_mut(&mount("/sys")) {
        // The kernel mounts a fresh one only for who owns the network namespace.
        *sys = json!({"destination": "/sys", "type": "none", "source": "/sys",
            "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]});
    }
    if let Some(Value::Array(options)) = document.pointer_mut(&format!("{}/options", mount("/dev/pts"))) {
        options.retain(|option| option != "gid=5");
    }
    if let Some(Value::Object(linux)) = document.get_mut("linux") {
        linux.remove("resources");
        linux.insert("uidMappings".to_owned(), json!([{"containerID": 0, "hostID": user, "size": 1}]));
        linux.insert("gidMappings".to_owned(), json!([{"containerID": 0, "hostID": group, "size": 1}]));
        if let Some(Value::Array(namespaces)) = linux.get_mut("namespaces") {
            namespaces.retain(|namespace| namespace["type"] != "network");
            namespaces.push(json!({"type": "user"}));
        }
    }
    typed(document)
}

/// The tests read the documents.
fn typed(document: Value) -> Spec {
    serde_json::from_value(document).unwrap_or_default()
}

const MOUNTS: [&str; 7] = ["/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/sys/fs/cgroup"];

fn index_of_mount(destination: &str) -> usize {
    MOUNTS.iter().position(|mount| *mount == destination).unwrap_or(MOUNTS.len())
}

fn mounts() -> Value {
    let mount = |(destination, (kind, source, options)): (&str, (&str, &str, Value))| json!({"destination": destination, "type": kind, "source": source, "options": options});
    let quiet = |more: &[&str]| json!([&["nosuid", "noexec", "nodev"], more].concat());
    let rest = [
        ("proc", "proc", json!([])),
        ("tmpfs", "tmpfs", json!(["nosuid", "strictatime", "mode=755", "size=65536k"])),
        ("devpts", "devpts", json!(["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"])),
        ("tmpfs", "shm", quiet(&["mode=1777", "size=65536k"])),
        ("mqueue", "mqueue", quiet(&[])),
        ("sysfs", "sysfs", quiet(&["ro"])),
        ("cgroup", "cgroup", quiet(&["relatime", "ro"])),
    ];
    MOUNTS.into_iter().zip(rest).map(mount).collect()
}

fn document() -> Value {
    let capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    let mut namespaces = vec!["pid", "network", "ipc", "uts", "mount"];
    if is_unified() {
        namespaces.push("cgroup");
    }
    json!({
        "ociVersion": super::state::OCI_VERSION,
        "process": {
            "terminal": true,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "coracle",
        "mounts": mounts(),
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": namespaces.iter().map(|kind| json!({"type": kind})).collect::<Value>(),
            "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

/// Whether the machine has control groups of version 2 alone.
fn is_unified() -> bool {
    nix::sys::statfs::statfs("/sys/fs/cgroup")
        .is_ok_and(|found| found.filesystem_type() == nix::sys::statfs::CGROUP2_SUPER_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_documents_are_configurations() {
        for (spec, user_namespace, mounts) in [(default(), false, 7), (rootless(), true, 7)] {
            let linux = spec.linux().as_ref().unwrap();
            assert_eq!(linux.uid_mappings().is_some(), user_namespace);
            assert_eq!(linux.resources().is_none(), user_namespace);
            assert_eq!(spec.mounts().as_ref().unwrap().len(), mounts);
            assert_eq!(spec.version(), "1.3.0");
            super::super::config::Config::parse(serde_json::to_vec(&spec).unwrap()).unwrap();
        }
        let text = serde_json::to_string(&rootless()).unwrap();
        assert!(!text.contains("gid=5") && !text.contains("\"network\"") && text.contains("rbind"), "{text}");
    }
}
