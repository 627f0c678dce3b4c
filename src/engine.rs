//! Opens a root directory and hands out the rooms.

use crate::build::{BaseResolver, BuildBuilder, Image, ImageBuilder};
use crate::container::{self, Container, ContainerBuilder, MergedLogs, Services};
use crate::deploy::{self, Admission, Deployed, Deployment, DeploymentStats, Rollout, Supervisor};
#[cfg(feature = "registry")]
use crate::registry::{PullEvent, PushEvent, Registry, RegistryOptions};
use crate::store::StoredImage;
use crate::value::{Digest, Platform, Reference};
use crate::volume::{self, Volume};
use crate::{Error, ErrorKind, Result};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The container engine on one root directory.
///
/// Cheap to clone; usable from any thread. Several engines, in one process or in several, may be open on one root at
/// once. Opening one finishes what a killed process left half done: containers that run are adopted, all else is
/// undone.
///
/// Containers start from a thread that belongs to the engine and inherits the namespaces of the thread that opened it.
#[derive(Clone)]
pub struct Engine {
    services: Arc<Services>,
    #[cfg(feature = "registry")]
    registry: Arc<Registry>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("root", &self.services.store.root()).finish_non_exhaustive()
    }
}

/// How to open an engine.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    root: PathBuf,
    run: Option<PathBuf>,
    #[cfg(feature = "registry")]
    registry: RegistryOptions,
}

/// What a garbage collection removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Collected {
    /// How many blobs.
    pub blobs: u64,
    /// How many unpacked layers.
    pub layers: u64,
    /// The size of the blobs in bytes.
    pub blob_bytes: u64,
}

/// An image by its reference, in the store or in a registry.
#[derive(Debug)]
pub struct ImageName<'engine> {
    engine: &'engine Engine,
    reference: Reference,
}

impl EngineOptions {
    /// An engine on `root`, which is made where it is missing. It must be on a file system that can hold the upper
    /// directory of an overlay (ext4, xfs, btrfs, tmpfs), not on another overlay.
    pub fn new(root: impl Into<PathBuf>) -> EngineOptions {
        EngineOptions {
            root: root.into(),
            run: None,
            #[cfg(feature = "registry")]
            registry: RegistryOptions::default(),
        }
    }

    /// Where is kept what a reboot ends; below `/run/coracle`, or `$XDG_RUNTIME_DIR/coracle` for an ordinary user, by
    /// default. Every engine on one root must have the same.
    #[must_use]
    pub fn run_directory(mut self, run: impl Into<PathBuf>) -> EngineOptions {
        self.run = Some(run.into());
        self
    }

    /// How to reach registries, and as whom.
    #[cfg(feature = "registry")]
    #[must_use]
    pub fn registry(mut self, options: RegistryOptions) -> EngineOptions {
        self.registry = options;
        self
    }

    /// Opens it.
    ///
    /// # Errors
    /// `InvalidInput` where the root holds files of somebody else, `Unsupported` where a newer version wrote it.
    pub fn open(self) -> Result<Engine> {
        let root = std::path::absolute(&self.root)
            .map_err(|error| Error::invalid(format!("root {}", self.root.display())).source_error(error))?;
        let run = self.run.unwrap_or_else(|| default_run(&root));
        let services = Services::open(&root, &run)?;
        container::recover(&services)?;
        Ok(Engine {
            services,
            #[cfg(feature = "registry")]
            registry: Arc::new(Registry::new(self.registry)),
        })
    }
}

impl Engine {
    /// Opens the engine on `root` with the default options.
    ///
    /// # Errors
    /// As [`EngineOptions::open`].
    pub fn open(root: impl AsRef<Path>) -> Result<Engine> {
        EngineOptions::new(root.as_ref()).open()
    }

