//! What tests share. A missing need (a program, a right) is a panic that names it, never a skip.
//!
//! A test that needs all of it says `mod support;`; one that needs a part includes that file alone.

mod base_image;
mod http;
mod namespace;
mod pip;
mod program;
mod registry;
mod scratch;

pub use base_image::{debian_python_base, repository_root};
pub use http::{http_get, http_get_until};
pub use namespace::{in_network_namespace, require_root};
pub use pip::pip_access;
pub use registry::Registry;
pub use scratch::Scratch;
