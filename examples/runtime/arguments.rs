//! Options as runc takes them: `--name value`, `--name=value`, `-n value`; flags without a value; then positions.

use coracle::{Error, Result, Timestamp};
use std::collections::VecDeque;
use std::io::Write;
use std::path::PathBuf;

/// What is left of the command line.
pub(crate) struct Arguments(VecDeque<String>);

/// An option or a position.
pub(crate) enum Argument {
    /// `--name`, with its value where it was written `--name=value`.
    Option(String, Option<String>),
    Position(String),
}

impl Arguments {
    pub(crate) fn of_process() -> Arguments {
        Arguments(std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect())
    }

    /// The next one; options end with `--`, which is passed over, or with the first position where `last` is set.
    pub(crate) fn next(&mut self) -> Option<Argument> {
        let argument = self.0.pop_front()?;
        if argument.len() < 2 || !argument.starts_with('-') {
            return Some(Argument::Position(argument));
        }
        let name = argument.trim_start_matches('-');
        Some(match name.split_once('=') {
            Some((name, value)) => Argument::Option(name.to_owned(), Some(value.to_owned())),
            None => Argument::Option(name.to_owned(), None),
        })
    }

    /// The value of an option.
    pub(crate) fn value(&mut self, name: &str, inline: Option<String>) -> Result<String> {
        inline.or_else(|| self.0.pop_front()).ok_or_else(|| Error::invalid(format!("option --{name} needs a value")))
    }

    /// Everything that is left.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        self.0.drain(..).collect()
    }
}

/// Whether a flag is on: `--flag`, `--flag=true`, `--flag=false`.
pub(crate) fn flag(name: &str, inline: Option<String>) -> Result<bool> {
    match inline.as_deref() {
        None | Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(other) => Err(Error::invalid(format!("option --{name} is true or false, not {other:?}"))),
    }
}

pub(crate) fn unknown(verb: &str, name: &str) -> Error {
    Error::invalid(format!("{verb} knows no option --{name}"))
}

/// Where errors and warnings go besides the standard error: `--log`, `--log-format`.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) path: Option<PathBuf>,
    pub(crate) json: bool,
}

impl Log {
    pub(crate) fn error(&self, message: &str) {
        eprintln!("{message}");
        self.write("error", message);
    }

    pub(crate) fn warning(&self, message: &str) {
        self.write("warning", message);
    }

    fn write(&self, level: &str, message: &str) {
        let Some(path) = &self.path else { return };
        let Ok(mut file) = std::fs::File::options().append(true).create(true).open(path) else { return };
        let (time, message) = (Timestamp::now(), serde_json::Value::from(message));
        let line = if self.json {
            format!("{{\"level\":\"{level}\",\"msg\":{message},\"time\":\"{time}\"}}\n")
        } else {
            format!("time=\"{time}\" level={level} msg={message}\n")
        };
        // Where the log cannot be written, the standard error has told it.
        let _ = file.write_all(line.as_bytes());
    }
}
