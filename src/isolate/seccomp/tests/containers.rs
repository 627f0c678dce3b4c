//! The default profile decides as the one that Debian installs for Podman, Buildah and CRI-O.

use super::{Architecture, PAIRS, Profile, numbers, run};
use crate::isolate::CapabilitySet;
use crate::isolate::seccomp::Syscall;
use serde_json::Value;
use std::collections::BTreeMap;

const DOCUMENT: &str = "/usr/share/containers/seccomp.json";

pub(super) fn document() -> Value {
    let text = std::fs::read(DOCUMENT).expect("golang-github-containers-common installs the profile");
    serde_json::from_slice(&text).unwrap()
}

/// The sections that hold for a container with these capabilities on this machine.
pub(super) fn sections<'a>(document: &'a Value, native: Architecture, capabilities: CapabilitySet) -> Vec<&'a Value> {
    let machine = if native == Architecture::X86_64 { "amd64" } else { "arm64" };
    let held = |value: &Value| capabilities.contains(value.as_str().unwrap().parse().unwrap());
    let list = |section: &'a Value, key: &str, what: &str| -> Vec<&'a Value> {
        section[key][what].as_array().into_iter().flatten().collect()
    };
    document["syscalls"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|section| list(section, "includes", "caps").into_iter().all(held))
        .filter(|section| !list(section, "excludes", "caps").into_iter().any(held))
        .filter(|section| {
            let machines = list(section, "includes", "arches");
            machines.is_empty() || machines.into_iter().any(|name| name == machine)
        })
        .inspect(|section| {
            assert!(list(section, "excludes", "arches").is_empty());
            assert!(section["includes"].get("minKernel").is_none());
        })
        .collect()
}

fn conditions(section: &Value) -> &[Value] {
    section["args"].as_array().map_or(&[], Vec::as_slice)
}

fn holds(condition: &Value, arguments: &[u64; 6]) -> bool {
    let argument = arguments[condition["index"].as_u64().unwrap() as usize];
    let (value, second) = (condition["value"].as_u64().unwrap(), condition["valueTwo"].as_u64().unwrap_or(0));
    match condition["op"].as_str().unwrap() {
        "SCMP_CMP_EQ" => argument == value,
        "SCMP_CMP_NE" => argument != value,
        "SCMP_CMP_MASKED_EQ" => argument & value == second,
        other => panic!("{other}"),
    }
}

fn action(name: &Value, errno: &Value) -> u32 {
    match name.as_str().unwrap() {
        "SCMP_ACT_ALLOW" => libc::SECCOMP_RET_ALLOW,
        "SCMP_ACT_ERRNO" => libc::SECCOMP_RET_ERRNO | errno.as_u64().unwrap() as u32,
        other => panic!("{other}"),
    }
}

/// What the document says of a call by its names: first a section without conditions, then those whose conditions hold.
fn expected(document: &Value, sections: &[&Value], arguments: &[u64; 6]) -> u32 {
    let plain = sections.iter().find(|section| conditions(section).is_empty());
    let matching = || sections.iter().find(|section| conditions(section).iter().all(|one| holds(one, arguments)));
    match plain.or_else(matching) {
        Some(section) => action(&section["action"], &section["errnoRet"]),
        None => action(&document["defaultAction"], &document["defaultErrnoRet"]),
    }
}

/// Arguments around every value that a condition names, in both halves of the word.
fn arguments(sections: &[&Value], wide: bool) -> Vec<[u64; 6]> {
    let mut values = vec![0, 1, u64::from(u32::MAX)];
    for condition in sections.iter().flat_map(|section| conditions(section)) {
        let value = condition["value"].as_u64().unwrap();
        values.extend([value.wrapping_sub(1), value, value + 1, value | 1 << 32, value | 1 << 63]);
    }
    values.retain(|value| wide || *value <= u64::from(u32::MAX));
    values.sort_unstable();
    values.dedup();
    values.iter().flat_map(|&a| values.iter().map(move |&b| [a, 7, b, 0, 0, 0])).collect()
}

/// Kept apart from the table's own look-up by number: the names of each number.
fn names(architecture: Architecture) -> BTreeMap<u32, Vec<&'static str>> {
    let mut names: BTreeMap<u32, Vec<&'static str>> = BTreeMap::new();
    for call in Syscall::all() {
        if let Some(number) = call.number(architecture) {
            names.entry(number).or_default().push(call.name());
        }
    }
    names
}

pub(super) fn capability_sets() -> Vec<CapabilitySet> {
    let mut sets = vec![CapabilitySet::DEFAULT, CapabilitySet::ALL, CapabilitySet::EMPTY];
    sets.extend(CapabilitySet::ALL.iter().map(|one| CapabilitySet::of(&[one])));
    sets
}

#[test]
fn every_number_meets_the_same_decision() {
    let document = document();
    let mut compared = 0u64;
    for capabilities in capability_sets() {
        for (native, architectures) in PAIRS {
            let filter = Profile::default_for(&capabilities).compile(native).unwrap();
            filter.verify().unwrap();
            let sections = sections(&document, native, capabilities);
            for architecture in architectures {
                let names = names(architecture);
                for number in numbers() {
                    let here: Vec<&Value> = match names.get(&number) {
                        Some(names) => sections
                            .iter()
                            .copied()
                            .filter(|section| {
                                let listed = section["names"].as_array().unwrap();
                                names.iter().any(|name| listed.iter().any(|one| one == name))
                            })
                            .collect(),
                        None => Vec::new(),
                    };
                    let x32 = architecture == Architecture::X86_64 && (0x4000_0000..u32::MAX).contains(&number);
                    for arguments in arguments(&here, architecture.is_64_bit()) {
                        let expected = match x32 {
                            true => libc::SECCOMP_RET_KILL_PROCESS,
                            false => expected(&document, &here, &arguments),
                        };
                        let got = run(&filter, architecture, number, arguments);
                        assert_eq!(
                            got,
                            expected,
                            "{architecture} {number:#x} {:?} {arguments:x?} with {capabilities}: {got:#x} {expected:#x}",
                            names.get(&number)
                        );
                        compared += 1;
                    }
                }
            }
        }
    }
    assert!(compared > 1_000_000, "{compared}");
}
