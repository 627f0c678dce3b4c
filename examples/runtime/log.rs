//! Where errors and warnings go: `--log`, `--log-format`, `--debug`; line by line as runc's, which engines read.

use coracle::{Error, Result, Timestamp};
use serde_json::Value;
use std::fs::File;
use std::io::Write;

/// The log; the standard error where no file is named.
#[derive(Default)]
pub(crate) struct Log {
    file: Option<File>,
    json: bool,
    debug: bool,
}

impl Log {
    pub(crate) fn open(path: Option<&str>, format: &str, debug: bool) -> Result<Log> {
        let json = match format {
            "" | "text" => false,
            "json" => true,
            other => return Err(Error::invalid(format!("invalid log-format: {other}"))),
        };
        let open = |path: &str| {
            let file = File::options().append(true).create(true).open(path);
            file.map_err(|error| Error::invalid(format!("open log {path}")).source_error(error))
        };
        Ok(Log { file: path.filter(|path| !path.is_empty()).map(open).transpose()?, json, debug })
    }

    /// Why the verb has failed: in the log, and in plain words on the standard error where the log is elsewhere.
    pub(crate) fn error(&self, message: &str) {
        self.write("error", message);
        if self.file.is_some() {
            eprintln!("{message}");
        }
    }

    pub(crate) fn warning(&self, message: &str) {
        self.write("warning", message);
    }

    pub(crate) fn debug(&self, message: &str) {
        if self.debug {
            self.write("debug", message);
        }
    }

    fn write(&self, level: &str, message: &str) {
        let time = Timestamp::now().to_string();
        let (time, quoted) = (&time[..19], Value::from(message));
        let line = if self.json {
            format!("{{\"level\":\"{level}\",\"msg\":{quoted},\"time\":\"{time}Z\"}}\n")
        } else {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/@^+".contains(&byte);
            let message = if message.bytes().all(plain) { message.to_owned() } else { quoted.to_string() };
            format!("time=\"{time}Z\" level={level} msg={message}\n")
        };
        // A log that cannot be written has nowhere to say so.
        let _ = match &self.file {
            Some(file) => (&*file).write_all(line.as_bytes()),
            None => std::io::stderr().write_all(line.as_bytes()),
        };
    }
}
