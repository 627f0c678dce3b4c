//! Images from Dockerfiles and from the typed builder.

mod builder;
mod cache;
mod configuration;
mod copy;
mod dockerfile;
mod event;
mod frontend;
mod host;
mod ignore;
mod image;
mod image_builder;
mod run;
mod solver;
mod state;
mod step;
mod stub;
#[cfg(test)]
mod tests;
mod transfer;
mod tree;
mod variable;
mod wildcard;

pub use builder::BuildBuilder;
pub use event::BuildEvent;
pub use image::Image;
pub use image_builder::ImageBuilder;
pub(crate) use solver::BaseResolver;

/// Parses any bytes as a Dockerfile and expands what it read.
#[cfg(fuzzing)]
pub(crate) fn fuzz_dockerfile(data: &[u8]) {
    let Ok(file) = dockerfile::Dockerfile::parse("Dockerfile", data) else { return };
    for stage in &file.stages {
        for located in &stage.instructions {
            let _ = dockerfile::expand(&located.text, file.escape, &|_| Some("value"));
        }
    }
}
