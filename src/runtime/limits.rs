//! Where the control group of a container is, and what is written into it.

use crate::Result;
use crate::cgroup::{CgroupsPath, Policy, Resources};
use oci_spec::runtime::{LinuxResources, Spec};
use std::path::Path;

/// The control group of a configuration.
#[derive(Debug)]
pub(super) struct Placement {
    pub(super) path: CgroupsPath,
    pub(super) resources: Resources,
    pub(super) policy: Policy,
}

impl Placement {
    /// That of the container `id`. Without privileges (`rootless`, or as it is found) a container that asks for no limit
    /// may go without a group, and devices are not governed: it could not make any.
    ///
    /// # Errors
    /// `InvalidInput`, naming the field.
    pub(super) fn of(spec: &Spec, id: &str, rootless: Option<bool>) -> Result<Placement> {
        let path = cgroups_path(spec, id)?;
        let asked = spec.linux().as_ref().and_then(|linux| linux.resources().clone()).unwrap_or_default();
        if !rootless.unwrap_or_else(|| !is_privileged()) {
            let resources = Resources::from_runtime_spec(&asked)?.or_default_devices();
            return Ok(Placement { path, resources, policy: Policy::Strict });
        }
        let mut asked = asked;
        asked.set_devices(None);
        let policy = if asked == LinuxResources::default() { Policy::BestEffort } else { Policy::Strict };
        Ok(Placement { path, resources: Resources::from_runtime_spec(&asked)?, policy })
    }
}

/// `linux.cgroupsPath`; without one, a group of the name of the container below those of this library.
pub(super) fn cgroups_path(spec: &Spec, id: &str) -> Result<CgroupsPath> {
    let given = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().as_deref());
    match given.filter(|path| !path.as_os_str().is_empty()) {
        Some(path) => CgroupsPath::parse(path),
        None => CgroupsPath::parse(Path::new(&format!("coracle/{id}"))),
    }
}

/// Whether the caller is root of the machine, not only of a user namespace.
fn is_privileged() -> bool {
    let all = |map: String| map.split_whitespace().eq(["0", "0", "4294967295"]);
    nix::unistd::geteuid().is_root() && std::fs::read_to_string("/proc/thread-self/uid_map").is_ok_and(all)
}
