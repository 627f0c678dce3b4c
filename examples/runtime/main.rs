//! A command line as runc's over [`coracle::runtime`]: engines that call runc can call this in its place.
//!
//! ```text
//! podman --runtime "$PWD/target/release/examples/runtime" run --rm alpine true
//! ```
//!
//! No logic of its own beyond reading arguments and printing: what a verb does, the library does.

mod arguments;
mod checkpoint;
mod command;
mod exec;
mod log;
mod reports;
mod update;
mod verbs;

use arguments::Arguments;
use command::{GLOBAL, VERBS};
use coracle::runtime::Runtime;
use coracle::{Error, Result};
use log::Log;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// What the global options say.
pub(crate) struct Session {
    pub(crate) runtime: Runtime,
    pub(crate) log: Arc<Log>,
    /// The program that checkpoints.
    pub(crate) criu: String,
}

fn main() -> ExitCode {
    let mut words: VecDeque<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let read = Arguments::read(&mut words, GLOBAL, true).and_then(|global| {
        let log = Log::open(global.text("log"), global.text("log-format").unwrap_or_default(), global.on("debug"))?;
        Ok((global, Arc::new(log)))
    });
    let (global, log) = match read {
        Ok(read) => read,
        Err(error) => {
            Log::default().error(&error.to_string());
            return ExitCode::FAILURE;
        }
    };
    match run(global, &log) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            log.error(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Runs the verb; the exit code.
fn run(mut global: Arguments, log: &Arc<Log>) -> Result<u8> {
    if global.on("version") {
        println!("{}", command::version());
        return Ok(0);
    }
    let mut words: VecDeque<String> = global.positions.drain(..).collect();
    let name = match words.pop_front() {
        Some(name) if name != "help" && name != "h" && !global.on("help") => name,
        named => {
            let about = words.pop_front().or(named.filter(|_| global.on("help")));
            print_help(about.as_deref());
            return Ok(0);
        }
    };
    let Some(verb) = VERBS.iter().find(|verb| verb.name == name) else {
        log.error(&format!("No help topic for '{name}'"));
        return Ok(3);
    };
    let arguments = Arguments::read(&mut words, verb.choices, verb.is_greedy())?;
    if arguments.on("help") {
        print!("{}", verb.help());
        return Ok(0);
    }
    let (fewest, most) = verb.positions;
    if !(fewest..=most).contains(&arguments.positions.len()) {
        let how = if fewest == most { "exactly" } else { "at least" };
        return Err(Error::invalid(format!("{name:?} requires {how} {fewest} argument(s)")));
    }
    log.debug(&format!("{name} {}", arguments.positions.join(" ")));
    let criu = global.text("criu").filter(|criu| !criu.is_empty()).unwrap_or("criu").to_owned();
    let session = Session { runtime: open(&global, log)?, log: log.clone(), criu };
    verbs::run(verb.name, &session, &arguments)
}

fn print_help(verb: Option<&str>) {
    match VERBS.iter().find(|known| Some(known.name) == verb) {
        Some(verb) => print!("{}", verb.help()),
        None => print!("{}", command::help()),
    }
}

fn open(global: &Arguments, log: &Arc<Log>) -> Result<Runtime> {
    let root = match global.text("root").filter(|root| !root.is_empty()) {
        Some(root) => PathBuf::from(root),
        None => Runtime::default_root(),
    };
    let log = log.clone();
    let runtime = Runtime::open(root)?.systemd_cgroup(global.on("systemd-cgroup"));
    let runtime = match global.text("rootless") {
        None | Some("" | "auto") => runtime,
        Some("true") => runtime.rootless(true),
        Some("false") => runtime.rootless(false),
        Some(other) => return Err(Error::invalid(format!("rootless: {other:?} is neither true nor false nor auto"))),
    };
    Ok(runtime.on_warning(move |warning| log.warning(warning)))
}
