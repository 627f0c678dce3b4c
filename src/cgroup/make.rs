//! Making a group in every hierarchy it needs, or undoing what was made.

use super::controller::{Controller, Version};
use super::directory::{Directory, components};
use super::group::{Cgroup, CgroupRecord, Group};
use super::path::CgroupsPath;
use super::place::{self, Made, Missing, Occupant, Place};
use super::resources::{Asked, Resources};
use super::systemd::Scope;
use super::write::{self, MemoryLimit, Refusal, Target};
use super::{Limits, Policy, Unenforced, layout};
use crate::error::{Context, During};
use crate::{Error, ErrorKind, Result};
use std::io;

/// Removes what has been made, unless creation succeeds.
struct Making(Option<CgroupRecord>);

impl Drop for Making {
    fn drop(&mut self) {
        if let Some(mut record) = self.0.take() {
            let depth = record.name.split('/').count();
            record.groups.retain(|group| group.kept < depth);
            record.scope = None;
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
        let record = |missing| CgroupRecord::empty(name, missing);
        build(find(limits.io_weight.is_some()), record, Occupant::Refused, &limits.resources(), policy)
    }

    /// Makes the group at `linux.cgroupsPath` in every hierarchy that the machine has mounted, with the groups above
    /// it, and writes its resources as [`create`](Cgroup::create) does. In a version 1 hierarchy of processors and
    /// memory nodes the groups inherit those of the group above. A group that is there already is taken over, where
    /// nobody is in it; so are its settings.
    ///
    /// # Errors
    /// `InUse`: the group holds processes, or is suspended. `Unsupported`: a resource cannot be enforced here, or,
    /// with [`Policy::Strict`], no hierarchy at all can be written.
    pub fn at(path: &CgroupsPath, resources: &Resources, policy: Policy) -> Result<(Cgroup, Vec<Unenforced>)> {
        Intended::at(path).make(resources, policy)
    }
}

/// A group that is about to be made: who may be killed in the middle of it writes its record down before.
#[derive(Debug)]
pub(crate) struct Intended {
    name: String,
    places: Vec<Place>,
    missing: Vec<Missing>,
}

impl Intended {
    /// What [`Cgroup::at`] makes.
    pub(crate) fn at(path: &CgroupsPath) -> Intended {
        let (places, missing) = everywhere(path);
        Intended { name: path.components().to_owned(), places, missing }
    }

    /// The group in the hierarchies where there is none yet: removing it ends nothing and removes nothing of others.
    pub(crate) fn record(&self) -> CgroupRecord {
        let depth = self.name.split('/').count();
        let fresh = |place: &Place| {
            let kept = place.existing(&self.name);
            (kept < depth).then(|| Group::at(place.clone(), kept))
        };
        let groups = self.places.iter().filter_map(fresh).collect();
        CgroupRecord { groups, ..CgroupRecord::empty(&self.name, Vec::new()) }
    }

    /// The group as it stands, whoever made it; the groups above it are not its own.
    pub(crate) fn standing(&self) -> CgroupRecord {
        let depth = self.name.split('/').count();
        let groups = self.places.iter().filter(|place| place.existing(&self.name) == depth);
        let groups = groups.map(|place| Group::at(place.clone(), depth - 1)).collect();
        CgroupRecord { groups, ..CgroupRecord::empty(&self.name, Vec::new()) }
    }

