//! Writes a closure into an image.

use super::{HostEntry, HostEntryKind};
use crate::build::copy::{Attributes, Writer};
use crate::error::During;
use crate::store::Snapshot;
use crate::value::Hasher;
use crate::{Digest, Result};
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

/// Writes `entries` into `snapshot`: owned by root, with their modes, of the epoch, so that the same programs make the
/// same layer.
pub(in crate::build) fn install(entries: &[HostEntry], snapshot: &Snapshot) -> Result<()> {
    let mut writer = Writer::new(snapshot)?;
    for HostEntry { path, kind } in entries {
        let attributes = |mode: u32| Attributes { mode, owner: (0, 0), mtime: (0, 0) };
        match kind {
            HostEntryKind::Directory(mode) => drop(writer.directory(path, &attributes(*mode))?),
            HostEntryKind::Link(target) => writer.symlink(path, target, &attributes(0o777))?,
            HostEntryKind::File(mode) => {
                let mut file = File::open(path).during(|| format!("open {}", path.display()))?;
                writer.file(path, &mut file, &attributes(*mode))?;
            }
        }
    }
    writer.finish()
}

/// The digest of all that [`install`] writes.
pub(in crate::build) fn digest(entries: &[HostEntry]) -> Result<Digest> {
    let mut hasher = Hasher::default();
    for HostEntry { path, kind } in entries {
        let operation = || format!("read {}", path.display());
        hasher.update(path.as_os_str().as_bytes());
        write!(hasher, "\0{kind:?}\0").during(operation)?;
        if let HostEntryKind::File(_) = kind {
            let mut file = File::open(path).during(operation)?;
            let size = std::io::copy(&mut file, &mut hasher).during(operation)?;
            write!(hasher, "\0{size}\0").during(operation)?;
        }
    }
    Ok(hasher.finish())
}
