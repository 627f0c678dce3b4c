//! wip
mod cursor;
mod dotenv;
mod interpolate;
mod mount;
mod order;
mod policy;
mod port;
mod project;
mod reading;
mod service;
#[cfg(test)]
mod tests;
mod words;
mod yaml;
pub use project::{Project, ProjectVolume};
pub use service::*;
