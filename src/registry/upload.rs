//! The upload of one blob as a machine without I/O: distribution-spec, "Pushing Blobs".
//!
//! Ask whether the registry has it; if another of its repositories is known to have it, ask to mount it from there;
//! else open an upload and send the whole blob in one request.

use super::address::Url;
use super::refusal::one_line;
use crate::value::Digest;
use crate::{Error, ErrorKind, Result};

/// Where an upload stands.
#[derive(Debug)]
pub(super) struct Upload {
    digest: Digest,
    size: u64,
    /// `blobs/<digest>` of the repository.
    blob: Url,
    /// `blobs/uploads/` of the repository.
    uploads: Url,
    mount_from: Option<String>,
    state: State,
}

#[derive(Debug)]
enum State {
    Asking,
    Mounting,
    Opening,
    Sending(Url),
    Finished(Outcome),
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Send a HEAD.
    Head(Url),
    /// Send a POST without body.
    Post(Url),
    /// Send a PUT with the blob.
    Put(Url),
    /// Nothing.
    Finish(Outcome),
}

/// How the blob came to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Present,
    Mounted,
    Uploaded,
}

/// The head of an answer.
pub(super) struct Reply<'a> {
    pub(super) status: u16,
    pub(super) location: Option<&'a str>,
    pub(super) length: Option<u64>,
    /// The URL that answered.
    pub(super) url: &'a Url,
}

/// What an answer means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The machine went on.
    Advanced,
    /// The registry refuses; its answer says why.
    Refused,
}

impl Upload {
    /// An upload that begins; `mount_from` is a repository of the same registry that may have the blob.
    pub(super) fn new(digest: Digest, size: u64, blob: Url, uploads: Url, mount_from: Option<String>) -> Upload {
        Upload { digest, size, blob, uploads, mount_from, state: State::Asking }
    }

    /// What to do next.
    pub(super) fn action(&self) -> Action {
        let digest = self.digest.to_string();
        match &self.state {
            State::Asking => Action::Head(self.blob.clone()),
            State::Mounting => {
                let from = self.mount_from.as_deref().unwrap_or_default();
                Action::Post(self.uploads.clone().query("mount", &digest).query("from", from))
            }
            State::Opening => Action::Post(self.uploads.clone()),
            State::Sending(location) => Action::Put(location.clone().query("digest", &digest)),
            State::Finished(outcome) => Action::Finish(*outcome),
        }
    }

    /// The answer to the last action.
    pub(super) fn answered(&mut self, reply: &Reply<'_>) -> Result<Verdict> {
        self.state = match (&self.state, reply.status) {
            // Of another length it is not this blob, whatever the registry says.
            (State::Asking, 200) if reply.length.is_none_or(|length| length == self.size) => {
                State::Finished(Outcome::Present)
            }
            (State::Asking, 200 | 404) if self.mount_from.is_some() => State::Mounting,
            (State::Asking, 200 | 404) => State::Opening,
            (State::Mounting, 201) => State::Finished(Outcome::Mounted),
            // A registry that does not mount opens an upload instead.
            (State::Mounting | State::Opening, 202) => State::Sending(location(reply)?),
            (State::Mounting, 400..=499) => State::Opening,
            (State::Sending(_), 201 | 204) => State::Finished(Outcome::Uploaded),
            _ => return Ok(Verdict::Refused),
        };
        Ok(Verdict::Advanced)
    }
}

fn location(reply: &Reply<'_>) -> Result<Url> {
    let bad = |why: String| Error::new(ErrorKind::Unavailable, format!("{} opens an upload {why}", reply.url));
    let location = reply.location.ok_or_else(|| bad("without Location".into()))?;
    let url = reply.url.resolve(location).map_err(|_| bad(format!("at {:?}", one_line(location.to_owned()))))?;
    reply.url.origin().check_move_to(url.origin())?;
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn upload(mount_from: Option<&str>) -> Upload {
        let base = "https://registry.example/v2/a/blobs";
        let digest = Digest::of(b"x");
        Upload::new(
            digest,
            1,
            url(&format!("{base}/{digest}")),
            url(&format!("{base}/uploads/")),
            mount_from.map(str::to_owned),
        )
    }

    fn reply(upload: &mut Upload, status: u16, location: Option<&str>) -> Result<Verdict> {
        let at = match upload.action() {
            Action::Head(url) | Action::Post(url) | Action::Put(url) => url,
            Action::Finish(_) => panic!("finished"),
        };
        upload.answered(&Reply { status, location, length: None, url: &at })
    }

    #[test]
    fn a_new_blob_is_sent_in_one_piece() {
        let mut upload = upload(None);
        assert!(matches!(upload.action(), Action::Head(_)));
        reply(&mut upload, 404, None).unwrap();
        assert_eq!(upload.action(), Action::Post(url("https://registry.example/v2/a/blobs/uploads/")));
        reply(&mut upload, 202, Some("/v2/a/blobs/uploads/1?_state=z")).unwrap();
        let Action::Put(put) = upload.action() else { panic!() };
        let digest = Digest::of(b"x").to_string().replace(':', "%3A");
        assert_eq!(put.to_request(), format!("https://registry.example/v2/a/blobs/uploads/1?_state=z&digest={digest}"));
        reply(&mut upload, 201, None).unwrap();
        assert_eq!(upload.action(), Action::Finish(Outcome::Uploaded));
    }

    #[test]
    fn a_mount_is_tried_and_may_turn_into_an_upload() {
        for (status, location, next) in
            [(201, None, "Finish(Mounted)"), (202, Some("/u"), "Put("), (404, None, "Post("), (405, None, "Post(")]
        {
            let mut upload = upload(Some("b/c"));
            reply(&mut upload, 404, None).unwrap();
            let Action::Post(mount) = upload.action() else { panic!() };
            assert!(
                mount.to_request().contains("uploads/?mount=sha256%3A") && mount.to_request().ends_with("&from=b%2Fc")
            );
            reply(&mut upload, status, location).unwrap();
            assert!(format!("{:?}", upload.action()).starts_with(next), "{status}");
        }
    }

    #[test]
    fn what_is_there_is_not_sent() {
        let mut one = upload(Some("b"));
        reply(&mut one, 200, None).unwrap();
        assert_eq!(one.action(), Action::Finish(Outcome::Present));
        let mut other = upload(None);
        let at = url("https://registry.example/");
        other.answered(&Reply { status: 200, location: None, length: Some(2), url: &at }).unwrap();
        assert!(matches!(other.action(), Action::Post(_)), "another length");
    }

    #[test]
    fn refusals_and_bad_locations_end_it() {
        for status in [301, 401, 403, 405, 500] {
            assert_eq!(reply(&mut upload(None), status, None).unwrap(), Verdict::Refused);
        }
        for location in [None, Some("http://registry.example/u"), Some("ftp://x/"), Some("https://u:p@x/")] {
            let mut upload = upload(None);
            reply(&mut upload, 404, None).unwrap();
            assert_eq!(reply(&mut upload, 202, location).unwrap_err().kind(), ErrorKind::Unavailable);
        }
    }
}
