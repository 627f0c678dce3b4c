//! One container's group in every hierarchy it needs: made, joined, limited.

use super::apply::{self, MemoryLimit, Refusal};
use super::controller::{Controller, Version};
use super::directory::{Directory, components, is_gone};
use super::place::{self, Missing, Place};
use super::{Limits, Policy, Unenforced, layout};
use crate::error::{Context, During};
use crate::{Error, ErrorKind, Memory, Result};
use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

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
    missing: Vec<Missing>,
    /// Bytes; of a version 2 group, where [`Cgroup::arm`] writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    memory_max: Option<Memory>,
}

/// The part of a group that lies in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Group {
    pub(super) version: Version,
    pub(super) base: PathBuf,
    pub(super) controllers: Vec<Controller>,
}

impl Group {
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

/// Removes what has been made, unless creation succeeds.
struct Making(Option<CgroupRecord>);

impl Drop for Making {
    fn drop(&mut self) {
        if let Some(record) = self.0.take() {
            // The reason why creation failed is reported; nothing better could be done about a second one.
            let _ = Cgroup { record }.remove();
        }
    }
}

impl Cgroup {
    /// Makes the group `name` (`coracle/<id>`; 1 to 8 components) and writes its limits: of version 2, all but the
    /// memory limit, see [`arm`](Cgroup::arm).
    ///
    /// Without limits, a machine on which no group can be had gives an absent one: [`join`](Cgroup::join) is empty, and
    /// statistics are `Unsupported` errors. With limits, that is an error or, with [`Policy::BestEffort`], the list of
    /// what is not enforced.
    ///
    /// # Errors
    /// `InvalidInput`: a name or a limit that makes no sense. `AlreadyExists`: the group exists. `Unsupported`: a
    /// limit cannot be enforced here; the hint says what would help.
    pub fn create(name: &str, limits: &Limits, policy: Policy) -> Result<(Cgroup, Vec<Unenforced>)> {
        if components(name).is_none() {
            return Err(Error::invalid(format!("control group name {name:?} is not safe as a path in a hierarchy")));
        }
        limits.check()?;
        let (places, missing) = find(limits.io_weight.is_some());
        let empty = CgroupRecord { name: name.to_owned(), groups: Vec::new(), missing, memory_max: None };
        let mut making = Making(Some(empty));
        let mut refusals = Vec::new();
        if let Some(record) = &mut making.0 {
            for place in places {
                refusals.extend(record.add(place, limits).context(|| format!("create control group {name}"))?);
            }
        }
        let unenforced = match &making.0 {
            Some(record) => judge(record, &refusals, limits, policy)?,
            None => Vec::new(),
        };
        match making.0.take() {
            Some(record) => Ok((Cgroup { record }, unenforced)),
            None => Err(Error::new(ErrorKind::Os, "create control group")),
        }
    }

    /// Takes up a group that another process has made. What is wrong with it shows at its first use.
    pub fn open(record: &CgroupRecord) -> Cgroup {
        Cgroup { record: record.clone() }
    }

    /// The group `name` wherever [`create`](Cgroup::create) makes one: for removing what a process had begun to make when
    /// it was killed, and so could not record.
    pub(crate) fn begun(name: &str) -> Cgroup {
        let (places, missing) = find(true);
        let group = |place: Place| Group { version: place.version, base: place.base, controllers: place.controllers };
        let groups = places.into_iter().map(group).collect();
        Cgroup { record: CgroupRecord { name: name.to_owned(), groups, missing, memory_max: None } }
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
        let Some(memory) = self.record.memory_max else { return Ok(()) };
        let (_, directory) = self.directory(Controller::Memory)?;
        apply::memory_max(&directory, memory).during(|| self.step(&format!("set the memory limit of {memory} for")))
    }

    /// Changes the limits of the live group: those that are given; all others stay as they are. The memory limit is in
    /// force at once.
    ///
    /// # Errors
    /// As [`create`](Cgroup::create). With [`Policy::Strict`] the limits before the one that was refused are changed.
    pub fn update(&self, limits: &Limits, policy: Policy) -> Result<Vec<Unenforced>> {
        limits.check()?;
        let mut refusals = Vec::new();
        for group in &self.record.groups {
            let directory = group.open(&self.record.name).during(|| self.step("open"))?;
            refusals.extend(apply::apply(group.version, &directory, &group.controllers, limits, MemoryLimit::Now));
        }
        judge(&self.record, &refusals, limits, policy)
    }

