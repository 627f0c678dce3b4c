//! dockerd: a daemon with a containerd of its own, whose shim calls the runtime.

use crate::client::Client;
use crate::ground::{Ground, runtime, within_patience};
use crate::{confinement, image, life};
use std::process::Stdio;

/// A daemon with directories and a socket of its own, and the image loaded.
fn docker() -> Client {
    let ground = Ground::new();
    let at = |name: &str| ground.path().join(name).display().to_string();
    let configuration = serde_json::json!({
        "runtimes": {"coracle": {"path": runtime()}},
        "default-runtime": "coracle",
        "data-root": at("docker"),
        "exec-root": at("running"),
        "pidfile": at("pid"),
        "hosts": [format!("unix://{}", at("socket"))],
        "cgroup-parent": format!("/{}", ground.cgroup()),
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "storage-driver": "overlay2",
        "log-level": "warn",
    });
    let file = ground.file("daemon.json", configuration.to_string());
    let log = std::fs::File::create(ground.path().join("log")).unwrap();
    let mut daemon = ground.daemon("dockerd");
    ground.start(daemon.arg("--config-file").arg(file).stdout(Stdio::null()).stderr(log));
    let program = ["docker".to_owned(), "--host".to_owned(), format!("unix://{}", at("socket"))].to_vec();
    let archive = image::archive(&ground).display().to_string();
    let client = Client { ground, program, environment: Vec::new(), run: Vec::new() };
    let up = within_patience(|| client.say(&["version"]).code == 0);
    assert!(up, "{}", std::fs::read_to_string(client.ground.path().join("log")).unwrap());
    client.done(&["load", "--quiet", "--input", &archive]);
    client
}
macro_rules! scenarios {
    ($($room:ident::$name:ident),* $(,)?) => { $(
        #[test]
        fn $name() {
            $room::$name(&docker());
        }
    )* };
}

scenarios!(
    life::run,
    life::detached,
    life::exec,
    life::terminal,
    life::stop,
    life::kill,
    life::pause,
    life::logs,
    confinement::limits,
    confinement::ports,
    confinement::volumes,
    confinement::user,
    confinement::read_only,
    confinement::capability_sets,
    confinement::privileged,
    confinement::attributes,
    confinement::seccomp,
);

#[test]
fn out_of_memory_is_told() {
    let client = docker();
    client.start("hog", &["-m", "16m", "--memory-swap", "16m", image::TINY, "tail", "/dev/zero"]);
    assert_eq!(client.done(&["wait", "hog"]), "137");
    assert!(within_patience(|| client.inspect("hog", "{{.State.OOMKilled}}") == "true"));
}
