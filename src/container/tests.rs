//! Whole containers, attached and detached, in stores and networks of their own. They need root and a static busybox.

mod hostile;
mod merged;
mod network;
mod volumes;

use super::*;
use crate::cgroup::Limits;
use crate::launch::ExitStatus;
use crate::network::Network;
use crate::spec::{Descriptor, ImageConfig, Manifest, MediaType, RootFs, RunConfig};
use crate::store::StoredImage;
use crate::value::{Cpus, Memory, Platform, Reference};
use std::sync::Arc;
use std::time::Duration;

/// An engine's services in a directory of their own.
pub(super) struct Ground {
    pub(super) services: Arc<Services>,
    pub(super) image: StoredImage,
    directory: tempfile::TempDir,
}

impl Ground {
    pub(super) fn new() -> Ground {
        let directory = tempfile::tempdir().unwrap();
        let services = open(directory.path());
        let image = busybox_image(&services);
        Ground { services, image, directory }
    }

    /// As another process would open it.
    pub(super) fn reopen(&self) -> Arc<Services> {
        let services = open(self.directory.path());
        recover(&services).unwrap();
        services
    }

    pub(super) fn container(&self, script: &str) -> ContainerBuilder {
        ContainerBuilder::new(self.services.clone(), self.image.clone())
            .command(["/bin/sh", "-c", script])
            .network(Network::None)
    }
}

fn open(directory: &std::path::Path) -> Arc<Services> {
    Services::open(&directory.join("root"), &directory.join("run")).unwrap()
}

fn busybox_image(services: &Services) -> StoredImage {
    let store = &services.store;
    let snapshot = store.layers().stage_tree().unwrap();
    let bin = snapshot.upper().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
    for name in [
        "sh", "cat", "ls", "id", "sleep", "echo", "head", "tr", "dd", "hostname", "touch", "env", "yes", "kill",
        "tail", "mkdir", "rm",
    ] {
        std::os::unix::fs::symlink("busybox", bin.join(name)).unwrap();
    }
    let layer = store.layers().commit(snapshot).unwrap().unwrap();
    let mut config = ImageConfig::new(&Platform::host());
    config.rootfs = RootFs { kind: "layers".into(), diff_ids: vec![layer.diff_id] };
    config.config = Some(RunConfig { env: Some(vec!["FROM_IMAGE=yes".into()]), ..RunConfig::default() });
    let put = |kind: &str, bytes: &[u8]| Descriptor::new(kind, store.blobs().put(bytes).unwrap(), bytes.len() as u64);
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(MediaType::MANIFEST.into()),
        config: put(MediaType::CONFIG, &serde_json::to_vec(&config).unwrap()),
        layers: vec![layer.descriptor],
        annotations: Default::default(),
        other: Default::default(),
    };
    let descriptor = put(MediaType::MANIFEST, &serde_json::to_vec(&manifest).unwrap());
    let reference: Reference = "test/busybox".parse().unwrap();
    store.images().tag(&reference, &descriptor).unwrap();
    store.images().get(&reference).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn an_attached_container_gives_its_output_and_its_use() {
    let ground = Ground::new();
    let output = ground
        .container("echo $FROM_IMAGE $EXTRA; hostname; id -u; echo bad >&2; exit 3")
        .env("EXTRA", "more")
        .hostname("boat")
        .limits(Limits::new().memory(Memory::mib(64)).cpus(Cpus::of(1.0)).pids(32))
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout), "yes more\nboat\n0\n");
    assert_eq!(text(&output.stderr), "bad\n");
    assert_eq!(output.status, ExitStatus::Exited(3));
    assert!(!output.oom_killed);
    assert!(output.stats.is_some_and(|stats| stats.memory.peak.is_some_and(|peak| peak > Memory::bytes(0))));
}

#[test]
fn exceeding_the_memory_limit_is_reported_as_such() {
    let ground = Ground::new();
    let output = ground
        .container("dd if=/dev/zero of=/dev/shm/big bs=1M count=60; echo survived")
        .limits(Limits::new().memory(Memory::mib(24)))
        .output()
        .unwrap();
    assert!(output.oom_killed, "{output:?}");
}

#[test]
fn a_container_that_takes_too_long_is_killed() {
    let ground = Ground::new();
    let error = ground.container("sleep 100").timeout(Duration::from_millis(200)).output().unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::TimedOut, "{error}");
}

