//! Mounts of type `cgroup`: the container's own groups, never another's.

use super::Lowering;
use super::entry::Entry;
use super::lower::lower_attach;
use crate::isolate::filesystem::{mount_with, pure_cgroup_v2};
use crate::plan::op::OpCode;
use crate::plan::{Builder, Slot};
use crate::{Error, Result};
use std::path::Path;

/// Where the host's hierarchies are.
const TOP: &str = "/sys/fs/cgroup";

/// Lowers a mount of type `cgroup` or `cgroup2`.
pub(super) fn lower(plan: &mut Builder, entry: &Entry, lowering: &Lowering<'_>) -> Result<()> {
    if pure_cgroup_v2() { lower_unified(plan, entry, lowering) } else { lower_hierarchies(plan, entry, lowering) }
}

/// Version 2: a new mount shows the root of the control group namespace, which is the container's group; without such a
/// namespace the group's directory is bound.
fn lower_unified(plan: &mut Builder, entry: &Entry, lowering: &Lowering<'_>) -> Result<()> {
    let attributes = entry.options.attributes.set | entry.options.recursive.set;
    let mount = if lowering.surroundings.own_cgroup_namespace {
        let (mount, kind) = (plan.slot(), plan.text("cgroup2"));
        plan.push(OpCode::OpenFilesystem, &[kind, mount.into()], ("open the file system of ", &entry.name));
        let what = ("create the file system of ", &entry.name);
        plan.push(OpCode::MountFilesystem, &[mount.into(), attributes, mount.into()], what);
        mount
    } else {
        let group = lowering.surroundings.cgroups.first();
        let group = group.ok_or_else(|| no_group(entry))?;
        let mount = lower_bind(plan, entry, group);
        plan.push(OpCode::MountAttributes, &[mount.into(), 0, attributes, 0, 0], ("set the options of ", &entry.name));
        mount
    };
    lower_attach(plan, entry, mount, lowering.root);
    plan.release(mount);
    Ok(())
}

/// Version 1: a directory with the container's group of each hierarchy. A bind of the group's directory is what a new
/// mount in a control group namespace shows, too.
fn lower_hierarchies(plan: &mut Builder, entry: &Entry, lowering: &Lowering<'_>) -> Result<()> {
    let attributes = entry.options.attributes.set | entry.options.recursive.set;
    let top = mount_with(plan, "tmpfs", &[("mode", "755")], 0, "mount the directory of the control groups");
    lower_attach(plan, entry, top, lowering.root);
    for group in lowering.surroundings.cgroups {
        let within =
            group.strip_prefix(TOP).ok().and_then(|within| within.iter().next()).and_then(|name| name.to_str());
        let name = within.ok_or_else(|| {
            Error::invalid(format!("{}: the control group {} is not below {TOP}", entry.name, group.display()))
        })?;
        let text = plan.text(name);
        let what = (format!("make the directory {name} of "), &entry.name);
        plan.push(OpCode::MakeDirectory, &[top.into(), text, 0o755], what);
        let mount = lower_bind(plan, entry, group);
        let what = (format!("attach the control group {name} of "), &entry.name);
        plan.push(OpCode::AttachBelow, &[mount.into(), top.into(), text], what);
        plan.release(mount);
        // Controllers that share a hierarchy are found under the name of each.
        if name.contains(',') {
            for controller in name.split(',') {
                let (link, target) = (plan.text(controller), plan.text(name));
                let what = (format!("make the link {controller} of "), &entry.name);
                plan.push(OpCode::MakeLink, &[top.into(), link, target], what);
            }
        }
    }
    // Only now: everything was made in it.
    let what = ("set the options of ", &entry.name);
    plan.push(OpCode::MountAttributes, &[top.into(), 1, attributes, 0, 0], what);
    plan.release(top);
    Ok(())
}

fn lower_bind(plan: &mut Builder, entry: &Entry, group: &Path) -> Slot {
    let (path, mount) = (plan.text(group.as_os_str().as_encoded_bytes()), plan.slot());
    plan.push(OpCode::CloneHost, &[path, 0, mount.into()], ("bind the control group of ", &entry.name));
    mount
}

fn no_group(entry: &Entry) -> Error {
    Error::invalid(format!("{}: the container has neither a control group nor a namespace of them", entry.name))
}
