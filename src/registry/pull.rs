//! An image from a registry into the store.

use super::document::{self, Document, Expected, Received};
use super::download::{Observer, download, is_present};
use super::event::{PullEvent, Throttle};
use super::session::Session;
use super::transport::{Body, Request};
use super::workers::{Worker, for_each};
use super::{Registry, TRANSFERS, refusal};
use crate::error::Context;
use crate::spec::{Descriptor, ImageConfig, Index, MANIFEST_BUDGET, Manifest, select_platform};
use crate::store::{Store, StoredImage};
use crate::value::{Digest, Platform, Reference};
use crate::{Error, ErrorKind, Result};
use std::collections::BTreeSet;
use std::time::Duration;
use ureq::http::{Method, header};

impl Registry {
    /// Brings the image `reference`, for `platform`, into the store and tags it.
    ///
    /// Blobs that are there already are not fetched again; up to three layers are fetched at a time, on threads that
    /// end before this returns. `progress` is called on the calling thread. The image becomes visible when all of it
    /// is there and verified; what was fetched before a failure stays until the next garbage collection, so that
    /// another pull goes on from there.
    ///
    /// Errors: `InvalidInput` for a reference without registry, `Unavailable` where the registry cannot be reached,
    /// `PermissionDenied` where it refuses, `NotFound` where it does not have the image (for this platform),
    /// `Unsupported` for what is no image for this platform, `Corrupt` where what it sends does not match its digest or
    /// contradicts itself, `LimitExceeded` where a document is larger than 4 MiB.
    pub(crate) fn pull(
        &self,
        store: &Store,
        reference: &Reference,
        platform: &Platform,
        progress: &mut dyn FnMut(PullEvent),
    ) -> Result<StoredImage> {
        let session = Session::open(self, reference)?;
        pull(&session, store, reference, platform, progress).context(|| format!("pulling {reference}"))
    }
}

fn pull(
    session: &Session<'_>,
    store: &Store,
    reference: &Reference,
    platform: &Platform,
    progress: &mut dyn FnMut(PullEvent),
) -> Result<StoredImage> {
    let _lease = store.lease()?;
    let Resolved { manifest, descriptor, bytes } = resolve(session, store, reference, platform)?;
    document::check_image(&manifest)?;
    let layers = different(&manifest.layers)?;
    progress(PullEvent::Resolved {
        manifest: descriptor.digest,
        layers: manifest.layers.len(),
        bytes: layers.iter().map(|layer| layer.size).sum(),
    });
    fetch_config(session, store, &manifest, platform)?;
    for_each(&layers, TRANSFERS, |layer, worker| fetch_layer(session, store, layer, worker), progress)?;
    store.blobs().put(&bytes)?;
    store.images().tag(reference, &descriptor)?;
    store.images().load(reference, descriptor)
}

/// A platform's manifest: read, and as the bytes it was read from.
struct Resolved {
    manifest: Box<Manifest>,
    descriptor: Descriptor,
    bytes: Vec<u8>,
}

/// The manifest `reference` stands for; where that is an index, the one for `platform`.
fn resolve(session: &Session<'_>, store: &Store, reference: &Reference, platform: &Platform) -> Result<Resolved> {
    let (name, expected) = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => (digest.to_string(), Expected::Digest(digest)),
        (None, tag) => (tag.unwrap_or("latest").to_owned(), Expected::Anything),
    };
    let Received { document, descriptor, bytes } = fetch_document(session, reference, &name, expected)?;
    let index = match document {
        Document::Manifest(manifest) => return Ok(Resolved { manifest, descriptor, bytes }),
        Document::Index(index) => index,
    };
    // A reference pinned to the index is tagged with the manifest: the store wants to see that one lists the other.
    store.blobs().put(&bytes)?;
    let chosen = choose(&index, platform)?;
    let expected = Expected::Descriptor(chosen);
    let Received { document, descriptor, bytes } =
        fetch_document(session, reference, &chosen.digest.to_string(), expected)?;
    match document {
        Document::Manifest(manifest) => Ok(Resolved { manifest, descriptor, bytes }),
        Document::Index(_) => Err(Error::new(ErrorKind::Unsupported, "its index leads to another index")),
    }
}

fn choose<'a>(index: &'a Index, platform: &Platform) -> Result<&'a Descriptor> {
    let chosen = select_platform(index, platform)?;
    if chosen.size > MANIFEST_BUDGET {
        return Err(Error::new(ErrorKind::LimitExceeded, format!("its manifest has {} bytes", chosen.size)));
    }
    Ok(chosen)
}

