//! What the payload finds of its attributes, through the launcher; and what a plan says.

mod credentials;
mod filters;
mod running;
mod validation;

use super::*;
use crate::isolate::{CommandLine, Root, lower_exec, lower_fence, lower_pivot, lower_root, lower_user_namespace};
use crate::launch::{Channel, HandOver, IdMap, Launcher, Request, start};
use serde_json::json;
use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;

/// A configuration whose process has what `process` says and what it cannot do without.
fn configuration(process: serde_json::Value, linux: serde_json::Value) -> Spec {
    let mut process = process;
    let object = process.as_object_mut().unwrap();
    object.entry("cwd").or_insert("/".into());
    object.entry("user").or_insert(json!({ "uid": 0, "gid": 0, "umask": 0o22 }));
    let document = json!({ "ociVersion": "1.2.0", "process": process, "linux": linux });
    serde_json::from_value(document).unwrap()
}

/// What is tried beside the configuration.
#[derive(Default)]
struct Trial {
    id_map: Option<IdMap>,
    joins: bool,
    keyring: Option<&'static str>,
    landlock: Option<Landlock>,
    listener: Option<HandOver<'static>>,
}

/// What the container's busybox prints for `script`, in namespaces of its own on a bare root with /proc, and the
/// warnings.
fn output(spec: &Spec, script: &str, id_map: Option<IdMap>) -> (String, Vec<String>) {
    let mut warnings = Vec::new();
    let trial = Trial { id_map, ..Trial::default() };
    let outcome = run(spec, script, trial, &mut |warning| warnings.push(warning));
    (outcome.unwrap(), warnings)
}

/// As [`output`], for what may fail.
fn attempt(spec: &Spec, script: &str, trial: Trial) -> Result<String> {
    run(spec, script, trial, &mut |_| {})
}

const NAMESPACES: i32 =
    libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWNET;

fn run(spec: &Spec, script: &str, trial: Trial, warn: &mut dyn FnMut(String)) -> Result<String> {
    let scratch = tempfile::Builder::new().prefix("coracle-attributes-").tempdir().unwrap();
    for name in ["bin", "open", "closed"] {
        fs::create_dir_all(scratch.path().join(name)).unwrap();
    }
    fs::copy("/bin/busybox", scratch.path().join("bin/sh")).unwrap();
    fs::set_permissions(scratch.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let process = spec.process().as_ref().unwrap();
    let user_namespace = trial.id_map.is_some();
    let circumstances = Circumstances {
        user_namespace,
        joins: trial.joins,
        keyring: trial.keyring,
        landlock: trial.landlock.as_ref(),
        preserved: 0,
    };
    let (mut reader, writer) = std::io::pipe().unwrap();
    let channel = Channel::new()?;
    let mut plan = Builder::new();
    let output = plan.inherit(OwnedFd::from(writer));
    lower_fence(&mut plan);
    lower_own(&mut plan, process, circumstances)?;
    if user_namespace {
        lower_user_namespace(&mut plan);
        plan.push(OpCode::Unshare, &[NAMESPACES as u32], "create namespaces");
        plan.push(OpCode::GoOnInChild, &[], "enter the PID namespace");
    }
    let root = lower_root(&mut plan, &Root::Directory(scratch.path().into()), user_namespace)?;
    crate::isolate::lower_proc(&mut plan, root);
    lower_sysctls(&mut plan, spec)?;
    lower_pivot(&mut plan, root, false);
    plan.phase(Phase::Session);
    for number in [1, 2] {
        plan.push(OpCode::StandardStream, &[output.into(), number], "set up a standard stream");
    }
    lower_process(&mut plan, spec, process, circumstances, warn, |_| Ok(()))?;
    let command = CommandLine {
        arguments: ["/bin/sh", "-c", script].map(|text| text.as_bytes().to_vec()).to_vec(),
        environment: vec![b"PATH=/bin".to_vec()],
    };
    lower_exec(&mut plan, &command);
    let request = Request {
        namespaces: if user_namespace { 0 } else { NAMESPACES as u64 },
        id_map: trial.id_map,
        listener: trial.listener,
        ..Request::new(plan.finish(channel.child())?, channel)
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
