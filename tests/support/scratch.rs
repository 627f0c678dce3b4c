//! The directories of one test.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A directory of one test, with the two directories an engine lives in; removed on drop.
pub struct Scratch {
    directory: TempDir,
}

impl Scratch {
    /// Makes a fresh directory whose name contains `name`.
    pub fn new(name: &str) -> Scratch {
        let directory = tempfile::Builder::new()
            .prefix(&format!("coracle-test-{name}-"))
            .tempdir()
            .expect("a temporary directory can be made");
        for part in ["root", "run"] {
            std::fs::create_dir(directory.path().join(part)).expect("a directory can be made");
        }
        Scratch { directory }
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Where an engine keeps what survives a reboot.
    pub fn root(&self) -> PathBuf {
        self.path().join("root")
    }

    /// Where an engine keeps what a reboot ends.
    pub fn run(&self) -> PathBuf {
        self.path().join("run")
    }

    /// Writes a file below the directory, with the directories above it, and returns its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a name below the scratch")).expect("directories can be made");
        std::fs::write(&path, content).expect("a file can be written");
        path
    }
}
