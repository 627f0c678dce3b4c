//! One container's group in every hierarchy it needs: joined, limited, changed.

use super::controller::{Controller, Version};
use super::directory::{Directory, is_gone};
use super::place::{Missing, Place};
use super::resources::Resources;
use super::systemd::Scope;
use super::write::{self, MemoryLimit, Target};
use super::{Limits, Policy, Unenforced, device, make};
use crate::error::During;
use crate::{Error, ErrorKind, Result};
use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// A group of processes in every hierarchy it needs. Holds no descriptor; dropping it leaves the group as it is.
#[derive(Debug, Clone)]
pub struct Cgroup {
    pub(super) record: CgroupRecord,
}

/// What another process needs to take up a [`Cgroup`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupRecord {
    pub(super) name: String,
    pub(super) groups: Vec<Group>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) missing: Vec<Missing>,
    /// Files of the version 2 group with what [`Cgroup::arm`] writes to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) later: Vec<(String, String)>,
    /// The unit that systemd has made for the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) scope: Option<Scope>,
}

/// The part of a group that lies in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Group {
    pub(super) version: Version,
    pub(super) base: PathBuf,
    pub(super) controllers: Vec<Controller>,
    /// Where the hierarchy is mounted.
    #[serde(default)]
    pub(super) mount: PathBuf,
    /// How many components of the name, from the top, were there before: those are not ours to remove.
    #[serde(default)]
    pub(super) kept: usize,
}

/// A group in one hierarchy, as [`Cgroup::hierarchies`] lists them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HierarchyGroup {
    /// The names of the controllers as in the options of a version 1 mount (`cpu`, `cpuacct`, `name=systemd`); empty
    /// for version 2.
    pub controllers: Vec<&'static str>,
    /// Where the host has the hierarchy mounted.
    pub mount_point: PathBuf,
    /// The group's directory: what the root of the hierarchy is for a container with its own control group namespace.
    pub directory: PathBuf,
}

impl Group {
    /// The group that is made at a place.
    pub(super) fn at(place: Place, kept: usize) -> Group {
        let Place { version, base, mount, controllers } = place;
        Group { version, base, controllers, mount, kept }
    }

    pub(super) fn open(&self, name: &str) -> io::Result<Directory> {
        Directory::open(&self.base)?.descend(name)
    }
}

/// What a process that is being started needs to be in the group from its first instruction on.
#[derive(Debug, Default)]
pub struct Join {
    /// The `tasks` files of the version 1 hierarchies, open for writing: a single-threaded process that writes `0` to
    /// each has joined.
    pub tasks: Vec<OwnedFd>,
    /// The directory of the version 2 group, for clone3's `CLONE_INTO_CGROUP`.
    pub directory: Option<OwnedFd>,
}

impl Cgroup {
    /// Takes up a group that another process has made. What is wrong with it shows at its first use.
    pub fn open(record: &CgroupRecord) -> Cgroup {
        Cgroup { record: record.clone() }
    }

    /// The group `name` wherever [`create`](Cgroup::create) makes one: for removing what a process had begun to make when
    /// it was killed, and so could not record.
    pub(crate) fn begun(name: &str) -> Cgroup {
        let (places, missing) = make::find(true);
        let groups = places.into_iter().map(|place| Group::at(place, 0)).collect();
        Cgroup { record: CgroupRecord { groups, ..CgroupRecord::empty(name, missing) } }
    }

    /// No group at all.
    pub(crate) fn absent(name: &str) -> Cgroup {
        Cgroup { record: CgroupRecord::empty(name, Vec::new()) }
    }

    /// What another process needs to take up the group.
    pub fn record(&self) -> CgroupRecord {
        self.record.clone()
    }

    /// Whether there is no group at all, because none could be had and no limit asked for one.
    pub fn is_absent(&self) -> bool {
        self.record.groups.is_empty()
    }

    /// What a process that is being started needs to join; empty for an absent group.
    pub fn join(&self) -> Result<Join> {
        self.join_below(None)
    }

