//! Blobs: immutable files named by the digest of their content.

use super::durable::{step, sync_parent};
use super::lock::Lock;
use super::scratch::{self, ScratchFile};
use super::{Store, lease};
use crate::error::During;
use crate::value::Hasher;
use crate::{Digest, Error, ErrorKind, Result};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::PathBuf;

/// The blobs of a store.
pub(crate) struct Blobs<'store>(&'store Store);

/// A blob in the making; gone on drop unless it is committed.
#[derive(Debug)]
pub(crate) struct BlobWriter {
    store: Store,
    file: ScratchFile,
    hasher: Hasher,
    size: u64,
}

impl<'store> Blobs<'store> {
    pub(super) fn new(store: &'store Store) -> Blobs<'store> {
        Blobs(store)
    }

    /// Where the blob is or would be.
    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        self.0.root().join("blobs/sha256").join(digest.hex())
    }

    /// Whether the blob is here. One found counts as used now, see [`Store::lease`].
    pub(crate) fn contains(&self, digest: &Digest) -> bool {
        let Ok(_lock) = Lock::content(self.0, false) else { return false };
        lease::touch(&self.path(digest)).is_ok()
    }

    /// Opens the blob for reading. Its content is as it was when it was verified and committed.
    pub(crate) fn open(&self, digest: &Digest) -> Result<File> {
        let path = self.path(digest);
        let _lock = Lock::content(self.0, false)?;
        match File::open(&path) {
            Ok(file) => {
                lease::touch(&path)?;
                Ok(file)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Error::new(ErrorKind::NotFound, format!("blob {digest} is not in the store"))
                    .hint("pull the image again"))
            }
            Err(error) => Err(error).during(|| format!("open blob {digest}")),
        }
    }

    /// Reads the whole blob of at most `budget` bytes and verifies it again.
    pub(crate) fn read(&self, digest: &Digest, budget: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = self.open(digest)?;
        file.take(budget.saturating_add(1)).read_to_end(&mut bytes).during(|| format!("read blob {digest}"))?;
        if bytes.len() as u64 > budget {
            return Err(Error::new(ErrorKind::LimitExceeded, format!("blob {digest} is larger than {budget} bytes")));
        }
        if Digest::of(&bytes) != *digest {
            return Err(Error::new(ErrorKind::Corrupt, format!("blob {digest} does not match its digest"))
                .hint("the disk has changed it; remove the file and pull the image again"));
        }
        Ok(bytes)
    }

    /// Begins a blob.
    pub(crate) fn write(&self) -> Result<BlobWriter> {
        let file = scratch::file(self.0)?;
        Ok(BlobWriter { store: self.0.clone(), file, hasher: Hasher::default(), size: 0 })
    }

    /// Stores `bytes`.
    pub(crate) fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        if self.contains(&digest) {
            return Ok(digest);
        }
        let mut writer = self.write()?;
        writer.write_all(bytes).during(|| format!("write blob {digest}"))?;
        Ok(writer.commit()?.0)
    }
}

impl BlobWriter {
    /// The bytes written so far.
    #[cfg(any(feature = "registry", test))]
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Makes the blob durable and visible; its digest and size.
    pub(crate) fn commit(self) -> Result<(Digest, u64)> {
        let BlobWriter { store, file, hasher, size } = self;
        let digest = hasher.finish();
        publish(&store, file, &digest)?;
        Ok((digest, size))
    }

    /// As [`commit`](BlobWriter::commit), if and only if what was written has this digest and size; else `Corrupt`, and
    /// nothing becomes visible.
    #[cfg(any(feature = "registry", test))]
    pub(crate) fn commit_expecting(self, digest: &Digest, size: u64) -> Result<()> {
        let BlobWriter { store, file, hasher, size: written } = self;
        if written != size {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!("blob {digest} should have {size} bytes, {written} were received"),
            ));
        }
        let actual = hasher.finish();
        if actual != *digest {
            return Err(Error::new(ErrorKind::Corrupt, format!("blob {digest} was received with digest {actual}")));
        }
        publish(&store, file, digest)
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn publish(store: &Store, mut file: ScratchFile, digest: &Digest) -> Result<()> {
    let operation = || format!("store blob {digest}");
    step("blob written");
    file.sync_all().during(operation)?;
    step("blob synchronised");
    let path = store.blobs().path(digest);
    {
        let _lock = Lock::content(store, false)?;
        if lease::touch(&path).is_ok() {
            return Ok(());
        }
        // The time of the last write may lie before a lease that was taken since.
        lease::touch(file.path())?;
        fs::rename(file.path(), &path).during(operation)?;
        file.disarm();
    }
    step("blob renamed");
    sync_parent(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let scratch = tempfile::tempdir().unwrap();
        let store = Store::open(&scratch.path().join("root"), &scratch.path().join("run")).unwrap();
        (scratch, store)
    }

    fn scratch_is_clean(store: &Store) -> bool {
        fs::read_dir(store.root().join("tmp")).unwrap().count() == 0
    }

    #[test]
    fn what_is_put_is_found_by_its_digest() {
        let (_scratch, store) = store();
        let digest = store.blobs().put(b"hello").unwrap();
        assert_eq!(digest, Digest::of(b"hello"));
        assert!(store.blobs().contains(&digest));
        assert_eq!(store.blobs().read(&digest, 5).unwrap(), b"hello");
        assert_eq!(store.blobs().read(&digest, 4).unwrap_err().kind(), ErrorKind::LimitExceeded);
        assert_eq!(store.blobs().open(&Digest::of(b"x")).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(store.blobs().put(b"hello").unwrap(), digest);
        assert!(scratch_is_clean(&store));
    }

    #[test]
    fn a_mismatch_leaves_nothing() {
        let (_scratch, store) = store();
        let wanted = Digest::of(b"wanted");
        for (bytes, size) in [(&b"wanted"[..], 5), (b"other!", 6), (b"want", 6)] {
            let mut writer = store.blobs().write().unwrap();
            writer.write_all(bytes).unwrap();
            assert_eq!(writer.commit_expecting(&wanted, size).unwrap_err().kind(), ErrorKind::Corrupt);
        }
        drop(store.blobs().write().unwrap());
        assert!(!store.blobs().contains(&wanted));
        assert!(scratch_is_clean(&store));
        let mut writer = store.blobs().write().unwrap();
        writer.write_all(b"wanted").unwrap();
        writer.commit_expecting(&wanted, 6).unwrap();
        assert!(store.blobs().contains(&wanted));
    }

    #[test]
    fn a_changed_blob_is_noticed() {
        let (_scratch, store) = store();
        let digest = store.blobs().put(b"hello").unwrap();
        fs::write(store.blobs().path(&digest), "hellO").unwrap();
        assert_eq!(store.blobs().read(&digest, 10).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
