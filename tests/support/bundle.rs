//! Bundles of the runtime specification, made for one test.

use coracle::runtime::{Container, Runtime};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

use super::busybox::busybox_root;
use tempfile::TempDir;

/// A bundle with a root of busybox, and a state directory; its container is deleted on drop.
pub struct Bundle {
    scratch: TempDir,
    id: String,
    /// What becomes `config.json`.
    pub config: Value,
    /// Whether systemd makes the control group.
    pub systemd: bool,
}

impl Bundle {
    /// A bundle that runs `script` in a shell, in namespaces of its own, with the usual file systems.
    pub fn new(name: &str, script: &str) -> Bundle {
        let scratch = tempfile::Builder::new().prefix(&format!("coracle-{name}-")).tempdir().expect("a directory");
        busybox_root(&scratch.path().join("bundle/rootfs"));
        let config = json!({
            "ociVersion": "1.3.0",
            "root": { "path": "rootfs" },
            "process": {
                "user": { "uid": 0, "gid": 0 },
                "args": ["/bin/sh", "-c", script],
                "env": ["PATH=/bin"],
                "cwd": "/",
                "noNewPrivileges": true,
            },
            "hostname": "bundle",
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] },
                { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
                  "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] },
                { "destination": "/tmp", "type": "tmpfs", "source": "tmpfs" },
            ],
            "linux": {
                "namespaces": [
                    { "type": "mount" }, { "type": "pid" }, { "type": "ipc" }, { "type": "uts" },
                    { "type": "network" }, { "type": "cgroup" },
                ],
            },
        });
        let id = format!("{name}-{}", std::process::id());
        Bundle { scratch, id, config, systemd: false }
    }

    /// The id of its container.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The directory of one test around the bundle.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// The path of a file below the container's root.
    pub fn within(&self, path: &str) -> PathBuf {
        self.path().join("rootfs").join(path)
    }

    /// The bundle, with `config.json` as it stands now.
    pub fn written(&self) -> PathBuf {
        let text = serde_json::to_vec_pretty(&self.config).expect("JSON can be written");
        std::fs::write(self.path().join("config.json"), text).expect("config.json can be written");
        self.path()
    }

    /// The runtime with the state directory of this test.
    pub fn runtime(&self) -> Runtime {
        let runtime = Runtime::open(self.scratch().join("state")).expect("a runtime can be opened");
        runtime.systemd_cgroup(self.systemd)
    }

    /// Creates the container.
    pub fn create(&self) -> coracle::Result<Container> {
        self.runtime().create(self.id(), self.written()).create()
    }

    fn path(&self) -> PathBuf {
        self.scratch().join("bundle")
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        if let Ok(container) = self.runtime().container(&self.id) {
            let _ = container.delete(true);
        }
    }
}

/// Waits until `done` says so; panics after a minute with what is waited for.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let begin = std::time::Instant::now();
    while !done() {
        assert!(begin.elapsed().as_secs() < 60, "waited in vain for {what}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
