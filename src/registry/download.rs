//! One blob from a registry into the store.

use super::session::Session;
use super::transport::{Answer, Body, Cause, Failure, Request, failed};
use crate::error::During;
use crate::spec::Descriptor;
use crate::store::{BlobWriter, Store};
use crate::{Error, ErrorKind, Result};
use std::io::{Read, Write};
use std::time::Duration;
use ureq::http::{Method, header};

/// What a download tells, and how it is stopped.
pub(super) trait Observer {
    /// So many bytes are there; an error stops the download.
    fn progress(&mut self, bytes: u64) -> Result<()>;
    /// The transfer broke off for the nth time in a row and will be tried again after `pause`: waits so long.
    fn retry(&mut self, failures: u32, because: &Error, pause: Duration) -> Result<()>;
}

/// Whether the store has the blob of `descriptor`; `Corrupt` where it has it with another size.
pub(super) fn is_present(store: &Store, descriptor: &Descriptor) -> Result<bool> {
    if !store.blobs().contains(&descriptor.digest) {
        return Ok(false);
    }
    let what = || format!("blob {}", descriptor.digest);
    let size = store.blobs().open(&descriptor.digest)?.metadata().during(what)?.len();
    if size == descriptor.size {
        return Ok(true);
    }
    Err(Error::new(ErrorKind::Corrupt, format!("{} has {size} bytes, but {} are described", what(), descriptor.size)))
}

/// Fetches the blob of `descriptor`, verifies its size and digest and makes it visible in the store.
///
/// A transfer that breaks off goes on where it was, by a range request; where the registry knows none, from the
/// beginning. Never more than the described size is read.
pub(super) fn download(
    session: &Session<'_>,
    store: &Store,
    descriptor: &Descriptor,
    observer: &mut dyn Observer,
) -> Result<()> {
    let mut patience = session.registry.options.patience();
    let mut writer = store.blobs().write()?;
    while writer.size() < descriptor.size {
        let Err(failure) = attempt(session, store, descriptor, &mut writer, observer) else { break };
        let retry_after = match failure.cause {
            Cause::Final => return Err(failure.error),
            Cause::Unreachable | Cause::Broken => None,
            Cause::Busy(wanted) => wanted,
        };
        match patience.failed(writer.size(), retry_after) {
            None => return Err(failure.error),
            Some(pause) => {
                observer.retry(patience.failures(), &failure.error, pause)?;
                observer.progress(writer.size())?;
            }
        }
    }
    writer.commit_expecting(&descriptor.digest, descriptor.size)
}

fn attempt(
    session: &Session<'_>,
    store: &Store,
    descriptor: &Descriptor,
    writer: &mut BlobWriter,
    observer: &mut dyn Observer,
) -> Result<(), Failure> {
    let mut headers = vec![(header::ACCEPT_ENCODING, "identity".to_owned())];
    if writer.size() > 0 {
        headers.push((header::RANGE, format!("bytes={}-", writer.size())));
    }
    let url = session.url("blobs", &descriptor.digest.to_string())?;
    let request = Request { method: Method::GET, url, headers, body: Body::None };
    let answer = session.send(&request, &session.pull_scope())?;
    answer.check_plain()?;
    match answer.status {
        206 if writer.size() > 0 => check_range(&answer, writer.size(), descriptor.size)?,
        200 | 416 if writer.size() > 0 => {
            let unknown_range = answer.status == 416;
            *writer = store.blobs().write()?;
            if unknown_range {
                let error = Error::new(ErrorKind::Unavailable, "the registry cannot resume the transfer");
                return Err(Failure { error, cause: Cause::Broken });
            }
        }
        200 => {}
        _ => return Err(refusal(session, descriptor, answer)),
    }
    let rest = descriptor.size - writer.size();
    if let Some(length) = answer.length().filter(|&length| length != rest) {
        let text = format!("blob {} should have {rest} bytes to come, {length} are announced", descriptor.digest);
        return Err(Error::new(ErrorKind::Corrupt, text).into());
    }
    copy(answer, descriptor, writer, observer)
}

fn copy(
    answer: Answer,
    descriptor: &Descriptor,
    writer: &mut BlobWriter,
    observer: &mut dyn Observer,
) -> Result<(), Failure> {
    let origin = answer.url.origin().clone();
    let mut reader = answer.into_reader();
    let mut buffer = vec![0; 128 << 10];
    while writer.size() < descriptor.size {
        let rest = usize::try_from(descriptor.size - writer.size()).unwrap_or(usize::MAX);
        let most = buffer.len().min(rest);
        let got = reader.read(&mut buffer[..most]).map_err(|error| {
            let failure = failed(ureq::Error::from(error), &origin);
            // In the middle of a body whatever goes wrong with the connection is a connection that broke.
            Failure { cause: Cause::Broken, ..failure }
        })?;
        if got == 0 {
            let text = format!("{origin}: the transfer ended after {} of {} bytes", writer.size(), descriptor.size);
            return Err(Failure { error: Error::new(ErrorKind::Unavailable, text), cause: Cause::Broken });
        }
        writer.write_all(&buffer[..got]).during(|| format!("write blob {}", descriptor.digest))?;
        observer.progress(writer.size())?;
    }
    Ok(())
}

/// `Content-Range: bytes <from>-<last>/<total or *>` must be the rest of the blob (RFC 9110, section 14.4).
fn check_range(answer: &Answer, from: u64, size: u64) -> Result<()> {
    let value = answer.header(header::CONTENT_RANGE).unwrap_or_default();
    if parse_range(value) == Some((from, size - 1)) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Unavailable,
        format!("{} answers with another range than bytes {from}-{}", answer.url, size - 1),
    ))
}

fn parse_range(value: &str) -> Option<(u64, u64)> {
    let (range, total) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    (total == "*" || total.parse::<u64>().ok()?.checked_sub(1)? == last).then_some((first, last))
}

fn refusal(session: &Session<'_>, descriptor: &Descriptor, answer: Answer) -> Failure {
    let cause = answer.busy().unwrap_or(Cause::Final);
    let error = session.refused(answer.into_refusal(), &format!("blob {}", descriptor.digest));
    Failure { error, cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_strict() {
        assert_eq!(parse_range("bytes 5-9/10"), Some((5, 9)));
        assert_eq!(parse_range("bytes 5-9/*"), Some((5, 9)));
        for bad in
            ["", "bytes", "bytes */10", "bytes 5-9/11", "bytes 5-9/0", "bytes 5-9", "items 5-9/10", "bytes -5-9/10"]
        {
            assert_eq!(parse_range(bad), None, "{bad}");
        }
    }
}
