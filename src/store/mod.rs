//! The store: content-addressed blobs, names of images, unpacked layers, snapshots and their garbage collection.
//!
//! ```text
//! <root>/                0700, an OCI image layout (image-layout.md), readable by other tools
//!   oci-layout           the layout's version
//!   index.json           the tagged images, kept true from images/
//!   coracle.json         the version of this directory's form
//!   blobs/sha256/<hex>   blobs
//!   images/<hex>.json    one record per tagged reference, named by the digest of the reference
//!   layers/<hex>/diff    unpacked layers by diff id, in overlay form
//!   pins/<name>.json     what must be kept although no tag leads to it
//!   leases/              one locked file per live lease
//!   tmp/                 what is being made: each entry locked by its owner
//! ```
//!
//! Nothing half-made is visible: everything is written below `tmp`, synchronised, then renamed, then its directory is
//! synchronised. The locks are flock(2), which die with their process; several processes may open one root.

mod blob;
mod collect;
mod durable;
mod image;
mod index;
mod layer;
mod lease;
mod lock;
mod scratch;
mod snapshot;
mod view;

pub(crate) use blob::{BlobWriter, Blobs};
pub(crate) use collect::Collected;
pub(crate) use image::{Images, StoredImage};
pub(crate) use layer::{CommittedLayer, Layers};
pub(crate) use lease::{Lease, Pins};
pub(crate) use scratch::ScratchDirectory;
pub(crate) use snapshot::{KeptSnapshot, Snapshot};
pub(crate) use view::{DirectoryEntry, EntryKind, EntryMetadata, MergedView};

use crate::error::During;
use crate::{Error, ErrorKind, Result};
use durable::{step, write_record};
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The form of the directory that this version of the crate reads and writes.
const VERSION: u32 = 1;

/// The directories of the store.
const DIRECTORIES: [&str; 7] = ["blobs", "blobs/sha256", "images", "layers", "leases", "pins", "tmp"];

/// Names that may be in the root before the store is: those of the crate's other rooms, a file system's own, and what a
/// process that died while it made the store leaves.
const NEIGHBOURS: [&str; 8] =
    ["run", "build-cache", "containers", "volumes", "networks", "deployments", "lost+found", "scratch.lock"];

/// The files of one root directory; cheap to clone, usable from any thread.
#[derive(Debug, Clone)]
pub(crate) struct Store(Arc<Directories>);

#[derive(Debug)]
struct Directories {
    root: PathBuf,
    run: PathBuf,
}

/// What `coracle.json` holds.
#[derive(Serialize, Deserialize)]
struct Form {
    version: u32,
}

impl Store {
    /// Opens the store below `root`, making it (mode 0700) where it is missing, and removes what dead processes left
    /// half-made. `run` is for what a reboot ends.
    ///
    /// Errors: `InvalidInput` where `root` holds other people's files, `Unsupported` where a newer version wrote it.
    pub(crate) fn open(root: &Path, run: &Path) -> Result<Store> {
        refuse_foreign(root)?;
        make_private(root)?;
        make_private(run)?;
        let root = root.canonicalize().during(|| format!("open store {}", root.display()))?;
        for name in DIRECTORIES {
            make_private(&root.join(name))?;
        }
        let store = Store(Arc::new(Directories { root, run: run.to_owned() }));
        store.check_form()?;
        scratch::recover(&store)?;
        lease::recover(&store)?;
        index::refresh(&store)?;
        Ok(store)
    }

    /// The durable directory.
    pub(crate) fn root(&self) -> &Path {
        &self.0.root
    }

    /// The directory of what a reboot ends.
    pub(crate) fn run(&self) -> &Path {
        &self.0.run
    }

