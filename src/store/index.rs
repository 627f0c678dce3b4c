//! `index.json`: the tagged images as an OCI layout lists them, so that other tools can read the store.

use super::durable::write_record;
use super::lock::Lock;
use super::{Images, Store};
use crate::spec::{Index, MediaType};
use crate::{Error, Result};
use serde_json::Map;
use std::collections::BTreeMap;
use std::fs;

/// The annotation that names an image in a layout (image-spec, annotations.md).
const REFERENCE_NAME: &str = "org.opencontainers.image.ref.name";

/// Writes the index anew from the records, unless it is true already. The records alone count for this crate.
pub(super) fn refresh(store: &Store) -> Result<()> {
    let _lock = Lock::index(store)?;
    let manifests = Images::new(store).list()?.into_iter().map(|(reference, mut descriptor)| {
        descriptor.annotations.insert(REFERENCE_NAME.to_owned(), reference.to_string());
        descriptor
    });
    let index = Index {
        schema_version: 2,
        media_type: Some(MediaType::INDEX.to_owned()),
        manifests: manifests.collect(),
        annotations: BTreeMap::new(),
        other: Map::new(),
    };
    let bytes = serde_json::to_vec(&index)
        .map_err(|error| Error::invalid("the index of the store cannot be written").source_error(error))?;
    let path = store.root().join("index.json");
    if fs::read(&path).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    write_record(store, &path, &bytes)
}
