//! Garbage collection: what no tag, pin or lease leads to is removed.

use super::durable::step;
use super::lock::Lock;
use super::{Store, lease, scratch};
use crate::error::During;
use crate::spec::{ImageConfig, MANIFEST_BUDGET, Manifest};
use crate::{Digest, Result};
use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

/// What a garbage collection removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Collected {
    /// Blobs removed.
    pub blobs: u64,
    /// Unpacked layers removed.
    pub layers: u64,
    /// The size of the removed blobs in bytes.
    pub blob_bytes: u64,
}

/// Marks and moves aside under the exclusive lock, which takes milliseconds; removes after it was released.
pub(super) fn collect(store: &Store) -> Result<Collected> {
    let trash = scratch::directory(store)?;
    let mut collected = Collected::default();
    {
        let _lock = Lock::content(store, true)?;
        let horizon = lease::horizon(store)?;
        let kept = referenced(store)?;
        let root = store.root();
        collected.blobs = sweep(&root.join("blobs/sha256"), &kept, horizon, trash.path(), "blob", |size| {
            collected.blob_bytes += size;
        })?;
        collected.layers = sweep(&root.join("layers"), &kept, horizon, trash.path(), "layer", |_| {})?;
    }
    Ok(collected)
}

/// Every digest that a tag or a pin leads to. A manifest or configuration that cannot be read keeps what it can: the
/// error is the pull's or the run's to tell, not a reason to keep a full disk full.
fn referenced(store: &Store) -> Result<HashSet<Digest>> {
    let mut kept: HashSet<Digest> = store.pins().digests()?.into_iter().collect();
    for (_, descriptor) in store.images().list()? {
        kept.insert(descriptor.digest);
        let Some(manifest) = read(store, &descriptor.digest).and_then(|bytes| Manifest::parse(&bytes).ok()) else {
            continue;
        };
        kept.insert(manifest.config.digest);
        kept.extend(manifest.layers.iter().map(|layer| layer.digest));
        if let Some(config) = read(store, &manifest.config.digest).and_then(|bytes| ImageConfig::parse(&bytes).ok()) {
            kept.extend(config.rootfs.diff_ids);
        }
    }
    Ok(kept)
}

/// Reads a document without taking the lock (held already) and without counting it as used.
fn read(store: &Store, digest: &Digest) -> Option<Vec<u8>> {
    let path = store.blobs().path(digest);
    if fs::metadata(&path).ok()?.len() > MANIFEST_BUDGET {
        return None;
    }
    fs::read(&path).ok().filter(|bytes| Digest::of(bytes) == *digest)
}

/// Moves what is neither kept nor used since `horizon` from `directory` to `trash`.
fn sweep(
    directory: &Path,
    kept: &HashSet<Digest>,
    horizon: SystemTime,
    trash: &Path,
    prefix: &str,
    mut removed: impl FnMut(u64),
) -> Result<u64> {
    let operation = || format!("collect garbage in {}", directory.display());
    let mut count = 0;
    for entry in fs::read_dir(directory).during(operation)? {
        let entry = entry.during(operation)?;
        let name = entry.file_name();
        // A name that is no digest was not made by the store.
        let Some(digest) = name.to_str().and_then(|hex| format!("sha256:{hex}").parse::<Digest>().ok()) else {
            continue;
        };
        let metadata = entry.metadata().during(operation)?;
        if kept.contains(&digest) || metadata.modified().during(operation)? >= horizon {
            continue;
        }
        fs::rename(entry.path(), trash.join(format!("{prefix}-{}", digest.hex()))).during(operation)?;
        step("garbage moved");
        removed(metadata.len());
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn store() -> (tempfile::TempDir, Store) {
        let scratch = tempfile::tempdir().unwrap();
        let store = Store::open(&scratch.path().join("root"), &scratch.path().join("run")).unwrap();
        (scratch, store)
    }

    fn age(store: &Store, digest: &Digest) {
        let file = fs::File::options().write(true).open(store.blobs().path(digest)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
    }

    #[test]
    fn what_nothing_leads_to_goes() {
        let (_scratch, store) = store();
        let digest = store.blobs().put(b"garbage").unwrap();
        age(&store, &digest);
        let pinned = store.blobs().put(b"pinned").unwrap();
        age(&store, &pinned);
        let name = "cache".parse().unwrap();
        store.pins().hold(&name, &[pinned]).unwrap();
        assert_eq!(store.collect_garbage().unwrap(), Collected { blobs: 1, layers: 0, blob_bytes: 7 });
        assert!(store.blobs().contains(&pinned));
        assert!(store.pins().release(&name).unwrap());
        age(&store, &pinned);
        assert_eq!(store.collect_garbage().unwrap().blobs, 1);
        assert_eq!(fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
    }

    #[test]
    fn a_lease_keeps_what_is_made_or_found_under_it() {
        let (_scratch, store) = store();
        let [found, unused] = [b"found", b"stale"].map(|bytes| store.blobs().put(bytes).unwrap());
        age(&store, &found);
        age(&store, &unused);
        let lease = store.lease().unwrap();
        assert!(store.blobs().contains(&found));
        let made = store.blobs().put(b"made").unwrap();
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(store.collect_garbage().unwrap().blobs, 1);
        assert!(store.blobs().contains(&made) && store.blobs().contains(&found) && !store.blobs().contains(&unused));
        drop(lease);
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(store.collect_garbage().unwrap().blobs, 2);
    }

    #[test]
    fn what_is_in_use_survives_collections_at_any_time() {
        let (_scratch, store) = store();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4u8)
                .map(|worker| {
                    let store = Store::open(store.root(), store.run()).unwrap();
                    scope.spawn(move || {
                        for round in 0..30u8 {
                            let lease = store.lease().unwrap();
                            // Shared with the other workers, so that one finds what another has made.
                            let shared = store.blobs().put(&[round % 5]).unwrap();
                            let own = store.blobs().put(&[worker, round]).unwrap();
                            let tree = store.layers().stage_tree().unwrap();
                            fs::write(tree.upper().join("file"), [round % 3]).unwrap();
                            let layer = store.layers().commit(tree).unwrap().unwrap();
                            let above = store.layers().snapshot(&[layer.diff_id]).unwrap();
                            drop(lease);
                            let lease = store.lease().unwrap();
                            for digest in [shared, own] {
                                if store.blobs().contains(&digest) {
                                    store.blobs().read(&digest, 10).unwrap();
                                }
                            }
                            let content = above.view().read(Path::new("file"), 10).unwrap();
                            assert_eq!(content, Some(vec![round % 3]));
                            drop(lease);
                        }
                    })
                })
                .collect();
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    store.collect_garbage().unwrap();
                }
            });
            let results: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(results.iter().all(Result::is_ok));
        });
        assert_eq!(fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
    }
}
