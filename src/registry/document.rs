//! Manifests and indexes as they come from a registry: what they claim to be must agree.

use crate::spec::{Descriptor, Index, Manifest, MediaType};
use crate::value::Digest;
use crate::{Error, ErrorKind, Result};
use serde::Deserialize;

/// The value of the `Accept` header: everything this crate can read.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, \
     application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.docker.distribution.manifest.list.v2+json";

/// The most layers an image may have: beyond what an overlay mount takes.
const LAYER_COUNT_BUDGET: usize = 500;
/// The most bytes of blobs an image may have.
const IMAGE_BUDGET: u64 = 256 << 30;

/// A document of the manifests endpoint.
#[derive(Debug)]
pub(super) enum Document {
    Manifest(Box<Manifest>),
    Index(Index),
}

/// A manifest or index with the bytes it was read from.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) document: Document,
    pub(super) descriptor: Descriptor,
    pub(super) bytes: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claim {
    #[serde(default)]
    media_type: Option<String>,
}

/// Reads the answer of the manifests endpoint.
///
/// The `Content-Type` header, the document's own `mediaType` and the descriptor that led here must name the same type
/// as far as they are there, and at least one must be (CVE-2021-41190); `expected` also fixes digest and size.
pub(super) fn read(content_type: Option<&str>, bytes: Vec<u8>, expected: Expected<'_>) -> Result<Received> {
    let digest = Digest::of(&bytes);
    let (wanted_digest, descriptor) = match expected {
        Expected::Anything => (None, None),
        Expected::Digest(digest) => (Some(digest), None),
        Expected::Descriptor(descriptor) => (Some(&descriptor.digest), Some(descriptor)),
    };
    if wanted_digest.is_some_and(|wanted| *wanted != digest) {
        return Err(corrupt(format!("the registry answers with {digest}")));
    }
    if let Some(descriptor) = descriptor.filter(|descriptor| descriptor.size != bytes.len() as u64) {
        return Err(corrupt(format!("it has {} bytes, but the index says {}", bytes.len(), descriptor.size)));
    }
    let claim: Claim = serde_json::from_slice(&bytes)
        .map_err(|_| corrupt("it is not a JSON object").hint("is it a registry that answers there?"))?;
    let header = content_type.map(|value| value.split(';').next().unwrap_or_default().trim());
    let mut claims = [header, claim.media_type.as_deref(), descriptor.map(|descriptor| descriptor.media_type.as_str())]
        .into_iter()
        .flatten();
    let media_type = claims.next().ok_or_else(|| corrupt("nothing says what type it is of"))?;
    if let Some(other) = claims.find(|claim| *claim != media_type) {
        return Err(corrupt(format!("it is said to be {media_type:?} and {other:?} at once")));
    }
    let document = match media_type {
        MediaType::MANIFEST | MediaType::DOCKER_MANIFEST => Document::Manifest(Box::new(Manifest::parse(&bytes)?)),
        MediaType::INDEX | MediaType::DOCKER_LIST => Document::Index(Index::parse(&bytes)?),
        other => {
            return Err(Error::new(ErrorKind::Unsupported, format!("it is of type {other:?}, which is no image"))
                .hint("OCI images and Docker images of schema 2 are understood"));
        }
    };
    let descriptor = Descriptor::new(media_type, digest, bytes.len() as u64);
    Ok(Received { document, descriptor, bytes })
}

