//! Unpacked layers: directories that overlayfs stacks, named by the digest of the uncompressed archive.

use super::durable::{step, sync_parent, write_through};
use super::lock::Lock;
use super::scratch;
use super::{BlobWriter, MergedView, Snapshot, Store, StoredImage, VERSION, lease};
use crate::archive::{self, Budget, ExtractOptions, Overlay, Summary};
use crate::error::{Context, During};
use crate::kernel::rename_no_replace;
use crate::spec::{Descriptor, MediaType};
use crate::value::Hasher;
use crate::{Digest, Error, ErrorKind, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The unpacked layers of a store.
pub(crate) struct Layers<'store>(&'store Store);

/// A layer that a snapshot became.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CommittedLayer {
    /// The compressed archive, a blob of the store.
    pub descriptor: Descriptor,
    /// The digest of the uncompressed archive.
    pub diff_id: Digest,
}

/// What `layer.json` beside the directory tells a person.
#[derive(Serialize)]
struct Note<'a> {
    version: u32,
    diff_id: &'a Digest,
    entries: u64,
    bytes: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    dropped: &'a BTreeMap<&'static str, u64>,
}

impl<'store> Layers<'store> {
    pub(super) fn new(store: &'store Store) -> Layers<'store> {
        Layers(store)
    }

    /// Whether the layer is unpacked. One found counts as used now, see [`Store::lease`].
    pub(crate) fn contains(&self, diff_id: &Digest) -> bool {
        let Ok(_lock) = Lock::content(self.0, false) else { return false };
        lease::touch(&self.home(diff_id)).is_ok()
    }

    /// The directory of the layer, whether it is there or not.
    pub(crate) fn path(&self, diff_id: &Digest) -> PathBuf {
        self.home(diff_id).join("diff")
    }

    /// Unpacks the archive that `descriptor` names, of any compression this crate reads, unless that was done before.
    ///
    /// Errors: `Corrupt` where the content does not have the digest `diff_id` or is no archive, `LimitExceeded` where it
    /// is a bomb, `ResourceExhausted` where the disk is full. After an error nothing is left.
    pub(crate) fn unpack(&self, descriptor: &Descriptor, diff_id: &Digest) -> Result<()> {
        if self.contains(diff_id) {
            return Ok(());
        }
        self.unpack_aside(descriptor, diff_id)
            .map_err(|error| self.with_room_hint(error))
            .context(|| format!("unpack layer {}", descriptor.digest))
    }

    /// Unpacks what is missing of `image` and returns the directories of its layers, lowest first.
    pub(crate) fn ensure_image(&self, image: &StoredImage) -> Result<Vec<PathBuf>> {
        let _lease = self.0.lease()?;
        for (descriptor, diff_id) in image.manifest.layers.iter().zip(&image.config.rootfs.diff_ids) {
            self.unpack(descriptor, diff_id)?;
        }
        self.stack(&image.config.rootfs.diff_ids).context(|| format!("prepare image {}", image.reference))
    }

    /// A fresh writable directory above the layers `lower`, lowest first, all of them unpacked.
    pub(crate) fn snapshot(&self, lower: &[Digest]) -> Result<Snapshot> {
        let lease = self.0.lease()?;
        Snapshot::new(self.0, lease, self.stack(lower)?)
    }

    /// An empty directory to be filled and committed: a snapshot above nothing.
    pub(crate) fn stage_tree(&self) -> Result<Snapshot> {
        self.snapshot(&[])
    }

    /// Turns what was changed in the snapshot, which must not be mounted any more, into a layer: its archive becomes a
    /// blob, its directory the unpacked layer. `None` where nothing was changed.
    pub(crate) fn commit(&self, snapshot: Snapshot) -> Result<Option<CommittedLayer>> {
        self.commit_aside(snapshot).map_err(|error| self.with_room_hint(error)).context(|| "commit a layer")
    }

    /// The files as a process above these layers, lowest first, would see them.
    pub(crate) fn view(&self, lower: &[PathBuf], upper: Option<&Path>) -> MergedView {
        MergedView::new(lower, upper)
    }

    /// The directories of these layers. Those below a layer whose root is opaque are left out: overlayfs does not look at
    /// that mark on the root of a layer, but the image means it.
    fn stack(&self, diff_ids: &[Digest]) -> Result<Vec<PathBuf>> {
        let overlay = Overlay::of_this_process();
        let mut stack = Vec::with_capacity(diff_ids.len());
        for diff_id in diff_ids {
            if !self.contains(diff_id) {
                return Err(Error::new(ErrorKind::NotFound, format!("layer {diff_id} is not unpacked in the store")));
            }
            let path = self.path(diff_id);
            let directory = File::open(&path).during(|| format!("open layer {diff_id}"))?;
            if overlay.is_opaque(directory.as_fd())? {
                stack.clear();
            }
            stack.push(path);
        }
        Ok(stack)
    }

    fn unpack_aside(&self, descriptor: &Descriptor, diff_id: &Digest) -> Result<()> {
        let blob = self.0.blobs().open(&descriptor.digest)?;
        let size = blob.metadata().during(|| "inspect the blob")?.len();
        let scratch = scratch::directory(self.0)?;
        let home = scratch.path().join("layer");
        let diff = home.join("diff");
        make_directory(&home, 0o700)?;
        make_directory(&diff, 0o755)?;
        let directory = File::open(&diff).during(|| "open the new layer")?;
        let mut content = Hashing { reader: archive::decompress(blob)?, hasher: Hasher::default() };
        let options = ExtractOptions { budget: Budget::of_compressed(size), ..ExtractOptions::default() };
        let summary = archive::extract(&mut content, directory.as_fd(), &options)?;
        let actual = content.hasher.finish();
        if actual != *diff_id {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!("content has the digest {actual}, the image's configuration says {diff_id}"),
            ));
        }
        step("layer extracted");
        self.publish(&home, diff_id, &summary)
    }

    fn commit_aside(&self, snapshot: Snapshot) -> Result<Option<CommittedLayer>> {
        let upper = File::open(snapshot.upper()).during(|| "open the upper directory")?;
        let tee = Tee { gzip: archive::compress_gzip(self.0.blobs().write()?), hasher: Hasher::default() };
        let (tee, summary) = write_archive(&upper, tee)?;
        if summary.entries == 0 {
            return Ok(None);
        }
        let diff_id = tee.hasher.finish();
        let (digest, size) = tee.gzip.finish().during(|| "compress the layer")?.commit()?;
        step("layer archived");
        if !self.contains(&diff_id) {
            let (scratch, upper) = snapshot.into_parts();
            let home = scratch.path().join("layer");
            make_directory(&home, 0o700)?;
            fs::rename(&upper, home.join("diff")).during(|| "move the upper directory")?;
            self.publish(&home, &diff_id, &summary)?;
        }
        Ok(Some(CommittedLayer { descriptor: Descriptor::new(MediaType::LAYER_GZIP, digest, size), diff_id }))
    }

    /// Makes the finished directory `home` durable and gives it its name.
    fn publish(&self, home: &Path, diff_id: &Digest, summary: &Summary) -> Result<()> {
        let note = Note {
            version: VERSION,
            diff_id,
            entries: summary.entries,
            bytes: summary.bytes,
            dropped: &summary.dropped,
        };
        let note = serde_json::to_vec(&note)
            .map_err(|error| Error::new(ErrorKind::Os, "describe the layer").source_error(error))?;
        write_through(&home.join("layer.json"), &note)?;
        let directory = File::open(home).during(|| "open the new layer")?;
        // One for all files: an fsync each would cost more than the extraction.
        nix::unistd::syncfs(&directory).during(|| "synchronise the layer")?;
        step("layer synchronised");
        let target = self.home(diff_id);
        {
            let _lock = Lock::content(self.0, false)?;
            lease::touch(home)?;
            match rename_no_replace(nix::fcntl::AT_FDCWD, home, nix::fcntl::AT_FDCWD, &target) {
                // Another thread or process was faster: one is as good as the other.
                Err(error) if error.raw_os_error() == Some(libc::EEXIST) => return lease::touch(&target),
                other => other.during(|| format!("name layer {diff_id}"))?,
            }
        }
        step("layer renamed");
        sync_parent(&target)
    }

    fn home(&self, diff_id: &Digest) -> PathBuf {
        self.0.root().join("layers").join(diff_id.hex())
    }

    fn with_room_hint(&self, error: Error) -> Error {
        match error.errno() {
            Some(libc::ENOSPC | libc::EDQUOT) => {
                error.hint(format!("make room on the file system of {}", self.0.root().display()))
            }
            _ => error,
        }
    }
}

/// Makes a directory of exactly this mode, whatever the umask of the host process.
pub(super) fn make_directory(path: &Path, mode: u32) -> Result<()> {
    let operation = || format!("make directory {}", path.display());
    fs::create_dir(path).during(operation)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).during(operation)
}

fn write_archive(upper: &File, mut tee: Tee) -> Result<(Tee, Summary)> {
    let mut buffered = io::BufWriter::with_capacity(128 << 10, &mut tee);
    let summary = archive::write_layer(upper.as_fd(), &mut buffered)?;
    buffered.flush().during(|| "compress the layer")?;
    drop(buffered);
    Ok((tee, summary))
}

/// Hashes an archive on its way into its compressed blob.
struct Tee {
    gzip: flate2::write::GzEncoder<BlobWriter>,
    hasher: Hasher,
}

impl Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gzip.write_all(bytes)?;
        self.hasher.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Hashes an archive on its way out of its blob.
struct Hashing<R> {
    reader: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.reader.read(buffer)?;
        self.hasher.update(&buffer[..got]);
        Ok(got)
    }
}

#[cfg(test)]
mod tests;
