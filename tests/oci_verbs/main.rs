//! The verbs of the runtime beside create, start and exec, what is left of cut-off ones, and the command line over them.

#[path = "../support/bundle.rs"]
mod bundle;
#[path = "../support/busybox.rs"]
mod busybox;
#[path = "../support/program.rs"]
mod program;

mod command;
mod killed;
mod leftovers;
mod rootless;

use bundle::{Bundle, wait_until};
use coracle::ErrorKind;
use coracle::cgroup::Resources;
use coracle::runtime::{Container, Event, Status};
use serde_json::json;
use std::fs;
use std::time::Duration;

const KILL: i32 = 9;

/// The container, started.
fn started(bundle: &Bundle) -> Container {
    let container = bundle.create().unwrap();
    container.start().unwrap();
    container
}

fn status(container: &Container) -> Status {
    container.state().unwrap().status
}

#[test]
fn a_container_is_suspended_and_goes_on() {
    let bundle = Bundle::new("pause", "while :; do sleep 100; done");
    let container = bundle.create().unwrap();
    assert_eq!(container.resume().unwrap_err().kind(), ErrorKind::InvalidInput);
    container.start().unwrap();
    container.pause().unwrap();
    assert_eq!(status(&container), Status::Paused);
    let error = container.pause().unwrap_err().to_string();
    assert!(error.contains("is paused"), "{error}");
    container.resume().unwrap();
    assert_eq!(status(&container), Status::Running);
    container.pause().unwrap();
    container.kill(KILL, false).unwrap();
    wait_until("the end of a suspended process", || status(&container) == Status::Stopped);
    assert!(container.pause().unwrap_err().to_string().contains("container not running"));
    container.delete(false).unwrap();
}

#[test]
fn a_suspended_container_is_deleted_by_force() {
    let bundle = Bundle::new("pause-delete", "sleep 1000 & sleep 1000");
    let container = started(&bundle);
    container.pause().unwrap();
    assert_eq!(container.delete(false).unwrap_err().kind(), ErrorKind::InUse);
    container.delete(true).unwrap();
    assert_eq!(bundle.runtime().container(bundle.id()).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn processes_are_those_of_the_container() {
    let bundle = Bundle::new("processes", "sleep 1000 & sleep 1000 & wait");
    let container = started(&bundle);
    wait_until("three processes", || container.processes().unwrap().len() == 3);
    assert!(container.processes().unwrap().contains(&container.state().unwrap().pid));
    container.kill(9, true).unwrap();
    wait_until("the end", || container.processes().unwrap().is_empty());
}

#[test]
fn a_kill_reaches_every_process_where_the_pid_namespace_is_shared() {
    let mut bundle = Bundle::new("shared", "sleep 1000 & echo $! > /tmp/child; exec sleep 1000");
    let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| namespace["type"] != "pid");
    let mounts = bundle.config["mounts"].as_array_mut().unwrap();
    // Fresh ones belong to a PID namespace of the container's own.
    mounts.retain(|mount| mount["destination"] != "/proc");
    let container = started(&bundle);
    wait_until("two processes", || container.processes().unwrap().len() == 2);
    container.kill(KILL, false).unwrap();
    wait_until("the end of both", || container.processes().unwrap().is_empty());
    assert_eq!(status(&container), Status::Stopped);
    // Of one that has ended, as runc.
    container.kill(KILL, false).unwrap();
    assert!(container.kill(15, false).is_err());
}

#[test]
fn limits_are_changed_and_usage_is_counted() {
    let mut bundle = Bundle::new("update", "exec sleep 1000");
    bundle.config["linux"]["resources"] = json!({ "pids": { "limit": 50 } });
    let container = started(&bundle);
    let resources = serde_json::from_value(json!({ "pids": { "limit": 21 } })).unwrap();
    container.update(&Resources::from_runtime_spec(&resources).unwrap()).unwrap();
    let usage = container.stats().unwrap();
    assert_eq!((usage.pids.limit, usage.pids.current), (21, 1));
    let text = serde_json::to_value(Event::stats("x", usage)).unwrap();
    assert_eq!(
        (&text["type"], &text["id"], &text["data"]["pids"]["limit"]),
        (&json!("stats"), &json!("x"), &json!(21))
    );
    container.kill(9, false).unwrap();
    wait_until("the end", || status(&container) == Status::Stopped);
    assert_eq!(container.stats().unwrap_err().kind(), ErrorKind::InvalidInput);
    let error = container.update(&Resources::new()).unwrap_err().to_string();
    assert!(error.contains("container not running"), "{error}");
}

#[test]
fn events_tell_of_memory_that_ran_out_and_end_with_the_container() {
    // A tmpfs is memory of who writes it.
    let script = "while [ ! -e /go ]; do sleep 0.05; done; (dd if=/dev/zero of=/tmp/x bs=1M count=60); exit 0";
    let mut bundle = Bundle::new("events", script);
    bundle.config["linux"]["resources"] = json!({ "memory": { "limit": 33_554_432, "swap": 33_554_432 } });
    let container = started(&bundle);
    assert!(container.events(Duration::ZERO).is_err());
    let mut events = container.events(Duration::from_millis(50)).unwrap();
    assert!(matches!(events.next(), Some(Ok(Event::Stats { .. }))));
    fs::write(bundle.within("go"), "").unwrap();
    let found: Vec<Event> = events.map(Result::unwrap).collect();
    assert!(found.iter().any(|event| matches!(event, Event::OutOfMemory { .. })), "{found:?}");
    assert!(container.events(Duration::from_secs(1)).unwrap_err().to_string().contains("container not running"));
}

#[test]
fn the_home_directory_is_that_of_the_user_in_the_container() {
    let mut bundle = Bundle::new("home", "echo $HOME > /tmp/out/home");
    fs::create_dir_all(bundle.within("etc")).unwrap();
    fs::write(bundle.within("etc/passwd"), "root:x:0:0::/home/of-root:/bin/sh\n").unwrap();
    let out = bundle.scratch().join("out");
    fs::create_dir(&out).unwrap();
    let mount = json!({ "destination": "/tmp/out", "source": out, "options": ["bind"] });
    bundle.config["mounts"].as_array_mut().unwrap().push(mount);
    let container = started(&bundle);
    wait_until("the end", || status(&container) == Status::Stopped);
    assert_eq!(fs::read_to_string(out.join("home")).unwrap(), "/home/of-root\n");
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let mut bundle = Bundle::new("wrong", "true");
    bundle.config["process"]["cwd"] = json!("relative");
    bundle.config["process"]["env"] = json!(["novalue"]);
    bundle.config["linux"]["cgroupsPath"] = json!("/a/../b");
    bundle.config["linux"]["resources"] = json!({ "cpu": { "idle": 7 } });
    bundle.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "pid" }));
    let error = bundle.create().unwrap_err().to_string();
    for part in [
        "problems: ",
        "process.cwd",
        "process.env",
        "linux.cgroupsPath",
        "linux.resources.cpu.idle",
        "linux.namespaces",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(bundle.runtime().list().unwrap().is_empty());
}

#[test]
fn a_refused_start_says_why() {
    let bundle = Bundle::new("start", "exec sleep 1000");
    let container = started(&bundle);
    let error = container.start().unwrap_err().to_string();
    assert!(error.contains("cannot start an already running container"), "{error}");
    container.kill(9, false).unwrap();
    wait_until("the end", || status(&container) == Status::Stopped);
    let error = container.start().unwrap_err().to_string();
    assert!(error.contains("cannot start a container that has stopped"), "{error}");
}
