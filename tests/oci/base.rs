//! The configuration that every row starts from: what Docker writes for a container without options.

use serde_json::{Value, json};

/// Docker's capabilities.
pub const CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

const MASKED: [&str; 9] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/scsi",
    "/sys/firmware",
];

const READONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Docker's configuration, running `script` by the shell of busybox.
pub fn docker_like(script: &str, cgroups_path: &str) -> Value {
    json!({
        "ociVersion": "1.3.0",
        "process": process(script),
        "root": { "path": "rootfs" },
        "hostname": "boat",
        "mounts": [
            mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"]),
        ],
        "linux": {
            "cgroupsPath": cgroups_path,
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": [
                { "type": "mount" }, { "type": "network" }, { "type": "uts" }, { "type": "pid" }, { "type": "ipc" },
            ],
            "maskedPaths": MASKED,
            "readonlyPaths": READONLY,
        },
    })
}

/// The least that runs: no mounts but `/proc`, no capabilities, two namespaces.
pub fn minimal(script: &str) -> Value {
    json!({
        "ociVersion": "1.0.2",
        "process": { "user": { "uid": 0, "gid": 0 }, "args": ["/bin/sh", "-c", script], "env": ["PATH=/bin"], "cwd": "/" },
        "root": { "path": "rootfs" },
        "mounts": [mount("/proc", "proc", "proc", &[])],
        "linux": { "namespaces": [{ "type": "mount" }, { "type": "pid" }] },
    })
}

/// What an ordinary user runs: the own user as root, nothing that needs another one.
pub fn rootless(script: &str) -> Value {
    let (user, group) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let mut config = docker_like(script, "");
    let linux = config["linux"].as_object_mut().expect("an object");
    linux.remove("cgroupsPath");
    linux.remove("resources");
    linux["namespaces"].as_array_mut().expect("a list").push(json!({ "type": "user" }));
    linux.insert("uidMappings".into(), json!([{ "containerID": 0, "hostID": user, "size": 1 }]));
    linux.insert("gidMappings".into(), json!([{ "containerID": 0, "hostID": group, "size": 1 }]));
    // The group 5 has no number in there.
    config["mounts"][2]["options"].as_array_mut().expect("a list").pop();
    config
}

/// One entry of `mounts`.
pub fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": kind, "source": source, "options": options })
}

/// A bind mount.
pub fn bind(source: &str, destination: &str, options: &[&str]) -> Value {
    let options: Vec<&str> = ["bind"].iter().chain(options).copied().collect();
    mount(destination, "bind", source, &options)
}

fn process(script: &str) -> Value {
    json!({
        "user": { "uid": 0, "gid": 0 },
        "args": ["/bin/sh", "-c", script],
        "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=boat"],
        "cwd": "/",
        "capabilities": { "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES },
    })
}
