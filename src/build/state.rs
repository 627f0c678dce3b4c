//! An image in the making.

use super::cache::Made;
use super::configuration::{self, DEFAULT_PATH};
use super::step::Change;
use crate::spec::{History, ImageConfig, MediaType};
use crate::store::{CommittedLayer, MergedView, Snapshot, Store, StoredImage};
use crate::{Digest, Error, ErrorKind, Platform, Result, Timestamp};
use std::path::PathBuf;

/// The result of the steps so far.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) config: ImageConfig,
    /// Lowest first.
    pub(super) layers: Vec<CommittedLayer>,
    /// When the last layer was made. Changes of the configuration have no time of their own, so that the same build
    /// gives the same image.
    pub(super) created: Option<Timestamp>,
    /// Whether this stage has set `CMD`.
    pub(super) command_set: bool,
}

impl State {
    /// Nothing but a search path.
    pub(super) fn scratch(platform: &Platform) -> Result<State> {
        let mut config = ImageConfig::new(platform);
        configuration::set_variable(config.config.get_or_insert_default(), "PATH", DEFAULT_PATH)?;
        Ok(State { config, layers: Vec::new(), created: None, command_set: false })
    }

    /// A stored image.
    pub(super) fn of(image: StoredImage) -> Result<State> {
        let diff_ids = &image.config.rootfs.diff_ids;
        if diff_ids.len() != image.manifest.layers.len() {
            return Err(Error::new(ErrorKind::Corrupt, format!("image {} misses diff ids", image.reference)));
        }
        let layers = image.manifest.layers.iter().zip(diff_ids);
        let layers = layers.map(|(descriptor, diff_id)| {
            let mut descriptor = descriptor.clone();
            // The same bytes under the name that belongs into an OCI manifest.
            if descriptor.media_type == MediaType::DOCKER_LAYER {
                descriptor.media_type = MediaType::LAYER_GZIP.to_owned();
            }
            CommittedLayer { descriptor, diff_id: *diff_id }
        });
        let (layers, created) = (layers.collect(), image.config.created);
        Ok(State { config: image.config, layers, created, command_set: false })
    }

    /// The digests of the layers, lowest first.
    pub(super) fn diff_ids(&self) -> Vec<Digest> {
        self.layers.iter().map(|layer| layer.diff_id).collect()
    }

    /// The layers unpacked: their directories, lowest first.
    pub(super) fn unpack(&self, store: &Store) -> Result<Vec<PathBuf>> {
        let layers = store.layers();
        for layer in &self.layers {
            layers.unpack(&layer.descriptor, &layer.diff_id)?;
        }
        Ok(self.layers.iter().map(|layer| layers.path(&layer.diff_id)).collect())
    }

    /// A writable directory above the layers.
    pub(super) fn snapshot(&self, store: &Store) -> Result<Snapshot> {
        self.unpack(store)?;
        store.layers().snapshot(&self.diff_ids())
    }

    /// The files so far.
    pub(super) fn view(&self, store: &Store) -> Result<MergedView> {
        // A snapshot knows which layers an opaque root hides.
        self.snapshot(store).map(|snapshot| store.layers().view(snapshot.lower(), None))
    }

    /// Applies a change of the configuration.
    pub(super) fn change(&mut self, change: &Change, created_by: String) -> Result<()> {
        configuration::apply(&mut self.config, change, &mut self.command_set)?;
        let created = self.created;
        self.remember(History { created, created_by: Some(created_by), empty_layer: true, ..History::default() });
        Ok(())
    }

    /// The variables set so far.
    pub(super) fn environment(&self) -> Vec<(String, String)> {
        configuration::environment_of(&self.config)
    }

    /// The shell in force.
    pub(super) fn shell(&self) -> Vec<String> {
        configuration::shell_of(&self.config)
    }

    /// Takes out the instructions that the base image recorded for images built on it.
    pub(super) fn take_triggers(&mut self) -> Vec<String> {
        self.config.config.as_mut().and_then(|config| config.on_build.take()).unwrap_or_default()
    }

    /// Adds what a step made.
    pub(super) fn add(&mut self, made: Made, created_by: String) {
        let empty_layer = made.layer.is_none();
        let created = Some(made.created);
        self.remember(History { created, created_by: Some(created_by), empty_layer, ..History::default() });
        if let Some(layer) = made.layer {
            self.config.rootfs.diff_ids.push(layer.diff_id);
            self.layers.push(layer);
        }
        self.created = created;
    }

    fn remember(&mut self, entry: History) {
        self.config.history.get_or_insert_default().push(entry);
    }
}
