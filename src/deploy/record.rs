//! What is on disk about a deployment.
//!
//! ```text
//! <root>/deployments/<name>/
//!   lock              locked by whoever changes it
//!   deployment.json   the goal, the controller's state, the history; replaced as one whole
//!   revisions/<n>     what revision n is; written before anything leads to it
//!   fed-<i>           the last value of the metric number i that a caller feeds
//! ```
//!
//! A directory without `deployment.json` is one that was never finished; the next change takes it over.

use super::autoscale::Scaler;
use super::clock;
use super::controller::model::{Goal, RevisionNumber, State};
use super::event::HistoryEntry;
use super::scaling::Fed;
use super::specification::Deployment;
use crate::container::Services;
use crate::error::During;
use crate::kernel::remove_tree;
use crate::spec::Descriptor;
use crate::value::{ContainerId, Name, Reference, Timestamp};
use crate::{Error, ErrorKind, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

const VERSION: u32 = 1;
/// How many entries of the history are kept.
const HISTORY: usize = 500;
/// How many revisions are kept beside the goal and the last good one.
pub(crate) const REVISIONS: usize = 10;
/// A supervisor holds the lock for the moments in which it looks; a rollout until it has ended.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// The directory of one deployment.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    services: Arc<Services>,
    name: Name,
    path: PathBuf,
}

/// A deployment as it is on record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    version: u32,
    pub(crate) name: Name,
    pub(crate) created: Timestamp,
    pub(crate) next_revision: RevisionNumber,
    pub(crate) state: State,
    /// What ran well before the goal was changed: where a revision fails all of it comes back, the scale too.
    #[serde(default)]
    pub(crate) good: Option<Goal>,
    /// The boot in which the controller's state was written down; its clock begins anew with each.
    #[serde(default)]
    pub(crate) boot: String,
    /// The revision whose ports and rule the service has.
    #[serde(default)]
    pub(crate) service_of: Option<RevisionNumber>,
    /// To which new connections go, where there is no service that says so.
    #[serde(default)]
    pub(crate) routed: Vec<ContainerId>,
    /// Revisions before whose first replica the volumes were kept.
    #[serde(default)]
    pub(crate) kept_before: Vec<RevisionNumber>,
    /// The volumes that are to be brought back before the next replica of the goal is started: as they were before this
    /// revision.
    #[serde(default)]
    pub(crate) bring_back: Option<RevisionNumber>,
    /// What was recommended lately.
    #[serde(default)]
    pub(crate) scaler: Scaler,
    #[serde(default)]
    pub(crate) history: Vec<HistoryEntry>,
}

/// One revision; never changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Revision {
    version: u32,
    pub(crate) number: RevisionNumber,
    pub(crate) created: Timestamp,
    pub(crate) deployment: Deployment,
    /// The image as it was: a tag that moves does not change a revision.
    pub(crate) reference: Reference,
    pub(crate) manifest: Descriptor,
}

impl Record {
    pub(crate) fn new(name: Name, state: State) -> Record {
        Record {
            version: VERSION,
            name,
            created: Timestamp::now(),
            next_revision: state.goal.revision + 1,
            state,
            good: None,
            boot: clock::boot(),
            service_of: None,
            routed: Vec::new(),
            kept_before: Vec::new(),
            bring_back: None,
            scaler: Scaler::default(),
            history: Vec::new(),
        }
    }

    /// Adds to the history, and drops the oldest of what is too much.
    pub(crate) fn note(&mut self, entries: impl IntoIterator<Item = HistoryEntry>) {
        self.history.extend(entries);
        let surplus = self.history.len().saturating_sub(HISTORY);
        self.history.drain(..surplus);
    }
}

impl Revision {
    pub(crate) fn new(
        number: RevisionNumber,
        deployment: Deployment,
        reference: Reference,
        manifest: Descriptor,
    ) -> Revision {
        Revision { version: VERSION, number, created: Timestamp::now(), deployment, reference, manifest }
    }
}

impl Directory {
    /// That of the deployment `name`, whether it exists or not.
    pub(crate) fn of(services: &Arc<Services>, name: &Name) -> Directory {
        let path = root(services).join(name.as_str());
        Directory { services: services.clone(), name: name.clone(), path }
    }

    /// The deployment's name.
    pub(crate) fn name(&self) -> &Name {
        &self.name
    }

    /// Makes it where it is missing, and takes its lock.
    pub(crate) fn make_and_lock(&self) -> Result<File> {
        let operation = || format!("make {}", self.path.display());
        let mut builder = DirBuilder::new();
        builder.mode(0o700).recursive(true);
        loop {
            builder.create(self.path.join("revisions")).during(operation)?;
            // It may have been removed between the two steps.
            if let Some(lock) = self.lock(LOCK_PATIENCE)? {
                return Ok(lock);
            }
        }
    }

