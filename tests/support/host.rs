//! A host of its own for each test: a network namespace, an engine in a directory, and nothing left of either afterwards,
//! also where the test fails. Needs the file `namespace.rs` beside it.

use crate::namespace::in_network_namespace;
use coracle::{Engine, EngineOptions};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// An engine below `directory`, as each process of a test opens it.
pub fn engine(directory: &Path) -> Engine {
    EngineOptions::new(directory.join("root")).run_directory(directory.join("run")).open().unwrap()
}

/// Runs `test` with an engine and its directory.
pub fn on_a_host(test: impl FnOnce(&Engine, &Path) + Send) {
    in_network_namespace(|| {
        let directory = tempfile::tempdir().unwrap();
        let host = Host { engine: engine(directory.path()), directory };
        test(&host.engine, host.directory.path());
    });
}

struct Host {
    engine: Engine,
    directory: TempDir,
}

impl Drop for Host {
    fn drop(&mut self) {
        for deployed in self.engine.deployments().unwrap_or_default() {
            let _ = deployed.remove();
        }
        for container in self.engine.containers().unwrap_or_default() {
            let _ = container.stop(Duration::ZERO).and_then(|_| container.remove());
        }
    }
}
