//! Where an example keeps what it makes.

use coracle::{Error, Result};
use std::path::PathBuf;

/// A directory of our own below the current one, removed at the end.
pub struct ScratchDirectory(pub PathBuf);

impl ScratchDirectory {
    /// Makes one for the example `name`.
    pub fn make(name: &str) -> Result<ScratchDirectory> {
        let name = format!("coracle-{name}-{}", std::process::id());
        let failed = |error| Error::invalid(format!("make directory {name}")).source_error(error);
        let path = std::env::current_dir().map_err(failed)?.join("target").join(&name);
        std::fs::create_dir_all(&path).map_err(failed)?;
        Ok(ScratchDirectory(path))
    }
}

impl Drop for ScratchDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
