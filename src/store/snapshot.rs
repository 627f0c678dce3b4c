//! Snapshots: a writable directory above layers.

use super::layer::make_directory;
use super::scratch::{self, ScratchDirectory};
use super::{Lease, MergedView, Store};
use crate::Result;
use crate::error::During;
use std::fs;
use std::path::{Path, PathBuf};

/// A writable directory above layers, for an overlay mount or to be filled directly. Gone on drop, unless it was
/// committed ([`Layers::commit`](super::Layers::commit)) or kept. While it lives, its layers are not collected.
#[derive(Debug)]
pub(crate) struct Snapshot {
    lower: Vec<PathBuf>,
    upper: PathBuf,
    work: PathBuf,
    scratch: ScratchDirectory,
    lease: Lease,
}

/// A snapshot that lives on in a directory of the caller's, who removes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptSnapshot {
    /// The layers below, lowest first. To keep them, pin their diff ids: [`Store::pins`].
    pub lower: Vec<PathBuf>,
    /// What was changed.
    pub upper: PathBuf,
    /// The overlay's own.
    pub work: PathBuf,
}

impl Snapshot {
    pub(super) fn new(store: &Store, lease: Lease, lower: Vec<PathBuf>) -> Result<Snapshot> {
        let scratch = scratch::directory(store)?;
        let (upper, work) = (scratch.path().join("upper"), scratch.path().join("work"));
        make_directory(&upper, 0o755)?;
        make_directory(&work, 0o700)?;
        Ok(Snapshot { lower, upper, work, scratch, lease })
    }

    /// What is changed: the overlay's `upperdir`.
    pub(crate) fn upper(&self) -> &Path {
        &self.upper
    }

    /// The overlay's `workdir`.
    pub(crate) fn work(&self) -> &Path {
        &self.work
    }

    /// The layers below, lowest first.
    pub(crate) fn lower(&self) -> &[PathBuf] {
        &self.lower
    }

    /// The files as a process in it would see them.
    pub(crate) fn view(&self) -> MergedView {
        MergedView::new(&self.lower, Some(&self.upper))
    }

    /// Moves it into `directory`, which must be on the store's file system and hold neither `upper` nor `work`. It must
    /// not be mounted.
    pub(crate) fn into_kept(self, directory: &Path) -> Result<KeptSnapshot> {
        let kept = KeptSnapshot { lower: self.lower, upper: directory.join("upper"), work: directory.join("work") };
        for (from, to) in [(&self.upper, &kept.upper), (&self.work, &kept.work)] {
            fs::rename(from, to).during(|| format!("keep a snapshot in {}", directory.display()))?;
        }
        drop(self.lease);
        Ok(kept)
    }

    /// The directory that goes on drop, and the upper directory in it.
    pub(super) fn into_parts(self) -> (ScratchDirectory, PathBuf) {
        (self.scratch, self.upper)
    }
}
