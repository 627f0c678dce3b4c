//! The pure state machine of a deployment: no clock, no input, no output.

pub(crate) mod model;
