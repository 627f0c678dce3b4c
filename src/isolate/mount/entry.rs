//! One entry of `mounts` (runtime-spec, config, "Mounts").

use super::options::MountOptions;
use super::source::id_map;
use super::{Surroundings, checked, clean};
use crate::error::{Context, During};
use crate::launch::IdMap;
use crate::{Error, ErrorKind, Result};
use oci_spec::runtime::{Mount, Spec};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A mount whose options have been read.
#[derive(Debug)]
pub(super) struct Entry {
    /// For sentences: `mounts[3] (proc on /proc)`.
    pub(super) name: Arc<str>,
    pub(super) kind: Kind,
    pub(super) destination: PathBuf,
    /// What is mounted, as the kernel's lists name it; of a bind the path.
    pub(super) source: Option<PathBuf>,
    pub(super) options: MountOptions,
    /// `context=` of SELinux.
    pub(super) label: Option<String>,
    /// Of an id-mapped mount.
    pub(super) id_map: Option<IdMap>,
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Bind,
    Cgroup,
    /// Changes what is mounted there.
    Remount,
    /// Makes the link again that the source is.
    Link(Vec<u8>),
    /// A new file system of the named type.
    New(String),
}

/// The most mounts of a configuration.
const MOUNT_BUDGET: usize = 4096;

/// What may be mounted over in a /proc: the files that lxcfs provides, as runc has them.
const PROC_FILES: [&str; 11] = [
    "cpuinfo",
    "diskstats",
    "meminfo",
    "stat",
    "swaps",
    "uptime",
    "loadavg",
    "slabinfo",
    "net/dev",
    "sys/kernel/ns_last_pid",
    "sys/crypto/fips_enabled",
];

/// Reads all mounts of a configuration.
pub(super) fn read(spec: &Spec, surroundings: &Surroundings<'_>) -> Result<Vec<Entry>> {
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    if mounts.len() > MOUNT_BUDGET {
        return Err(Error::invalid(format!("mounts: {} of them, more than {MOUNT_BUDGET}", mounts.len())));
    }
    let label =
        spec.linux().as_ref().and_then(|linux| linux.mount_label().as_deref()).filter(|label| !label.is_empty());
    mounts.iter().enumerate().map(|(index, mount)| Entry::read(index, mount, label, surroundings)).collect()
}

impl Entry {
    fn read(index: usize, mount: &Mount, label: Option<&str>, surroundings: &Surroundings<'_>) -> Result<Entry> {
        let field = format!("mounts[{index}]");
        let destination = clean(Path::new(std::ffi::OsStr::new(mount.destination())));
        checked(mount.destination(), &format!("{field}.destination"))?;
        let options = mount.options().as_deref().unwrap_or_default();
        let options = MountOptions::parse(options).map_err(|error| error.context(format!("{field}.options")))?;
        let kind = match mount.typ().as_deref() {
            _ if options.remount => Kind::Remount,
            _ if options.bind.is_some() => Kind::Bind,
            Some("bind") => Kind::Bind,
            Some("cgroup" | "cgroup2") => Kind::Cgroup,
            Some(kind) if !kind.is_empty() && !kind.contains('\0') => Kind::New(kind.to_owned()),
            _ => {
                return Err(Error::invalid(format!("{field}.type is missing"))
                    .hint("a bind mount has the option bind or rbind"));
            }
        };
        if let Some(label) = label.filter(|_| takes_label(&kind))
            && !Path::new("/sys/fs/selinux/enforce").exists()
        {
            let text = format!("linux.mountLabel: {label:?} cannot be set");
            return Err(Error::new(ErrorKind::Unsupported, text).hint("SELinux is switched off on this host"));
        }
        let source = match (mount.source(), &kind) {
            (Some(source), Kind::Bind) => Some(surroundings.bundle.join(source)),
            (None, Kind::Bind) => return Err(Error::invalid(format!("{field}.source is missing"))),
            (source, _) => source.clone(),
        };
        if let Some(source) = &source {
            checked(source, &format!("{field}.source"))?;
        }
        let shown = match (&kind, &source) {
            (Kind::Bind, Some(source)) => source.display().to_string(),
            (Kind::New(kind), _) => kind.clone(),
            (Kind::Remount, _) => "remount".to_owned(),
            _ => "cgroup".to_owned(),
        };
        let name = format!("{field} ({shown} on {})", destination.display()).into();
        let label = label.filter(|_| takes_label(&kind)).map(|label| format!("\"{label}\""));
        let id_map = mapped(mount, &options, surroundings).context(|| field.clone())?;
        let mut entry = Entry { name, kind, destination, source, options, label, id_map };
        entry.check(&field)?;
        entry.look_at_link(&field)?;
        Ok(entry)
    }

