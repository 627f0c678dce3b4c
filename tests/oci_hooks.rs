//! Hooks of the runtime specification: where each runs, in which order, what it reads, and what its failure means.

#[path = "support/bundle.rs"]
mod bundle;
#[path = "support/busybox.rs"]
mod busybox;
#[path = "support/mapped.rs"]
mod mapped;
#[path = "support/namespace.rs"]
mod namespace;
#[path = "support/program.rs"]
mod program;

use bundle::{Bundle, wait_until};
use coracle::ErrorKind;
use coracle::runtime::Status;
use mapped::in_user_namespace;
use serde_json::{Value, json};
use std::path::Path;

const POINTS: [&str; 6] = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A hook that runs `script` in a shell: the host's, or the container's own.
fn hook(script: &str) -> Value {
    json!({ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"] })
}

/// Writes the state it reads, its namespaces and its environment into files named after `point` in `directory`.
fn report(point: &str, directory: &Path) -> Value {
    let directory = directory.display();
    hook(&format!(
        "cat > {directory}/{point}.state; for kind in mnt pid net uts; do readlink /proc/self/ns/$kind; done \
         > {directory}/{point}.namespaces; env > {directory}/{point}.env; pwd > {directory}/{point}.cwd; \
         echo {point} >> {directory}/order"
    ))
}

fn read(directory: &Path, name: &str) -> String {
    std::fs::read_to_string(directory.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn namespaces_of(process: &str) -> String {
    ["mnt", "pid", "net", "uts"]
        .map(|kind| std::fs::read_link(format!("/proc/{process}/ns/{kind}")).unwrap().display().to_string() + "\n")
        .concat()
}

/// A bundle that reports every hook into a directory which the container has too, at the same path.
fn reporting(bundle: &mut Bundle) -> std::path::PathBuf {
    let directory = bundle.scratch().join("reports");
    std::fs::create_dir(&directory).unwrap();
    let mount = json!({ "destination": directory, "source": directory, "options": ["bind", "rw"] });
    bundle.config["mounts"].as_array_mut().unwrap().push(mount);
    for point in POINTS {
        bundle.config["hooks"][point] = json!([report(point, &directory)]);
    }
    directory
}

fn check_all_points(mut bundle: Bundle) {
    let directory = reporting(&mut bundle);
    bundle.config["annotations"] = json!({ "org.test/key": "a \"quoted\"\nvalue" });
    let container = bundle.create().unwrap();
    assert_eq!(read(&directory, "order"), "prestart\ncreateRuntime\ncreateContainer\n");
    let pid = container.state().unwrap().pid;
    container.start().unwrap();
    // Before, an ordinary user may not look: the parked process hides itself.
    let (host, inside) = (namespaces_of("self"), namespaces_of(&pid.to_string()));
    assert_ne!(host, inside);
    container.kill(libc::SIGKILL, false).unwrap();
    wait_until("the end", || container.state().unwrap().status == Status::Stopped);
    container.delete(false).unwrap();
    assert_eq!(read(&directory, "order"), POINTS.join("\n") + "\n");
    for (point, status, pid, namespaces) in [
        ("prestart", "creating", pid, &host),
        ("createRuntime", "creating", pid, &host),
        ("createContainer", "creating", 1, &inside),
        ("startContainer", "created", 1, &inside),
        ("poststart", "running", pid, &host),
        ("poststop", "stopped", 0, &host),
    ] {
        let state: Value = serde_json::from_str(&read(&directory, &format!("{point}.state"))).unwrap();
        let expected = json!({
            "ociVersion": "1.3.0", "id": bundle.id(), "status": status, "pid": pid,
            "bundle": bundle.scratch().join("bundle"),
            "annotations": { "org.test/key": "a \"quoted\"\nvalue" },
        });
        assert_eq!(state, expected, "{point}");
        // The mount namespace of createContainer is the container's, whose root is not pivoted: the host's shell.
        if point != "createContainer" || namespaces.contains("mnt") {
            assert_eq!(&read(&directory, &format!("{point}.namespaces")), namespaces, "{point}");
        }
        let environment = read(&directory, &format!("{point}.env"));
        let names: Vec<&str> = environment.lines().filter_map(|line| line.split('=').next()).collect();
        assert!(names.iter().all(|name| ["PATH", "PWD", "SHLVL", "_", "OLDPWD"].contains(name)), "{point}: {names:?}");
    }
    for point in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        let bundle = bundle.scratch().join("bundle").display().to_string();
        assert_eq!(read(&directory, &format!("{point}.cwd")).trim_end(), bundle, "{point}");
    }
    assert_eq!(read(&directory, "startContainer.cwd"), "/\n");
}

#[test]
fn every_hook_runs_in_its_place() {
    check_all_points(Bundle::new("hooks-all", "sleep 1000"));
}

#[test]
fn rootless_every_hook_runs_in_its_place() {
    check_all_points(in_user_namespace(Bundle::new("hooks-all-rootless", "sleep 1000")));
}

#[test]
fn a_failing_hook_before_the_start_fails_the_creation_and_is_explained() {
    for point in ["prestart", "createRuntime", "createContainer"] {
        let mut bundle = Bundle::new("hooks-fail", "true");
        let marker = bundle.scratch().join("poststop");
        bundle.config["hooks"][point] = json!([
            hook("exit 0"),
            hook("cat >/dev/null; echo first; echo 'no such thing' >&2; exit 3"),
            hook("exit 4")
        ]);
        bundle.config["hooks"]["poststop"] = json!([hook(&format!("touch {}", marker.display()))]);
        let error = bundle.create().unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&format!("run {point} hook 2 (/bin/sh): exited with 3")), "{text}");
        assert!(text.contains("it wrote: first / no such thing"), "{text}");
        assert_eq!(error.kind(), ErrorKind::CommandFailed, "{text}");
        assert_eq!(bundle.runtime().container(bundle.id()).unwrap_err().kind(), ErrorKind::NotFound);
        assert!(marker.exists(), "{point}: the poststop hooks run");
    }
}

#[test]
fn a_hook_that_takes_too_long_is_killed_with_its_group() {
    for point in ["createRuntime", "createContainer"] {
        let mut bundle = Bundle::new("hooks-slow", "true");
        let pid = bundle.scratch().join("pid");
        let script = format!("sleep 4321 & echo $! > {}; while :; do echo noise; done", pid.display());
        let mut slow = hook(&script);
        slow["timeout"] = json!(1);
        bundle.config["hooks"][point] = json!([slow]);
        let error = bundle.create().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
        assert!(error.to_string().contains(&format!("run {point} hook 1 (/bin/sh): timed out after 1 s")), "{error}");
        if point == "createRuntime" {
            let sleeper = format!("/proc/{}/stat", std::fs::read_to_string(pid).unwrap().trim());
            wait_until("the end of the hook's child", || {
                std::fs::read_to_string(&sleeper).map_or(true, |stat| stat.contains(") Z"))
            });
        }
    }
}

#[test]
fn a_hook_that_is_not_there_or_is_killed_says_so() {
    for (point, path) in [("createRuntime", "/no/such/hook"), ("createContainer", "/no/such/hook")] {
        let mut bundle = Bundle::new("hooks-missing", "true");
        bundle.config["hooks"][point] = json!([{ "path": path }]);
        let error = bundle.create().unwrap_err();
        assert!(error.to_string().contains(&format!("run {point} hook 1 ({path}): no such file")), "{error}");
    }
    for point in ["createRuntime", "createContainer"] {
        let mut bundle = Bundle::new("hooks-killed", "true");
        bundle.config["hooks"][point] = json!([hook("kill -9 $$")]);
        let error = bundle.create().unwrap_err();
        assert!(error.to_string().contains("(/bin/sh): killed by SIGKILL"), "{error}");
    }
}

#[test]
fn a_failing_start_container_hook_stops_the_container() {
    let mut bundle = Bundle::new("hooks-start", "touch /ran");
    bundle.config["hooks"]["startContainer"] = json!([hook("echo inside >&2; exit 5")]);
    let container = bundle.create().unwrap();
    let error = container.start().unwrap_err();
    let text = error.to_string();
    assert!(text.contains("run startContainer hook 1 (/bin/sh): exited with 5; it wrote: inside"), "{text}");
    wait_until("the end", || container.state().unwrap().status == Status::Stopped);
    assert!(!bundle.within("ran").exists());
    container.delete(false).unwrap();
    let error = bundle.runtime().create(bundle.id(), bundle.written()).run().unwrap_err();
    assert!(error.to_string().contains("run startContainer hook 1 (/bin/sh): exited with 5"), "{error}");
}

#[test]
fn a_failing_poststart_hook_stops_the_container_and_a_failing_poststop_hook_is_a_warning() {
    let mut bundle = Bundle::new("hooks-post", "sleep 1000");
    let marker = bundle.scratch().join("second");
    bundle.config["hooks"]["poststart"] = json!([hook("exit 6")]);
    bundle.config["hooks"]["poststop"] = json!([hook("exit 7"), hook(&format!("touch {}", marker.display()))]);
    let warnings = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = warnings.clone();
    let runtime = bundle.runtime().on_warning(move |warning| heard.lock().unwrap().push(warning.to_owned()));
    let container = runtime.create(bundle.id(), bundle.written()).create().unwrap();
    let error = container.start().unwrap_err();
    assert!(error.to_string().contains("run poststart hook 1 (/bin/sh): exited with 6"), "{error}");
    assert_eq!(container.state().unwrap().status, Status::Stopped);
    container.delete(false).unwrap();
    assert!(marker.exists());
    let warnings = warnings.lock().unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("run poststop hook 1 (/bin/sh): exited with 7"), "{warnings:?}");
}

