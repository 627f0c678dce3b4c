//! Tar archives in and out; nothing escapes.
//!
//! Reading is strict: an archive has one meaning or it is refused. The size of a PAX record wins, a header that says two
//! things is an error, what follows the end is an error (CVE-2025-62518 and its kin come from parsers that disagree).
//! Extraction goes from descriptor to descriptor below one directory and never follows a final symbolic link.

mod compression;
mod extract;
mod metadata;
mod overlay;
mod pax;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use compression::{compress_gzip, decompress};
pub(crate) use extract::{ExtractOptions, Form, extract};
pub(crate) use overlay::{Overlay, is_whiteout};
pub(crate) use read::Budget;
#[cfg(any(test, fuzzing))]
pub(crate) use read::TarReader;
pub(crate) use write::write_layer;

use crate::{Error, ErrorKind};
use std::collections::BTreeMap;
use std::io;

/// What an extraction or a writing did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Members of the archive.
    pub entries: u64,
    /// Bytes of file content.
    pub bytes: u64,
    /// What was left out, and how many times: devices without the right to make them, attributes that must not pass.
    pub dropped: BTreeMap<&'static str, u64>,
}

impl Summary {
    fn drop_one(&mut self, what: &'static str) {
        *self.dropped.entry(what).or_default() += 1;
    }
}

fn corrupt(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}

/// The error of reading an archive: one of this crate's that came through a reader stays itself; what is no refusal of
/// the operating system is damage.
fn read_error(error: io::Error) -> Error {
    if let Some(errno) = error.raw_os_error() {
        return Error::os("read archive", errno);
    }
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => corrupt("archive is damaged").source_error(error),
    }
}
