//! The OCI runtime: containers from bundles (a directory with `config.json`), by the runtime specification 1.3.
//!
//! What runc and crun do as commands, as a library: a container is created by one process, started by another, and
//! watched by a third; the kernel and a state directory hold everything in between. `examples/runtime` is a command line
//! over it that engines take in the place of runc.
//!
//! ```no_run
//! use coracle::runtime::Runtime;
//!
//! let runtime = Runtime::open("/run/my-containers")?;
//! let container = runtime.create("web-1", "/srv/bundles/web").create()?;
//! container.start()?;
//! println!("{} is {}", container.id(), container.state()?.status);
//! container.kill(15, false)?;
//! container.delete(true)?;
//! # Ok::<(), coracle::Error>(())
//! ```

mod account;
mod checkpoint;
mod config;
mod container;
mod control;
mod create;
mod criu;
mod delete;
mod events;
mod exec;
mod features;
mod fifo;
mod hooks;
mod limits;
mod lower;
mod record;
mod relay;
pub mod spec;
mod state;
mod uncover;
mod validate;

pub use crate::value::{parse_duration, parse_signal};
pub use checkpoint::Restored;
pub use container::Container;
pub use create::{Create, Running};
pub use criu::Criu;
pub use events::{Event, Events};
pub use exec::{Exec, Executed};
pub use features::features;
pub use relay::Relay;
pub use state::{State, Status};

#[cfg(fuzzing)]
pub(crate) use config::fuzz as fuzz_config;

use crate::error::During;
use crate::{Error, ErrorKind, Result};
use record::{Home, Warner};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A state directory and the containers whose states it holds.
///
/// Several processes may use one at once.
#[derive(Debug, Clone)]
pub struct Runtime {
    root: PathBuf,
    systemd_cgroup: bool,
    rootless: Option<bool>,
    warner: Warner,
}

impl Runtime {
    /// The runtime whose states are in `root`, which is made where it is missing. Choose a directory that a reboot
    /// empties: `/run/...`.
    ///
    /// # Errors
    /// Those of making the directory; `PermissionDenied` where it is another user's, or all may write to it.
    pub fn open(root: impl Into<PathBuf>) -> Result<Runtime> {
        let root = root.into();
        let root = std::path::absolute(&root).during(|| format!("find {}", root.display()))?;
        let mut builder = std::fs::DirBuilder::new();
        // As runc: a process in a user namespace must get through to what belongs to its container.
        builder.recursive(true).mode(0o711).create(&root).during(|| format!("make {}", root.display()))?;
        check_owner(&root)?;
        Ok(Runtime { root, systemd_cgroup: false, rootless: None, warner: Warner::default() })
    }

    /// Whether control groups are made by systemd, as transient scopes; `linux.cgroupsPath` then is
    /// `slice:prefix:name`.
    #[must_use]
    pub fn systemd_cgroup(mut self, on: bool) -> Runtime {
        self.systemd_cgroup = on;
        self
    }

    /// Whether a container that asks for no limit may go without control groups where none can be had; so by default for
    /// all but root of the machine.
    #[must_use]
    pub fn rootless(mut self, on: bool) -> Runtime {
        self.rootless = Some(on);
        self
    }

    /// Where states are kept unless another directory is said: `/run/coracle-runtime`, for an ordinary user in
    /// `$XDG_RUNTIME_DIR`. As with runc an ordinary user is also who is root of a user namespace and not by name: so
    /// podman calls the runtime for one.
    pub fn default_root() -> PathBuf {
        let root = nix::unistd::geteuid().is_root();
        let named = std::env::var_os("USER").is_some_and(|name| name == "root");
        let ordinary = !root || (!limits::is_privileged() && !named);
        let own = std::env::var_os("XDG_RUNTIME_DIR").filter(|_| ordinary);
        PathBuf::from(own.filter(|own| !own.is_empty()).unwrap_or_else(|| "/run".into())).join("coracle-runtime")
    }

    /// Calls `warn` with what goes wrong and does not stop anything: a `poststop` hook that fails, for example
    /// (runtime-spec, "Warnings"). Without it nobody hears of that.
    #[must_use]
    pub fn on_warning(mut self, warn: impl Fn(&str) + Send + Sync + 'static) -> Runtime {
        self.warner = Warner(Some(Arc::new(warn)));
        self
    }

    /// A container to be made from the bundle in `bundle`; nothing happens before a terminal verb.
    pub fn create(&self, id: &str, bundle: impl Into<PathBuf>) -> Create<'_> {
        Create::new(self, id, bundle.into())
    }

    /// The container `id`.
    ///
    /// # Errors
    /// `NotFound`: there is none.
    pub fn container(&self, id: &str) -> Result<Container> {
        Container::open(self.home(id)?)
    }

    /// The containers, by id.
    ///
    /// # Errors
    /// Those of reading the directory; a container that goes away meanwhile is passed over.
    pub fn list(&self) -> Result<Vec<Container>> {
        let entries = std::fs::read_dir(&self.root).during(|| format!("read {}", self.root.display()))?;
        let mut ids: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|id| check_id(id).is_ok())
            .collect();
        ids.sort_unstable();
        let mut containers = Vec::new();
        for id in ids {
            match self.container(&id) {
                Ok(container) => containers.push(container),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(containers)
    }

    /// The directory of the states.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn home(&self, id: &str) -> Result<Home> {
        check_id(id)?;
        Ok(Home::new(&self.root, id, self.warner.clone()))
    }
}

/// What a state says is believed: it must be nobody else's.
fn check_owner(root: &Path) -> Result<()> {
    let found = std::fs::metadata(root).during(|| format!("look at {}", root.display()))?;
    if found.uid() == nix::unistd::geteuid().as_raw() && found.mode() & 0o002 == 0 {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::PermissionDenied,
        format!("state directory {} is another user's, or all may write to it", root.display()),
    )
    .hint("choose another, such as a new directory below /run"))
}

/// The ids that runc takes: letters, digits, `_`, `+`, `-`, `.`, but not `.` and `..`.
fn check_id(id: &str) -> Result<()> {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
    if id.is_empty() || id.len() > 1024 || id == "." || id == ".." || !id.bytes().all(safe) {
        return Err(Error::invalid(format!("invalid container ID format: {id:?}")));
    }
    Ok(())
}
