//! `linux.maskedPaths` and `linux.readonlyPaths`.

use super::{Lowering, checked, clean};
use crate::isolate::filesystem::mount_with;
use crate::isolate::root::kernel_is_at_least;
use crate::plan::op::{OpCode, Reach};
use crate::plan::{Builder, Slot};
use crate::{Error, Result};
use oci_spec::runtime::Spec;
use std::path::Path;

/// The most paths of one of the lists.
const PATH_BUDGET: usize = 4096;

const COVER_ATTRIBUTES: u32 =
    (libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC | libc::MOUNT_ATTR_RDONLY) as u32;

/// A file system with what is laid over masked paths. Kernels before 6.15 copy no part of a mount that is attached
/// nowhere: there it lies below the root that is about to come, and goes away with the host's root, unless the mount
/// namespace is not the container's `own`. Detaching it costs a grace period of the kernel's more.
pub(super) fn lower_kit(plan: &mut Builder, spec: &Spec, below: Slot, own: bool) -> Option<Slot> {
    if masked(spec).is_empty() {
        return None;
    }
    let kit = mount_with(plan, "tmpfs", &[("mode", "755")], 0, "mount what is laid over masked paths");
    let attached = !copies_from_nowhere();
    if attached {
        plan.push(OpCode::Attach, &[kit.into(), below.into()], "attach what is laid over masked paths");
    }
    if attached && !own {
        let private = [kit.into(), 0, 0, 0, libc::MS_PRIVATE as u32];
        plan.push(OpCode::MountAttributes, &private, "cut off what is laid over masked paths");
    }
    let (file, directory) = (plan.text("file"), plan.text("directory"));
    plan.push(OpCode::MakeNode, &[kit.into(), file, libc::S_IFREG, 0], "make the cover of masked files");
    plan.push(OpCode::MakeDirectory, &[kit.into(), directory, 0o555], "make the cover of masked directories");
    plan.push(OpCode::MountAttributes, &[kit.into(), 0, COVER_ATTRIBUTES, 0, 0], "make the covers read-only");
    Some(kit)
}

/// Whether the kernel copies parts of a mount that is attached nowhere.
pub(super) fn copies_from_nowhere() -> bool {
    kernel_is_at_least(6, 15)
}

/// Hides and write-protects. Paths below /proc and /sys are resolved from the mounts themselves, others in the root.
pub(super) fn lower(plan: &mut Builder, spec: &Spec, lowering: &Lowering<'_>, kit: Option<Slot>) -> Result<()> {
    let read_only = spec.linux().as_ref().and_then(|linux| linux.readonly_paths().as_deref()).unwrap_or_default();
    for (list, field) in [(read_only, "linux.readonlyPaths"), (masked(spec), "linux.maskedPaths")] {
        if list.len() > PATH_BUDGET {
            return Err(Error::invalid(format!("{field}: {} paths, more than {PATH_BUDGET}", list.len())));
        }
    }
    for (index, path) in read_only.iter().enumerate() {
        let (base, text, reach) = place(plan, path, lowering, ("linux.readonlyPaths", index))?;
        let what = format!("linux.readonlyPaths: make read-only {path}");
        plan.push(OpCode::MakeReadOnly, &[base.into(), text, reach], what);
    }
    let Some(kit) = kit else { return Ok(()) };
    for (index, path) in masked(spec).iter().enumerate() {
        let (base, text, reach) = place(plan, path, lowering, ("linux.maskedPaths", index))?;
        plan.push(OpCode::Mask, &[base.into(), text, kit.into(), reach], format!("linux.maskedPaths: mask {path}"));
    }
    Ok(())
}

fn place(plan: &mut Builder, path: &str, lowering: &Lowering<'_>, field: (&str, usize)) -> Result<(Slot, u32, u32)> {
    checked(Path::new(path), &format!("{}[{}]", field.0, field.1))?;
    if !path.starts_with('/') {
        return Err(Error::invalid(format!("{}[{}]: {path} is not an absolute path", field.0, field.1)));
    }
    let path = clean(Path::new(path));
    for (top, slot) in [("/proc", lowering.proc), ("/sys", lowering.sys)] {
        if let (Some(slot), Ok(rest)) = (slot, path.strip_prefix(top))
            && rest != Path::new("")
        {
            return Ok((slot, plan.text(rest.as_os_str().as_encoded_bytes()), Reach::OWN));
        }
    }
    if path == Path::new("/") {
        return Err(Error::invalid(format!("{}[{}]: / is the root itself", field.0, field.1)));
    }
    Ok((lowering.root, plan.text(path.as_os_str().as_encoded_bytes()), Reach::IN_ROOT))
}

fn masked(spec: &Spec) -> &[String] {
    spec.linux().as_ref().and_then(|linux| linux.masked_paths().as_deref()).unwrap_or_default()
}
