//! The OCI documents: image manifests, indexes and configurations (image-spec 1.1).

mod image;

pub use image::{
    Descriptor, HealthConfig, History, ImageConfig, Index, MANIFEST_BUDGET, Manifest, MediaType, RootFs, RunConfig,
};
