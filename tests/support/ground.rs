//! An engine in a directory of its own with an image of busybox, and nothing left of it afterwards.

use crate::program::require_program;
use crate::scratch::Scratch;
use coracle::{Container, ContainerBuilder, Engine, EngineOptions, HealthState, Image, Network};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long anything may take that happens by itself.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The engine and the image.
pub struct Ground {
    pub engine: Engine,
    pub image: Image,
    pub scratch: Scratch,
}

/// Opens the engine below `scratch`, as each process of a test does.
pub fn open(root: &Path, run: &Path) -> Engine {
    EngineOptions::new(root).run_directory(run).open().unwrap()
}

impl Ground {
    pub fn new(name: &str) -> Ground {
        let scratch = Scratch::new(name);
        let engine = open(&scratch.root(), &scratch.run());
        let bin = scratch.path().join("tree/bin");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::copy(require_program("busybox", "busybox-static"), bin.join("busybox")).unwrap();
        for name in [
            "sh", "sleep", "cat", "echo", "httpd", "nc", "yes", "kill", "grep", "readlink", "dd", "touch", "ls", "rm",
            "mkdir", "head", "id", "mv", "true",
        ] {
            std::os::unix::fs::symlink("busybox", bin.join(name)).unwrap();
        }
        let tree = scratch.path().join("tree");
        scratch.file("shared/made", "");
        let image = engine.image_builder().copy(tree, "/").tag("test/busybox").commit().unwrap();
        Ground { engine, image, scratch }
    }

    /// A container without a network that runs `script`; the directory `/shared` is the test's too.
    pub fn container(&self, script: &str) -> ContainerBuilder {
        let builder = self.engine.container(&self.image).command(["/bin/sh", "-c", script]);
        builder.network(Network::None).bind(self.shared(), "/shared")
    }

    /// What containers see as `/shared`.
    pub fn shared(&self) -> PathBuf {
        self.scratch.path().join("shared")
    }

    /// The directory in which the container's keeper writes.
    pub fn directory(&self, container: &Container) -> PathBuf {
        self.scratch.root().join("containers").join(container.id().as_str())
    }

    /// The keeper's number.
    pub fn keeper(&self, container: &Container) -> i32 {
        let pid = std::fs::read_to_string(self.directory(container).join("pid")).unwrap();
        pid.trim().split_once(' ').unwrap().1.parse().unwrap()
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for container in self.engine.containers().unwrap_or_default() {
            let _ = container.stop(Duration::ZERO);
            let _ = container.remove();
        }
    }
}

/// Waits until `found` says so.
pub fn until(what: &str, mut found: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !found() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until the container's health is `state`.
pub fn until_health(container: &Container, state: HealthState) {
    let begin = Instant::now();
    while container.health().unwrap().state != state {
        let report = container.health().unwrap();
        let logs: Vec<String> = container.logs().map(|line| line.unwrap().to_string()).collect();
        assert!(begin.elapsed() < PATIENCE, "not {state:?}: {report:?} {:?} {logs:?}", container.state());
        std::thread::sleep(Duration::from_millis(5));
    }
}
