//! What a cluster needs to know that a deployment does not say.

use crate::value::Memory;
use std::collections::{BTreeMap, BTreeSet};

/// What the manifests should look like beyond the deployment itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    pub(super) namespace: Option<String>,
    pub(super) secrets: BTreeSet<String>,
    pub(super) registry: Option<String>,
    pub(super) expose: Expose,
    pub(super) storage_class: Option<String>,
    pub(super) volume_sizes: BTreeMap<String, Memory>,
}

/// How published ports are reached from outside of the cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expose {
    /// By a port of every node, from 30000 to 32767 by default.
    #[default]
    NodePort,
    /// By a load balancer of the cluster's provider, on the port itself.
    LoadBalancer,
}

impl Options {
    /// In the namespace that `kubectl` is set to, with nothing secret.
    pub fn new() -> Options {
        Options::default()
    }

    /// The namespace of all objects.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Options {
        self.namespace = Some(namespace.into());
        self
    }

    /// A variable of the environment whose value belongs into a Secret.
    #[must_use]
    pub fn secret(mut self, variable: impl Into<String>) -> Options {
        self.secrets.insert(variable.into());
        self
    }

    /// The registry to which images that name none have been pushed: `registry.example.com`, or with a path.
    #[must_use]
    pub fn registry(mut self, registry: impl Into<String>) -> Options {
        self.registry = Some(registry.into());
        self
    }

    /// How published ports are reached from outside; by a port of every node by default.
    #[must_use]
    pub fn expose(mut self, expose: Expose) -> Options {
        self.expose = expose;
        self
    }

    /// The class of storage that volumes are made of; the cluster's default without.
    #[must_use]
    pub fn storage_class(mut self, class: impl Into<String>) -> Options {
        self.storage_class = Some(class.into());
        self
    }

    /// The size of a named volume, which has none here; 1 GiB by default.
    #[must_use]
    pub fn volume_size(mut self, volume: impl Into<String>, size: Memory) -> Options {
        self.volume_sizes.insert(volume.into(), size);
        self
    }
}
