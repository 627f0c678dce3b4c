//! /dev: a private tmpfs with the few devices every program may use, terminals, shared memory, message queues.

use super::filesystem::{mount_new, mount_with};
use crate::plan::op::OpCode;
use crate::plan::{Builder, Slot};

/// The devices of the runtime specification, "Default Devices": name, major, minor.
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// The links of the runtime specification, "Dev symbolic links".
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

const NOSUID_NOEXEC: u32 = (libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC) as u32;
const NOSUID_NODEV_NOEXEC: u32 = NOSUID_NOEXEC | libc::MOUNT_ATTR_NODEV as u32;

/// Mounts and fills /dev. In a user namespace devices cannot be made: the host's are bound.
pub(crate) fn lower_devices(plan: &mut Builder, root: Slot, user_namespace: bool, shared_memory: u64) {
    let attributes = libc::MOUNT_ATTR_NOSUID as u32 | libc::MOUNT_ATTR_STRICTATIME as u32;
    let devices = mount_with(plan, "tmpfs", &[("mode", "755"), ("size", "65536k")], attributes, "mount tmpfs on /dev");
    if !user_namespace {
        for (name, major, minor) in DEVICES {
            let text = plan.text(name);
            let number = libc::makedev(major, minor) as u32;
            let mode = libc::S_IFCHR | 0o666;
            plan.push(OpCode::MakeNode, &[devices.into(), text, mode, number], format!("make /dev/{name}"))
                .hint(libc::EPERM, "CAP_MKNOD is missing: use a user namespace");
        }
    }
    for (name, target) in LINKS {
        let (text, target) = (plan.text(name), plan.text(target));
        plan.push(OpCode::MakeLink, &[devices.into(), text, target], format!("make /dev/{name}"));
    }
    for name in ["pts", "shm", "mqueue"] {
        let text = plan.text(name);
        plan.push(OpCode::MakeDirectory, &[devices.into(), text, 0o755], format!("make /dev/{name}"));
    }
    let target = plan.slot();
    let path = plan.text("/dev");
    plan.push(OpCode::MakeDirectories, &[root.into(), path, 0o755, target.into()], "open /dev of the root");
    plan.push(OpCode::Attach, &[devices.into(), target.into()], "attach /dev");
    if user_namespace {
        bind_devices(plan, devices);
    }
    mount_below(plan, devices, user_namespace, shared_memory);
}

fn bind_devices(plan: &mut Builder, devices: Slot) {
    for (name, ..) in DEVICES {
        let (host, mount, target) = (plan.slot(), plan.slot(), plan.slot());
        let (path, text) = (plan.text(format!("/dev/{name}")), plan.text(name));
        plan.push(OpCode::OpenHost, &[path, libc::O_PATH as u32, host.into()], format!("open the host's /dev/{name}"));
        plan.push(OpCode::CloneMount, &[host.into(), 0, mount.into()], format!("bind /dev/{name}"));
        plan.push(OpCode::MakeFile, &[devices.into(), text, 0o666, target.into()], format!("make /dev/{name}"));
        plan.push(OpCode::Attach, &[mount.into(), target.into()], format!("attach /dev/{name}"));
    }
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
        let target = plan.slot();
        let text = plan.text(name);
        let flags = (libc::O_PATH | libc::O_DIRECTORY) as u32;
        plan.push(OpCode::OpenBelow, &[devices.into(), text, flags, target.into()], format!("open /dev/{name}"));
        plan.push(OpCode::Attach, &[mount.into(), target.into()], format!("attach /dev/{name}"));
    }
}
