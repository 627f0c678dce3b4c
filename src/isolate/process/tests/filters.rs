//! System call filters, their supervisors, landlock.

use super::*;

#[test]
fn a_filter_holds_with_and_without_no_new_privileges() {
    let rule = json!({ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 });
    let seccomp = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] });
    for no_new_privileges in [true, false] {
        let process = json!({ "noNewPrivileges": no_new_privileges });
        let spec = configuration(process, json!({ "seccomp": seccomp }));
        let (printed, _) = output(&spec, "mkdir /made", None);
        assert!(printed.contains("No space left on device"), "{printed}");
    }
}

#[test]
fn a_filter_that_refuses_what_the_start_needs_is_refused_by_name() {
    let seccomp = |names: &[&str]| {
        let rule = json!({ "names": names, "action": "SCMP_ACT_KILL_PROCESS" });
        json!({ "seccomp": { "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] } })
    };
    let error = |no_new_privileges: bool, names: &[&str]| {
        let process = json!({ "noNewPrivileges": no_new_privileges });
        attempt(&configuration(process, seccomp(names)), "true", Trial::default())
            .map(drop)
            .map_err(|error| error.to_string())
    };
    let refused = error(false, &["capset", "setgroups", "mount"]).unwrap_err();
    assert!(refused.contains("refuses capset, setgroups, which the start needs"), "{refused}");
    assert!(error(true, &["execve"]).unwrap_err().contains("refuses execve,"));
    assert_eq!(error(true, &["capset", "setgroups", "close_range"]), Ok(()));
}

/// A profile that hands these calls to a supervisor.
pub(super) fn notifying(names: &[&str], path: &std::path::Path) -> serde_json::Value {
    let rule = json!({ "names": names, "action": "SCMP_ACT_NOTIFY" });
    json!({ "seccomp": {
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
        "syscalls": [rule],
    } })
}

#[test]
fn a_supervisor_gets_the_descriptor_before_the_payload_runs() {
    for no_new_privileges in [true, false] {
        for joins in [false, true] {
            let (sender, receiver) = std::sync::mpsc::channel();
            let process = json!({ "noNewPrivileges": no_new_privileges });
            let spec = configuration(process, notifying(&["mkdir", "mkdirat"], "/run/agent".as_ref()));
            let listener: HandOver<'static> = Box::new(move |descriptor, pid| {
                sender.send((descriptor, pid)).unwrap();
                Ok(())
            });
            let trial = Trial { joins, listener: Some(listener), ..Trial::default() };
            // Nobody answers, and the last descriptor is closed once it is dropped: the call then fails.
            let answer = std::thread::spawn(move || {
                let (descriptor, pid) = receiver.recv().unwrap();
                let link = fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&descriptor)));
                (link.unwrap().to_string_lossy().into_owned(), pid)
            });
            let printed = attempt(&spec, "mkdir /made; echo done", trial).unwrap();
            assert!(printed.contains("Function not implemented") && printed.contains("done"), "{printed}");
            let (link, pid) = answer.join().unwrap();
            assert!(link.contains("seccomp notify") && pid > 0, "{link} {pid}");
        }
    }
}

#[test]
fn a_filter_must_not_ask_for_the_calls_that_reach_the_supervisor() {
    let spec = configuration(json!({ "noNewPrivileges": true }), notifying(&["sendmsg"], "/run/agent".as_ref()));
    let error = attempt(&spec, "true", Trial::default()).unwrap_err().to_string();
    assert!(error.contains("refuses sendmsg, which the start needs"), "{error}");
}

#[test]
fn a_supervisor_that_cannot_be_reached_fails_the_start() {
    let spec = configuration(json!({ "noNewPrivileges": true }), notifying(&["mkdir"], "/run/agent".as_ref()));
    let listener: HandOver<'static> = Box::new(|_, _| Err(Error::invalid("nobody is there")));
    let trial = Trial { listener: Some(listener), ..Trial::default() };
    assert_eq!(attempt(&spec, "true", trial).unwrap_err().to_string(), "nobody is there");
}

#[test]
fn landlock_holds_with_and_without_no_new_privileges() {
    for no_new_privileges in [true, false] {
        let spec = configuration(json!({ "noNewPrivileges": no_new_privileges }), json!({}));
        let landlock = Landlock::new().read_only("/bin").read_only("/proc").read_write("/open");
        let script = "echo a > /open/a && cat /open/a; echo b > /closed/b; ls /closed";
        let printed = attempt(&spec, script, Trial { landlock: Some(landlock), ..Trial::default() }).unwrap();
        assert!(printed.starts_with("a\n"), "{printed}");
        assert_eq!(printed.matches("Permission denied").count(), 2, "{printed}");
        let missing = Landlock::new().read_only("/bin").read_only("/nowhere");
        let error = attempt(&spec, "true", Trial { landlock: Some(missing), ..Trial::default() }).unwrap_err();
        assert!(error.to_string().starts_with("allow /nowhere by landlock: "), "{error}");
        let relative = Trial { landlock: Some(Landlock::new().read_write("tmp")), ..Trial::default() };
        assert!(attempt(&spec, "true", relative).unwrap_err().to_string().contains("is not absolute"));
    }
}

#[test]
fn landlock_rules_ports_where_the_kernel_can() {
    let spec = configuration(json!({ "noNewPrivileges": true }), json!({}));
    let landlock = Landlock::new().read_only("/bin").connect([80]).bind([]);
    match attempt(&spec, "nc 127.0.0.1 81", Trial { landlock: Some(landlock), ..Trial::default() }) {
        Ok(printed) => assert!(printed.contains("Permission denied"), "{printed}"),
        // Before Linux 6.7.
        Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}"),
    }
}