/// What is known about a document before it is read.
#[derive(Clone, Copy)]
pub(super) enum Expected<'a> {
    /// Nothing: it was asked for by tag.
    Anything,
    /// The digest it was asked for by.
    Digest(&'a Digest),
    /// The entry of an index.
    Descriptor(&'a Descriptor),
}

/// Refuses a manifest whose configuration or layers this crate cannot use, or that breaks a budget.
pub(super) fn check_image(manifest: &Manifest) -> Result<()> {
    let unsupported = |what: String| Err(Error::new(ErrorKind::Unsupported, what));
    if !matches!(manifest.config.media_type.as_str(), MediaType::CONFIG | MediaType::DOCKER_CONFIG) {
        return unsupported(format!("its configuration is of type {:?}: it is no image", manifest.config.media_type));
    }
    if manifest.config.size > crate::spec::MANIFEST_BUDGET {
        return Err(Error::new(
            ErrorKind::LimitExceeded,
            format!("its configuration has {} bytes", manifest.config.size),
        ));
    }
    if let Some(layer) = manifest.layers.iter().find(|layer| !is_layer(&layer.media_type)) {
        return unsupported(format!("layer {} is of type {:?}", layer.digest, layer.media_type));
    }
    let bytes = manifest.layers.iter().try_fold(0u64, |sum, layer| sum.checked_add(layer.size));
    if manifest.layers.len() > LAYER_COUNT_BUDGET || bytes.is_none_or(|bytes| bytes > IMAGE_BUDGET) {
        return Err(Error::new(
            ErrorKind::LimitExceeded,
            format!("it has more than {LAYER_COUNT_BUDGET} layers or {IMAGE_BUDGET} bytes"),
        ));
    }
    Ok(())
}

/// Layers that a registry itself holds; "foreign" and "nondistributable" ones live behind URLs and are never fetched.
fn is_layer(media_type: &str) -> bool {
    /// Docker's layer without compression, which has no name of its own in the specifications.
    const DOCKER_LAYER_PLAIN: &str = "application/vnd.docker.image.rootfs.diff.tar";
    matches!(
        media_type,
        MediaType::LAYER | MediaType::LAYER_GZIP | MediaType::LAYER_ZSTD | MediaType::DOCKER_LAYER | DOCKER_LAYER_PLAIN
    )
}

fn corrupt(why: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Corrupt, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(media_type: Option<&str>) -> Vec<u8> {
        let digest = Digest::of(b"");
        let config = format!(r#""config":{{"mediaType":"{}","digest":"{digest}","size":0}}"#, MediaType::CONFIG);
        let claim = media_type.map(|it| format!(r#""mediaType":"{it}","#)).unwrap_or_default();
        format!(r#"{{"schemaVersion":2,{claim}{config},"layers":[]}}"#).into_bytes()
    }

    #[test]
    fn claims_must_agree() {
        let own = Some(MediaType::MANIFEST);
        for (header, document, fine) in [
            (own, own, true),
            (own, None, true),
            (None, own, true),
            (Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"), own, true),
            (None, None, false),
            (Some(MediaType::DOCKER_MANIFEST), own, false),
            (Some(MediaType::INDEX), own, false),
            (Some(MediaType::INDEX), None, false),
            (Some("text/html"), None, false),
            (Some("application/vnd.docker.distribution.manifest.v1+prettyjws"), None, false),
        ] {
            let result = read(header, manifest(document), Expected::Anything);
            assert_eq!(result.is_ok(), fine, "{header:?} {document:?} {result:?}");
        }
    }

    #[test]
    fn digest_size_and_type_of_the_index_are_binding() {
        let bytes = manifest(Some(MediaType::MANIFEST));
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        let check = |expected: Expected<'_>| read(Some(MediaType::MANIFEST), bytes.clone(), expected);
        assert!(check(Expected::Digest(&digest)).is_ok());
        assert_eq!(check(Expected::Digest(&Digest::of(b"x"))).unwrap_err().kind(), ErrorKind::Corrupt);
        for (media_type, digest, size, fine) in [
            (MediaType::MANIFEST, digest, size, true),
            (MediaType::MANIFEST, digest, size + 1, false),
            (MediaType::MANIFEST, Digest::of(b"x"), size, false),
            (MediaType::DOCKER_MANIFEST, digest, size, false),
        ] {
            let descriptor = Descriptor::new(media_type, digest, size);
            assert_eq!(check(Expected::Descriptor(&descriptor)).is_ok(), fine);
        }
    }

    #[test]
    fn artifacts_foreign_layers_and_giants_are_refused() {
        let image = |config: &str, layer: &str, size: u64| {
            let mut manifest = Manifest::parse(&manifest(None)).unwrap();
            manifest.config.media_type = config.to_owned();
            manifest.layers = vec![Descriptor::new(layer, Digest::of(b""), size); 2];
            check_image(&manifest).err().map(|error| error.kind())
        };
        let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
        assert_eq!(image(MediaType::CONFIG, MediaType::LAYER_GZIP, 1), None);
        assert_eq!(image("application/vnd.example+json", MediaType::LAYER, 1), Some(ErrorKind::Unsupported));
        assert_eq!(image(MediaType::DOCKER_CONFIG, foreign, 1), Some(ErrorKind::Unsupported));
        assert_eq!(image(MediaType::CONFIG, MediaType::LAYER, u64::MAX), Some(ErrorKind::LimitExceeded));
    }
}
