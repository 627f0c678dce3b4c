//! Images by name: one record per reference.

use super::durable::{step, sync_parent, write_record};
use super::lock::Lock;
use super::{Store, VERSION, index, lease};
use crate::error::{Context, During};
use crate::spec::{Descriptor, ImageConfig, Index, MANIFEST_BUDGET, Manifest};
use crate::{Digest, Error, ErrorKind, Reference, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The tagged images of a store.
pub(crate) struct Images<'store>(&'store Store);

/// An image of the store, its documents read and verified.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoredImage {
    /// The reference it was asked for by.
    pub reference: Reference,
    /// What refers to the manifest's bytes.
    pub manifest_descriptor: Descriptor,
    /// The manifest.
    pub manifest: Manifest,
    /// The configuration.
    pub config: ImageConfig,
}

/// What the file of a reference holds.
#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    reference: Reference,
    manifest: Descriptor,
}

impl<'store> Images<'store> {
    pub(super) fn new(store: &'store Store) -> Images<'store> {
        Images(store)
    }

    /// Gives the image whose manifest is the blob `manifest` the name `reference`, in place of what bore it.
    ///
    /// A reference with a digest names the manifest of that digest, or one that the index of that digest lists; the
    /// index must be a blob of the store then.
    ///
    /// Errors: `NotFound` where the manifest is not in the store, `Corrupt` where it does not have the described size.
    pub(crate) fn tag(&self, reference: &Reference, manifest: &Descriptor) -> Result<()> {
        if let Some(digest) = reference.digest()
            && *digest != manifest.digest
            && !self.lists(digest, manifest)
        {
            return Err(Error::invalid(format!("reference {reference} cannot name manifest {}", manifest.digest)));
        }
        let record = Record { version: VERSION, reference: reference.clone(), manifest: manifest.clone() };
        let bytes = serde_json::to_vec(&record)
            .map_err(|error| Error::invalid(format!("image {reference} cannot be recorded")).source_error(error))?;
        {
            let _lock = Lock::content(self.0, false)?;
            let path = self.0.blobs().path(&manifest.digest);
            lease::touch(&path).context(|| format!("tag {reference}"))?;
            let size = fs::metadata(&path).during(|| format!("inspect {}", path.display()))?.len();
            if size != manifest.size {
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    format!("manifest {} has {size} bytes, not {}", manifest.digest, manifest.size),
                ));
            }
            write_record(self.0, &self.path(reference), &bytes)?;
        }
        step("image tagged");
        index::refresh(self.0)
    }

    /// Whether the blob `index` is an index with `manifest` in it.
    fn lists(&self, index: &Digest, manifest: &Descriptor) -> bool {
        self.0
            .blobs()
            .read(index, MANIFEST_BUDGET)
            .and_then(|bytes| Index::parse(&bytes))
            .is_ok_and(|index| index.manifests.iter().any(|entry| entry.digest == manifest.digest))
    }

    /// Removes the name; `false` where there was none. What it named goes with the next garbage collection.
    pub(crate) fn untag(&self, reference: &Reference) -> Result<bool> {
        let path = self.path(reference);
        {
            let _lock = Lock::content(self.0, false)?;
            match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                other => other.during(|| format!("remove {}", path.display()))?,
            }
            step("image untagged");
            sync_parent(&path)?;
        }
        index::refresh(self.0)?;
        Ok(true)
    }

    /// The image of this name; or, where the reference holds a digest, any image whose manifest has it.
    pub(crate) fn find(&self, reference: &Reference) -> Result<Option<StoredImage>> {
        let descriptor = match read_record(&self.path(reference))? {
            Some(record) => Some(record.manifest),
            None => match reference.digest() {
                Some(digest) => self.list()?.into_iter().map(|(_, manifest)| manifest).find(|it| it.digest == *digest),
                None => None,
            },
        };
        descriptor.map(|descriptor| self.load(reference, descriptor)).transpose()
    }

    /// As [`find`](Images::find); `NotFound` where there is none.
    pub(crate) fn get(&self, reference: &Reference) -> Result<StoredImage> {
        self.find(reference)?.ok_or_else(|| {
            let error = Error::new(ErrorKind::NotFound, format!("image {reference} is not in the store"));
            match reference.registry() {
                Some(_) => error.hint("pull it first"),
                None => error.hint("build it, or name its registry to pull it: registry/repository:tag"),
            }
        })
    }

    /// Every name and the manifest it stands for, sorted by name.
    pub(crate) fn list(&self) -> Result<Vec<(Reference, Descriptor)>> {
        let directory = self.0.root().join("images");
        let operation = || format!("list {}", directory.display());
        let mut images = Vec::new();
        for entry in fs::read_dir(&directory).during(operation)? {
            if let Some(record) = read_record(&entry.during(operation)?.path())? {
                images.push((record.reference, record.manifest));
            }
        }
        images.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(images)
    }

    /// Reads the documents of the image whose manifest is `descriptor`.
    pub(crate) fn load(&self, reference: &Reference, descriptor: Descriptor) -> Result<StoredImage> {
        let context = || format!("read image {reference}");
        let bytes = self.0.blobs().read(&descriptor.digest, MANIFEST_BUDGET).context(context)?;
        let manifest = Manifest::parse(&bytes).context(context)?;
        let bytes = self.0.blobs().read(&manifest.config.digest, MANIFEST_BUDGET).context(context)?;
        let config = ImageConfig::parse(&bytes).context(context)?;
        if config.rootfs.diff_ids.len() != manifest.layers.len() {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!(
                    "image {reference} has {} layers but {} diff ids",
                    manifest.layers.len(),
                    config.rootfs.diff_ids.len()
                ),
            ));
        }
        Ok(StoredImage { reference: reference.clone(), manifest_descriptor: descriptor, manifest, config })
    }

    fn path(&self, reference: &Reference) -> PathBuf {
        let name = Digest::of(reference.to_string().as_bytes()).hex();
        self.0.root().join("images").join(format!("{name}.json"))
    }
}

