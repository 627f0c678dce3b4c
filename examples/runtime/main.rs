//! A command line as runc's over [`coracle::runtime`]: engines that call runc can call this in its place.
//!
//! ```text
//! podman --runtime "$PWD/target/release/examples/runtime" run --rm alpine true
//! ```
//!
//! No logic of its own beyond reading arguments: what a verb does, the library does.

mod arguments;
mod verbs;

use arguments::{Arguments, Log};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = Arguments::of_process();
    let mut log = Log::default();
    match verbs::run(&mut arguments, &mut log) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            log.error(&error.to_string());
            ExitCode::FAILURE
        }
    }
}
