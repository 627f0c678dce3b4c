//! Containers in scopes of systemd, which is played: no machine of ours has one. Needs root.

#[path = "support/bundle.rs"]
mod bundle;
#[path = "support/busybox.rs"]
mod busybox;
#[path = "support/program.rs"]
mod program;
#[path = "support/systemd.rs"]
mod systemd;

use bundle::Bundle;
use serde_json::json;
use std::path::Path;
use std::process::Command;

const BUS: &str = "DBUS_SYSTEM_BUS_ADDRESS";

/// Whether this process was started with that bus; else it is started so, for the test `name`.
fn with_bus(name: &str, address: &str) -> bool {
    if std::env::var(BUS).is_ok_and(|set| set.contains("coracle-test-bus") || set.contains("/nowhere/")) {
        return true;
    }
    let mut again = Command::new(std::env::current_exe().unwrap());
    let output = again.args(["--exact", name, "--nocapture"]).env(BUS, address).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    false
}

/// A bundle whose container writes its groups and its process limit down, and that sees the groups of the host.
fn reporting(name: &str) -> Bundle {
    let mut bundle = Bundle::new(name, "cat /proc/self/cgroup > /groups; exec sleep 1000");
    let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| namespace["type"] != "cgroup");
    bundle.systemd = true;
    bundle.config["linux"]["resources"] = json!({ "pids": { "limit": 40 } });
    bundle
}

#[test]
fn a_container_lives_in_the_scope_that_systemd_made() {
    let socket = std::env::temp_dir().join(format!("coracle-test-bus-{}", std::process::id()));
    let group = format!("/coracle-test-systemd-{}.slice/coracle-x.scope", std::process::id());
    let name = "a_container_lives_in_the_scope_that_systemd_made";
    if std::env::var_os(BUS).is_none() {
        let calls = systemd::play_systemd(&socket, &group);
        let ran = std::panic::catch_unwind(|| with_bus(name, &format!("unix:path={}", socket.display())));
        std::fs::remove_file(&socket).unwrap();
        ran.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let calls = calls.lock().unwrap().clone();
        let asked = |member: &str| calls.iter().filter(|call| *call == member).count();
        assert_eq!(
            [asked("StartTransientUnit"), asked("SetUnitProperties"), asked("StopUnit")],
            [1, 1, 1],
            "{calls:?}"
        );
        return;
    }
    let bundle = reporting("systemd");
    let container = bundle.create().unwrap();
    container.start().unwrap();
    let groups = bundle.within("groups");
    bundle::wait_until("its report", || std::fs::read_to_string(&groups).is_ok_and(|text| text.ends_with('\n')));
    let text = std::fs::read_to_string(&groups).unwrap();
    let inside = text.lines().filter(|line| line.ends_with(".slice/coracle-x.scope")).count();
    let path = text.lines().find_map(|line| line.split(':').nth(2).filter(|path| path.ends_with(".scope"))).unwrap();
    let directories = directories(path);
    assert_eq!(inside, directories.len(), "{text}");
    let limit = directories.iter().find_map(|directory| std::fs::read_to_string(directory.join("pids.max")).ok());
    assert_eq!(limit.unwrap().trim(), "40");
    let alone = container.processes().unwrap();
    assert_eq!(alone.len(), 1, "what held the scope is gone: {alone:?}");
    let update = serde_json::from_value(json!({ "pids": { "limit": 50 } })).unwrap();
    let update = coracle::cgroup::Resources::from_runtime_spec(&update).unwrap();
    container.update(&update).unwrap();
    container.delete(true).unwrap();
    assert!(directories.iter().all(|directory| !directory.parent().unwrap().exists()), "{directories:?}");
}

/// Where a group is in every hierarchy that has it.
fn directories(path: &str) -> Vec<std::path::PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = mounts.lines().filter(|line| line.contains(" - cgroup")).filter_map(|line| line.split(' ').nth(4));
    points.map(|point| Path::new(point).join(path.trim_start_matches('/'))).filter(|found| found.exists()).collect()
}

#[test]
fn without_systemd_the_error_says_so_and_nothing_is_left() {
    if !with_bus("without_systemd_the_error_says_so_and_nothing_is_left", "unix:path=/nowhere/bus") {
        return;
    }
    let bundle = reporting("no-systemd");
    let error = bundle.create().unwrap_err();
    assert!(error.to_string().contains("connect to the D-Bus of systemd"), "{error}");
    assert!(error.remedy().unwrap().contains("--systemd-cgroup"), "{error}");
    assert!(bundle.runtime().container(bundle.id()).is_err());
}

#[test]
fn a_path_that_is_not_systemds_is_refused() {
    let mut bundle = reporting("path");
    for path in ["/absolute/path", "a:b", "x.slice:y:../z"] {
        bundle.config["linux"]["cgroupsPath"] = json!(path);
        let error = bundle.create().unwrap_err();
        assert!(error.to_string().contains("linux.cgroupsPath"), "{error}");
    }
}
