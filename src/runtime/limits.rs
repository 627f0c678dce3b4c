//! Where the control group of a container is, and what is written into it.

use super::Runtime;
use crate::cgroup::{Cgroup, CgroupRecord, CgroupsPath, Intended, Policy, Resources, ScopeUnit, SystemdBus};
use crate::launch::{Process, start_placeholder};
use crate::{Error, Result};
use oci_spec::runtime::{LinuxResources, Spec};
use std::path::Path;

/// What the annotations begin with that are properties of systemd's unit, as with runc.
const PROPERTY: &str = "org.systemd.property.";

/// The control group of a configuration.
#[derive(Debug)]
pub(super) struct Placement {
    location: Location,
    resources: Resources,
    policy: Policy,
}

#[derive(Debug)]
enum Location {
    /// We make it.
    Path(Intended),
    /// This systemd makes it.
    Scope(Box<ScopeUnit>, SystemdBus),
}

impl Placement {
    /// That of the container `id`. Without privileges (where the runtime is told so, or as it is found) a container that
    /// asks for no limit may go without a group, and devices are not governed: it could not make any.
    ///
    /// # Errors
    /// `InvalidInput`, naming the field.
    pub(super) fn of(spec: &Spec, id: &str, runtime: &Runtime) -> Result<Placement> {
        let privileged = !runtime.rootless.unwrap_or_else(|| !is_privileged());
        let location = match runtime.systemd_cgroup {
            true => scope(spec, id, privileged)?,
            false => Location::Path(Intended::at(&cgroups_path(spec, id)?)),
        };
        let mut asked = spec.linux().as_ref().and_then(|linux| linux.resources().clone()).unwrap_or_default();
        // Root of the machine can make devices, whatever it is told to be.
        let governs_devices = privileged || is_privileged();
        if !governs_devices {
            asked.set_devices(None);
        }
        let dispensable = !privileged && asked == LinuxResources::default();
        let policy = if dispensable { Policy::BestEffort } else { Policy::Strict };
        let mut resources = Resources::from_runtime_spec(&asked)?;
        if governs_devices {
            resources = resources.or_default_devices();
        }
        Ok(Placement { location, resources, policy })
    }

    /// What deleting the container has to find where this process is killed in the middle of making the group. A scope
    /// goes with its last process.
    pub(super) fn intended(&self, id: &str) -> CgroupRecord {
        match &self.location {
            Location::Path(intended) => intended.record(),
            Location::Scope(..) => Cgroup::absent(id).record(),
        }
    }

    /// The group, and the process that holds it where it would go without one: until the container's own is in it.
    pub(super) fn make(self) -> Result<(Cgroup, Option<Process>)> {
        let Placement { location, resources, policy } = self;
        match location {
            Location::Path(intended) => intended.make(&resources, policy).map(|(group, _)| (group, None)),
            Location::Scope(scope, bus) => {
                let holder = start_placeholder()?;
                let (group, _) = Cgroup::around(&scope, &bus, holder.pid(), &resources, policy)?;
                Ok((group, Some(holder)))
            }
        }
    }
}

/// `slice:prefix:name`; without `linux.cgroupsPath`, the unit `coracle-<id>.scope`.
fn scope(spec: &Spec, id: &str, privileged: bool) -> Result<Location> {
    let (slice, bus) = match privileged {
        true => ("system.slice", SystemdBus::System),
        false => ("user.slice", SystemdBus::User),
    };
    let own = format!(":coracle:{id}");
    let path = given_path(spec).map_or(Ok(own.as_str()), |path| {
        path.to_str().ok_or_else(|| Error::invalid(format!("linux.cgroupsPath {}: it is not UTF-8", path.display())))
    })?;
    let mut scope = ScopeUnit::parse(path, slice)?.description(format!("coracle container {id}"));
    for (name, value) in spec.annotations().iter().flatten() {
        if let Some(name) = name.strip_prefix(PROPERTY) {
            scope = scope.property(name, value)?;
        }
    }
    Ok(Location::Scope(Box::new(scope), bus))
}

/// `linux.cgroupsPath`; without one, a group of the name of the container below those of this library.
pub(super) fn cgroups_path(spec: &Spec, id: &str) -> Result<CgroupsPath> {
    match given_path(spec) {
        Some(path) => CgroupsPath::parse(path),
        None => CgroupsPath::parse(Path::new(&format!("coracle/{id}"))),
    }
}

fn given_path(spec: &Spec) -> Option<&Path> {
    let given = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().as_deref());
    given.filter(|path| !path.as_os_str().is_empty())
}

/// Whether the caller is root of the machine, not only of a user namespace.
pub(super) fn is_privileged() -> bool {
    let all = |map: String| map.split_whitespace().eq(["0", "0", "4294967295"]);
    nix::unistd::geteuid().is_root() && std::fs::read_to_string("/proc/thread-self/uid_map").is_ok_and(all)
}
