//! Control groups on this machine as it is: version 1, version 2 or both, the same assertions for all. Needs root.

mod delegation;
mod devices;
mod events;
mod ground;
mod limits;
mod places;
mod resources;
