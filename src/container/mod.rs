//! One container's life.

pub(crate) mod user;
