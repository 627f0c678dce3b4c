//! Bridges, virtual cables, published ports.
