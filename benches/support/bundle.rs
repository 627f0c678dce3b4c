//! Bundles as engines write them: one `config.json` that all runtimes are given.

use crate::profile;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What a bundle is to say.
pub struct Bundle<'a> {
    pub root: &'a Path,
    /// With everything Docker writes, or the least that works.
    pub full: bool,
    /// With a network namespace of its own.
    pub network: bool,
    /// The network namespace that this file holds open is joined.
    pub joins: Option<&'a Path>,
    /// The least with a `/proc`: some runtimes cannot do without.
    pub proc: bool,
    pub command: &'a str,
    /// `linux.cgroupsPath`.
    pub group: String,
    /// Sources and targets of files that are bound in, as engines do with `/etc/hosts`. With any of them the
    /// configuration also mounts the control groups and has device rules.
    pub files: &'a [(PathBuf, &'a str)],
}

impl Bundle<'_> {
    /// Writes the bundle to `directory`.
    pub fn write(&self, directory: &Path) {
        std::fs::create_dir_all(directory).unwrap();
        std::fs::write(directory.join("config.json"), self.config().to_string()).unwrap();
    }

    /// The text of `config.json`.
    pub fn config(&self) -> Value {
        let capabilities = if self.full { profile::capabilities() } else { Value::Array(Vec::new()) };
        json!({
            "ociVersion": "1.0.2",
            "process": {
                "terminal": false,
                "user": { "uid": 0, "gid": 0 },
                "args": [self.command],
                "env": if self.full {
                    json!(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=bench"])
                } else {
                    json!([])
                },
                "cwd": "/",
                "noNewPrivileges": true,
                "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
            },
            "root": { "path": self.root },
            "mounts": self.mounts(),
            "linux": self.linux(),
        })
    }

    fn linux(&self) -> Value {
        let mut namespaces: Vec<Value> =
            ["pid", "mount", "ipc", "uts"].iter().map(|kind| json!({ "type": kind })).collect();
        if self.network {
            namespaces.push(json!({ "type": "network" }));
        }
        if let Some(path) = self.joins {
            namespaces.push(json!({ "type": "network", "path": path }));
        }
        if !self.full {
            return json!({ "namespaces": namespaces });
        }
        namespaces.push(json!({ "type": "cgroup" }));
        let mut resources = json!({
            "memory": { "limit": 256 << 20, "swap": 512 << 20 },
            "pids": { "limit": 64 },
            "cpu": { "quota": 50_000, "period": 100_000 },
        });
        if !self.files.is_empty() {
            resources["devices"] = device_rules();
        }
        json!({
            "namespaces": namespaces,
            "maskedPaths": MASKED,
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
            "cgroupsPath": self.group,
            "resources": resources,
            "seccomp": profile::seccomp(),
        })
    }

    fn mounts(&self) -> Vec<Value> {
        let mount = |target: &str, kind: &str, options: &[&str]| json!({ "destination": target, "type": kind, "source": kind, "options": options });
        let mut all = vec![
            mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"]),
            mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        ];
        if !self.full {
            all.truncate(usize::from(self.proc));
        } else if !self.files.is_empty() {
            all.push(mount("/sys/fs/cgroup", "cgroup", &["ro", "nosuid", "noexec", "nodev"]));
            all.extend(self.files.iter().map(|(source, target)| {
                let destination = format!("/{target}");
                json!({ "destination": destination, "type": "bind", "source": source, "options": ["rbind", "rprivate"] })
            }));
        }
        all
    }
}

const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

fn device_rules() -> Value {
    let allow = |kind: &str, major: Option<u32>, minor: Option<u32>, access: &str| {
        let mut rule = json!({ "allow": true, "type": kind, "access": access });
        major.inspect(|major| rule["major"] = json!(major));
        minor.inspect(|minor| rule["minor"] = json!(minor));
        rule
    };
    let mut rules = vec![json!({ "allow": false, "access": "rwm" })];
    rules.extend([allow("c", None, None, "m"), allow("b", None, None, "m")]);
    let known = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)];
    rules.extend(known.map(|(major, minor)| allow("c", Some(major), Some(minor), "rwm")));
    rules.push(allow("c", Some(136), None, "rwm"));
    Value::Array(rules)
}