    /// Refuses what contradicts itself.
    fn check(&self, field: &str) -> Result<()> {
        let invalid = |part: &str, text: &str| Err(Error::invalid(format!("{field}.{part}: {text}")));
        if self.destination == Path::new("/") {
            return invalid("destination", "/ is the root itself");
        }
        if self.kind == Kind::Bind
            && let Some((key, _)) = self.options.data.first()
        {
            return invalid("options", &format!("{key:?} means nothing for a bind mount"));
        }
        if self.id_map.is_some() && self.kind != Kind::Bind {
            return invalid("options", "only a bind mount can be id-mapped");
        }
        if self.options.copy_up && self.kind != Kind::New("tmpfs".into()) {
            return invalid("options", "tmpcopyup is for tmpfs alone");
        }
        let Ok(within) = self.destination.strip_prefix("/proc") else { return Ok(()) };
        if self.kind == Kind::Remount {
            return Ok(());
        }
        let lands = if within == Path::new("") {
            matches!(&self.kind, Kind::Bind) || self.kind == Kind::New("proc".into())
        } else {
            PROC_FILES.iter().any(|file| within == Path::new(file))
        };
        if lands {
            Ok(())
        } else {
            invalid("destination", "it lies inside /proc, where only a few files may be covered")
        }
    }

    /// A source that is a link, and is to be made anew (`copy-symlink`).
    fn look_at_link(&mut self, field: &str) -> Result<()> {
        let Some(source) = self.source.as_deref().filter(|_| self.kind == Kind::Bind && self.options.copy_link) else {
            return Ok(());
        };
        let source = source
            .symlink_metadata()
            .and_then(|metadata| if metadata.is_symlink() { source.read_link().map(Some) } else { Ok(None) });
        if let Some(target) = source.during(|| format!("{field}.source: look at it"))? {
            self.kind = Kind::Link(target.into_os_string().into_encoded_bytes());
        }
        Ok(())
    }

    /// Whether mounts that the host makes later are to show in it.
    pub(super) fn receives(&self) -> bool {
        let kind = self.options.propagation.map(|propagation| propagation.kind as u64);
        self.kind == Kind::Bind && !matches!(kind, Some(libc::MS_PRIVATE | libc::MS_UNBINDABLE))
    }

    /// Whether what is mounted in it is to show on the host.
    pub(super) fn is_shared(&self) -> bool {
        self.options.propagation.is_some_and(|propagation| u64::from(propagation.kind) == libc::MS_SHARED)
    }
}

/// The maps of an id-mapped mount.
fn mapped(mount: &Mount, options: &MountOptions, surroundings: &Surroundings<'_>) -> Result<Option<IdMap>> {
    let (users, groups) = (mount.uid_mappings().as_deref(), mount.gid_mappings().as_deref());
    let lists = [users, groups].iter().any(|list| list.is_some_and(|list| !list.is_empty()));
    if options.id_map.is_none() && !lists {
        return Ok(None);
    }
    id_map(users, groups, surroundings.id_map).map(Some)
}

/// Whether SELinux labels what is in such a file system by an option of its mount.
fn takes_label(kind: &Kind) -> bool {
    matches!(kind, Kind::New(kind) if !matches!(kind.as_str(), "proc" | "sysfs" | "mqueue"))
}