    /// The directories of the group, one in each hierarchy.
    pub fn directories(&self) -> Vec<PathBuf> {
        self.record.groups.iter().map(|group| group.base.join(&self.record.name)).collect()
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
    pub(super) fn group_of(&self, controller: Controller) -> Option<&Group> {
        self.groups.iter().find(|group| group.controllers.contains(&controller))
    }

    fn unavailable(&self, controller: Controller) -> Error {
        let message = format!("control group {} has no {controller} controller", self.name);
        match self.missing.iter().find(|missing| missing.controller == controller) {
            Some(missing) => Error::new(ErrorKind::Unsupported, format!("{message}: {}", missing.reason))
                .hint(missing.remedy.clone()),
            None => Error::new(ErrorKind::Unsupported, message).hint("ask for a limit of it when creating the group"),
        }
    }

    /// Makes the group in one hierarchy and writes its limits there. A hierarchy that refuses is a missing controller,
    /// about which the limits and the policy decide.
    fn add(&mut self, place: Place, limits: &Limits) -> Result<Vec<Refusal>> {
        let base = place.base.display().to_string();
        let (directory, refused) = match place.make(&self.name) {
            Ok(made) => made,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Error::new(ErrorKind::AlreadyExists, format!("it exists in {base}")));
            }
            Err(error) => {
                let lost = place.controllers.iter().map(|&controller| Missing {
                    controller,
                    reason: format!("making a group in {base}: {error}"),
                    remedy: "run as root, or have a writable group delegated".to_owned(),
                });
                self.missing.extend(lost);
                return Ok(Vec::new());
            }
        };
        let mut controllers = place.controllers;
        for (controller, error) in refused {
            controllers.retain(|held| *held != controller);
            let reason = format!("enabling the {controller} controller in {base}: {error}");
            let remedy = "have the group delegated, with systemd: Delegate=yes".to_owned();
            self.missing.push(Missing { controller, reason, remedy });
        }
        if place.version == Version::V2 && controllers.contains(&Controller::Memory) {
            self.memory_max = limits.memory;
        }
        let refusals = apply::apply(place.version, &directory, &controllers, limits, MemoryLimit::Later);
        self.groups.push(Group { version: place.version, base: place.base, controllers });
        Ok(refusals)
    }
}

/// The places for the limits, and for the statistics that are always wanted. Those of block devices, unless they are
/// limited (`io`), come only where they cost no hierarchy more.
fn find(io: bool) -> (Vec<Place>, Vec<Missing>) {
    let hierarchies = layout::detect();
    let mut wanted = Controller::ALL.to_vec();
    if !io && !hierarchies.as_ref().is_ok_and(|all| layout::serves_io_unified(all)) {
        wanted.retain(|controller| *controller != Controller::Io);
    }
    match hierarchies {
        Ok(hierarchies) => place::find(&hierarchies, &wanted),
        Err(error) => {
            let lost = |controller| Missing {
                controller,
                reason: error.to_string(),
                remedy: error.remedy().unwrap_or("make /proc readable").to_owned(),
            };
            (Vec::new(), wanted.into_iter().map(lost).collect())
        }
    }
}

/// What the policy makes of the limits without a controller and of those the kernel refused.
fn judge(record: &CgroupRecord, refusals: &[Refusal], limits: &Limits, policy: Policy) -> Result<Vec<Unenforced>> {
    let asked = limits.asked();
    let lost = asked.iter().filter(|(_, controller)| record.group_of(*controller).is_none());
    match policy {
        Policy::Strict => {
            let names: Vec<&str> = lost.clone().map(|(name, _)| *name).collect();
            if let Some((_, controller)) = lost.clone().next() {
                let what = if names.len() == 1 { "limit" } else { "limits" };
                let context = format!("{what} {} cannot be enforced", names.join(", "));
                return Err(record.unavailable(*controller).context(context));
            }
            match refusals.first() {
                Some(refusal) => Err(refusal.error().context(format!("control group {}", record.name))),
                None => Ok(Vec::new()),
            }
        }
        Policy::BestEffort => {
            let lost = lost.map(|(name, controller)| {
                let known = record.missing.iter().find(|missing| missing.controller == *controller);
                known.map_or_else(|| record.never_joined(name, *controller), |missing| missing.unenforced(name))
            });
            Ok(lost.chain(refusals.iter().map(Refusal::unenforced)).collect())
        }
    }
}

impl CgroupRecord {
    fn never_joined(&self, limit: &str, controller: Controller) -> Unenforced {
        Unenforced {
            limit: limit.to_owned(),
            reason: format!("control group {} was made without the {controller} controller", self.name),
            remedy: "ask for a limit of it when creating the group".to_owned(),
        }
    }
}
