//! One entry of `mounts` (runtime-spec, config, "Mounts").

use super::options::MountOptions;
use super::{Lowering, Surroundings, checked, clean};
use crate::plan::op::{Landing, OpCode};
use crate::plan::{Builder, Slot};
use crate::{Error, Result};
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
    label: Option<String>,
    /// A copy of the source that was made before the host's mounts were cut off.
    copy: Option<Slot>,
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Bind,
    Cgroup,
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

const READ_ONLY: u32 = libc::MOUNT_ATTR_RDONLY as u32;
const PROC_MAGIC: u32 = libc::PROC_SUPER_MAGIC as u32;

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
            _ if options.bind.is_some() => Kind::Bind,
            Some("bind") => Kind::Bind,
            Some("cgroup" | "cgroup2") => Kind::Cgroup,
            Some(kind) if !kind.is_empty() && !kind.contains('\0') => Kind::New(kind.to_owned()),
            _ => {
                return Err(Error::invalid(format!("{field}.type is missing"))
                    .hint("a bind mount has the option bind or rbind"));
            }
        };
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
            _ => "cgroup".to_owned(),
        };
        let name = format!("{field} ({shown} on {})", destination.display()).into();
        let label = label.filter(|_| takes_label(&kind)).map(|label| format!("\"{label}\""));
        let entry = Entry { name, kind, destination, source, options, label, copy: None };
        entry.check(&field)?;
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
        if self.options.copy_up && self.kind != Kind::New("tmpfs".into()) {
            return invalid("options", "tmpcopyup is for tmpfs alone");
        }
        let Ok(within) = self.destination.strip_prefix("/proc") else { return Ok(()) };
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

    /// Whether mounts that the host makes later are to show in it.
    pub(super) fn receives(&self) -> bool {
        let kind = self.options.propagation.map(|propagation| propagation.kind as u64);
        self.kind == Kind::Bind && !matches!(kind, Some(libc::MS_PRIVATE | libc::MS_UNBINDABLE))
    }

    /// Copies the source while it still is a peer of the host's mount, where what is mounted in it is to show there.
    pub(super) fn lower_shared_source(&mut self, plan: &mut Builder) {
        let shares = self.options.propagation.is_some_and(|propagation| propagation.kind as u64 == libc::MS_SHARED);
        if self.kind == Kind::Bind && shares {
            self.copy = Some(self.lower_copy(plan));
        }
    }

    fn lower_copy(&self, plan: &mut Builder) -> Slot {
        let source = self.source.as_deref().map(|path| path.as_os_str().as_encoded_bytes()).unwrap_or_default();
        let (source, mount) = (plan.text(source), plan.slot());
        let recursive = if self.options.bind == Some(true) { libc::AT_RECURSIVE as u32 } else { 0 };
        let link = if self.options.source_link { libc::AT_SYMLINK_NOFOLLOW as u32 } else { 0 };
        plan.push(OpCode::CloneHost, &[source, recursive | link, mount.into()], ("copy the source of ", &self.name))
            .hint(libc::ENOENT, "the source does not exist on the host")
            .hint(libc::EINVAL, "the source is unbindable, or hides mounts that only rbind can take along");
        mount
    }
}

impl<'a> Lowering<'a> {
    /// Lowers one mount.
    pub(super) fn lower(&mut self, plan: &mut Builder, entry: &'a Entry) -> Result<()> {
        let mount = match &entry.kind {
            Kind::Cgroup => return super::cgroup::lower(plan, entry, self),
            Kind::Bind => self.lower_bind(plan, entry),
            Kind::New(kind)
                if kind == "sysfs" && self.surroundings.user_namespace && !self.surroundings.own_network =>
            {
                self.lower_host_sys(plan, entry)
            }
            Kind::New(kind) => self.lower_new(plan, entry, kind)?,
        };
        lower_attach(plan, entry, mount, self.root);
        let place = match entry.destination.to_str() {
            Some("/proc") => &mut self.proc,
            Some("/sys") => &mut self.sys,
            _ => {
                if !self.sealed.iter().any(|(slot, _)| *slot == mount) {
                    plan.release(mount);
                }
                return Ok(());
            }
        };
        *place = Some(mount);
        Ok(())
    }

    fn lower_bind(&self, plan: &mut Builder, entry: &Entry) -> Slot {
        let mount = entry.copy.unwrap_or_else(|| entry.lower_copy(plan));
        self.lower_attributes(plan, entry, mount);
        if entry.destination == Path::new("/proc") {
            plan.push(OpCode::CheckFilesystem, &[mount.into(), PROC_MAGIC], ("check that it is a proc: ", &entry.name))
                .hint(libc::EPROTO, "only a proc file system may be mounted on /proc");
        }
        mount
    }

    /// What a bind does not take over from its source.
    fn lower_attributes(&self, plan: &mut Builder, entry: &Entry, mount: Slot) {
        let options = &entry.options;
        let cut = self.cut.is_private() && entry.copy.is_none();
        let wanted = options.propagation.filter(|wanted| !(cut && wanted.kind == libc::MS_PRIVATE as u32));
        for recursive in [false, true] {
            let changes = if recursive { options.recursive } else { options.attributes };
            let kind = wanted.filter(|wanted| wanted.recursive == recursive).map_or(0, |wanted| wanted.kind);
            if !changes.is_empty() || kind != 0 {
                let arguments = [mount.into(), u32::from(recursive), changes.set, changes.clear, kind];
                plan.push(OpCode::MountAttributes, &arguments, ("set the options of ", &entry.name)).hint(
                    libc::EPERM,
                    "the mount of the source is locked: the user namespace may not lift its options",
                );
            }
        }
    }

