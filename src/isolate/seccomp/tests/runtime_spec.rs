//! Profiles from runtime configurations.

use super::containers::{capability_sets, document, sections};
use super::{Architecture, PAIRS, Profile, numbers, run};
use serde_json::{Value, json};

/// A runtime configuration's profile: the document without its conditions on capabilities and machines.
fn flattened(document: &Value, native: Architecture, capabilities: crate::isolate::CapabilitySet) -> Value {
    let calls: Vec<Value> = sections(document, native, capabilities)
        .into_iter()
        .map(|section| {
            json!({
                "names": section["names"], "action": section["action"],
                "errnoRet": section["errnoRet"], "args": section["args"],
            })
        })
        .collect();
    json!({
        "defaultAction": document["defaultAction"], "defaultErrnoRet": document["defaultErrnoRet"],
        "architectures": [
            "SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_MIPS",
        ],
        "syscalls": calls,
    })
}

#[test]
fn the_containers_profile_compiles_to_the_default() {
    let document = document();
    for capabilities in capability_sets().into_iter().take(3) {
        for (native, architectures) in PAIRS {
            let read = flattened(&document, native, capabilities).to_string();
            let read = Profile::from_json(read.as_bytes()).unwrap().compile(native).unwrap();
            let own = Profile::default_for(&capabilities).compile(native).unwrap();
            read.verify().unwrap();
            for architecture in architectures {
                for number in numbers() {
                    for first in [0, 1, 8, 16, 0x20000, 0xffff_ffff] {
                        for third in [0, 9] {
                            let arguments = [first, 0, third, 0, 0, 0];
                            let (a, b) = (
                                run(&read, architecture, number, arguments),
                                run(&own, architecture, number, arguments),
                            );
                            assert_eq!(a, b, "{architecture} {number} {arguments:?}");
                        }
                    }
                }
            }
        }
    }
}

fn decide(profile: &Value, number: u32, arguments: [u64; 6]) -> u32 {
    let filter = Profile::from_json(profile.to_string().as_bytes()).unwrap().compile(Architecture::X86_64).unwrap();
    run(&filter, Architecture::X86_64, number, arguments)
}

#[test]
fn all_actions_are_read() {
    for (name, value) in [
        ("SCMP_ACT_KILL", libc::SECCOMP_RET_KILL_THREAD),
        ("SCMP_ACT_KILL_THREAD", libc::SECCOMP_RET_KILL_THREAD),
        ("SCMP_ACT_KILL_PROCESS", libc::SECCOMP_RET_KILL_PROCESS),
        ("SCMP_ACT_TRAP", libc::SECCOMP_RET_TRAP),
        ("SCMP_ACT_ERRNO", libc::SECCOMP_RET_ERRNO | 1),
        ("SCMP_ACT_TRACE", libc::SECCOMP_RET_TRACE | 1),
        ("SCMP_ACT_ALLOW", libc::SECCOMP_RET_ALLOW),
        ("SCMP_ACT_LOG", libc::SECCOMP_RET_LOG),
        ("SCMP_ACT_NOTIFY", libc::SECCOMP_RET_USER_NOTIF),
    ] {
        let profile = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["read", "no_such_call"], "action": name}],
        });
        assert_eq!(decide(&profile, 0, [0; 6]), value, "{name}");
        assert_eq!(decide(&profile, 1, [0; 6]), libc::SECCOMP_RET_ALLOW);
    }
}

#[test]
fn rules_decide_as_under_runc() {
    let conditional = |value: u64| json!([{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]);
    // A rule without conditions goes before one with, wherever it stands.
    let profile = json!({"defaultAction": "SCMP_ACT_KILL", "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": conditional(5)},
        {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
    ]});
    assert_eq!(decide(&profile, 0, [5, 0, 0, 0, 0, 0]), libc::SECCOMP_RET_ALLOW);
    // Conditions on one argument are alternatives.
    let profile = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [
        {"index": 0, "value": 5, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 9, "op": "SCMP_CMP_EQ"},
    ]}]});
    for (first, expected) in
        [(5, libc::SECCOMP_RET_ALLOW), (9, libc::SECCOMP_RET_ALLOW), (6, libc::SECCOMP_RET_ERRNO | 1)]
    {
        assert_eq!(decide(&profile, 0, [first, 0, 0, 0, 0, 0]), expected, "{first}");
    }
    // Bits of the second value outside the mask do not count.
    let profile = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [
        {"index": 0, "value": 0xf0, "valueTwo": 0x15, "op": "SCMP_CMP_MASKED_EQ"},
    ]}]});
    assert_eq!(decide(&profile, 0, [0x1f, 0, 0, 0, 0, 0]), libc::SECCOMP_RET_ALLOW);
}

#[test]
fn what_is_unknown_is_refused() {
    let rule = |rule: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    for bad in [
        json!({}),
        json!([]),
        json!({"defaultAction": "SCMP_ACT_MAYBE"}),
        json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_VAX"]}),
        json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_MAYBE"]}),
        json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 70000}),
        rule(json!({"names": ["read"], "action": "SCMP_ACT_MAYBE"})),
        rule(
            json!({"names": ["read"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_XOR"}]}),
        ),
        rule(
            json!({"names": ["read"], "action": "SCMP_ACT_LOG", "args": [{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]}),
        ),
        rule(
            json!({"names": ["read"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": -1, "op": "SCMP_CMP_EQ"}]}),
        ),
    ] {
        let error = Profile::from_json(bad.to_string().as_bytes()).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::InvalidInput, "{bad}");
        assert!(!error.to_string().contains('\n'));
    }
    assert!(Profile::from_json(&vec![b' '; 2 << 20]).is_err());
}

#[test]
fn alternatives_do_not_multiply_without_end() {
    let argument = json!({"index": 0, "value": 1, "op": "SCMP_CMP_EQ"});
    let rule = json!({
        "names": vec!["read"; 60_000], "action": "SCMP_ACT_LOG", "args": vec![argument; 10_000],
    });
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}).to_string();
    assert!(profile.len() < 1 << 20);
    let error = Profile::from_json(profile.as_bytes()).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::LimitExceeded);
}