#[test]
fn a_detached_container_logs_ends_and_is_removed() {
    let ground = Ground::new();
    let container = ground
        .container("echo one; echo two >&2; printf three; exit 7")
        .name("short")
        .limits(Limits::new().pids(16))
        .detach()
        .unwrap();
    let exit = container.wait().unwrap();
    assert_eq!(exit.status, ExitStatus::Exited(7));
    let mut lines: Vec<(bool, String, bool)> =
        container.logs().map(|line| line.unwrap()).map(|line| (line.stderr, line.to_string(), line.complete)).collect();
    lines.sort();
    let line = |stderr, text: &str, complete| (stderr, text.to_owned(), complete);
    assert_eq!(lines, [line(false, "one", true), line(false, "three", false), line(true, "two", true)]);
    let id = container.id().clone();
    container.remove().unwrap();
    assert!(Container::open(&ground.services, &id).is_err());
    assert!(list(&ground.services).unwrap().is_empty());
}

#[test]
fn a_detached_container_is_stopped_with_grace() {
    let ground = Ground::new();
    let container =
        ground.container("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done").detach().unwrap();
    assert!(container.is_running().unwrap());
    let mut logs = container.logs().follow();
    assert_eq!(logs.next().unwrap().unwrap().to_string(), "up");
    assert!(container.stats().unwrap().pids.current >= 1);
    let exit = container.stop(Duration::from_secs(10)).unwrap();
    assert_eq!(exit.status, ExitStatus::Exited(0));
    assert_eq!(logs.next().unwrap().unwrap().to_string(), "bye");
    assert!(logs.next().is_none());
    container.remove().unwrap();
}

#[test]
fn another_engine_finds_and_kills_it_and_names_are_unique() {
    let ground = Ground::new();
    let container = ground.container("sleep 1000").name("long").detach().unwrap();
    let error = ground.container("true").name("long").detach().unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::AlreadyExists, "{error}");
    let services = ground.reopen();
    let found = Container::find(&services, "long").unwrap();
    assert_eq!(found.id(), container.id());
    assert_eq!(found.clone().remove().unwrap_err().kind(), crate::ErrorKind::InUse);
    found.kill(libc::SIGKILL).unwrap();
    assert_eq!(found.wait().unwrap().status, ExitStatus::Signaled(9));
    found.remove().unwrap();
    let gone = container.state().unwrap_err();
    assert_eq!(gone.kind(), crate::ErrorKind::NotFound, "{gone}");
}

#[test]
fn a_failed_start_leaves_nothing() {
    let ground = Ground::new();
    let builder = ground.container("true").name("never").command(["/no/such/program"]);
    let error = builder.detach().unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Exec, "{error}");
    assert!(error.to_string().starts_with("starting never: execute /no/such/program"), "{error}");
    assert!(list(&ground.services).unwrap().is_empty());
    let names = ground.services.containers().join("names");
    assert_eq!(std::fs::read_dir(names).unwrap().count(), 0);
}

#[test]
fn the_log_is_rotated_and_followed_without_a_gap() {
    let ground = Ground::new();
    let container = ground
        .container("i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done")
        .log(LogOptions { limit: 64 << 10, files: 8 })
        .detach()
        .unwrap();
    let lines: Vec<String> = container.logs().follow().map(|line| line.unwrap().to_string()).collect();
    let expected: Vec<String> = (0..3000).map(|number| format!("line {number}")).collect();
    assert_eq!(lines, expected);
    container.remove().unwrap();
}

#[test]
fn a_keeper_is_small() {
    let ground = Ground::new();
    let container = ground.container("sleep 1000").detach().unwrap();
    let pid = std::fs::read_to_string(ground.services.containers().join(container.id().as_str()).join("pid")).unwrap();
    let keeper = pid.trim().split_once(' ').unwrap().1.to_owned();
    let rollup = std::fs::read_to_string(format!("/proc/{keeper}/smaps_rollup")).unwrap();
    eprintln!("{rollup}");
    let private: u64 = rollup
        .lines()
        .filter(|line| line.starts_with("Private_"))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum();
    container.stop(Duration::ZERO).unwrap();
    container.remove().unwrap();
    assert!(private <= 150, "{private} KiB");
}
