//! Small files that are there as a whole or not at all.

use crate::Result;
use crate::error::During;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// Replaces the file `path`: written aside, synchronised, renamed, the directory synchronised.
pub(super) fn write_durably(path: &Path, bytes: &[u8]) -> Result<()> {
    let aside = path.with_extension("json.new");
    let operation = || format!("write {}", path.display());
    let mut file = File::create(&aside).during(operation)?;
    file.write_all(bytes).during(operation)?;
    file.sync_all().during(operation)?;
    fs::rename(&aside, path).during(operation)?;
    synchronise_parent(path)
}

/// Removes the file `path` for good; it may be gone already.
pub(super) fn remove_durably(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => {
            removed.during(|| format!("remove {}", path.display()))?;
            synchronise_parent(path)
        }
    }
}

fn synchronise_parent(path: &Path) -> Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .during(|| format!("synchronise {}", directory.display()))
}
