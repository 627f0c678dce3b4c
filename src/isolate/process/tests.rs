//! What the payload finds of its attributes, through the launcher; and what a plan says.

use super::*;
use crate::isolate::{Root, lower_pivot, lower_root};
use crate::launch::{Channel, IdMap, Launcher, Request, start};
use crate::plan::op::Tolerate;
use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;

/// A configuration whose process has what `process` says and what it cannot do without.
fn configuration(process: serde_json::Value, linux: serde_json::Value) -> Spec {
    let mut process = process;
    let object = process.as_object_mut().unwrap();
    object.entry("cwd").or_insert("/".into());
    object.entry("user").or_insert(serde_json::json!({ "uid": 0, "gid": 0, "umask": 0o22 }));
    let document = serde_json::json!({ "ociVersion": "1.2.0", "process": process, "linux": linux });
    serde_json::from_value(document).unwrap()
}

/// What the container's busybox prints for `script`, in namespaces of its own on a bare root with /proc.
fn output(spec: &Spec, script: &str, id_map: Option<IdMap>) -> (String, Vec<String>) {
    let (outcome, warnings) = attempt(spec, script, id_map);
    (outcome.unwrap(), warnings)
}

fn attempt(spec: &Spec, script: &str, id_map: Option<IdMap>) -> (Result<String>, Vec<String>) {
    let mut warnings = Vec::new();
    let outcome = run(spec, script, id_map, &mut |warning| warnings.push(warning));
    (outcome, warnings)
}

fn run(spec: &Spec, script: &str, id_map: Option<IdMap>, warn: &mut dyn FnMut(String)) -> Result<String> {
    let scratch = tempfile::Builder::new().prefix("coracle-attributes-").tempdir().unwrap();
    fs::create_dir_all(scratch.path().join("bin")).unwrap();
    fs::copy("/bin/busybox", scratch.path().join("bin/sh")).unwrap();
    fs::set_permissions(scratch.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let process = spec.process().as_ref().unwrap();
    let circumstances = Circumstances { user_namespace: id_map.is_some(), ..Circumstances::default() };
    let (mut reader, writer) = std::io::pipe().unwrap();
    let channel = Channel::new()?;
    let mut plan = Builder::new();
    plan.push(OpCode::CloseOthers, &[], "close foreign descriptors");
    let output = plan.inherit(OwnedFd::from(writer));
    lower_own(&mut plan, process, circumstances)?;
    let flags = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWNET;
    let namespaces = if id_map.is_some() {
        plan.push(OpCode::Unshare, &[libc::CLONE_NEWUSER as u32], "create a user namespace");
        plan.phase(Phase::Map);
        plan.push(OpCode::AskForIdMaps, &[], "get the ids mapped");
        plan.phase(Phase::Identity);
        plan.push(OpCode::BecomeRoot, &[], "become root of the user namespace");
        plan.push(OpCode::Unshare, &[flags as u32], "create namespaces");
        plan.push(OpCode::GoOnInChild, &[], "enter the PID namespace");
        0
    } else {
        flags as u64
    };
    let root = lower_root(&mut plan, &Root::Directory(scratch.path().into()), id_map.is_some())?;
    crate::isolate::lower_proc(&mut plan, root);
    lower_pivot(&mut plan, root, false);
    plan.phase(Phase::Session);
    for number in [1, 2] {
        plan.push(OpCode::StandardStream, &[output.into(), number], "set up a standard stream");
    }
    lower_process(&mut plan, spec, process, circumstances, warn, |_| Ok(()))?;
    plan.phase(Phase::Exec);
    let (arguments, environment) = (plan.texts(["sh", "-c", script]), plan.texts(["PATH=/bin"]));
    let candidates = plan.texts(["/bin/sh"]);
    plan.push(OpCode::Execute, &[arguments, environment, candidates], "execute sh").tolerate(Tolerate::NONE);
    let request = Request {
        plan: plan.finish(channel.child())?,
        channel,
        namespaces,
        cgroup: None,
        id_map,
        gate: None,
        after_exec_of_stage: None,
        listener: None,
    };
    let mut process = start(&Launcher::new()?, request)?;
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    process.wait()?;
    Ok(text)
}

/// A line of /proc/self/status.
fn field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}: {status}"));
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

const STATUS: &str = "while read line; do echo \"$line\"; done < /proc/self/status";

#[test]
fn user_groups_and_umask_are_those_of_the_configuration() {
    let user = serde_json::json!({ "uid": 1000, "gid": 1001, "umask": 0o27, "additionalGids": [5, 7, 4294967294u32] });
    let spec = configuration(serde_json::json!({ "user": user }), serde_json::json!({}));
    let (status, _) = output(&spec, STATUS, None);
    assert_eq!(field(&status, "Uid:"), "1000 1000 1000 1000");
    assert_eq!(field(&status, "Gid:"), "1001 1001 1001 1001");
    assert_eq!(field(&status, "Groups:"), "5 7 4294967294");
    assert_eq!(field(&status, "Umask:"), "0027");
    assert_eq!(field(&status, "NoNewPrivs:"), "0");
    assert_eq!(field(&status, "CapBnd:"), "0000000000000000");
}

