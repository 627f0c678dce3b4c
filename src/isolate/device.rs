//! /dev: a private tmpfs with the few devices every program may use, terminals, shared memory, message queues.

use super::filesystem::{mount_new, mount_with, open_mount_point};
use crate::plan::op::OpCode;
use crate::plan::{Builder, Slot};

/// The devices of the runtime specification, "Default Devices": name, major, minor.
pub(super) const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// The links of the runtime specification, "Dev symbolic links".
pub(super) const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

const NOSUID_NOEXEC: u32 = (libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC) as u32;
const NOSUID_NODEV_NOEXEC: u32 = NOSUID_NOEXEC | libc::MOUNT_ATTR_NODEV as u32;

/// Mounts and fills /dev.
///
/// Device files do not work in /dev itself: each is a mount of its own, so that a container that may make device files
/// (CAP_MKNOD is among the default capabilities) has no place where one of them would open. In a user namespace none
/// can be made: the host's are bound.
///
/// Returns the slot of a file system of the engine's own from which files can be bound.
pub(crate) fn lower_devices(plan: &mut Builder, root: Slot, user_namespace: bool, shared_memory: u64) -> Slot {
    let attributes = (libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_STRICTATIME) as u32;
    let devices = mount_with(plan, "tmpfs", &[("mode", "755"), ("size", "65536k")], attributes, "mount tmpfs on /dev");
    for (name, target) in LINKS {
        let (text, target) = (plan.text(name), plan.text(target));
        plan.push(OpCode::MakeLink, &[devices.into(), text, target], ("make /dev/", name));
    }
    for name in ["pts", "shm", "mqueue"] {
        let text = plan.text(name);
        plan.push(OpCode::MakeDirectory, &[devices.into(), text, 0o755], ("make /dev/", name));
    }
    let target = open_mount_point(plan, root, "/dev");
    plan.push(OpCode::Attach, &[devices.into(), target.into()], "attach /dev");
    let kit = lower_kit(plan, devices, !user_namespace);
    let nodes = if user_namespace { open_host_devices(plan) } else { kit };
    for (name, ..) in DEVICES {
        let text = plan.text(name);
        plan.push(OpCode::BindFile, &[devices.into(), text, nodes.into()], ("bind /dev/", name));
    }
    mount_below(plan, devices, user_namespace, shared_memory);
    kit
}

fn open_host_devices(plan: &mut Builder) -> Slot {
    let host = plan.slot();
    let path = plan.text("/dev");
    let flags = (libc::O_PATH | libc::O_DIRECTORY) as u32;
    plan.push(OpCode::OpenHost, &[path, flags, host.into()], "open the host's /dev");
    host
}

/// A file system with the files that are bound into the container. Kernels before 6.15 copy no part of a detached
/// mount, so it is attached: to /dev/pts, where the terminals' own file system is mounted over it.
fn lower_kit(plan: &mut Builder, devices: Slot, nodes: bool) -> Slot {
    let kit = mount_with(plan, "tmpfs", &[("mode", "755")], NOSUID_NOEXEC, "mount what is bound into the container");
    for (name, major, minor) in DEVICES.into_iter().filter(|_| nodes) {
        let text = plan.text(name);
        let number = libc::makedev(major, minor) as u32;
        let mode = libc::S_IFCHR | 0o666;
        plan.push(OpCode::MakeNode, &[kit.into(), text, mode, number], ("make /dev/", name))
            .hint(libc::EPERM, "CAP_MKNOD is missing: use a user namespace");
    }
    attach_below(plan, devices, "pts", kit);
    kit
}

fn attach_below(plan: &mut Builder, devices: Slot, name: &'static str, mount: Slot) {
    let text = plan.text(name);
    plan.push(OpCode::AttachBelow, &[mount.into(), devices.into(), text], ("attach /dev/", name));
}

fn mount_below(plan: &mut Builder, devices: Slot, user_namespace: bool, shared_memory: u64) {
    // Group 5 (tty) has no counterpart in a map of a single id.
    let terminals: &[_] = &[("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")];
    let terminals = if user_namespace { &terminals[..2] } else { terminals };
    let terminals = mount_with(plan, "devpts", terminals, NOSUID_NOEXEC, "mount devpts on /dev/pts");
    let size = shared_memory.to_string();
    let memory = [("mode", "1777"), ("size", size.as_str())];
    let memory = mount_with(plan, "tmpfs", &memory, NOSUID_NODEV_NOEXEC, "mount tmpfs on /dev/shm");
    let queues = mount_new(plan, "mqueue", NOSUID_NODEV_NOEXEC, "mount mqueue on /dev/mqueue");
    for (name, mount) in [("pts", terminals), ("shm", memory), ("mqueue", queues)] {
        attach_below(plan, devices, name, mount);
    }
}