    /// In a user namespace without a network namespace of its own there is no new sysfs: the host's is bound.
    fn lower_host_sys(&self, plan: &mut Builder, entry: &Entry) -> Slot {
        let (path, mount) = (plan.text("/sys"), plan.slot());
        let arguments = [path, libc::AT_RECURSIVE as u32, mount.into()];
        plan.push(OpCode::CloneHost, &arguments, ("bind the host's /sys for ", &entry.name));
        self.lower_attributes(plan, entry, mount);
        mount
    }

    fn lower_new(&mut self, plan: &mut Builder, entry: &'a Entry, kind: &str) -> Result<Slot> {
        let options = &entry.options;
        let mut attributes = options.attributes.set | options.recursive.set;
        let seal = kind == "tmpfs" && attributes & READ_ONLY != 0;
        if seal {
            attributes &= !READ_ONLY;
        }
        let mount = plan.slot();
        let text = plan.text(kind);
        plan.push(OpCode::OpenFilesystem, &[text, mount.into()], ("open the file system of ", &entry.name))
            .hint(libc::ENODEV, "the kernel has no such file system");
        entry.lower_options(plan, mount, kind)?;
        let what = ("create the file system of ", &entry.name);
        plan.push(OpCode::MountFilesystem, &[mount.into(), attributes, mount.into()], what)
            .hint(libc::EPERM, "the user namespace may not: the outer container hides parts of it, or the namespace that it shows is not the container's own")
            .hint(libc::EINVAL, "the file system takes no such options");
        if let Some(wanted) = options.propagation.filter(|wanted| wanted.kind != libc::MS_PRIVATE as u32) {
            let arguments = [mount.into(), u32::from(wanted.recursive), 0, 0, wanted.kind];
            plan.push(OpCode::MountAttributes, &arguments, ("set the propagation of ", &entry.name));
        }
        if seal {
            self.sealed.push((mount, entry));
        }
        Ok(mount)
    }

    /// Makes read-only what everything has been made in.
    pub(super) fn lower_seals(&self, plan: &mut Builder) {
        for (mount, entry) in &self.sealed {
            let what = ("make read-only ", &entry.name);
            plan.push(OpCode::MountAttributes, &[(*mount).into(), 0, READ_ONLY, 0, 0], what);
        }
    }
}

/// Attaches the mount at its destination.
pub(super) fn lower_attach(plan: &mut Builder, entry: &Entry, mount: Slot, root: Slot) {
    let path = plan.text(entry.destination.as_os_str().as_encoded_bytes());
    let what = ("attach ", &entry.name);
    plan.push(OpCode::AttachAt, &[mount.into(), root.into(), path, entry.landing()], what)
        .hint(libc::ENOTDIR, "one of the two is a directory and the other is not, or a link stands where none may")
        .hint(libc::ELOOP, "a link stands where none may")
        .hint(libc::EXDEV, "the destination lies inside /proc")
        .hint(libc::EROFS, "the destination does not exist, and cannot be made");
}

impl Entry {
    fn landing(&self) -> u32 {
        let kind = match &self.kind {
            Kind::New(kind) => kind.as_str(),
            _ => "",
        };
        let on_proc = self.destination.starts_with("/proc");
        let straight = matches!(kind, "proc" | "sysfs") || self.destination == Path::new("/proc");
        let own_mode = kind == "tmpfs" && !self.options.data.iter().any(|(key, _)| key == "mode");
        [
            (straight, Landing::STRAIGHT),
            (on_proc, Landing::ON_PROC),
            (self.options.copy_up, Landing::COPY_UP),
            (own_mode, Landing::TAKE_MODE),
            (self.options.destination_link, Landing::OVER_LINK),
        ]
        .iter()
        .fold(0, |bits, (wanted, bit)| if *wanted { bits | bit } else { bits })
    }

    /// Hands the options of a new file system to it.
    fn lower_options(&self, plan: &mut Builder, context: Slot, kind: &str) -> Result<()> {
        let flags = self.options.superblock.iter().copied();
        // Of these the super block is shared, or read-only per mount is what is asked for.
        let shared = matches!(kind, "proc" | "sysfs" | "tmpfs" | "devpts" | "mqueue" | "overlay" | "cgroup2");
        let read_only = (!shared && self.options.attributes.set & READ_ONLY != 0).then_some("ro");
        for flag in flags.chain(read_only) {
            self.lower_option(plan, context, flag, None);
        }
        if let Some(source) = &self.source {
            self.lower_option(plan, context, "source", Some(source.as_os_str().as_encoded_bytes()));
        }
        for (key, value) in &self.options.data {
            if value.as_ref().is_some_and(|value| value.len() > 255) {
                return Err(Error::invalid(format!("{}: option {key} is longer than 255 bytes", self.name)));
            }
            self.lower_option(plan, context, key, value.as_deref().map(str::as_bytes));
        }
        if let Some(label) = &self.label {
            self.lower_option(plan, context, "context", Some(label.as_bytes()));
        }
        Ok(())
    }

    fn lower_option(&self, plan: &mut Builder, context: Slot, key: &str, value: Option<&[u8]>) {
        let text = plan.text(key);
        let what = (format!("set option {key} of "), &self.name);
        match value {
            Some(value) => {
                let value = plan.text(value);
                plan.push(OpCode::FilesystemOption, &[context.into(), text, value], what)
            }
            None => plan.push(OpCode::FilesystemFlag, &[context.into(), text], what),
        }
        .hint(
            libc::EINVAL,
            "the file system knows no such option or value; an id must be mapped in the user namespace",
        );
    }
}

/// Whether SELinux labels what is in such a file system by an option of its mount.
fn takes_label(kind: &Kind) -> bool {
    matches!(kind, Kind::New(kind) if !matches!(kind.as_str(), "proc" | "sysfs" | "mqueue"))
}
