//! Lowers one entry of `mounts`.

use super::Lowering;
use super::entry::{Entry, Kind};
use crate::plan::op::{Landing, OpCode};
use crate::plan::{Builder, Slot};
use crate::{Error, Result};
use std::path::Path;

const READ_ONLY: u32 = libc::MOUNT_ATTR_RDONLY as u32;
/// The longest value of an option (fsconfig(2): 256 bytes with the NUL).
const VALUE_LIMIT: usize = 255;

const PROC_MAGIC: u32 = libc::PROC_SUPER_MAGIC as u32;

impl<'a> Lowering<'a> {
    /// Lowers one mount.
    pub(super) fn lower(&mut self, plan: &mut Builder, entry: &'a Entry, copy: Option<Slot>) -> Result<()> {
        let mount = match &entry.kind {
            Kind::Cgroup => return super::cgroup::lower(plan, entry, self),
            Kind::Remount => return self.lower_remount(plan, entry),
            Kind::Link(target) => {
                lower_link(plan, entry, target, self.root);
                return Ok(());
            }
            Kind::Bind => self.lower_bind(plan, entry, copy)?,
            Kind::New(kind)
                if kind == "sysfs" && self.surroundings.user_namespace && !self.surroundings.own_network =>
            {
                self.lower_host_sys(plan, entry)
            }
            Kind::New(kind) => self.lower_new(plan, entry, kind)?,
        };
        lower_attach(plan, entry, mount, self.root);
        let fresh = entry.kind == Kind::New("sysfs".into());
        let place = match entry.destination.to_str() {
            Some("/proc") => &mut self.proc,
            // Of a directory that is only bound there others may change what a path leads to.
            Some("/sys") if fresh => &mut self.sys,
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

    fn lower_bind(&mut self, plan: &mut Builder, entry: &Entry, copy: Option<Slot>) -> Result<Slot> {
        let mount = match copy {
            Some(mount) => mount,
            None => entry.bind_source().lower(plan, self.surroundings, self.cut, &mut self.maps)?,
        };
        self.lower_attributes(plan, entry, mount, copy.is_some());
        if entry.destination == Path::new("/proc") {
            plan.push(OpCode::CheckFilesystem, &[mount.into(), PROC_MAGIC], ("check that it is a proc: ", &entry.name))
                .hint(libc::EPROTO, "only a proc file system may be mounted on /proc");
        }
        Ok(mount)
    }

    /// Changes what is mounted at the destination: its options, and what its file system itself reads.
    fn lower_remount(&self, plan: &mut Builder, entry: &Entry) -> Result<()> {
        let (place, path) = (plan.slot(), plan.text(entry.destination.as_os_str().as_encoded_bytes()));
        let flags = libc::O_PATH as u32;
        plan.push(OpCode::OpenBelow, &[self.root.into(), path, flags, place.into()], ("open ", &entry.name));
        if entry.options.bind.is_none() && !(entry.options.data.is_empty() && entry.options.superblock.is_empty()) {
            let context = plan.slot();
            plan.push(
                OpCode::PickFilesystem,
                &[place.into(), context.into()],
                ("take up the file system of ", &entry.name),
            );
            entry.lower_options(plan, context, "")?;
            plan.push(OpCode::ReconfigureFilesystem, &[context.into()], ("change the file system of ", &entry.name));
            plan.release(context);
        }
        self.lower_attributes(plan, entry, place, true);
        plan.release(place);
        Ok(())
    }

    /// What a copy of one of the host's mounts is to be otherwise; where it was `uncut`, also private.
    fn lower_attributes(&self, plan: &mut Builder, entry: &Entry, mount: Slot, uncut: bool) {
        let options = &entry.options;
        let wanted = options.propagation.filter(|wanted| uncut || wanted.kind != self.cut.kind());
        for recursive in [false, true] {
            let changes = if recursive { options.recursive } else { options.attributes };
            let kind = wanted.filter(|wanted| wanted.recursive == recursive).map_or(0, |wanted| wanted.kind);
            if !changes.is_empty() || kind != 0 {
                let arguments = [mount.into(), u32::from(recursive), changes.set, changes.clear, kind];
                plan.push(OpCode::MountAttributes, &arguments, ("set the options of ", &entry.name))
                    .hint(libc::EPERM, "the mount is locked: the user namespace may not lift its options")
                    .hint(libc::EINVAL, "nothing is mounted there");
            }
        }
    }

    /// In a user namespace without a network namespace of its own there is no new sysfs: the host's is bound.
    fn lower_host_sys(&self, plan: &mut Builder, entry: &Entry) -> Slot {
        let (path, mount) = (plan.text("/sys"), plan.slot());
        let arguments = [path, libc::AT_RECURSIVE as u32, mount.into()];
        plan.push(OpCode::CloneHost, &arguments, ("bind the host's /sys for ", &entry.name));
        self.lower_attributes(plan, entry, mount, false);
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
        .hint(libc::EINVAL, "one of the two is a directory and the other is not")
        .hint(libc::ELOOP, "a link stands where none may")
        .hint(libc::EXDEV, "the destination lies inside /proc")
        .hint(libc::EROFS, "the destination does not exist, and cannot be made");
}

/// Makes a link like the source at the destination.
fn lower_link(plan: &mut Builder, entry: &Entry, target: &[u8], root: Slot) {
    let parent = entry.destination.parent().unwrap_or(Path::new("/"));
    let name = entry.destination.file_name().unwrap_or_default();
    let (directory, path) = (plan.slot(), plan.text(parent.as_os_str().as_encoded_bytes()));
    let what = ("open the directory of ", &entry.name);
    plan.push(OpCode::MakeDirectories, &[root.into(), path, 0o755, directory.into()], what);
    let (name, target) = (plan.text(name.as_encoded_bytes()), plan.text(target));
    plan.push(OpCode::MakeLink, &[directory.into(), name, target], ("make the link ", &entry.name))
        .hint(libc::EEXIST, "the destination exists already");
    plan.release(directory);
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
            match value {
                Some(layers) if kind == "overlay" && key == "lowerdir" && layers.len() > VALUE_LIMIT => {
                    self.lower_layers(plan, context, layers)?;
                }
                Some(value) if value.len() > VALUE_LIMIT => return Err(self.overlong(key)),
                value => self.lower_option(plan, context, key, value.as_deref().map(str::as_bytes)),
            }
        }
        if let Some(label) = &self.label {
            self.lower_option(plan, context, "context", Some(label.as_bytes()));
        }
        Ok(())
    }

    /// Layers of an overlay one by one, where all of them are too long for one option (since kernel 6.5).
    fn lower_layers(&self, plan: &mut Builder, context: Slot, layers: &str) -> Result<()> {
        for layer in layers.split(':') {
            // An empty one, or an escape, means something else here.
            if layer.is_empty() || layer.contains('\\') || layer.len() > VALUE_LIMIT {
                return Err(self.overlong("lowerdir"));
            }
            self.lower_option(plan, context, "lowerdir+", Some(layer.as_bytes()));
        }
        Ok(())
    }

    fn overlong(&self, key: &str) -> Error {
        Error::invalid(format!("{}: option {key} is longer than {VALUE_LIMIT} bytes", self.name))
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
