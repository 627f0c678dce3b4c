//! The flat program that the stage carries out.
//!
//! A start is prepared as data: one arena of fixed-size operations with offsets instead of pointers and descriptor
//! slots as registers. [`Builder`] writes it, [`verify()`] proves it sound before anything is cloned, the stage
//! interprets it, and every operation carries the sentence that explains its failure.

mod builder;
mod calls;
pub(crate) mod layout;
mod listing;
pub(crate) mod op;
pub(crate) mod phase;
mod signature;
mod verify;

pub(crate) use builder::{Builder, Plan, Slot};
pub(crate) use calls::HAND_OVER;
pub(crate) use phase::Phase;
#[cfg(fuzzing)]
pub(crate) use verify::verify;