#[test]
fn the_five_capability_sets_are_set_one_by_one() {
    let sets = serde_json::json!({
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID"], "effective": ["CAP_KILL"],
        "permitted": ["CAP_KILL", "CAP_CHOWN"], "inheritable": ["CAP_KILL", "CAP_SETUID"], "ambient": ["CAP_KILL"],
    });
    let user = serde_json::json!({ "uid": 5, "gid": 5, "umask": 0o22 });
    let process = serde_json::json!({ "capabilities": sets, "user": user, "noNewPrivileges": true });
    let (status, warnings) = output(&configuration(process, serde_json::json!({})), STATUS, None);
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(field(&status, "CapBnd:"), "00000000000000a1");
    // The exec leaves to an ordinary user what is ambient, and the inheritable set as it is.
    for (name, mask) in [("CapInh:", 0xa0), ("CapPrm:", 0x20), ("CapEff:", 0x20), ("CapAmb:", 0x20)] {
        assert_eq!(field(&status, name), format!("{mask:016x}"), "{name}");
    }
    assert_eq!(field(&status, "NoNewPrivs:"), "1");
}

#[test]
fn capabilities_that_cannot_be_granted_are_left_out_with_a_warning() {
    let sets = serde_json::json!({
        "bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"],
        "effective": ["CAP_KILL", "CAP_CHOWN"], "inheritable": ["CAP_CHOWN"], "ambient": ["CAP_KILL"],
    });
    let spec = configuration(serde_json::json!({ "capabilities": sets }), serde_json::json!({}));
    let (status, warnings) = output(&spec, STATUS, None);
    assert_eq!(field(&status, "CapBnd:"), "0000000000000020");
    for expected in [
        "process.capabilities.effective: CAP_CHOWN cannot be granted: it is not permitted",
        "process.capabilities.inheritable: CAP_CHOWN cannot be granted: it is not in the bounding set",
        "process.capabilities.ambient: CAP_KILL cannot be granted: it is not both permitted and inheritable",
    ] {
        assert!(warnings.iter().any(|warning| warning == expected), "{warnings:?}");
    }
}

#[test]
fn limits_and_the_oom_score_are_those_of_the_configuration() {
    let limits = serde_json::json!([
        { "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }, { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 },
        { "type": "RLIMIT_FSIZE", "soft": 4096, "hard": 8192 },
    ]);
    let process = serde_json::json!({ "rlimits": limits, "oomScoreAdj": 321 });
    let script = "ulimit -Sn; ulimit -Hn; ulimit -c; ulimit -Hf; read score < /proc/self/oom_score_adj; echo $score";
    for id_map in [None, Some(IdMap::current_user())] {
        let (printed, _) = output(&configuration(process.clone(), serde_json::json!({})), script, id_map);
        assert_eq!(printed.lines().collect::<Vec<_>>(), ["100", "200", "0", "16", "321"]);
    }
}

#[test]
fn a_filter_holds_with_and_without_no_new_privileges() {
    let rule = serde_json::json!({ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 });
    let seccomp = serde_json::json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] });
    for no_new_privileges in [true, false] {
        let process = serde_json::json!({ "noNewPrivileges": no_new_privileges });
        let spec = configuration(process, serde_json::json!({ "seccomp": seccomp }));
        let (printed, _) = output(&spec, "mkdir /made", None);
        assert!(printed.contains("No space left on device"), "{printed}");
    }
}

#[test]
fn a_filter_that_refuses_what_the_start_needs_is_refused_by_name() {
    let seccomp = |names: &[&str]| {
        let rule = serde_json::json!({ "names": names, "action": "SCMP_ACT_KILL_PROCESS" });
        serde_json::json!({ "seccomp": { "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] } })
    };
    let error = |no_new_privileges: bool, names: &[&str]| {
        let process = serde_json::json!({ "noNewPrivileges": no_new_privileges });
        attempt(&configuration(process, seccomp(names)), "true", None).0.map(drop).map_err(|error| error.to_string())
    };
    let refused = error(false, &["capset", "setgroups", "mount"]).unwrap_err();
    assert!(refused.contains("refuses capset, setgroups, which the start needs"), "{refused}");
    assert!(error(true, &["execve"]).unwrap_err().contains("refuses execve,"));
    assert_eq!(error(true, &["capset", "setgroups", "close_range"]), Ok(()));
}
