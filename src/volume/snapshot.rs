//! Snapshots of a volume's content.

use super::copy::copy_tree;
use super::directory::{
    Directory, Locked, open_directory, read_record, rename_into, synchronise, synchronise_parent, write_record,
};
use super::step;
use crate::error::{Context, During};
use crate::kernel::rename_exchange;
use crate::value::{Name, Timestamp};
use crate::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder};
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// A copy of a volume's content at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VolumeSnapshot {
    version: u32,
    /// Its label, unique in its volume.
    pub label: Name,
    /// When it was taken.
    pub created: Timestamp,
    /// How many files, directories and links it has.
    pub entries: u64,
    /// How many bytes its files have.
    pub bytes: u64,
    /// How many sockets were left out: they mean nothing without their process.
    pub sockets: u64,
}

/// Copies the content of a volume that nobody uses.
pub(super) fn take(locked: &Locked, label: &Name) -> Result<VolumeSnapshot> {
    let directory = locked.directory();
    let target = directory.snapshots().join(label.as_str());
    let context = || format!("take snapshot {label} of volume {}", directory.name());
    if target.exists() {
        let error = Error::new(ErrorKind::AlreadyExists, format!("{}: there is one of this label", context()));
        return Err(error.hint("remove it first, or choose another label"));
    }
    let aside = directory.store().scratch()?;
    let new = aside.path().join("snapshot");
    make_directory(&new)?;
    let copied = copy_data(&directory.data(), &new.join("data")).context(context)?;
    let snapshot = VolumeSnapshot {
        version: 1,
        label: label.clone(),
        created: Timestamp::now(),
        entries: copied.entries,
        bytes: copied.bytes,
        sockets: copied.sockets,
    };
    write_record(&new.join("snapshot.json"), &snapshot)?;
    step("snapshot written");
    synchronise(&new)?;
    step("snapshot synchronised");
    rename_into(&new, &target).context(context)?;
    Ok(snapshot)
}

/// All snapshots of a volume, the oldest first.
pub(super) fn list(directory: &Directory) -> Result<Vec<VolumeSnapshot>> {
    let parent = directory.snapshots();
    let entries = fs::read_dir(&parent).during(|| format!("read {}", parent.display()))?;
    let mut snapshots = Vec::new();
    for entry in entries {
        let path = entry.during(|| format!("read {}", parent.display()))?.path();
        // One that is gone was removed since the list was read.
        snapshots.extend(read_record::<VolumeSnapshot>(&path.join("snapshot.json"))?);
    }
    snapshots.sort_by(|a, b| (a.created, &a.label).cmp(&(b.created, &b.label)));
    Ok(snapshots)
}

/// Exchanges the content of a volume that nobody uses for a copy of the snapshot.
pub(super) fn restore(locked: &Locked, label: &Name) -> Result<()> {
    let directory = locked.directory();
    let source = find(directory, label)?.join("data");
    let aside = directory.store().scratch()?;
    let new = aside.path().join("content");
    make_directory(&new)?;
    copy_data(&source, &new.join("data"))
        .context(|| format!("restore snapshot {label} of volume {}", directory.name()))?;
    replace_content(directory, &new)
}

/// Exchanges the content of a volume that nobody uses for the directory `new` with its `data`; it holds the old content
/// afterwards.
pub(super) fn replace_content(directory: &Directory, new: &Path) -> Result<()> {
    step("content written");
    synchronise(new)?;
    step("content synchronised");
    let (working, content) = (nix::fcntl::AT_FDCWD, directory.content());
    rename_exchange(working, new, working, &content).during(|| format!("replace {}", content.display()))?;
    step("content exchanged");
    synchronise_parent(&content)
}

/// Removes a snapshot.
pub(super) fn remove(locked: &Locked, label: &Name) -> Result<()> {
    let path = find(locked.directory(), label)?;
    let aside = locked.directory().store().scratch()?;
    fs::rename(&path, aside.path().join("snapshot")).during(|| format!("remove {}", path.display()))?;
    step("snapshot removed");
    synchronise_parent(&path)
}

fn find(directory: &Directory, label: &Name) -> Result<std::path::PathBuf> {
    let path = directory.snapshots().join(label.as_str());
    if path.join("snapshot.json").exists() {
        return Ok(path);
    }
    Err(Error::new(ErrorKind::NotFound, format!("volume {} has no snapshot {label}", directory.name())))
}

fn copy_data(source: &Path, target: &Path) -> Result<super::copy::Copied> {
    make_directory(target)?;
    let (source, target) = (open_directory(source)?, open_directory(target)?);
    copy_tree(source.as_fd(), target.as_fd())
}

/// A directory that its owner alone may enter.
pub(super) fn make_directory(path: &Path) -> Result<()> {
    DirBuilder::new().mode(0o700).create(path).during(|| format!("make {}", path.display()))
}
