//! The capabilities and the system call filter that engines write into a bundle.

use serde_json::{Value, json};

/// The names that Docker grants.
pub fn capabilities() -> Value {
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
pub fn seccomp() -> Value {
    let Ok(text) = std::fs::read_to_string("/usr/share/containers/seccomp.json") else { return Value::Null };
    let profile: Value = serde_json::from_str(&text).unwrap();
    let capabilities = capabilities();
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
