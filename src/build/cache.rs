//! What steps have made before: one record per step, by the digest of all that could change its result.
//!
//! A record keeps no layer alive: one whose blob was collected is a miss.

use crate::error::During;
use crate::spec::Descriptor;
use crate::store::{CommittedLayer, Store};
use crate::{Digest, Error, ErrorKind, Result, Timestamp};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;

/// The form of the records; part of every key, so that a change of what steps do is a miss.
const VERSION: u32 = 1;

/// The largest record that is read.
const RECORD_BUDGET: u64 = 64 << 10;

/// The records of a store.
pub(super) struct Cache<'store>(&'store Store);

/// What a step made.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Made {
    /// `None`: it changed no file.
    pub(super) layer: Option<CommittedLayer>,
    /// When.
    pub(super) created: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    created: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    layer: Option<LayerRecord>,
}

#[derive(Serialize, Deserialize)]
struct LayerRecord {
    descriptor: Descriptor,
    diff_id: Digest,
}

impl<'store> Cache<'store> {
    pub(super) fn new(store: &'store Store) -> Cache<'store> {
        Cache(store)
    }

    /// The key of a step: `parts` are all that its result depends on, each told from the next.
    pub(super) fn key(parts: &[&str]) -> Digest {
        let mut text = format!("coracle build {VERSION}");
        for part in parts {
            text.push_str(&format!("\0{}\0{part}", part.len()));
        }
        Digest::of(text.as_bytes())
    }

    /// What the step made before, if all of it is still there. A record that cannot be read is a miss: the step will
    /// replace it.
    pub(super) fn find(&self, key: &Digest) -> Option<Made> {
        let mut bytes = Vec::new();
        let file = fs::File::open(self.path(key)).ok()?;
        file.take(RECORD_BUDGET).read_to_end(&mut bytes).ok()?;
        let record: Record = serde_json::from_slice(&bytes).ok()?;
        if record.version != VERSION {
            return None;
        }
        let layer = record.layer.map(|layer| CommittedLayer { descriptor: layer.descriptor, diff_id: layer.diff_id });
        let whole = layer.as_ref().is_none_or(|layer| {
            let size =
                self.0.blobs().open(&layer.descriptor.digest).and_then(|blob| blob.metadata().during(|| "inspect"));
            // `contains` marks it as used: the collector leaves it while the build's lease is held.
            self.0.blobs().contains(&layer.descriptor.digest)
                && size.is_ok_and(|metadata| metadata.len() == layer.descriptor.size)
        });
        whole.then_some(Made { layer, created: record.created })
    }

    /// Records what the step made.
    pub(super) fn record(&self, key: &Digest, made: &Made) -> Result<()> {
        let layer = made
            .layer
            .as_ref()
            .map(|layer| LayerRecord { descriptor: layer.descriptor.clone(), diff_id: layer.diff_id });
        let record = Record { version: VERSION, created: made.created, layer };
        let bytes = serde_json::to_vec(&record)
            .map_err(|error| Error::new(ErrorKind::Os, "record a build step").source_error(error))?;
        let directory = self.directory();
        match fs::create_dir(&directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).during(|| format!("make directory {}", directory.display()));
            }
            _ => {}
        }
        self.0.write_record(&self.path(key), &bytes)
    }

    fn directory(&self) -> PathBuf {
        self.0.root().join("build-cache")
    }

    fn path(&self, key: &Digest) -> PathBuf {
        self.directory().join(format!("{}.json", key.hex()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::MediaType;

    #[test]
    fn a_record_lasts_as_long_as_its_layer() {
        let scratch = tempfile::tempdir().unwrap();
        let store = Store::open(&scratch.path().join("root"), &scratch.path().join("run")).unwrap();
        let cache = Cache::new(&store);
        let key = Cache::key(&["a", "b"]);
        assert_ne!(key, Cache::key(&["a\0b"]));
        assert_eq!(cache.find(&key), None);
        let digest = store.blobs().put(b"layer").unwrap();
        let descriptor = Descriptor::new(MediaType::LAYER_GZIP, digest, 5);
        let made = Made { layer: Some(CommittedLayer { descriptor, diff_id: digest }), created: Timestamp::now() };
        cache.record(&key, &made).unwrap();
        assert_eq!(cache.find(&key), Some(made));
        fs::remove_file(store.root().join("blobs/sha256").join(digest.hex())).unwrap();
        assert_eq!(cache.find(&key), None);
        fs::write(cache.path(&key), "{").unwrap();
        assert_eq!(cache.find(&key), None);
    }
}
