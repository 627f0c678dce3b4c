//! Whole pulls and pushes: against a registry that misbehaves, and against Debian's.

mod access;
#[path = "../../../tests/support/registry.rs"]
mod debian;
mod hostile;
#[path = "../../../tests/support/http.rs"]
mod http;
#[path = "../../../tests/support/namespace.rs"]
mod namespace;
#[path = "../../../tests/support/program.rs"]
mod program;
mod real;
#[path = "../../../tests/support/scratch.rs"]
mod scratch;

use super::{PullEvent, Registry, RegistryOptions};
use crate::spec::{Descriptor, ImageConfig, Manifest, MediaType};
use crate::store::{Store, StoredImage};
use crate::value::{Digest, Platform, Reference};
use crate::{Error, Result};
use scratch::Scratch;
use std::io::Write;
use std::time::Duration;

/// A store of one test.
struct Place {
    _scratch: Scratch,
    store: Store,
}

impl Place {
    fn new() -> Place {
        let scratch = Scratch::new("pull-push");
        let store = Store::open(&scratch.root(), &scratch.run()).expect("a store");
        Place { _scratch: scratch, store }
    }

    /// Pulls for the platform of the tests, whatever machine they run on.
    fn pull(&self, registry: &Registry, reference: &str) -> Result<(StoredImage, Vec<PullEvent>)> {
        let reference: Reference = reference.parse()?;
        let mut events = Vec::new();
        let image = registry.pull(&self.store, &reference, &platform(), &mut |event| events.push(event))?;
        assert!(store_is_clean(&self.store));
        Ok((image, events))
    }

    /// The error of a pull that must fail, and must leave neither a name nor anything half-made.
    fn pull_error(&self, registry: &Registry, reference: &str) -> Error {
        let error = self.pull(registry, reference).map(|(image, _)| image).expect_err("this pull must fail");
        assert!(self.store.images().list().expect("a list").is_empty(), "no name is left");
        assert!(store_is_clean(&self.store), "nothing half-made is left");
        assert!(!error.to_string().contains('\n'), "one line: {error}");
        error
    }

    /// Makes an image of the store with these layers, named `name`.
    fn make(&self, name: &str, layers: &[&[u8]]) -> StoredImage {
        let image = Bytes::new(layers);
        for (_, bytes) in &image.blobs {
            self.store.blobs().put(bytes).expect("a blob");
        }
        let reference: Reference = name.parse().expect("a reference");
        self.store.images().tag(&reference, &image.descriptor).expect("a tag");
        self.store.images().get(&reference).expect("an image")
    }
}

/// An image as bytes.
struct Bytes {
    descriptor: Descriptor,
    manifest: Vec<u8>,
    /// Layers, configuration and manifest, by digest.
    blobs: Vec<(Digest, Vec<u8>)>,
}

impl Bytes {
    fn new(layers: &[&[u8]]) -> Bytes {
        Bytes::on(&platform(), layers)
    }

    fn on(platform: &Platform, layers: &[&[u8]]) -> Bytes {
        let mut config = ImageConfig::new(platform);
        config.rootfs.diff_ids = layers.iter().map(|layer| Digest::of(layer)).collect();
        let mut blobs: Vec<Vec<u8>> = layers.iter().map(|layer| gzip(layer)).collect();
        let describe =
            |media_type: &str, bytes: &[u8]| Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64);
        let layers = blobs.iter().map(|bytes| describe(MediaType::LAYER_GZIP, bytes)).collect();
        let config = serde_json::to_vec(&config).expect("JSON");
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(MediaType::MANIFEST.to_owned()),
            config: describe(MediaType::CONFIG, &config),
            layers,
            annotations: Default::default(),
            other: Default::default(),
        };
        let manifest = serde_json::to_vec(&manifest).expect("JSON");
        let descriptor = describe(MediaType::MANIFEST, &manifest);
        blobs.extend([config, manifest.clone()]);
        Bytes { descriptor, manifest, blobs: blobs.into_iter().map(|bytes| (Digest::of(&bytes), bytes)).collect() }
    }
}

/// A client that does not wait long.
fn registry() -> Registry {
    Registry::new(hasty())
}

fn hasty() -> RegistryOptions {
    let mut options = RegistryOptions::new().idle_timeout(Duration::from_secs(5)).retries(3);
    options.first_pause = Duration::from_millis(1);
    options
}

fn platform() -> Platform {
    "linux/amd64".parse().expect("a platform")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// Bytes that do not compress; `seed` tells one run from another.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(length)
    .collect()
}

fn store_is_clean(store: &Store) -> bool {
    let empty = |name: &str| std::fs::read_dir(store.root().join(name)).expect("a directory").next().is_none();
    empty("tmp") && empty("leases")
}
