//! `linux.devices`, the default devices and the links of /dev (runtime-spec, config-linux, "Devices", "Default Devices";
//! runtime-linux, "Dev symbolic links").

use super::entry::{Entry, Kind};
use super::{Lowering, checked, clean};
use crate::isolate::device::{DEVICES, LINKS};
use crate::plan::op::{OpCode, Tolerate};
use crate::plan::{Builder, Slot};
use crate::{Error, Result};
use oci_spec::runtime::{LinuxDevice, LinuxDeviceType, Spec};
use std::path::{Path, PathBuf};

/// The most devices of a configuration.
const DEVICE_BUDGET: usize = 4096;

/// A device to make.
struct Node {
    path: PathBuf,
    mode: u32,
    number: u32,
    owner: (u32, u32),
}

/// Fills /dev, unless it is a directory of the host's.
pub(super) fn lower(plan: &mut Builder, spec: &Spec, lowering: &Lowering<'_>, entries: &[Entry]) -> Result<()> {
    let nodes = nodes(spec)?;
    let host = |kind: &Kind| *kind == Kind::Bind || *kind == Kind::New("devtmpfs".into());
    if entries.iter().any(|entry| host(&entry.kind) && entry.destination == Path::new("/dev")) {
        return Ok(());
    }
    let (devices, path) = (plan.slot(), plan.text("/dev"));
    plan.push(OpCode::MakeDirectories, &[lowering.root.into(), path, 0o755, devices.into()], "open /dev")
        .hint(libc::EROFS, "the root has none and cannot be written to");
    for node in &nodes {
        if lowering.surroundings.makes_devices {
            lower_made(plan, node, lowering.root, devices);
        } else {
            lower_bound(plan, node, lowering.root);
        }
    }
    for (name, target) in LINKS.into_iter().chain(kernel_memory()) {
        let (text, link) = (plan.text(name), plan.text(target));
        let arguments = [devices.into(), text, link];
        if name == "ptmx" {
            // A device of this name in the root would open the host's terminals.
            plan.push(OpCode::PlaceLink, &arguments, ("make /dev/", name))
                .hint(libc::EISDIR, "a directory has its name")
                .hint(libc::EBUSY, "a mount has its name");
        } else {
            plan.push(OpCode::MakeLink, &arguments, ("make /dev/", name)).tolerate(Tolerate::EXISTS);
        }
    }
    plan.release(devices);
    Ok(())
}

/// The link for debuggers of the kernel, where the kernel has its memory in /proc.
fn kernel_memory() -> Option<(&'static str, &'static str)> {
    Path::new("/proc/kcore").exists().then_some(("core", "/proc/kcore"))
}

fn lower_made(plan: &mut Builder, node: &Node, root: Slot, devices: Slot) {
    let (base, path) = match node.path.strip_prefix("/dev") {
        Ok(path) if path.components().count() == 1 => (devices, path),
        _ => (root, node.path.as_path()),
    };
    let text = plan.text(path.as_os_str().as_encoded_bytes());
    let arguments = [base.into(), text, node.mode, node.number, node.owner.0, node.owner.1];
    plan.push(OpCode::MakeDevice, &arguments, format!("make the device {}", node.path.display()))
        .hint(libc::EPERM, "CAP_MKNOD is missing: use a user namespace")
        .hint(libc::EEXIST, "the root has something else in its place");
}

/// In a user namespace no device can be made: the host's is bound.
fn lower_bound(plan: &mut Builder, node: &Node, root: Slot) {
    let shown = node.path.display();
    let text = plan.text(node.path.as_os_str().as_encoded_bytes());
    let mount = plan.slot();
    plan.push(OpCode::CloneHost, &[text, 0, mount.into()], format!("bind the host's device {shown}"))
        .hint(libc::ENOENT, "the host has no such device, and in a user namespace none can be made");
    let kind = node.mode & libc::S_IFMT;
    let what = format!("check the host's device {shown}");
    plan.push(OpCode::CheckDevice, &[mount.into(), kind, node.number], what)
        .hint(libc::EEXIST, "the host has another device at this path, and in a user namespace none can be made");
    plan.push(OpCode::AttachAt, &[mount.into(), root.into(), text, 0], format!("attach the device {shown}"));
    plan.release(mount);
}

/// The default devices and those of the configuration, which replace a default one of the same path.
fn nodes(spec: &Spec) -> Result<Vec<Node>> {
    let listed = spec.linux().as_ref().and_then(|linux| linux.devices().as_deref()).unwrap_or_default();
    if listed.len() > DEVICE_BUDGET {
        return Err(Error::invalid(format!("linux.devices: {} of them, more than {DEVICE_BUDGET}", listed.len())));
    }
    let mut nodes = Vec::with_capacity(DEVICES.len() + listed.len());
    for (index, device) in listed.iter().enumerate() {
        let node = node(device).map_err(|error| error.context(format!("linux.devices[{index}]")))?;
        // The links below take these places.
        if node.path != Path::new("/dev/ptmx") {
            nodes.push(node);
        }
    }
    for (name, major, minor) in DEVICES {
        let path = Path::new("/dev").join(name);
        if !nodes.iter().any(|node| node.path == path) {
            let number = libc::makedev(major, minor) as u32;
            nodes.push(Node { path, mode: libc::S_IFCHR | 0o666, number, owner: (0, 0) });
        }
    }
    Ok(nodes)
}

fn node(device: &LinuxDevice) -> Result<Node> {
    checked(device.path(), "path")?;
    if !device.path().is_absolute() {
        return Err(Error::invalid(format!("path: {} is not an absolute path", device.path().display())));
    }
    let path = clean(device.path());
    let kind = match device.typ() {
        LinuxDeviceType::B => libc::S_IFBLK,
        LinuxDeviceType::C | LinuxDeviceType::U => libc::S_IFCHR,
        LinuxDeviceType::P => libc::S_IFIFO,
        LinuxDeviceType::A => return Err(Error::invalid("type: \"a\" is a rule for devices, not one of them")),
    };
    if path == Path::new("/") {
        return Err(Error::invalid("path: / is the root itself"));
    }
    // The kernel's numbers have 12 and 20 bits (makedev(3)).
    let number = |value: i64, limit: i64, what: &str| {
        if (0..limit).contains(&value) {
            Ok(value as u32)
        } else {
            Err(Error::invalid(format!("{what}: {value} is not below {limit}")))
        }
    };
    let number = if kind == libc::S_IFIFO {
        0
    } else {
        libc::makedev(number(device.major(), 1 << 12, "major")?, number(device.minor(), 1 << 20, "minor")?) as u32
    };
    let mode = device.file_mode().unwrap_or(0o666) & 0o7777;
    Ok(Node { path, mode: kind | mode, number, owner: (device.uid().unwrap_or(0), device.gid().unwrap_or(0)) })
}