fn fetch_document(
    session: &Session<'_>,
    reference: &Reference,
    name: &str,
    expected: Expected<'_>,
) -> Result<Received> {
    let request = Request {
        method: Method::GET,
        url: session.url("manifests", name)?,
        headers: vec![(header::ACCEPT, document::ACCEPT.to_owned())],
        body: Body::None,
    };
    let budget = match expected {
        Expected::Descriptor(descriptor) => descriptor.size,
        _ => MANIFEST_BUDGET,
    };
    let answer = session.fetch(&request, &session.pull_scope(), budget)?;
    if answer.status == 404 {
        let refusal = refusal::Refusal::parse(404, &answer.bytes);
        return Err(refusal.into_error(&format!("image {reference}")).hint("check its name and its tag"));
    }
    if answer.status != 200 {
        let refusal = refusal::Refusal::parse(answer.status, &answer.bytes);
        return Err(session.refused(refusal, &format!("manifest {name}")));
    }
    let received = document::read(answer.content_type.as_deref(), answer.bytes, expected)
        .context(|| format!("manifest {name}"))?;
    // The header is a promise about the same bytes; other algorithms than sha256 cannot be checked.
    match answer.digest.map(|digest| digest.parse::<Digest>()) {
        Some(Ok(promised)) if promised != received.descriptor.digest => {
            let text = format!("manifest {name}: {} arrived, {promised} was promised", received.descriptor.digest);
            Err(Error::new(ErrorKind::Corrupt, text))
        }
        _ => Ok(received),
    }
}

fn fetch_config(session: &Session<'_>, store: &Store, manifest: &Manifest, platform: &Platform) -> Result<()> {
    let what = || "image configuration".to_owned();
    if !is_present(store, &manifest.config)? {
        download(session, store, &manifest.config, &mut Silent).context(what)?;
    }
    let config = ImageConfig::parse(&store.blobs().read(&manifest.config.digest, MANIFEST_BUDGET)?)?;
    if config.rootfs.diff_ids.len() != manifest.layers.len() {
        let (ids, layers) = (config.rootfs.diff_ids.len(), manifest.layers.len());
        return Err(Error::new(ErrorKind::Corrupt, format!("it has {layers} layers, but diff ids for {ids}")));
    }
    if !platform.accepts(&config.platform()) {
        let found = refusal::one_line(config.platform().to_string());
        return Err(Error::new(ErrorKind::Unsupported, format!("the image is for {found}, not for {platform}"))
            .hint("ask for its platform to have it nonetheless"));
    }
    Ok(())
}

fn fetch_layer(session: &Session<'_>, store: &Store, layer: &Descriptor, worker: &Worker<'_, PullEvent>) -> Result<()> {
    let digest = layer.digest;
    if is_present(store, layer)? {
        worker.emit(PullEvent::Present { digest, total: layer.size });
        return Ok(());
    }
    let mut observer = Telling { worker, layer, throttle: Throttle::new(layer.size) };
    download(session, store, layer, &mut observer).context(|| format!("layer {}", digest.short()))?;
    worker.emit(PullEvent::Verified { digest });
    Ok(())
}

/// The layers without repetitions; one digest with two sizes is a contradiction.
fn different(layers: &[Descriptor]) -> Result<Vec<Descriptor>> {
    let mut seen = BTreeSet::new();
    let mut different: Vec<Descriptor> = Vec::new();
    for layer in layers {
        if seen.insert(layer.digest) {
            different.push(layer.clone());
        } else if different.iter().any(|other| other.digest == layer.digest && other.size != layer.size) {
            return Err(Error::new(ErrorKind::Corrupt, format!("layer {} has two sizes", layer.digest)));
        }
    }
    Ok(different)
}

struct Telling<'a> {
    worker: &'a Worker<'a, PullEvent>,
    layer: &'a Descriptor,
    throttle: Throttle,
}

impl Observer for Telling<'_> {
    fn progress(&mut self, bytes: u64) -> Result<()> {
        self.worker.check()?;
        if self.throttle.passes(bytes) {
            self.worker.emit(PullEvent::Layer { digest: self.layer.digest, bytes, total: self.layer.size });
        }
        Ok(())
    }

    fn retry(&mut self, failures: u32, because: &Error, pause: Duration) -> Result<()> {
        self.worker.emit(PullEvent::Retry { digest: self.layer.digest, failures, because: because.to_string() });
        self.worker.pause(pause)
    }
}

struct Silent;

impl Observer for Silent {
    fn progress(&mut self, _: u64) -> Result<()> {
        Ok(())
    }

    fn retry(&mut self, _: u32, _: &Error, pause: Duration) -> Result<()> {
        std::thread::sleep(pause);
        Ok(())
    }
}
