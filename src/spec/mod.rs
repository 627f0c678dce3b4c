//! The OCI documents: image manifests, indexes and configurations (image-spec 1.1).

mod image;
mod runtime;
#[cfg(any(feature = "registry", test))]
mod selection;

pub use image::{
    Descriptor, HealthConfig, History, ImageConfig, Index, MANIFEST_BUDGET, Manifest, MediaType, RootFs, RunConfig,
};
pub(crate) use runtime::parse_runtime;
#[cfg(any(feature = "registry", test))]
pub(crate) use selection::select_platform;