    /// See [`Cgroup::at`].
    pub(crate) fn make(self, resources: &Resources, policy: Policy) -> Result<(Cgroup, Vec<Unenforced>)> {
        let record = |missing| CgroupRecord::empty(&self.name, missing);
        let places = (self.places, self.missing);
        let (group, unenforced) = build(places, record, Occupant::TakenOver, resources, policy)?;
        match group.record.missing.first() {
            Some(missing) if group.is_absent() && policy == Policy::Strict => {
                Err(Error::new(ErrorKind::Unsupported, group.step("create")).hint(missing.remedy.clone()))
                    .context(|| missing.reason.clone())
            }
            _ => Ok((group, unenforced)),
        }
    }
}

/// The group that systemd has made at `path` for the unit `scope`, and the same in the hierarchies that systemd leaves
/// alone.
pub(super) fn adopt(
    path: &CgroupsPath,
    scope: Scope,
    resources: &Resources,
    policy: Policy,
) -> Result<(Cgroup, Vec<Unenforced>)> {
    let record = |missing| CgroupRecord { scope: Some(scope), ..CgroupRecord::empty(path.components(), missing) };
    build(everywhere(path), record, Occupant::Adopted, resources, policy)
}

/// Whether memory is on version 2, and with it, as far as systemd goes, everything.
pub(super) fn memory_is_unified() -> bool {
    let on_version_1 = |hierarchy: &layout::Hierarchy| hierarchy.controllers.contains(&Controller::Memory);
    !layout::detect().is_ok_and(|hierarchies| hierarchies.iter().any(on_version_1))
}

fn everywhere(path: &CgroupsPath) -> (Vec<Place>, Vec<Missing>) {
    match layout::detect() {
        Ok(hierarchies) => place::find_everywhere(&hierarchies, path.is_absolute()),
        Err(error) => (Vec::new(), nowhere(&error, &Controller::ALL)),
    }
}

fn build(
    (places, missing): (Vec<Place>, Vec<Missing>),
    record: impl FnOnce(Vec<Missing>) -> CgroupRecord,
    occupant: Occupant,
    resources: &Resources,
    policy: Policy,
) -> Result<(Cgroup, Vec<Unenforced>)> {
    let mut making = Making(Some(record(missing)));
    let mut unenforced = Vec::new();
    if let Some(record) = &mut making.0 {
        let mut made = Vec::new();
        for place in places {
            let directory = record.add(place, occupant);
            let directory = directory.context(|| format!("create control group {}", record.name))?;
            made.extend(directory);
        }
        record.check_devices(resources)?;
        let refusals = record.limit(&made, resources);
        unenforced = judge(record, &refusals, resources, policy)?;
    }
    match making.0.take() {
        Some(record) => Ok((Cgroup { record }, unenforced)),
        None => Err(Error::new(ErrorKind::Os, "create control group")),
    }
}

impl CgroupRecord {
    /// Makes the group in one hierarchy. A hierarchy that refuses is a missing controller, about which the resources
    /// and the policy decide.
    fn add(&mut self, place: Place, occupant: Occupant) -> Result<Option<Directory>> {
        let base = place.base.display().to_string();
        let Made { directory, refused, kept } = match place.make(&self.name, occupant) {
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
                return Ok(None);
            }
        };
        let mut group = Group::at(place, kept);
        for (controller, error) in refused {
            group.controllers.retain(|held| *held != controller);
            let reason = format!("enabling the {controller} controller in {base}: {error}");
            let remedy = "have the group delegated, with systemd: Delegate=yes".to_owned();
            self.missing.push(Missing { controller, reason, remedy });
        }
        let depth = self.name.split('/').count();
        self.groups.push(group);
        if kept == depth && occupant == Occupant::TakenOver {
            nobody_in(&directory).context(|| format!("it exists in {base}"))?;
        }
        Ok(Some(directory))
    }

    /// Writes the resources into the groups just made.
    fn limit(&mut self, made: &[Directory], resources: &Resources) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        for (group, directory) in self.groups.iter().zip(made) {
            let target = Target { version: group.version, directory, held: &group.controllers };
            let outcome = write::write(&target, resources, MemoryLimit::Later);
            refusals.extend(outcome.refusals);
            self.later.extend(outcome.later);
        }
        refusals
    }
}