    /// The root of this user: `/var/lib/coracle` for root, else `$XDG_DATA_HOME/coracle` or `~/.local/share/coracle`.
    ///
    /// # Errors
    /// `NotFound` where an ordinary user has neither variable nor home.
    pub fn default_root() -> Result<PathBuf> {
        if nix::unistd::geteuid().is_root() {
            return Ok("/var/lib/coracle".into());
        }
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let data = variable("XDG_DATA_HOME").or_else(|| variable("HOME").map(|home| home.join(".local/share")));
        data.map(|data| data.join("coracle")).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "neither XDG_DATA_HOME nor HOME is set")
                .hint("name a root: Engine::open(\"/path\")")
        })
    }

    /// An image by its reference.
    ///
    /// # Errors
    /// `InvalidInput` where it is malformed.
    pub fn image(&self, reference: &str) -> Result<ImageName<'_>> {
        Ok(ImageName { engine: self, reference: reference.parse()? })
    }

    /// The references of all images of the store, with the digests of their manifests.
    ///
    /// # Errors
    /// What reading the store reports.
    pub fn images(&self) -> Result<Vec<(Reference, Digest)>> {
        let list = self.services.store.images().list()?;
        Ok(list.into_iter().map(|(reference, descriptor)| (reference, descriptor.digest)).collect())
    }

    /// Builds an image from the Dockerfile in `context`.
    pub fn build<'progress>(&self, context: impl Into<PathBuf>) -> BuildBuilder<'progress> {
        BuildBuilder::new(self.services.clone(), self.bases(), context)
    }

    /// Builds an image from typed steps.
    pub fn image_builder<'progress>(&self) -> ImageBuilder<'progress> {
        ImageBuilder::new(self.services.clone(), self.bases())
    }

    /// A container of `image`.
    pub fn container(&self, image: &Image) -> ContainerBuilder {
        ContainerBuilder::new(self.services.clone(), image.stored().clone())
    }

    /// The detached container with this name or id.
    ///
    /// # Errors
    /// `NotFound` where there is none.
    pub fn find_container(&self, name_or_id: &str) -> Result<Container> {
        Container::find(&self.services, name_or_id)
    }

    /// All detached containers, running and ended, ordered by id.
    ///
    /// # Errors
    /// What reading the root reports.
    pub fn containers(&self) -> Result<Vec<Container>> {
        let open = |id| match Container::open(&self.services, id) {
            // Removed since the list was read.
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            opened => Some(opened),
        };
        container::list(&self.services)?.iter().filter_map(open).collect()
    }

    /// What the containers that are `wanted` have written, those too that come while it is followed.
    pub(crate) fn logs_where(&self, wanted: impl Fn(&Container) -> bool + Send + 'static) -> MergedLogs {
        let engine = self.clone();
        MergedLogs::new([]).discover(self.services.containers(), move || {
            let containers = engine.containers()?;
            Ok(Some(containers.into_iter().filter(|container| wanted(container)).collect()))
        })
    }

    /// Rolls a deployment out: as a new one, as the next revision of the one of its name, or as a change of scale.
    ///
    /// Everything is checked before anything is changed. One with the image and all settings of the wanted revision makes
    /// no new one, unless that failed. The rollout goes on while it is iterated over or [finished](Rollout::finish);
    /// dropped at once, it is written down and waits.
    ///
    /// # Errors
    /// `InvalidInput` with everything that makes no sense, each with its field; `NotFound` where the image is not in the
    /// store; `ResourceExhausted` where the replicas do not fit, with a table of who holds what; `InUse` where a port is
    /// taken, or another change of the deployment is under way. What runs is untouched then.
    pub fn deploy(&self, deployment: Deployment) -> Result<Rollout> {
        deploy::deploy(&self.services, deployment)
    }

    /// The deployment of this name.
    ///
    /// # Errors
    /// `NotFound` where there is none.
    pub fn deployment(&self, name: &str) -> Result<Deployed> {
        deploy::find(&self.services, name)
    }

    /// All deployments, by name.
    ///
    /// # Errors
    /// What reading the root reports.
    pub fn deployments(&self) -> Result<Vec<Deployed>> {
        deploy::list(&self.services)
    }

    /// The machine, and who holds how much of it by what they request; it prints as a table.
    ///
    /// # Errors
    /// What reading the root and the machine reports.
    pub fn admission(&self) -> Result<Admission> {
        deploy::admission(&self.services)
    }

    /// What all deployments use and do now; [`metrics`](crate::metrics) writes it for Prometheus.
    ///
    /// # Errors
    /// As [`Deployed::stats`].
    pub fn deployment_stats(&self) -> Result<Vec<DeploymentStats>> {
        let mut all = Vec::new();
        for deployed in self.deployments()? {
            match deployed.stats() {
                // Removed since the list was read, or damaged.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => {}
                stats => all.push(stats?),
            }
        }
        Ok(all)
    }

    /// Goes on with what was cut off: rebuilds the network's rules where they are gone, and returns a rollout for every
    /// deployment; one of a deployment with nothing left to do ends at once. A deployment at which another process is, or
    /// whose record is damaged, is left out.
    ///
    /// # Errors
    /// What reading the root and the kernel reports.
    pub fn resume(&self) -> Result<Vec<Rollout>> {
        deploy::resume(&self.services)
    }

    /// Looks after all deployments on a thread of its own, until the supervisor is dropped: keep what this returns in a
    /// variable.
    ///
    /// # Errors
    /// As [`resume`](Self::resume).
    pub fn supervise(&self) -> Result<Supervisor> {
        self.supervise_with(|_, _| ())
    }

    /// As [`supervise`](Self::supervise), which passes over errors; `on_error` hears what could not be done for a
    /// deployment, by its name, which is empty where the deployments could not be listed. It is tried again at the next
    /// look.
    ///
    /// # Errors
    /// As [`resume`](Self::resume).
    pub fn supervise_with(&self, on_error: impl FnMut(&str, Error) + Send + 'static) -> Result<Supervisor> {
        Supervisor::start(&self.services, on_error)
    }

    /// A named volume, whether it exists yet or not.
    ///
    /// # Errors
    /// `InvalidInput` where the name is malformed.
    pub fn volume(&self, name: &str) -> Result<Volume> {
        Ok(self.services.volume(name.parse()?))
    }

    /// All volumes, ordered by name.
    ///
    /// # Errors
    /// What reading the root reports.
    pub fn volumes(&self) -> Result<Vec<Volume>> {
        let names = volume::list(&self.services.store)?;
        Ok(names.into_iter().map(|name| self.services.volume(name)).collect())
    }

    /// The logs of the containers that `choose` picks, as one in the order of time; with
    /// [`follow`](MergedLogs::follow) also of those that are made later, so that it never ends by itself.
    pub fn logs(&self, mut choose: impl FnMut(&Container) -> bool + Send + 'static) -> MergedLogs {
        let (engine, directory) = (self.clone(), self.services.containers());
        MergedLogs::new([]).discover(directory, move || {
            Ok(Some(engine.containers()?.into_iter().filter(|container| choose(container)).collect()))
        })
    }

    /// Removes what no image, no container and no running work leads to.
    ///
    /// # Errors
    /// What reading and writing the store reports.
    pub fn collect_garbage(&self) -> Result<Collected> {
        let collected = self.services.store.collect_garbage()?;
        Ok(Collected { blobs: collected.blobs, layers: collected.layers, blob_bytes: collected.blob_bytes })
    }

    fn bases(&self) -> Arc<dyn BaseResolver> {
        Arc::new(self.clone())
    }
}

