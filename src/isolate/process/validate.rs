//! Finds everything that is wrong with a process before anything is started.

use super::label::{apparmor_profile, selinux_label};
use super::limits::limit;
use super::scheduling::{check_affinity, check_io_priority, check_memory_policy, check_personality, check_scheduler};
use super::{FINAL_AFFINITY, INITIAL_AFFINITY, sysctl};
use crate::isolate::rdt;
use crate::{Error, Result};
use oci_spec::runtime::{LinuxIdMapping, LinuxSeccomp, LinuxSeccompAction, Process, Spec};

/// The most supplementary groups: `NGROUPS_MAX`.
const GROUPS: usize = 65536;

/// What is wrong, each with its field.
struct Problems(Vec<Error>);

impl Problems {
    fn note<T>(&mut self, result: Result<T>) {
        self.0.extend(result.err());
    }

    fn add(&mut self, problem: String) {
        self.0.push(Error::invalid(problem));
    }
}

/// What is wrong with `process` and with what `linux` says of every process (ids, limits, scheduling, labels, sysctls,
/// seccomp's listener): each problem with the name of its field.
pub(crate) fn process_problems(spec: &Spec, process: &Process) -> Vec<Error> {
    let mut problems = Problems(Vec::new());
    check_user(spec, process, &mut problems);
    check_attributes(process, &mut problems);
    check_linux(spec, &mut problems);
    problems.0
}

fn check_user(spec: &Spec, process: &Process, problems: &mut Problems) {
    let user = process.user();
    let linux = spec.linux().as_ref();
    let users = linux.and_then(|linux| linux.uid_mappings().as_deref()).unwrap_or_default();
    let groups = linux.and_then(|linux| linux.gid_mappings().as_deref()).unwrap_or_default();
    check_id("process.user.uid", user.uid(), users, problems);
    check_id("process.user.gid", user.gid(), groups, problems);
    let additional = user.additional_gids().as_deref().unwrap_or_default();
    for (index, &group) in additional.iter().take(GROUPS).enumerate() {
        check_id(&format!("process.user.additionalGids[{index}]"), group, groups, problems);
    }
    if additional.len() > GROUPS {
        problems.add(format!("process.user.additionalGids: {} are more than {GROUPS}", additional.len()));
    }
    if let Some(umask) = user.umask().filter(|&umask| umask > 0o777) {
        problems.add(format!("process.user.umask: 0{umask:o} is above 0777"));
    }
}

/// An id must be one, and mapped where there are mappings.
fn check_id(field: &str, id: u32, mappings: &[LinuxIdMapping], problems: &mut Problems) {
    let within = |map: &LinuxIdMapping| id.checked_sub(map.container_id()).is_some_and(|offset| offset < map.size());
    if id == u32::MAX {
        problems.add(format!("{field}: {id} is no id"));
    } else if !mappings.is_empty() && !mappings.iter().any(within) {
        problems.add(format!("{field}: {id} is not mapped in the user namespace"));
    }
}

fn check_attributes(process: &Process, problems: &mut Problems) {
    let mut seen = Vec::new();
    for (index, entry) in process.rlimits().iter().flatten().enumerate() {
        problems.note(limit(index, entry, &mut seen));
    }
    if let Some(adjustment) = process.oom_score_adj().filter(|adjustment| !(-1000..=1000).contains(adjustment)) {
        problems.add(format!("process.oomScoreAdj: {adjustment} is not within -1000 and 1000"));
    }
    problems.note(process.scheduler().as_ref().map_or(Ok(()), check_scheduler));
    problems.note(process.io_priority().as_ref().map_or(Ok(0), check_io_priority));
    if let Some(affinity) = process.exec_cpu_affinity() {
        let lists = [(affinity.initial(), INITIAL_AFFINITY), (affinity.cpu_affinity_final(), FINAL_AFFINITY)];
        for (list, field) in lists {
            problems.note(list.as_deref().map_or(Ok(Vec::new()), |list| check_affinity(list, field)));
        }
    }
    problems.note(apparmor_profile(process));
    problems.note(selinux_label(process));
}

fn check_linux(spec: &Spec, problems: &mut Problems) {
    let Some(linux) = spec.linux() else { return };
    let mut each = true;
    for (name, value) in linux.sysctl().iter().flatten() {
        let checked = sysctl::check(spec, name, value);
        each &= checked.is_ok();
        problems.note(checked);
    }
    if each {
        problems.note(sysctl::sysctls(spec));
    }
    problems.note(linux.personality().as_ref().map_or(Ok(()), check_personality));
    problems.note(linux.memory_policy().as_ref().map_or(Ok(Vec::new()), check_memory_policy));
    problems.note(linux.intel_rdt().as_ref().map_or(Ok(()), rdt::check));
    if let Some(seccomp) = linux.seccomp() {
        check_listener(seccomp, problems);
    }
}

/// runtime-spec, config-linux, "Seccomp": `listenerPath`, `listenerMetadata`.
fn check_listener(seccomp: &LinuxSeccomp, problems: &mut Problems) {
    let notify = LinuxSeccompAction::ScmpActNotify;
    let notifies = seccomp.syscalls().iter().flatten().any(|rule| rule.action() == notify);
    match seccomp.listener_path() {
        Some(path) if !path.is_absolute() => {
            problems.add(format!("linux.seccomp.listenerPath: {} is not absolute", path.display()));
        }
        Some(_) => {}
        None if notifies || seccomp.default_action() == notify => {
            problems.add("linux.seccomp.listenerPath: SCMP_ACT_NOTIFY needs one".to_owned());
        }
        None if seccomp.listener_metadata().is_some() => {
            problems.add("linux.seccomp.listenerMetadata: there is no listenerPath".to_owned());
        }
        None => {}
    }
    if seccomp.default_action() == notify {
        problems.add("linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be the default".to_owned());
    }
}
