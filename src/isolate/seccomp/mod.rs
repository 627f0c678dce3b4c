//! System call filters: seccomp(2) in mode filter, the runtime-spec's `linux.seccomp`.
//!
//! A [`Profile`] says which system call, under which conditions on its arguments, meets which [`Action`]. It comes from
//! [`Profile::default_for`] (Docker's decisions), from a runtime-spec document ([`Profile::from_json`]), or from the
//! builder. [`Profile::compile`] makes of it the classic BPF program that the kernel loads, a [`Filter`]: per
//! architecture the numbers become ranges with one decision each, and the ranges a balanced tree of comparisons. The
//! frequent calls get no place of honour in it: the kernel (since 5.11) remembers which numbers are allowed whatever
//! their arguments and does not run the program for them.

mod assembler;
mod compile;
mod decision;
mod default;
mod filter;
mod listener;
mod multiplexed;
mod numbers;
mod profile;
mod run;
mod runtime_spec;
mod syscall;
#[cfg(any(test, fuzzing))]
mod verify;

#[cfg(test)]
mod tests;

pub use filter::{Filter, SockFilter};
pub(crate) use listener::Listener;
pub use profile::{Action, Comparison, Condition, Profile};
pub(crate) use run::Fate;
pub use syscall::{Architecture, Syscall};
#[cfg(fuzzing)]
pub(crate) use verify::fuzz;