impl ImageName<'_> {
    /// The reference.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The image as it is in the store.
    ///
    /// # Errors
    /// `NotFound` where it is not there.
    pub fn get(&self) -> Result<Image> {
        self.engine.services.store.images().get(&self.reference).map(Image::new)
    }

    /// Brings the image from its registry into the store, for this machine's platform.
    ///
    /// # Errors
    /// `InvalidInput` for a reference without registry, `Unavailable` where the registry cannot be reached,
    /// `PermissionDenied` where it refuses, `NotFound` where it lacks the image, `Corrupt` where what it sends is not
    /// what it promised.
    #[cfg(feature = "registry")]
    pub fn pull(&self) -> Result<Image> {
        self.pull_with(|_| ())
    }

    /// As [`pull`](Self::pull), and tells how it goes.
    ///
    /// # Errors
    /// As [`pull`](Self::pull).
    #[cfg(feature = "registry")]
    pub fn pull_with(&self, mut progress: impl FnMut(PullEvent)) -> Result<Image> {
        let Engine { services, registry } = self.engine;
        registry.pull(&services.store, &self.reference, &Platform::host(), &mut progress).map(Image::new)
    }

    /// Sends the image to the registry of `target`; the digest of its manifest.
    ///
    /// # Errors
    /// `NotFound` where it is not in the store, and as [`pull`](Self::pull).
    #[cfg(feature = "registry")]
    pub fn push(&self, target: &str) -> Result<Digest> {
        self.push_with(target, |_| ())
    }

    /// As [`push`](Self::push), and tells how it goes.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    #[cfg(feature = "registry")]
    pub fn push_with(&self, target: &str, mut progress: impl FnMut(PushEvent)) -> Result<Digest> {
        let Engine { services, registry } = self.engine;
        let image = services.store.images().get(&self.reference)?;
        registry.push(&services.store, &image, &target.parse()?, &mut progress)
    }

    /// Gives the image another name besides.
    ///
    /// # Errors
    /// `NotFound` where it is not in the store, `InvalidInput` where the name is malformed.
    pub fn tag(&self, name: &str) -> Result<Image> {
        let images = self.engine.services.store.images();
        let image = images.get(&self.reference)?;
        let name: Reference = name.parse()?;
        images.tag(&name, &image.manifest_descriptor)?;
        images.get(&name).map(Image::new)
    }

    /// Takes the name away; whether it was there. What no name leads to goes with the next
    /// [`Engine::collect_garbage`].
    ///
    /// # Errors
    /// What writing the store reports.
    pub fn remove(&self) -> Result<bool> {
        self.engine.services.store.images().untag(&self.reference)
    }
}

/// The image's reference.
impl fmt::Display for ImageName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.reference, f)
    }
}

/// The base of a build: from the store, else from its registry.
impl BaseResolver for Engine {
    fn resolve(&self, reference: &Reference, platform: &Platform) -> Result<StoredImage> {
        if let Some(image) = self.services.store.images().find(reference)?
            && platform.accepts(&image.config.platform())
        {
            return Ok(image);
        }
        #[cfg(feature = "registry")]
        if reference.registry().is_some() {
            return self.registry.pull(&self.services.store, reference, platform, &mut |_| ());
        }
        let error = Error::new(ErrorKind::NotFound, format!("base image {reference} is not in the store"));
        Err(error.hint("build or pull it first, or name its registry: registry/repository:tag"))
    }
}

/// Below the system's directory for what a reboot ends, one for each root.
fn default_run(root: &Path) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    let user = nix::unistd::geteuid();
    let base = if user.is_root() {
        PathBuf::from("/run")
    } else {
        let variable = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
        // Without one, what a reboot ends lies beside the rest; records there are checked against what lives.
        match variable {
            Some(directory) => directory,
            None => return root.join("run"),
        }
    };
    base.join("coracle").join(Digest::of(root.as_os_str().as_bytes()).short())
}