    /// As [`join`](Cgroup::join), for the group `below` this one, which must exist in each hierarchy.
    pub fn join_below(&self, below: Option<&str>) -> Result<Join> {
        let mut join = Join::default();
        for group in &self.record.groups {
            let opened = group.open(&self.record.name);
            let directory = match below {
                Some(below) => opened
                    .and_then(|directory| directory.descend(below.trim_matches('/')))
                    .during(|| format!("open the group {below} of control group {}", self.record.name))?,
                None => opened.during(|| self.step("open"))?,
            };
            match group.version {
                Version::V1 => {
                    let tasks = directory.open_at("tasks", OFlag::O_WRONLY);
                    join.tasks.push(tasks.during(|| self.step("open tasks of"))?);
                }
                Version::V2 => join.directory = Some(directory.into_fd()),
            }
        }
        Ok(join)
    }

    /// As [`join`](Cgroup::join), for a process that is to be where `first`, a process of the group, is: a group of
    /// version 2 whose own groups have controllers takes no process in, and `first` has gone into one of those.
    pub(crate) fn join_beside(&self, first: i32) -> Result<Join> {
        let mut join = self.join()?;
        for group in self.record.groups.iter().filter(|group| group.version == Version::V2) {
            let directory = group.open(&self.record.name).during(|| self.step("open"))?;
            let divided = directory.read("cgroup.subtree_control").is_ok_and(|list| !list.trim().is_empty());
            let groups = std::fs::read_to_string(format!("/proc/{first}/cgroup")).unwrap_or_default();
            if let (true, Some(below)) = (divided, below(&group.base.join(&self.record.name), &groups)) {
                let opened = directory.descend(&below).during(|| self.step(&format!("open {below} of")))?;
                join.directory = Some(opened.into_fd());
            }
        }
        Ok(join)
    }

    /// Moves a running process, with all its threads, into the group. This waits for the kernel (about 10 ms per
    /// hierarchy on an idle machine): a process that is being started joins by [`join`](Cgroup::join).
    pub fn attach(&self, pid: i32) -> Result<()> {
        if pid <= 0 {
            return Err(Error::invalid(format!("process id {pid} is not positive")));
        }
        for group in &self.record.groups {
            let moved = group.open(&self.record.name).and_then(|group| group.write("cgroup.procs", &pid.to_string()));
            moved.during(|| self.step(&format!("move process {pid} into")))?;
        }
        Ok(())
    }

    /// Puts the memory limit of a version 2 group in force; to be called when the first process has executed the
    /// stage. Before that the child may share the memory of the host, and an out-of-memory kill in the group would take
    /// the host as well. Nothing is left to do for version 1, whose processes join after that point.
    pub fn arm(&self) -> Result<()> {
        let Some(group) = self.record.groups.iter().find(|group| group.version == Version::V2) else { return Ok(()) };
        for (file, value) in &self.record.later {
            let written = group.open(&self.record.name).and_then(|directory| directory.write(file, value));
            written.during(|| self.step(&format!("write {value} to {file} of")))?;
        }
        Ok(())
    }

    /// Changes the limits of the live group: those that are given; all others stay as they are. The memory limit is in
    /// force at once.
    ///
    /// # Errors
    /// As [`create`](Cgroup::create). With [`Policy::Strict`] the limits before the one that was refused are changed.
    pub fn update(&self, limits: &Limits, policy: Policy) -> Result<Vec<Unenforced>> {
        limits.check()?;
        self.change(&limits.resources(), policy)
    }

    /// Changes the resources of the live group, as [`update`](Cgroup::update) does with limits.
    pub fn change(&self, resources: &Resources, policy: Policy) -> Result<Vec<Unenforced>> {
        self.record.check_devices(resources)?;
        let mut refusals = Vec::new();
        for group in &self.record.groups {
            let directory = group.open(&self.record.name).during(|| self.step("open"))?;
            let target = Target { version: group.version, directory: &directory, held: &group.controllers };
            refusals.extend(write::write(&target, resources, MemoryLimit::Now).refusals);
        }
        let unenforced = make::judge(&self.record, &refusals, resources, policy)?;
        self.record.scope.as_ref().map_or(Ok(()), |scope| scope.change(resources))?;
        Ok(unenforced)
    }

