//! The freestanding program that carries out a plan; see `main.rs` beside this file.
//!
//! `build.rs` compiles it with the same compiler and embeds it. The library itself uses only its system calls, for
//! the few instructions between clone and exec; its other parts are compiled here for their tests.
#![allow(unsafe_code)]

#[cfg(test)]
mod backoff;
#[cfg(test)]
mod http;
pub(crate) mod syscall;
#[cfg(test)]
mod text;
#[cfg(test)]
mod verdict;