    /// The blobs by digest.
    pub(crate) fn blobs(&self) -> Blobs<'_> {
        Blobs::new(self)
    }

    /// The images by reference.
    pub(crate) fn images(&self) -> Images<'_> {
        Images::new(self)
    }

    /// The unpacked layers by diff id.
    pub(crate) fn layers(&self) -> Layers<'_> {
        Layers::new(self)
    }

    /// What is kept although no tag leads to it.
    pub(crate) fn pins(&self) -> Pins<'_> {
        Pins::new(self)
    }

    /// While held, the garbage collector removes nothing that was made, found or used since; ends with the process.
    pub(crate) fn lease(&self) -> Result<Lease> {
        Lease::take(self)
    }

    /// Replaces a small file of another room below the root in one durable step.
    pub(crate) fn write_record(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        write_record(self, path, bytes)
    }

    /// A temporary directory on the store's file system, for what another room makes aside or takes away.
    pub(crate) fn scratch(&self) -> Result<ScratchDirectory> {
        scratch::directory(self)
    }

    /// Removes blobs and layers that no tag, pin or lease leads to.
    pub(crate) fn collect_garbage(&self) -> Result<Collected> {
        collect::collect(self)
    }

    fn check_form(&self) -> Result<()> {
        let path = self.root().join("coracle.json");
        match fs::read(&path) {
            Ok(bytes) => {
                let form: Form = serde_json::from_slice(&bytes).map_err(|error| {
                    Error::new(ErrorKind::Corrupt, format!("read {}", path.display())).source_error(error)
                })?;
                if form.version > VERSION {
                    return Err(Error::new(
                        ErrorKind::Unsupported,
                        format!(
                            "store {} has form {}, this version reads {VERSION}",
                            self.root().display(),
                            form.version
                        ),
                    )
                    .hint("open it with the newer version that wrote it"));
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                write_record(self, &self.root().join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
                step("form");
                write_record(self, &path, format!("{{\"version\":{VERSION}}}").as_bytes())?;
            }
            Err(error) => return Err(error).during(|| format!("read {}", path.display())),
        }
        Ok(())
    }
}

/// A directory that holds anything but a store's own names is somebody's home, not a store.
fn refuse_foreign(root: &Path) -> Result<()> {
    let listing = match fs::read_dir(root) {
        Ok(listing) => listing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).during(|| format!("open store {}", root.display())),
    };
    if root.join("oci-layout").exists() {
        return Ok(());
    }
    for entry in listing {
        let name = entry.during(|| format!("list {}", root.display()))?.file_name();
        let known = DIRECTORIES.iter().chain(&NEIGHBOURS).any(|known| name == *known);
        if !known {
            return Err(Error::invalid(format!("directory {} is not a store: it holds {name:?}", root.display()))
                .hint("name an empty directory or one that does not exist"));
        }
    }
    Ok(())
}

/// Makes a directory and its parents; only its owner may enter it (layers hold setuid programs).
fn make_private(path: &Path) -> Result<()> {
    let operation = || format!("make directory {}", path.display());
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).during(operation)?;
    let metadata = fs::metadata(path).during(operation)?;
    // What others own they can change, whatever its mode; and a link of theirs may lead anywhere.
    let own = |metadata: &fs::Metadata| metadata.uid() == nix::unistd::geteuid().as_raw();
    if !own(&metadata) || !own(&fs::symlink_metadata(path).during(operation)?) {
        return Err(Error::new(
            ErrorKind::PermissionDenied,
            format!("directory {} belongs to another user", path.display()),
        )
        .hint("choose a directory of your own, or one that does not exist yet"));
    }
    let mode = metadata.permissions().mode();
    if mode & 0o7777 != 0o700 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).during(operation)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_others_are_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let (root, run, elsewhere) =
            (scratch.path().join("root"), scratch.path().join("run"), scratch.path().join("elsewhere"));
        for directory in [&root, &elsewhere] {
            fs::create_dir(directory).unwrap();
        }
        std::os::unix::fs::chown(&root, Some(1000), Some(1000)).unwrap();
        assert_eq!(Store::open(&root, &run).unwrap_err().kind(), ErrorKind::PermissionDenied);
        std::os::unix::fs::chown(&root, Some(0), Some(0)).unwrap();
        assert!(!run.exists(), "a root that is refused leaves nothing");
        std::os::unix::fs::symlink(&elsewhere, &run).unwrap();
        std::os::unix::fs::lchown(&run, Some(1000), Some(1000)).unwrap();
        assert_eq!(Store::open(&root, &run).unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert_eq!(fs::metadata(&elsewhere).unwrap().permissions().mode() & 0o777, 0o755);
    }

    #[test]
    fn a_store_is_private_and_opens_twice() {
        let scratch = tempfile::tempdir().unwrap();
        let (root, run) = (scratch.path().join("deep/root"), scratch.path().join("run"));
        let store = Store::open(&root, &run).unwrap();
        let again = Store::open(&root, &run).unwrap();
        assert_eq!(store.root(), again.root());
        for path in [&root, &run, &root.join("layers"), &root.join("blobs/sha256")] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o7777, 0o700);
        }
    }

    #[test]
    fn a_directory_of_somebody_else_is_left_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let home = scratch.path().join("home");
        fs::create_dir(&home).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(home.join("letter"), "").unwrap();
        let error = Store::open(&home, &scratch.path().join("run")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(fs::metadata(&home).unwrap().permissions().mode() & 0o7777, 0o755);
    }

    #[test]
    fn a_newer_form_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        Store::open(scratch.path(), &scratch.path().join("tmp/run")).unwrap();
        fs::write(scratch.path().join("coracle.json"), r#"{"version":2}"#).unwrap();
        let error = Store::open(scratch.path(), &scratch.path().join("tmp/run")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}