    /// The directories of the group, one in each hierarchy.
    pub fn directories(&self) -> Vec<PathBuf> {
        self.record.groups.iter().map(|group| group.base.join(&self.record.name)).collect()
    }

    /// The group in each hierarchy, for those who show it to a container: of version 1, each is one mount, of the type
    /// `cgroup` with the controllers as its options, below `/sys/fs/cgroup` under the last component of the mount point.
    pub fn hierarchies(&self) -> Vec<HierarchyGroup> {
        let group = |group: &Group| HierarchyGroup {
            controllers: match group.version {
                Version::V1 => group.controllers.iter().map(|controller| controller.name_v1()).collect(),
                Version::V2 => Vec::new(),
            },
            mount_point: group.mount.clone(),
            directory: group.base.join(&self.record.name),
        };
        self.record.groups.iter().map(group).collect()
    }

    /// The group's directory in the hierarchy of `controller`.
    pub(super) fn directory(&self, controller: Controller) -> Result<(Version, Directory)> {
        match self.record.group_of(controller) {
            Some(group) => match group.open(&self.record.name) {
                Err(error) if is_gone(&error) => {
                    Err(Error::new(ErrorKind::NotFound, format!("control group {} is gone", self.record.name)))
                }
                opened => Ok((group.version, opened.during(|| self.step("open"))?)),
            },
            None => Err(self.record.unavailable(controller)),
        }
    }

    pub(super) fn step(&self, verb: &str) -> String {
        format!("{verb} control group {}", self.record.name)
    }
}

impl CgroupRecord {
    /// Of a group that is in no hierarchy yet.
    pub(super) fn empty(name: &str, missing: Vec<Missing>) -> CgroupRecord {
        CgroupRecord { name: name.to_owned(), groups: Vec::new(), missing, later: Vec::new(), scope: None }
    }

    /// Refuses a list of devices that the group's hierarchy cannot express, before anything is written.
    pub(super) fn check_devices(&self, resources: &Resources) -> Result<()> {
        match (&resources.devices, self.group_of(Controller::Devices)) {
            (Some(rules), Some(group)) if group.version == Version::V1 => device::check_exceptions(rules),
            _ => Ok(()),
        }
    }

    pub(super) fn group_of(&self, controller: Controller) -> Option<&Group> {
        self.groups.iter().find(|group| group.controllers.contains(&controller))
    }

    pub(super) fn unavailable(&self, controller: Controller) -> Error {
        let message = format!("control group {} has no {controller} controller", self.name);
        match self.missing.iter().find(|missing| missing.controller == controller) {
            Some(missing) => Error::new(ErrorKind::Unsupported, format!("{message}: {}", missing.reason))
                .hint(missing.remedy.clone()),
            None => Error::new(ErrorKind::Unsupported, message).hint("ask for a limit of it when creating the group"),
        }
    }
}
/// Where below the directory `group` a process is whose /proc/PID/cgroup (cgroups(7)) holds `groups`.
fn below(group: &Path, groups: &str) -> Option<String> {
    let path = Path::new(groups.lines().find_map(|line| line.strip_prefix("0::/"))?);
    let above = path.ancestors().find(|above| !above.as_os_str().is_empty() && group.ends_with(above))?;
    let below = path.strip_prefix(above).ok()?.to_str()?;
    (!below.is_empty()).then(|| below.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_below_its_group_is_found() {
        let group = Path::new("/sys/fs/cgroup/machine/box");
        let found = |groups: &str| below(group, groups);
        assert_eq!(found("5:pids:/x\n0::/machine/box/init.scope\n").as_deref(), Some("init.scope"));
        // As seen from a control group namespace.
        assert_eq!(found("0::/box/a/b\n").as_deref(), Some("a/b"));
        assert_eq!(found("0::/machine/box\n"), None);
        assert_eq!(found("0::/elsewhere/a\n"), None);
        assert_eq!(found("1:name=systemd:/machine/box/a\n"), None);
    }
}
