//! /proc and /sys: fresh and private, their dangerous parts masked through the descriptors of the very mounts.

use crate::plan::op::{OpCode, Reach, Tolerate};
use crate::plan::{Builder, Slot};

/// The slots of what was mounted, for masks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MountTargets {
    /// The container's own /proc.
    pub(crate) proc: Slot,
    /// The container's own /sys.
    pub(crate) sys: Slot,
    /// What is bound over masked paths is made here.
    pub(crate) kit: Slot,
}

const NOSUID_NODEV_NOEXEC: u32 = (libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC) as u32;
const READ_ONLY: u32 = libc::MOUNT_ATTR_RDONLY as u32;

/// Mounts a fresh /proc.
pub(crate) fn lower_proc(plan: &mut Builder, root: Slot) -> Slot {
    let mount = mount_new(plan, "proc", NOSUID_NODEV_NOEXEC, "mount proc on /proc");
    plan.hint(libc::EPERM, "the outer container masks /proc, so the kernel allows no new one in a user namespace");
    attach(plan, root, mount, "/proc");
    mount
}

/// Mounts /sys, read-only: a fresh one, or the host's where the network namespace is the host's and not ours.
pub(crate) fn lower_sys(plan: &mut Builder, root: Slot, fresh: bool) -> Slot {
    let attributes = NOSUID_NODEV_NOEXEC | READ_ONLY;
    let mount = if fresh {
        mount_new(plan, "sysfs", attributes, "mount sysfs on /sys")
    } else {
        let (host, mount) = (plan.slot(), plan.slot());
        let path = plan.text("/sys");
        plan.push(OpCode::OpenHost, &[path, libc::O_PATH as u32, host.into()], "open the host's /sys");
        plan.push(OpCode::CloneMount, &[host.into(), 1, mount.into()], "bind the host's /sys");
        plan.push(OpCode::MountAttributes, &[mount.into(), 1, attributes, 0, 0], "make /sys read-only");
        mount
    };
    attach(plan, root, mount, "/sys");
    if fresh && pure_cgroup_v2() {
        let cgroup = mount_new(plan, "cgroup2", attributes, "mount cgroup2 on /sys/fs/cgroup");
        let target = plan.slot();
        let path = plan.text("fs/cgroup");
        plan.push(
            OpCode::OpenBelow,
            &[mount.into(), path, (libc::O_PATH | libc::O_DIRECTORY) as u32, target.into()],
            "open /sys/fs/cgroup",
        )
        .tolerate(Tolerate::MISSING);
        plan.push(OpCode::Attach, &[cgroup.into(), target.into()], "attach /sys/fs/cgroup");
    }
    mount
}

/// Hides `masked` and makes `read_only` read-only. Paths below /proc and /sys are resolved from the mounts themselves.
pub(crate) fn lower_masks(
    plan: &mut Builder,
    root: Slot,
    targets: MountTargets,
    masked: &[&'static str],
    read_only: &[&'static str],
) {
    let base = |path: &'static str| -> (Slot, &'static str, u32) {
        for (prefix, slot) in [("/proc/", targets.proc), ("/sys/", targets.sys)] {
            if let Some(rest) = path.strip_prefix(prefix) {
                return (slot, rest, Reach::OWN);
            }
        }
        (root, path.trim_start_matches('/'), Reach::STRAIGHT)
    };
    for path in read_only {
        let (slot, rest, own) = base(path);
        let text = plan.text(rest);
        plan.push(OpCode::MakeReadOnly, &[slot.into(), text, own], ("make read-only ", *path));
    }
    if masked.is_empty() {
        return;
    }
    let covers = targets.kit;
    let (file, directory) = (plan.text("file"), plan.text("directory"));
    plan.push(OpCode::MakeNode, &[covers.into(), file, libc::S_IFREG, 0], "make the cover of masked files");
    plan.push(OpCode::MakeDirectory, &[covers.into(), directory, 0o555], "make the cover of masked directories");
    let attributes = NOSUID_NODEV_NOEXEC | READ_ONLY;
    plan.push(OpCode::MountAttributes, &[covers.into(), 0, attributes, 0, 0], "make the covers read-only");
    for path in masked {
        let (slot, rest, own) = base(path);
        let text = plan.text(rest);
        plan.push(OpCode::Mask, &[slot.into(), text, covers.into(), own], ("mask ", *path));
    }
}

/// A new instance of file system `kind`, detached.
pub(super) fn mount_new(plan: &mut Builder, kind: &str, attributes: u32, what: &'static str) -> Slot {
    mount_with(plan, kind, &[], attributes, what)
}

/// A new instance of file system `kind` with options, detached.
pub(super) fn mount_with(
    plan: &mut Builder,
    kind: &str,
    options: &[(&str, &str)],
    attributes: u32,
    what: &'static str,
) -> Slot {
    let (context, mount) = (plan.slot(), plan.slot());
    let text = plan.text(kind);
    plan.push(OpCode::OpenFilesystem, &[text, context.into()], what);
    for (key, value) in options {
        let (key, value) = (plan.text(key), plan.text(value));
        plan.push(OpCode::FilesystemOption, &[context.into(), key, value], what);
    }
    plan.push(OpCode::MountFilesystem, &[context.into(), attributes, mount.into()], what);
    mount
}

/// Attaches a mount on a directory of the root, which must not be a link: what is mounted there must be found there
/// (CVE-2019-19921).
fn attach(plan: &mut Builder, root: Slot, mount: Slot, path: &'static str) {
    let target = open_mount_point(plan, root, path);
    plan.push(OpCode::Attach, &[mount.into(), target.into()], ("attach ", path));
}

/// Opens a directory at the top of the root, made where it is missing.
pub(super) fn open_mount_point(plan: &mut Builder, root: Slot, path: &'static str) -> Slot {
    let target = plan.slot();
    let name = plan.text(path.trim_start_matches('/'));
    plan.push(OpCode::MakeDirectory, &[root.into(), name, 0o755], ("make in the root ", path))
        .tolerate(Tolerate::EXISTS)
        .hint(libc::EROFS, "the root has none and cannot be written to");
    let flags = (libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW) as u32;
    plan.push(OpCode::OpenBelow, &[root.into(), name, flags, target.into()], ("open in the root ", path))
        .hint(libc::ENOTDIR, "the root has a link or a file in its place")
        .hint(libc::ELOOP, "the root has a link in its place");
    target
}

pub(super) fn pure_cgroup_v2() -> bool {
    static ANSWER: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *ANSWER.get_or_init(|| std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists())
}
