//! The parent's side of a start.
//!
//! A start is: lower the configuration into a [`Plan`](crate::plan::Plan), write it into anonymous memory, clone
//! straight into an exec of the sealed stage, answer its questions, and turn a fault into a sentence. Nothing of it
//! depends on the size of the host, its threads, its allocator or its signal handlers.
#![allow(unsafe_code)]

mod channel;
mod conversation;
mod fault;
mod host_program;
mod id_map;
mod launcher;
mod map_program;
mod memory;
mod placeholder;
mod process;
mod spawn;
mod user_namespace;

pub(crate) use channel::{Channel, receive_descriptor};
pub(crate) use conversation::{Gate, HandOver, Request, start, start_keeper};
pub(crate) use fault::explain_hook;
pub(crate) use host_program::HostProgram;
pub use id_map::{IdMap, IdRange};
pub(crate) use launcher::Launcher;
pub(crate) use map_program::find_program;
pub(crate) use placeholder::start_placeholder;
pub use process::{Exit, ExitStatus, Process};
pub(crate) use user_namespace::make_user_namespace;