/// As runc: a group in which somebody is belongs to somebody, and a suspended one would never start.
fn nobody_in(directory: &Directory) -> Result<()> {
    let again = directory.child(".").during(|| "open it")?;
    let processes = again.processes().during(|| "list its processes")?;
    if let Some(first) = processes.first() {
        let message = format!("it holds {} processes, such as {first}", processes.len());
        return Err(Error::new(ErrorKind::InUse, message)
            .hint("another container runs in it, or is left over: choose another path"));
    }
    let state = |file: &str| directory.read(file).unwrap_or_default();
    if state("cgroup.freeze").trim() == "1" || state("freezer.state").trim().starts_with("FR") {
        return Err(Error::new(ErrorKind::InUse, "it is suspended").hint("remove or thaw it, or choose another path"));
    }
    Ok(())
}

/// The places for the limits, and for the statistics that are always wanted. Those of block devices, unless they are
/// limited (`io`), come only where they cost no hierarchy more.
pub(super) fn find(io: bool) -> (Vec<Place>, Vec<Missing>) {
    let hierarchies = layout::detect();
    let mut wanted = Controller::BASIC.to_vec();
    if !io && !hierarchies.as_ref().is_ok_and(|all| layout::serves_io_unified(all)) {
        wanted.retain(|controller| *controller != Controller::Io);
    }
    match hierarchies {
        Ok(hierarchies) => place::find(&hierarchies, &wanted),
        Err(error) => (Vec::new(), nowhere(&error, &wanted)),
    }
}

fn nowhere(error: &Error, wanted: &[Controller]) -> Vec<Missing> {
    let lost = |&controller: &Controller| Missing {
        controller,
        reason: error.to_string(),
        remedy: error.remedy().unwrap_or("make /proc readable").to_owned(),
    };
    wanted.iter().map(lost).collect()
}

/// What the policy makes of the resources without a controller and of those the kernel refused.
pub(super) fn judge(
    record: &CgroupRecord,
    refusals: &[Refusal],
    resources: &Resources,
    policy: Policy,
) -> Result<Vec<Unenforced>> {
    let asked = resources.asked();
    let lost: Vec<&Asked> = asked.iter().filter(|asked| !record.enforces(asked)).collect();
    match policy {
        Policy::Strict => {
            if let Some(first) = lost.first() {
                let names: Vec<&str> = lost.iter().map(|asked| asked.name.as_str()).collect();
                let kind = match (resources.names.kind(), names.len()) {
                    ("", _) => "",
                    (_, 1) => "limit ",
                    _ => "limits ",
                };
                let context = format!("{kind}{} cannot be enforced", names.join(", "));
                return Err(record.lost(first).context(context));
            }
            match refusals.first() {
                Some(refusal) => Err(refusal.error().context(format!("control group {}", record.name))),
                None => Ok(Vec::new()),
            }
        }
        Policy::BestEffort => {
            let lost = lost.into_iter().map(|asked| record.unenforced(asked));
            Ok(lost.chain(refusals.iter().map(Refusal::unenforced)).collect())
        }
    }
}

impl CgroupRecord {
    fn enforces(&self, asked: &Asked) -> bool {
        self.groups.iter().any(|group| {
            let version = !asked.unified || group.version == Version::V2;
            version && asked.controller.is_none_or(|controller| group.controllers.contains(&controller))
        })
    }

    fn lost(&self, asked: &Asked) -> Error {
        match asked.controller {
            Some(controller) if !asked.unified || self.group_of(controller).is_none() => self.unavailable(controller),
            _ => Error::new(
                ErrorKind::Unsupported,
                format!("control group {} has no such file: its controller is not on version 2", self.name),
            )
            .hint("boot with cgroup version 2, or use the typed fields of linux.resources"),
        }
    }

    fn unenforced(&self, asked: &Asked) -> Unenforced {
        let known = self.missing.iter().find(|missing| Some(missing.controller) == asked.controller);
        if let Some(missing) = known {
            return missing.unenforced(&asked.name);
        }
        let error = self.lost(asked);
        let controller = asked.controller.map_or("this".to_owned(), |controller| controller.to_string());
        Unenforced {
            limit: asked.name.clone(),
            reason: format!("control group {} was made without the {controller} controller", self.name),
            remedy: error.remedy().unwrap_or("ask for a limit of it when creating the group").to_owned(),
        }
    }
}
