//! One container's life.
