//! Scheduling, memory policy, execution domain, sysctls, labels, keyrings.

use super::filters::notifying;
use super::*;

/// Field `number` of proc_pid_stat(5), by a shell.
fn stat(number: u32) -> String {
    format!("set -- $(cat /proc/self/stat); shift {}; echo $1", number - 1)
}

fn trial(joins: bool) -> Trial {
    Trial { joins, ..Trial::default() }
}

#[test]
fn scheduler_policies_are_those_of_the_configuration() {
    for joins in [false, true] {
        let printed = |scheduler: serde_json::Value| {
            let spec = configuration(json!({ "scheduler": scheduler }), json!({}));
            let script = format!("{}; {}; {}", stat(41), stat(40), stat(19));
            attempt(&spec, &script, trial(joins))
                .map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        };
        assert_eq!(printed(json!({ "policy": "SCHED_OTHER", "nice": 7 })).unwrap(), ["0", "0", "7"]);
        assert_eq!(printed(json!({ "policy": "SCHED_BATCH", "nice": 3 })).unwrap(), ["3", "0", "3"]);
        assert_eq!(printed(json!({ "policy": "SCHED_IDLE" })).unwrap(), ["5", "0", "0"]);
        for policy in ["SCHED_FIFO", "SCHED_RR"] {
            match printed(json!({ "policy": policy, "priority": 12 })) {
                Ok(fields) => assert_eq!(fields[1], "12", "{policy}"),
                // A group without real-time bandwidth, or a host without the right.
                Err(error) => assert_eq!(error.errno(), Some(libc::EPERM), "{error}"),
            }
        }
        let iso = printed(json!({ "policy": "SCHED_ISO" })).unwrap_err();
        assert!(iso.to_string().starts_with("set process.scheduler to SCHED_ISO: "), "{iso}");
    }
}

#[test]
fn a_deadline_is_set_in_the_last_process_of_an_exec() {
    let scheduler =
        json!({ "policy": "SCHED_DEADLINE", "runtime": 10000000, "deadline": 30000000, "period": 30000000 });
    let spec = configuration(json!({ "scheduler": scheduler }), json!({}));
    let listing = |joins: bool| {
        let mut plan = Builder::new();
        plan.push(OpCode::CloseOthers, &[], "close");
        let circumstances = Circumstances { joins, ..Circumstances::default() };
        let process = spec.process().as_ref().unwrap();
        lower_process(&mut plan, &spec, process, circumstances, &mut |_| {}, |plan| {
            plan.push(OpCode::GoOnInside, &[], "enter the PID namespace");
            Ok(())
        })
        .unwrap();
        let command = CommandLine { arguments: vec![b"/bin/true".to_vec()], environment: Vec::new() };
        lower_exec(&mut plan, &command);
        let plan = plan.finish(Channel::new().unwrap().child()).unwrap();
        plan.verified().unwrap().to_string()
    };
    let places = |text: &str| {
        let at = |line: &str| text.find(line).unwrap();
        (at("set-scheduler"), at("go-on-inside"))
    };
    let (start, exec) = (places(&listing(false)), places(&listing(true)));
    assert!(start.0 < start.1 && exec.0 > exec.1);
}

#[test]
fn io_priority_personality_and_affinity_are_those_of_the_configuration() {
    let process = json!({
        "ioPriority": { "class": "IOPRIO_CLASS_BE", "priority": 6 },
        "execCPUAffinity": { "initial": "0-1", "final": "0" },
    });
    let spec = configuration(process, json!({ "personality": { "domain": "LINUX32" } }));
    let script = format!("ionice -p $$; uname -m; {STATUS}");
    let printed = attempt(&spec, &script, trial(true)).unwrap();
    assert!(printed.starts_with("best-effort: prio 6"), "{printed}");
    #[cfg(target_arch = "x86_64")]
    assert_eq!(printed.lines().nth(1), Some("i686"));
    assert_eq!(field(&printed, "Cpus_allowed_list:"), "0");
    // The affinity is that of an exec alone.
    let printed = attempt(&spec, STATUS, trial(false)).unwrap();
    assert_ne!(field(&printed, "Cpus_allowed_list:"), "0");
}

#[test]
fn a_memory_policy_is_that_of_the_configuration() {
    let policy = json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"] });
    let spec = configuration(json!({}), json!({ "memoryPolicy": policy }));
    match attempt(&spec, "cat /proc/self/numa_maps", Trial::default()) {
        Ok(printed) => assert!(printed.contains(" bind=static:0 "), "{printed}"),
        Err(error) => assert_eq!(error.errno(), Some(libc::ENOSYS), "{error}"),
    }
    let spec = configuration(json!({}), json!({ "memoryPolicy": { "mode": "MPOL_BIND", "nodes": "1000" } }));
    let error = attempt(&spec, "true", Trial::default()).unwrap_err();
    assert!(error.to_string().starts_with("set linux.memoryPolicy: "), "{error}");
}