    /// Takes its lock within `patience`; `None` where there is no such deployment.
    ///
    /// # Errors
    /// `InUse` while another holds it.
    pub(crate) fn lock(&self, patience: Duration) -> Result<Option<File>> {
        let begin = Instant::now();
        let path = self.path.join("lock");
        let operation = || format!("lock deployment {}", self.name);
        loop {
            let file = match File::options().create(true).truncate(false).write(true).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                opened => opened.during(operation)?,
            };
            match file.try_lock() {
                Ok(()) if self.is_current(&file)? => return Ok(Some(file)),
                // It was removed while this waited.
                Ok(()) => return Ok(None),
                Err(TryLockError::WouldBlock) if begin.elapsed() < patience => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::new(ErrorKind::InUse, format!("deployment {} is being changed", self.name))
                        .hint("another rollout of it is under way, in this process or in another: wait for its end"));
                }
                Err(TryLockError::Error(error)) => return Err(error).during(operation),
            }
        }
    }

    fn is_current(&self, lock: &File) -> Result<bool> {
        use std::os::unix::fs::MetadataExt;
        let operation = || format!("lock deployment {}", self.name);
        let held = lock.metadata().during(operation)?;
        match fs::metadata(self.path.join("lock")) {
            Ok(there) => Ok((there.dev(), there.ino()) == (held.dev(), held.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).during(operation),
        }
    }

    /// What is on record; `None` where there is no such deployment.
    pub(crate) fn record(&self) -> Result<Option<Record>> {
        let record: Option<Record> = self.read("deployment.json")?;
        match record {
            Some(record) if record.version != VERSION => Err(self.newer(record.version)),
            record => Ok(record),
        }
    }

    /// Replaces the record.
    pub(crate) fn write(&self, record: &Record) -> Result<()> {
        self.replace("deployment.json", record)
    }

    /// Revision `number`.
    pub(crate) fn revision(&self, number: RevisionNumber) -> Result<Revision> {
        let revision: Option<Revision> = self.read(&format!("revisions/{number}"))?;
        match revision {
            Some(revision) if revision.version != VERSION => Err(self.newer(revision.version)),
            Some(revision) => Ok(revision),
            None => Err(Error::new(ErrorKind::NotFound, format!("deployment {} has no revision {number}", self.name))
                .hint(format!("the last {REVISIONS} revisions are kept"))),
        }
    }

    /// The numbers of all revisions on record, ascending.
    pub(crate) fn revisions(&self) -> Result<Vec<RevisionNumber>> {
        let path = self.path.join("revisions");
        let entries = match fs::read_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.during(|| format!("read {}", path.display()))?,
        };
        let mut numbers: Vec<RevisionNumber> =
            entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Writes a revision down, and keeps its image from the garbage collector.
    pub(crate) fn write_revision(&self, revision: &Revision) -> Result<()> {
        let store = &self.services.store;
        let image = store.images().load(&revision.reference, revision.manifest.clone())?;
        let blobs = image.manifest.layers.iter().map(|layer| layer.digest);
        let mut digests = vec![revision.manifest.digest, image.manifest.config.digest];
        digests.extend(blobs.chain(image.config.rootfs.diff_ids.iter().copied()));
        store.pins().hold(&self.pin(revision.number)?, &digests)?;
        self.replace(&format!("revisions/{}", revision.number), revision)
    }

    /// Forgets a revision.
    pub(crate) fn remove_revision(&self, number: RevisionNumber) -> Result<()> {
        let path = self.path.join(format!("revisions/{number}"));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).during(|| format!("remove {}", path.display()));
            }
            _ => {}
        }
        self.services.store.pins().release(&self.pin(number)?).map(drop)
    }

    /// Number `index` of those that are fed, as it was fed last.
    pub(crate) fn fed(&self, index: usize) -> Result<Option<Fed>> {
        self.read(&format!("fed-{index}"))
    }

    /// Writes number `index` of those that are fed down.
    pub(crate) fn feed(&self, index: usize, fed: &Fed) -> Result<()> {
        self.replace(&format!("fed-{index}"), fed)
    }

    /// Removes it with all that is on record; its lock must be held.
    pub(crate) fn remove(&self) -> Result<()> {
        for number in self.revisions()? {
            self.remove_revision(number)?;
        }
        let operation = || format!("remove {}", self.path.display());
        let parent = File::open(root(&self.services)).during(operation)?;
        match remove_tree(parent.as_fd(), self.name.as_str().as_ref()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.during(operation),
        }
    }

    fn pin(&self, number: RevisionNumber) -> Result<Name> {
        format!("deployment-{}-{number}", self.name).parse()
    }

    fn read<T: DeserializeOwned>(&self, file: &str) -> Result<Option<T>> {
        let path = self.path.join(file);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.during(|| format!("read {}", path.display()))?,
        };
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            Error::new(ErrorKind::Corrupt, format!("{} is malformed", path.display())).source_error(error)
        })
    }

    fn replace(&self, file: &str, content: &impl Serialize) -> Result<()> {
        let path = self.path.join(file);
        let text = serde_json::to_vec(content)
            .map_err(|error| Error::invalid(format!("write {}", path.display())).source_error(error))?;
        self.services.store.write_record(&path, &text)
    }

    fn newer(&self, version: u32) -> Error {
        Error::new(
            ErrorKind::Unsupported,
            format!("deployment {} was written by a newer version of this crate (form {version})", self.name),
        )
    }
}

/// The names of all deployments, in order; those that were never finished too.
pub(crate) fn names(services: &Services) -> Result<Vec<Name>> {
    let path = root(services);
    let entries = match fs::read_dir(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.during(|| format!("read {}", path.display()))?,
    };
    let mut names: Vec<Name> = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    names.sort();
    Ok(names)
}

fn root(services: &Services) -> PathBuf {
    services.store.root().join("deployments")
}
