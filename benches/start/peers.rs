//! The same start by the runtimes of others, where they are installed: a bundle with the equivalent configuration.

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A runtime and the bundle it is to run.
pub struct Peer {
    program: PathBuf,
    bundle: PathBuf,
    state: PathBuf,
    flags: Vec<&'static str>,
    next: AtomicU32,
}

impl Peer {
    /// `None` where the runtime is not installed.
    pub fn find(name: &str, bundle: &Path, full: bool) -> Option<Peer> {
        let program = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"]
            .iter()
            .map(|directory| Path::new(directory).join(name))
            .find(|path| path.exists())?;
        // Without limits crun is spared its control group; runc knows no such switch.
        let flags = if name == "crun" {
            vec!["--cgroup-manager", if full { "cgroupfs" } else { "disabled" }]
        } else {
            Vec::new()
        };
        let state = bundle.join(format!("state-{name}"));
        Some(Peer { program, bundle: bundle.to_owned(), state, flags, next: AtomicU32::new(0) })
    }

    /// One `run` to its end.
    pub fn run(&self) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let status = Command::new(&self.program)
            .arg("--root")
            .arg(&self.state)
            .args(&self.flags)
            .args(["run", "--bundle"])
            .arg(&self.bundle)
            .arg(format!("coracle-bench-{}-{number}", std::process::id()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "{}: {status}", self.program.display());
    }
}

/// Writes the bundle's `config.json` for the directory `root`.
pub fn write_bundle(bundle: &Path, root: &Path, full: bool, network: bool, proc: bool) {
    std::fs::create_dir_all(bundle).unwrap();
    let capabilities = if full { docker_capabilities() } else { Value::Array(Vec::new()) };
    let mut namespaces = vec!["pid", "mount", "ipc", "uts"];
    if network {
        namespaces.push("network");
    }
    if full {
        namespaces.push("cgroup");
    }
    let namespaces: Vec<Value> = namespaces.into_iter().map(|kind| json!({ "type": kind })).collect();
    let mut linux = json!({ "namespaces": namespaces });
    if full {
        linux["maskedPaths"] = json!(coracle_masked());
        linux["readonlyPaths"] = json!(["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]);
        linux["cgroupsPath"] = json!("/coracle-bench-peer");
        linux["resources"] = json!({
            "memory": { "limit": 256 << 20 }, "pids": { "limit": 64 }, "cpu": { "quota": 50_000, "period": 100_000 },
        });
        linux["seccomp"] = seccomp();
    }
    let config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": ["/bin/exit"],
            "env": [],
            "cwd": "/",
            "noNewPrivileges": true,
            "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
        },
        "root": { "path": root },
        "mounts": mounts(if full { 6 } else { usize::from(proc) }),
        "linux": linux,
    });
    std::fs::write(bundle.join("config.json"), config.to_string()).unwrap();
}

fn coracle_masked() -> [&'static str; 12] {
    [
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
    ]
}

fn mounts(count: usize) -> Value {
    let mount = |target: &str, kind: &str, options: &[&str]| json!({ "destination": target, "type": kind, "source": kind, "options": options });
    let all = [
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"]),
        mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ];
    json!(all[..count])
}

fn docker_capabilities() -> Value {
    let names = [
        "CHOWN",
        "DAC_OVERRIDE",
        "FSETID",
        "FOWNER",
        "MKNOD",
        "NET_RAW",
        "SETGID",
        "SETUID",
        "SETFCAP",
        "SETPCAP",
        "NET_BIND_SERVICE",
        "SYS_CHROOT",
        "KILL",
        "AUDIT_WRITE",
    ];
    Value::Array(names.iter().map(|name| json!(format!("CAP_{name}"))).collect())
}

/// The profile of the containers-common package, narrowed to this machine and these capabilities as engines do it.
fn seccomp() -> Value {
    let Ok(text) = std::fs::read_to_string("/usr/share/containers/seccomp.json") else { return Value::Null };
    let profile: Value = serde_json::from_str(&text).unwrap();
    let capabilities = docker_capabilities();
    let machine = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    let holds = |rule: &Value, key: &str| {
        let list = |what: &str| rule[key][what].as_array().cloned().unwrap_or_default();
        let (wanted, machines) = (list("caps"), list("arches"));
        let held = capabilities.as_array().unwrap();
        (wanted, machines.is_empty() || machines.contains(&json!(machine)), held.clone())
    };
    let mut rules = Vec::new();
    for rule in profile["syscalls"].as_array().unwrap() {
        let (wanted, machine, held) = holds(rule, "includes");
        if !machine || !wanted.iter().all(|capability| held.contains(capability)) {
            continue;
        }
        let (unwanted, _, held) = holds(rule, "excludes");
        if unwanted.iter().any(|capability| held.contains(capability)) {
            continue;
        }
        let mut narrowed = json!({ "names": rule["names"], "action": rule["action"] });
        if let Some(arguments) = rule["args"].as_array().filter(|arguments| !arguments.is_empty()) {
            narrowed["args"] = json!(arguments);
        }
        if rule["errnoRet"].is_number() {
            narrowed["errnoRet"] = rule["errnoRet"].clone();
        }
        rules.push(narrowed);
    }
    let machines = if cfg!(target_arch = "x86_64") {
        json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"])
    } else {
        json!(["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"])
    };
    json!({ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "architectures": machines, "syscalls": rules })
}
