//! A whole container engine light enough to carry inside your own program.

mod archive;
mod build;
pub mod cgroup;
mod container;
mod engine;
mod error;
#[doc(hidden)]
#[cfg(fuzzing)]
pub mod fuzz;
mod isolate;
mod kernel;
mod launch;
pub mod manual;
mod network;
mod plan;
#[cfg(feature = "registry")]
mod registry;
mod sandbox;
mod spec;
mod stage;
mod store;
mod value;

pub use build::{BuildBuilder, BuildEvent, Image, ImageBuilder};
pub use container::{
    Chunk, Container, ContainerBuilder, ContainerExit, ContainerState, ContainerStats, LogLine, LogOptions, Logs,
    Output,
};
pub use engine::{Collected, Engine, EngineOptions, ImageName};
pub use error::{Error, ErrorKind, Result};
pub use isolate::Root;
pub use launch::{Exit, ExitStatus, IdMap, IdRange, Process};
pub use network::{Network, NetworkStats, PublishedPort};
#[cfg(feature = "registry")]
pub use registry::{Credentials, PullEvent, PushEvent, RegistryOptions};
pub use sandbox::{NetworkMode, Sandbox, Stream};
pub use value::{
    ContainerId, Cpus, Digest, EnvVar, Memory, Name, Platform, Port, Protocol, Reference, Timestamp, User,
};
