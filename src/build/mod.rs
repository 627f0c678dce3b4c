//! Images from Dockerfiles and from the typed builder.

mod dockerfile;
mod host;
mod ignore;

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
