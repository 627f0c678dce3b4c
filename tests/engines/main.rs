//! The engines people already use, driven with our program as their OCI runtime: podman, dockerd, containerd, buildah.
//!
//! Each test has an engine of its own in namespaces of its own ([`ground`]), where no daemon, rule, mount or process
//! outlives it. `CORACLE_RUNTIME=runc` drives them with another runtime, to see what is the engine's doing.

#[path = "../support/program.rs"]
mod program;

mod buildah;
mod client;
mod confinement;
mod containerd;
mod docker;
mod ground;
mod image;
mod life;
mod podman;
mod sight;
