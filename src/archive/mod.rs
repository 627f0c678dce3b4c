//! Layers as tar archives, in and out.