#[test]
fn sysctls_are_those_of_the_containers_own_namespaces() {
    let namespaces = json!([{ "type": "ipc" }, { "type": "network" }, { "type": "uts" }]);
    let sysctl = json!({ "net.ipv4.ip_forward": "1", "kernel/shmmax": "4096", "kernel.domainname": "boats" });
    let spec = configuration(json!({}), json!({ "namespaces": namespaces, "sysctl": sysctl }));
    let script = "cd /proc/sys; cat net/ipv4/ip_forward kernel/shmmax kernel/domainname";
    for id_map in [None, Some(IdMap::current_user())] {
        let before = fs::read_to_string("/proc/sys/kernel/shmmax").unwrap();
        let (printed, _) = output(&spec, script, id_map);
        assert_eq!(printed.lines().collect::<Vec<_>>(), ["1", "4096", "boats"]);
        assert_eq!(fs::read_to_string("/proc/sys/kernel/shmmax").unwrap(), before);
    }
    let unknown = json!({ "net.ipv4.no_such_thing": "1" });
    let spec = configuration(json!({}), json!({ "namespaces": namespaces, "sysctl": unknown }));
    let error = attempt(&spec, "true", Trial::default()).unwrap_err().to_string();
    assert!(error.contains("set linux.sysctl net.ipv4.no_such_thing to \"1\"") && error.contains("no such parameter"));
}

#[test]
fn a_named_keyring_is_shared_by_those_that_name_it() {
    let spec = configuration(json!({}), json!({}));
    let name = format!("_ses.coracle-test-{}", std::process::id());
    let name: &'static str = name.leak();
    let keys = |keyring: Option<&'static str>| {
        attempt(&spec, "cat /proc/keys", Trial { keyring, ..Trial::default() }).unwrap()
    };
    let serial = |keys: &str| {
        let line = keys.lines().find(|line| line.contains(name));
        line.map(|line| line.split_whitespace().next().unwrap().to_owned())
    };
    // One is kept while the other starts; a kernel without keyrings, or an outer filter, has none to show.
    let (sender, receiver) = std::sync::mpsc::channel();
    let first = std::thread::spawn(move || {
        let spec = configuration(json!({ "noNewPrivileges": true }), notifying(&["mkdir"], "/run/agent".as_ref()));
        let listener: HandOver<'static> = Box::new(move |descriptor, _| {
            sender.send(descriptor).unwrap();
            Ok(())
        });
        let trial = Trial { keyring: Some(name), listener: Some(listener), ..Trial::default() };
        attempt(&spec, "cat /proc/keys; mkdir /made", trial).unwrap()
    });
    // Held until the second has ended: the first waits for an answer to its mkdir.
    let held = receiver.recv().unwrap();
    let second = keys(Some(name));
    drop(held);
    let first = first.join().unwrap();
    assert_eq!(serial(&first), serial(&second), "{first}\n{second}");
    assert!(second.is_empty() || serial(&second).is_some(), "{second}");
}

#[test]
fn labels_that_nobody_enforces_are_refused() {
    let apparmor = fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|on| on.starts_with('Y'));
    let error = |process: serde_json::Value| {
        attempt(&configuration(process, json!({})), "true", Trial::default())
            .map(drop)
            .map_err(|error| error.to_string())
    };
    if !apparmor {
        assert_eq!(error(json!({ "apparmorProfile": "unconfined" })), Ok(()));
        let refused = error(json!({ "apparmorProfile": "box" })).unwrap_err();
        assert!(refused.starts_with("process.apparmorProfile: \"box\" cannot be enforced"), "{refused}");
    }
    if !std::path::Path::new("/sys/fs/selinux/enforce").exists() {
        let refused = error(json!({ "selinuxLabel": "a:b:c" })).unwrap_err();
        assert!(refused.starts_with("process.selinuxLabel: \"a:b:c\" cannot be enforced"), "{refused}");
    }
    assert_eq!(error(json!({ "apparmorProfile": "", "selinuxLabel": "" })), Ok(()));
}

/// For a machine with AppArmor on which somebody has loaded the profile: `profile coracle-test { file, }`.
#[test]
fn an_apparmor_profile_that_is_loaded_holds() {
    let profiles = fs::read_to_string("/sys/kernel/security/apparmor/profiles").unwrap_or_default();
    if !profiles.contains("coracle-test") {
        return;
    }
    for no_new_privileges in [true, false] {
        let process = json!({ "apparmorProfile": "coracle-test", "noNewPrivileges": no_new_privileges });
        for id_map in [None, Some(IdMap::current_user())] {
            let (printed, _) =
                output(&configuration(process.clone(), json!({})), "cat /proc/self/attr/current", id_map);
            assert!(printed.starts_with("coracle-test (enforce)"), "{printed}");
        }
    }
    let missing = configuration(json!({ "apparmorProfile": "no-such-profile" }), json!({}));
    let error = attempt(&missing, "true", Trial::default()).unwrap_err().to_string();
    assert!(error.contains("process.apparmorProfile") && error.contains("no such profile is loaded"), "{error}");
}