#[test]
fn hooks_read_long_annotations_whole_and_need_not_read_at_all() {
    for point in ["createRuntime", "createContainer"] {
        let mut bundle = Bundle::new("hooks-long", "true");
        bundle.config["annotations"] = json!({ "long": "x".repeat(300_000) });
        let size = bundle.scratch().join("size");
        bundle.config["hooks"][point] = json!([hook("exit 0"), hook(&format!("wc -c > {}", size.display()))]);
        bundle.create().unwrap();
        let size: usize = std::fs::read_to_string(size).unwrap().trim().parse().unwrap();
        assert!((300_000..301_000).contains(&size), "{size}");
    }
}

#[test]
fn what_a_hook_leaves_running_is_not_waited_for() {
    for point in ["createRuntime", "createContainer"] {
        let mut bundle = Bundle::new("hooks-daemon", "true");
        let pid = bundle.scratch().join("pid");
        bundle.config["hooks"][point] = json!([hook(&format!("sleep 1000 & echo $! > {}", pid.display()))]);
        bundle.create().unwrap();
        if point == "createRuntime" {
            let pid: i32 = std::fs::read_to_string(pid).unwrap().trim().parse().unwrap();
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
        }
    }
}

#[test]
fn a_create_container_hook_sees_the_mounts_at_the_path_of_the_root() {
    let mut bundle = Bundle::new("hooks-root", "cat /tmp/made");
    let root = bundle.within("");
    let script = format!("test -e {0}proc/self && echo made > {0}tmp/made", root.display());
    bundle.config["hooks"]["createContainer"] = json!([hook(&script)]);
    let mut running = bundle.runtime().create(bundle.id(), bundle.written()).run().unwrap();
    assert!(running.wait().unwrap().status.success());
    assert!(!bundle.within("tmp/made").exists());
}

