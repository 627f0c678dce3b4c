//! What is left when the host is killed with SIGKILL: running containers, whole logs, exits, and nothing else.

#[path = "support/namespace.rs"]
mod namespace;

use coracle::cgroup::Limits;
use coracle::{ContainerState, Engine, EngineOptions, ExitStatus, Network};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Says to a copy of this program that it is the host to be killed, and where.
const HOST: &str = "CORACLE_TEST_HOST_TO_BE_KILLED";

fn engine(directory: &Path) -> Engine {
    EngineOptions::new(directory.join("root")).run_directory(directory.join("run")).open().unwrap()
}

fn make_image(engine: &Engine) {
    let programs = ["/bin/sh", "/bin/sleep", "/bin/echo"];
    engine.image_builder().from_host(programs).unwrap().tag("test/host").commit().unwrap();
}

/// The body of the host: starts containers until it is killed, and says the name of each that has started.
#[test]
fn host_to_be_killed() {
    let Ok(directory) = std::env::var(HOST) else { return };
    let engine = engine(Path::new(&directory));
    let image = engine.image("test/host").unwrap().get().unwrap();
    for number in 0.. {
        let script = "for i in 0 1 2 3 4 5 6 7 8 9; do echo line $i; sleep 0.02; done; exit 5";
        let container = engine
            .container(&image)
            .command(["/bin/sh", "-c", script])
            .name(format!("c{number}-{}", std::process::id()))
            .limits(Limits::new().pids(16));
        let container = match number % 2 {
            0 => container.network(Network::None).detach().unwrap(),
            _ => container.network(Network::Bridge).publish(0, 80).detach().unwrap(),
        };
        println!("\nstarted {}", container.name().unwrap());
        // Attached ones as well: they die with the host.
        engine.container(&image).command(["/bin/sh", "-c", "true"]).network(Network::None).output().unwrap();
    }
}

fn start_host(directory: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "host_to_be_killed", "--nocapture"])
        .env(HOST, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The names of the containers that it had said to have started when it was killed.
fn kill_after(mut host: Child, starts: usize, pause: Duration) -> Vec<String> {
    let mut lines = BufReader::new(host.stdout.take().unwrap()).lines();
    let mut names = Vec::new();
    while names.len() < starts {
        let line = lines.next().expect("the host ended by itself").unwrap();
        names.extend(line.strip_prefix("started ").map(str::to_owned));
    }
    std::thread::sleep(pause);
    host.kill().unwrap();
    host.wait().unwrap();
    names.extend(lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("started ").map(str::to_owned)));
    names
}

#[test]
fn a_container_outlives_its_host_with_log_and_exit() {
    let directory = tempfile::tempdir().unwrap();
    make_image(&engine(directory.path()));
    let names = kill_after(start_host(directory.path()), 1, Duration::ZERO);
    let engine = engine(directory.path());
    for name in &names {
        let container = engine.find_container(name).unwrap();
        let lines: Vec<String> = container.logs().follow().map(|line| line.unwrap().to_string()).collect();
        let expected: Vec<String> = (0..10).map(|number| format!("line {number}")).collect();
        assert_eq!(lines, expected, "{name}");
        assert_eq!(container.wait().unwrap().status, ExitStatus::Exited(5), "{name}");
    }
    remove_all(&engine);
}

#[test]
fn a_host_killed_at_any_moment_leaves_nothing_half_made() {
    namespace::in_network_namespace(|| {
        let directory = tempfile::tempdir().unwrap();
        make_image(&engine(directory.path()));
        for round in 0..25u64 {
            // From right behind one start into the middle of the next ones.
            let pause = Duration::from_micros(round * 1_700 % 40_000);
            let names = kill_after(start_host(directory.path()), 1 + round as usize % 2, pause);
            let begun = identifiers(directory.path());
            let engine = engine(directory.path());
            for name in &names {
                assert!(engine.find_container(name).is_ok(), "{name} was started and is lost");
            }
            remove_all(&engine);
            assert_nothing_left(directory.path(), &begun);
        }
    });
}

const ATTACHED: &str = "run/attached";

/// The containers on disk, detached and attached.
fn identifiers(directory: &Path) -> Vec<String> {
    [ATTACHED, "root/containers"].iter().flat_map(|part| names_in(&directory.join(part))).collect()
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// No note, no control group in any hierarchy, no address and no interface of the containers.
fn assert_nothing_left(directory: &Path, containers: &[String]) {
    assert_eq!(names_in(&directory.join(ATTACHED)), [""; 0]);
    for hierarchy in names_in(Path::new("/sys/fs/cgroup")) {
        for container in containers {
            let group = Path::new("/sys/fs/cgroup").join(&hierarchy).join("coracle").join(container);
            assert!(!group.exists(), "{} is left", group.display());
        }
    }
    let mut leases = names_in(&directory.join("run/networks/default"));
    leases.retain(|name| name.parse::<std::net::Ipv4Addr>().is_ok());
    assert_eq!(leases, [""; 0]);
    let interfaces = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    assert!(!interfaces.contains("crcl"), "{interfaces}");
}

/// Kills and removes every container, also one whose start was under way.
fn remove_all(engine: &Engine) {
    for container in engine.containers().unwrap() {
        if matches!(container.state(), Ok(ContainerState::Running(_))) {
            container.kill(9).unwrap();
        }
        if container.wait().is_ok() {
            container.remove().unwrap();
        }
    }
    assert!(engine.containers().unwrap().is_empty());
}
