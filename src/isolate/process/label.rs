//! `process.apparmorProfile` and `process.selinuxLabel`: what the kernel gives the process at its exec.

use crate::plan::Builder;
use crate::plan::op::OpCode;
use crate::{Error, ErrorKind, Result};
use oci_spec::runtime::Process;
use std::path::Path;

/// What says that a security module is at work: AppArmor's parameter, SELinux's file system.
const APPARMOR: &str = "/sys/module/apparmor/parameters/enabled";
const SELINUX: &str = "/sys/fs/selinux/enforce";

/// Has the exec change to the profile and the label. Written by this process about itself; what it forks inherits it.
pub(super) fn lower_labels(plan: &mut Builder, process: &Process) -> Result<()> {
    if let Some(profile) = apparmor_profile(process)? {
        let (file, text) = (plan.text("attr/apparmor/exec"), plan.text(format!("exec {profile}")));
        plan.push(OpCode::WriteOwn, &[file, text], format!("set process.apparmorProfile to {profile:?}"))
            .hint(libc::ENOENT, "no such profile is loaded: see apparmor_parser(8)")
            .hint(libc::EACCES, "the profile of this process does not allow the change")
            .hint(libc::EPERM, "the profile of this process does not allow the change");
    }
    if let Some(label) = selinux_label(process)? {
        let (file, text) = (plan.text("attr/exec"), plan.text(label));
        plan.push(OpCode::WriteOwn, &[file, text], format!("set process.selinuxLabel to {label:?}"))
            .hint(libc::EINVAL, "the loaded policy does not know the label")
            .hint(libc::EACCES, "the policy does not allow this process the change");
    }
    Ok(())
}

/// Labels the keyrings that are made from here on; an empty label is the kernel's own choice.
pub(super) fn lower_key_label(plan: &mut Builder, process: &Process, on: bool) -> Result<()> {
    if let Some(label) = selinux_label(process)? {
        let (file, text) = (plan.text("attr/keycreate"), plan.text(if on { label } else { "" }));
        plan.push(OpCode::WriteOwn, &[file, text], "label the session keyring with process.selinuxLabel")
            .hint(libc::EINVAL, "the loaded policy does not know the label");
    }
    Ok(())
}

/// The profile to change to; an error where there is no AppArmor to enforce it.
pub(super) fn apparmor_profile(process: &Process) -> Result<Option<&str>> {
    let Some(profile) = process.apparmor_profile().as_deref().filter(|profile| !profile.is_empty()) else {
        return Ok(None);
    };
    check_text("process.apparmorProfile", profile)?;
    if std::fs::read_to_string(APPARMOR).is_ok_and(|enabled| enabled.starts_with('Y')) {
        return Ok(Some(profile));
    }
    if profile == "unconfined" {
        return Ok(None);
    }
    Err(Error::new(
        ErrorKind::Unsupported,
        format!("process.apparmorProfile: {profile:?} cannot be enforced: the host has no AppArmor"),
    )
    .hint("leave it out, or boot with lsm=...,apparmor"))
}

/// The label to change to; an error where there is no SELinux to enforce it.
pub(super) fn selinux_label(process: &Process) -> Result<Option<&str>> {
    let Some(label) = process.selinux_label().as_deref().filter(|label| !label.is_empty()) else { return Ok(None) };
    check_text("process.selinuxLabel", label)?;
    if Path::new(SELINUX).exists() {
        return Ok(Some(label));
    }
    Err(Error::new(
        ErrorKind::Unsupported,
        format!("process.selinuxLabel: {label:?} cannot be enforced: the host has no SELinux"),
    )
    .hint("leave it out, or boot with lsm=...,selinux"))
}

fn check_text(field: &str, text: &str) -> Result<()> {
    if text.chars().any(|c| c.is_control()) {
        return Err(Error::invalid(format!("{field}: {text:?} holds a control character")));
    }
    Ok(())
}