#[test]
fn a_start_container_hook_is_confined_as_the_process_is() {
    let mut bundle = Bundle::new("hooks-confined", "true");
    bundle.config["process"]["user"] = json!({ "uid": 12, "gid": 34 });
    bundle.config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 }],
    });
    for no_new_privileges in [true, false] {
        bundle.config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        bundle.config["hooks"]["startContainer"] =
            json!([hook("id -u; id -g; grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status; exit 1")]);
        let error = bundle.runtime().create(bundle.id(), bundle.written()).run().unwrap_err().to_string();
        let privileges = format!("NoNewPrivs:\\t{} / Seccomp:\\t2", u8::from(no_new_privileges));
        assert!(error.contains("12 / 34 / CapEff:\\t0000000000000000"), "{error}");
        assert!(error.contains(&privileges), "{error}");
    }
}

#[test]
fn bad_hooks_are_refused_before_anything_is_made() {
    for (value, text) in [
        (json!([{ "path": "relative" }]), "hooks.poststop[0].path relative is not absolute"),
        (json!([{ "path": "/a", "timeout": -1 }]), "hooks.poststop[0].timeout is not above 0 seconds"),
        (json!([{ "path": "/a", "args": ["a\u{0}b"] }]), "holds a NUL byte"),
    ] {
        let mut bundle = Bundle::new("hooks-bad", "true");
        bundle.config["hooks"]["poststop"] = value;
        let error = bundle.create().unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[test]
fn hooks_stand_where_the_specification_has_them() {
    let mut bundle = Bundle::new("hooks-listing", "true");
    bundle.config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW" });
    bundle.config["root"]["readonly"] = json!(true);
    for point in POINTS {
        bundle.config["hooks"][point] = json!([{ "path": format!("/hooks/{point}"), "timeout": 7 }]);
    }
    let text = bundle.runtime().create(bundle.id(), bundle.written()).listing().unwrap();
    let at = |line: &str| text.find(line).unwrap_or_else(|| panic!("no {line} in {text}"));
    let order = [
        "  gate",
        "  run-hook \"/hooks/createContainer\" [\"/hooks/createContainer\"] []",
        "  pivot-root",
        "  set-capabilities",
        "  load-filter",
        "  run-hook \"/hooks/startContainer\"",
        "  execute",
    ];
    assert!(order.iter().map(|line| at(line)).is_sorted(), "{text}");
    assert_eq!(text.matches("run-hook").count(), 2, "the others are the parent's");
}

/// runtime-spec, config-linux, "Network Devices".
#[test]
fn network_devices_are_there_with_their_addresses_when_the_hooks_run() {
    namespace::in_network_namespace(|| {
        let ip = program::require_program("ip", "iproute2");
        let ip = |arguments: &str| {
            let status = std::process::Command::new(&ip).args(arguments.split(' ')).status().unwrap();
            assert!(status.success(), "ip {arguments}");
        };
        ip("link add moved type veth peer name other");
        ip("address add 192.0.2.7/24 dev moved");
        ip("link set moved up");
        let mut bundle = Bundle::new("hooks-devices", "sleep 1000");
        bundle.config["linux"]["netDevices"] = json!({ "moved": { "name": "eth7" } });
        let seen = bundle.scratch().join("seen");
        let look =
            format!("nsenter --target $(grep -o 'pid\":[0-9]*' | cut -d: -f2) --net ip address > {}", seen.display());
        let mut hook = hook(&look);
        hook["env"] = json!(["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]);
        bundle.config["hooks"]["createRuntime"] = json!([hook]);
        let container = bundle.create().unwrap();
        let seen = std::fs::read_to_string(seen).unwrap();
        assert!(seen.contains("eth7") && seen.contains("192.0.2.7/24"), "{seen}");
        container.delete(true).unwrap();
        bundle.config["linux"]["netDevices"] = json!({ "moved": {} });
        let error = bundle.create().unwrap_err();
        assert!(error.to_string().contains("linux.netDevices.moved: the host has no network device"), "{error}");
        let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "network");
        let error = bundle.create().unwrap_err();
        assert!(error.to_string().contains("linux.netDevices: the container has no network namespace"), "{error}");
    });
}
