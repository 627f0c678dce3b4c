//! What the tests of coracle share. A missing need (a program, a right) is a panic that names it, never a skip.

mod base_image;
mod busybox;
mod http;
mod leaks;
mod namespace;
mod pip;
mod registry;
mod scratch;
mod tiny;

pub use base_image::debian_python_base;
pub use busybox::busybox_root;
pub use http::{Response, http_get, http_get_until};
pub use leaks::Leaks;
pub use namespace::in_network_namespace;
pub use pip::{PipAccess, pip_access};
pub use registry::Registry;
pub use scratch::{Scratch, fixtures_directory, free_port, repository_root, require_program, require_root};
pub use tiny::tiny_program;
