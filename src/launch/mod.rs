//! The parent's side of a start.
