//! Images that were built, and their documents.

use super::state::State;
use crate::error::Context;
use crate::spec::{Descriptor, ImageConfig, Manifest, MediaType};
use crate::store::{Store, StoredImage};
use crate::{Digest, Error, ErrorKind, Reference, Result};
use serde::Serialize;

/// An image of an engine's store.
#[derive(Debug, Clone, PartialEq)]
pub struct Image(StoredImage);

impl Image {
    pub(crate) fn new(image: StoredImage) -> Image {
        Image(image)
    }

    /// The reference it was asked for by. An image that was built without a tag is called `untagged@sha256:...` and lasts
    /// until the next garbage collection.
    pub fn reference(&self) -> &Reference {
        &self.0.reference
    }

    /// The digest of its manifest.
    pub fn digest(&self) -> Digest {
        self.0.manifest_descriptor.digest
    }

    /// Its configuration.
    pub fn config(&self) -> &ImageConfig {
        &self.0.config
    }

    /// How many layers it has.
    pub fn layer_count(&self) -> usize {
        self.0.manifest.layers.len()
    }

    /// The size of its layers in bytes, compressed as they are stored.
    pub fn size(&self) -> u64 {
        self.0.manifest.layers.iter().map(|layer| layer.size).sum()
    }

    /// The image as the store knows it.
    pub(crate) fn stored(&self) -> &StoredImage {
        &self.0
    }
}

/// Writes the documents of the image that `state` describes, and gives it its name.
pub(super) fn publish(store: &Store, state: State, tag: Option<&Reference>) -> Result<Image> {
    let State { mut config, layers, created, .. } = state;
    config.created = created;
    let config_descriptor = put(store, MediaType::CONFIG, &config)?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(MediaType::MANIFEST.to_owned()),
        config: config_descriptor,
        layers: layers.into_iter().map(|layer| layer.descriptor).collect(),
        annotations: Default::default(),
        other: Default::default(),
    };
    let manifest_descriptor = put(store, MediaType::MANIFEST, &manifest)?;
    let reference = match tag {
        Some(tag) => {
            store.images().tag(tag, &manifest_descriptor)?;
            tag.clone()
        }
        None => format!("untagged@{}", manifest_descriptor.digest).parse()?,
    };
    Ok(Image(StoredImage { reference, manifest_descriptor, manifest, config }))
}

fn put(store: &Store, media_type: &str, document: &impl Serialize) -> Result<Descriptor> {
    let bytes = serde_json::to_vec(document)
        .map_err(|error| Error::new(ErrorKind::Os, "write the image's documents").source_error(error))?;
    let digest = store.blobs().put(&bytes).context(|| "write the image's documents")?;
    Ok(Descriptor::new(media_type, digest, bytes.len() as u64))
}