fn read_record(path: &Path) -> Result<Option<Record>> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.during(|| format!("read {}", path.display()))?,
    };
    let record: Record = serde_json::from_slice(&bytes).map_err(|error| {
        Error::new(ErrorKind::Corrupt, format!("image record {} is malformed", path.display()))
            .source_error(error)
            .hint("remove the file and pull or build the image again")
    })?;
    if record.version > VERSION {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("image record {} has version {}, this version reads {VERSION}", path.display(), record.version),
        ));
    }
    Ok(Some(record))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Platform;
    use crate::spec::MediaType;

    fn store() -> (tempfile::TempDir, Store) {
        let scratch = tempfile::tempdir().unwrap();
        let store = Store::open(&scratch.path().join("root"), &scratch.path().join("run")).unwrap();
        (scratch, store)
    }

    /// An image without layers; `author` tells one from another.
    fn image(store: &Store, author: &str) -> Descriptor {
        let mut config = ImageConfig::new(&Platform::host());
        config.author = Some(author.to_owned());
        let config = serde_json::to_vec(&config).unwrap();
        let config = Descriptor::new(MediaType::CONFIG, store.blobs().put(&config).unwrap(), config.len() as u64);
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(MediaType::MANIFEST.to_owned()),
            config,
            layers: Vec::new(),
            annotations: Default::default(),
            other: Default::default(),
        };
        let bytes = serde_json::to_vec(&manifest).unwrap();
        Descriptor::new(MediaType::MANIFEST, store.blobs().put(&bytes).unwrap(), bytes.len() as u64)
    }

    #[test]
    fn a_tag_names_the_last_image_given_to_it() {
        let (_scratch, store) = store();
        let (one, two) = (image(&store, "one"), image(&store, "two"));
        let name: Reference = "shop/web:1".parse().unwrap();
        assert_eq!(store.images().get(&name).unwrap_err().kind(), ErrorKind::NotFound);
        store.images().tag(&name, &one).unwrap();
        store.images().tag(&name, &two).unwrap();
        assert_eq!(store.images().get(&name).unwrap().config.author.as_deref(), Some("two"));
        assert_eq!(store.images().list().unwrap(), [(name.clone(), two.clone())]);
        let pinned: Reference = format!("shop/web@{}", two.digest).parse().unwrap();
        assert_eq!(store.images().get(&pinned).unwrap().manifest_descriptor, two);
        assert_eq!(store.images().tag(&pinned, &one).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert!(store.images().untag(&name).unwrap());
        assert!(!store.images().untag(&name).unwrap());
        assert!(store.images().find(&name).unwrap().is_none());
    }

    #[test]
    fn only_a_stored_manifest_is_tagged() {
        let (_scratch, store) = store();
        let name: Reference = "a".parse().unwrap();
        let missing = Descriptor::new(MediaType::MANIFEST, Digest::of(b"x"), 1);
        assert_eq!(store.images().tag(&name, &missing).unwrap_err().kind(), ErrorKind::NotFound);
        let mut wrong = image(&store, "a");
        wrong.size += 1;
        assert_eq!(store.images().tag(&name, &wrong).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn a_reference_pinned_to_an_index_names_a_manifest_it_lists() {
        let (_scratch, store) = store();
        let (listed, other) = (image(&store, "listed"), image(&store, "other"));
        let index = serde_json::json!({"schemaVersion": 2, "manifests": [listed]});
        let index = store.blobs().put(&serde_json::to_vec(&index).unwrap()).unwrap();
        let pinned: Reference = format!("shop/web@{index}").parse().unwrap();
        store.images().tag(&pinned, &listed).unwrap();
        assert_eq!(store.images().get(&pinned).unwrap().manifest_descriptor, listed);
        assert_eq!(store.images().tag(&pinned, &other).unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn other_tools_read_the_store() {
        let (_scratch, store) = store();
        let name: Reference = "shop/web:1.0".parse().unwrap();
        store.images().tag(&name, &image(&store, "somebody")).unwrap();
        let layout = format!("oci:{}:{name}", store.root().display());
        let output = std::process::Command::new("skopeo").args(["inspect", "--config", &layout]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let config = ImageConfig::parse(&output.stdout).unwrap();
        assert_eq!(config.author.as_deref(), Some("somebody"));
    }
}
