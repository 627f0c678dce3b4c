//! An image from the store into a registry.

use super::event::{PushEvent, Throttle};
use super::refusal::Refusal;
use super::session::Session;
use super::transport::{Body, Cause, Failure, Request};
use super::upload::{Action, Outcome, Reply, Upload, Verdict};
use super::workers::{Worker, for_each};
use super::{Registry, TRANSFERS};
use crate::error::{Context, During};
use crate::spec::{Descriptor, MANIFEST_BUDGET};
use crate::store::{Store, StoredImage};
use crate::value::{Digest, Reference};
use crate::{Error, ErrorKind, Result};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use ureq::http::{Method, header};

/// The largest body of an answer to a manifest that is read, in bytes; it says nothing.
const ANSWER_BUDGET: u64 = 1 << 20;

impl Registry {
    /// Sends the image `source` of the store to the registry as `target`; the digest of its manifest, whose bytes go
    /// out as they are.
    ///
    /// Blobs the registry has are not sent; those it has in the repository that `source` came from are mounted; up to
    /// three others are sent at a time, on threads that end before this returns. `progress` is called on the calling
    /// thread. The manifest goes last, so nobody ever pulls half an image.
    ///
    /// Errors: as for [`pull`](Registry::pull); `InvalidInput` where `target` names another digest than the image's.
    pub(crate) fn push(
        &self,
        store: &Store,
        source: &StoredImage,
        target: &Reference,
        progress: &mut dyn FnMut(PushEvent),
    ) -> Result<Digest> {
        let session = Session::open(self, target)?;
        push(&session, store, source, target, progress).context(|| format!("pushing {target}"))
    }
}

fn push(
    session: &Session<'_>,
    store: &Store,
    source: &StoredImage,
    target: &Reference,
    progress: &mut dyn FnMut(PushEvent),
) -> Result<Digest> {
    let manifest = source.manifest_descriptor.digest;
    if target.digest().is_some_and(|digest| *digest != manifest) {
        return Err(Error::invalid(format!("the image has the digest {manifest}"))
            .hint("leave the digest away, or name this one"));
    }
    let _lease = store.lease()?;
    let bytes = store.blobs().read(&manifest, MANIFEST_BUDGET)?;
    let mut seen = BTreeSet::new();
    let blobs: Vec<&Descriptor> = source
        .manifest
        .layers
        .iter()
        .chain([&source.manifest.config])
        .filter(|descriptor| seen.insert(descriptor.digest))
        .collect();
    let mount_from = (source.reference.registry() == target.registry()
        && source.reference.repository() != target.repository())
    .then(|| source.reference.repository());
    let scope = session.push_scope(mount_from);
    let job = Job { session, store, mount_from, scope: &scope };
    for_each(&blobs, TRANSFERS, |blob, worker| job.send_blob(blob, worker), &mut *progress)?;
    job.send_manifest(&source.manifest_descriptor, &bytes, target)?;
    progress(PushEvent::Tagged { manifest });
    Ok(manifest)
}

struct Job<'a> {
    session: &'a Session<'a>,
    store: &'a Store,
    mount_from: Option<&'a str>,
    scope: &'a str,
}

impl Job<'_> {
    fn send_blob(&self, blob: &Descriptor, worker: &Worker<'_, PushEvent>) -> Result<()> {
        let digest = blob.digest;
        let what = || format!("blob {digest}");
        let file = self.store.blobs().open(&digest).context(what)?;
        let size = file.metadata().during(what)?.len();
        if size != blob.size {
            let text = format!("blob {digest} has {size} bytes, the manifest says {}", blob.size);
            return Err(Error::new(ErrorKind::Corrupt, text));
        }
        let mut patience = self.session.registry.options.patience();
        let outcome = loop {
            let failure = match self.upload(blob, &file, worker) {
                Ok(outcome) => break outcome,
                Err(failure) => failure,
            };
            let retry_after = match failure.cause {
                Cause::Final | Cause::Unreachable => return Err(failure.error).context(what),
                Cause::Broken => None,
                Cause::Busy(wanted) => wanted,
            };
            let Some(pause) = patience.failed(0, retry_after) else { return Err(failure.error).context(what) };
            let because = failure.error.to_string();
            worker.emit(PushEvent::Retry { digest, failures: patience.failures(), because });
            worker.pause(pause)?;
        };
        worker.emit(match outcome {
            Outcome::Present => PushEvent::Present { digest },
            Outcome::Mounted => PushEvent::Mounted { digest },
            Outcome::Uploaded => PushEvent::Uploaded { digest },
        });
        Ok(())
    }

    /// One upload from its beginning: the registry may have forgotten, or finished, the last.
    fn upload(&self, blob: &Descriptor, file: &File, worker: &Worker<'_, PushEvent>) -> Result<Outcome, Failure> {
        let digest = blob.digest;
        let mut upload = Upload::new(
            digest,
            blob.size,
            self.session.url("blobs", &digest.to_string())?,
            self.session.url("blobs/uploads", "")?,
            self.mount_from.map(str::to_owned),
        );
        let throttle = RefCell::new(Throttle::new(blob.size));
        let sent = |bytes| {
            if throttle.borrow_mut().passes(bytes) {
                worker.emit(PushEvent::Blob { digest, bytes, total: blob.size });
            }
        };
        loop {
            worker.check()?;
            let (method, url, body) = match upload.action() {
                Action::Finish(outcome) => return Ok(outcome),
                Action::Head(url) => (Method::HEAD, url, Body::None),
                Action::Post(url) => (Method::POST, url, Body::None),
                Action::Put(url) => (Method::PUT, url, Body::File { file, size: blob.size, sent: &sent }),
            };
            let headers = match body {
                Body::File { .. } => vec![(header::CONTENT_TYPE, "application/octet-stream".to_owned())],
                _ => Vec::new(),
            };
            let answer = self.session.send(&Request { method, url, headers, body }, self.scope)?;
            let verdict = upload.answered(&Reply {
                status: answer.status,
                location: answer.header(header::LOCATION),
                length: answer.length(),
                url: &answer.url,
            })?;
            if verdict == Verdict::Refused {
                let cause = answer.busy().unwrap_or(Cause::Final);
                let error = self.session.refused(answer.into_refusal(), "upload");
                return Err(Failure { error, cause });
            }
        }
    }

    fn send_manifest(&self, descriptor: &Descriptor, bytes: &[u8], target: &Reference) -> Result<()> {
        let name = match (target.tag(), target.digest()) {
            (Some(tag), _) => tag.to_owned(),
            (None, digest) => digest.unwrap_or(&descriptor.digest).to_string(),
        };
        let request = Request {
            method: Method::PUT,
            url: self.session.url("manifests", &name)?,
            headers: vec![(header::CONTENT_TYPE, descriptor.media_type.clone())],
            body: Body::Bytes(bytes),
        };
        let answer = self.session.fetch(&request, self.scope, ANSWER_BUDGET)?;
        if !matches!(answer.status, 200..=204) {
            let refusal = Refusal::parse(answer.status, &answer.bytes);
            return Err(self.session.refused(refusal, &format!("manifest {name}")));
        }
        match answer.digest.map(|digest| digest.parse::<Digest>()) {
            Some(Ok(stored)) if stored != descriptor.digest => Err(Error::new(
                ErrorKind::Corrupt,
                format!("the registry stored manifest {stored} instead of {}", descriptor.digest),
            )),
            _ => Ok(()),
        }
    }
}
