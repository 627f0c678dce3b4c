//! One container's life: from the builder over the record on disk to recovery.

mod assembly;
mod attached;
mod builder;
mod care;
mod detach;
mod directory;
mod exit;
mod handle;
mod health;
mod log;
mod merged;
mod output;
mod published;
mod recovery;
mod restart;
mod services;
mod specification;
#[cfg(test)]
mod tests;
pub(crate) mod user;

pub use builder::ContainerBuilder;
pub(crate) use directory::list;
pub use exit::ContainerExit;
pub use handle::{Container, ContainerState, ContainerStats};
pub use health::{Health, HealthReport, HealthState, HealthTest};
pub use log::{LogLine, Logs};
pub use merged::{MergedLine, MergedLogs};
pub(crate) use output::run_in;
pub use output::{Chunk, Output};
pub(crate) use recovery::recover;
pub use restart::{Restart, RestartCondition};
pub(crate) use services::{Services, needs_root};
pub use specification::LogOptions;
pub(crate) use specification::{Mount, ReplicaOf, Specification};
