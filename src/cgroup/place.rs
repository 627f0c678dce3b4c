//! Choosing where in each hierarchy a group goes, and making it there.

use super::Unenforced;
use super::controller::{Controller, Version};
use super::directory::{Directory, is_gone};
use super::layout::Hierarchy;
use super::path::safe_components;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long creation goes on against others who remove the parent at the same time.
const PATIENCE: Duration = Duration::from_secs(10);

/// A directory in which groups may be made, and the controllers they get there.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) version: Version,
    pub(super) base: PathBuf,
    /// Where the hierarchy is mounted.
    pub(super) mount: PathBuf,
    pub(super) controllers: Vec<Controller>,
}

/// What becomes of a group that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occupant {
    /// It is an error, and the groups above are taken for our own.
    Refused,
    /// It is used, where nobody is in it; what was there before is not ours to remove.
    TakenOver,
    /// It is used, whoever is in it: another has made it for us.
    Adopted,
}

/// A group in one hierarchy.
pub(super) struct Made {
    pub(super) directory: Directory,
    /// The controllers that the kernel refused to enable.
    pub(super) refused: Vec<(Controller, io::Error)>,
    /// How many components of the name, from the top, are not ours to remove.
    pub(super) kept: usize,
}

/// A controller that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Missing {
    pub(super) controller: Controller,
    pub(super) reason: String,
    pub(super) remedy: String,
}

impl Missing {
    pub(super) fn unenforced(&self, limit: &str) -> Unenforced {
        Unenforced { limit: limit.to_owned(), reason: self.reason.clone(), remedy: self.remedy.clone() }
    }
}

/// A place in every hierarchy that serves one of the `wanted` controllers, and the controllers without one.
pub(super) fn find(hierarchies: &[Hierarchy], wanted: &[Controller]) -> (Vec<Place>, Vec<Missing>) {
    let (mut places, mut missing) = (Vec::new(), Vec::new());
    let mut rest = wanted.to_vec();
    for hierarchy in hierarchies.iter().filter(|hierarchy| hierarchy.version == Version::V1) {
        let here: Vec<_> = hierarchy.controllers.iter().copied().filter(|held| rest.contains(held)).collect();
        if here.is_empty() {
            continue;
        }
        rest.retain(|controller| !here.contains(controller));
        match find_v1(hierarchy) {
            Some(base) => places.push(Place::v1(hierarchy, base, here)),
            None => missing.extend(here.iter().map(|&controller| unwritable_v1(hierarchy, controller))),
        }
    }
    let unified = hierarchies.iter().find(|hierarchy| hierarchy.version == Version::V2);
    match unified {
        Some(unified) => find_v2(unified, &rest, places.is_empty(), &mut places, &mut missing),
        None => missing.extend(rest.into_iter().map(unmounted)),
    }
    (places, missing)
}

fn unmounted(controller: Controller) -> Missing {
    let remedy = match controller.name_v2() {
        None if !controller.is_part_of_v2() => format!("version 1 alone has it: mount -t cgroup -o {controller} ..."),
        _ => "mount cgroup version 2 at /sys/fs/cgroup".to_owned(),
    };
    Missing { controller, reason: format!("no mounted hierarchy has the {controller} controller"), remedy }
}

/// A place in every hierarchy there is: at its root, where the name is `absolute`, else where [`find`] has one.
pub(super) fn find_everywhere(hierarchies: &[Hierarchy], absolute: bool) -> (Vec<Place>, Vec<Missing>) {
    let (mut places, mut missing) = (Vec::new(), Vec::new());
    let mut rest = Controller::ALL.to_vec();
    for hierarchy in hierarchies.iter().filter(|hierarchy| hierarchy.version == Version::V1) {
        rest.retain(|controller| !hierarchy.controllers.contains(controller));
        let base = if absolute { Some(hierarchy.mount_point.clone()) } else { find_v1(hierarchy) };
        match base {
            Some(base) => places.push(Place::v1(hierarchy, base, hierarchy.controllers.clone())),
            None => {
                let lost = hierarchy.controllers.iter().map(|&controller| unwritable_v1(hierarchy, controller));
                missing.extend(lost);
            }
        }
    }
    let unified = hierarchies.iter().find(|hierarchy| hierarchy.version == Version::V2);
    let in_v2 =
        |controller: &Controller| unified.is_some() && (controller.name_v2().is_some() || controller.is_part_of_v2());
    let (rest, lost): (Vec<Controller>, Vec<Controller>) = rest.into_iter().partition(in_v2);
    missing.extend(lost.into_iter().map(unmounted));
    match unified {
        Some(unified) if absolute => at_root_v2(unified, rest, &mut places, &mut missing),
        Some(unified) => find_v2(unified, &rest, true, &mut places, &mut missing),
        None => {}
    }
    (places, missing)
}

fn at_root_v2(unified: &Hierarchy, wanted: Vec<Controller>, places: &mut Vec<Place>, missing: &mut Vec<Missing>) {
    let base = unified.mount_point.clone();
    let available = Directory::open(&base).and_then(|root| listed(&root, "cgroup.controllers")).unwrap_or_default();
    let (held, lost): (Vec<Controller>, Vec<Controller>) =
        wanted.into_iter().partition(|controller| controller.is_part_of_v2() || available.contains(controller));
    missing.extend(lost.into_iter().map(|controller| Missing {
        controller,
        reason: format!("the {controller} controller is not available in {}", base.display()),
        remedy: "the kernel lacks it, or the groups above do not pass it on".to_owned(),
    }));
    places.push(Place { version: Version::V2, mount: base.clone(), base, controllers: held });
}

fn find_v1(hierarchy: &Hierarchy) -> Option<PathBuf> {
    let own = hierarchy.own.as_ref().map(|own| hierarchy.mount_point.join(own));
    let mut candidates = [Some(hierarchy.mount_point.clone()), own].into_iter().flatten();
    candidates.find(|base| Directory::takes_groups(base))
}

fn unwritable_v1(hierarchy: &Hierarchy, controller: Controller) -> Missing {
    Missing {
        controller,
        reason: format!("the {controller} hierarchy at {} may not be written", hierarchy.mount_point.display()),
        remedy: "run as root with a writable mount, or boot with cgroup version 2, which can be delegated".to_owned(),
    }
}

/// What a group of the version 2 hierarchy can offer to groups below it.
struct Candidate {
    base: PathBuf,
    available: Vec<Controller>,
    reachable: Vec<Controller>,
    crowded: bool,
}

impl Candidate {
    /// `None` where groups may not be made below `base`, or processes not moved there.
    fn inspect(base: PathBuf, wanted: &[Controller]) -> Option<Candidate> {
        let directory = Directory::open(&base).ok()?;
        if !(directory.may_write(".") && directory.may_write("cgroup.procs")) {
            return None;
        }
        let root = !directory.has("cgroup.type");
        if !root && directory.read("cgroup.type").ok()?.trim() != "domain" {
            return None;
        }
        let available = listed(&directory, "cgroup.controllers").ok()?;
        let enabled = listed(&directory, "cgroup.subtree_control").ok()?;
        let crowded = !root && !directory.read("cgroup.procs").ok()?.trim().is_empty();
        let can_enable = !crowded && directory.may_write("cgroup.subtree_control");
        let reachable = wanted.iter().copied().filter(|controller| {
            controller.name_v2().is_none()
                || enabled.contains(controller)
                || (can_enable && available.contains(controller))
        });
        Some(Candidate { reachable: reachable.collect(), base, available, crowded })
    }

    fn missing(&self, controller: Controller) -> Missing {
        let base = self.base.display();
        let (reason, remedy) = if !self.available.contains(&controller) {
            (
                format!("the {controller} controller is not available in {base}"),
                format!(
                    "enable it in the groups above, with systemd: Delegate=yes, or Delegate={controller} on user@.service"
                ),
            )
        } else if self.crowded {
            (
                format!(
                    "{base} holds processes itself, so the groups below it cannot have the {controller} controller"
                ),
                "move them into a group below it, with systemd: Delegate=yes and DelegateSubgroup=host".to_owned(),
            )
        } else {
            (
                format!("the {controller} controller may not be enabled in {base}"),
                "have the group delegated, with systemd: Delegate=yes".to_owned(),
            )
        };
        Missing { controller, reason, remedy }
    }
}

/// `only`: nothing else was found, so the version 2 group is wanted even without controllers, for its statistics of
/// processor time, for suspending and for killing.
fn find_v2(
    unified: &Hierarchy,
    wanted: &[Controller],
    only: bool,
    places: &mut Vec<Place>,
    missing: &mut Vec<Missing>,
) {
    if wanted.is_empty() {
        return;
    }
    let mut best: Option<Candidate> = None;
    for base in candidates_v2(unified) {
        let Some(candidate) = Candidate::inspect(base, wanted) else { continue };
        let complete = candidate.reachable.len() == wanted.len();
        if best.as_ref().is_none_or(|best| candidate.reachable.len() > best.reachable.len()) {
            best = Some(candidate);
        }
        if complete {
            break;
        }
    }
    let Some(best) = best else {
        missing.extend(wanted.iter().map(|&controller| {
            Missing {
                controller,
                reason: format!("no group of {} may be written by this user", unified.mount_point.display()),
                remedy:
                    "have one delegated: systemd-run --user --scope PROGRAM, or Delegate=yes and DelegateSubgroup=host \
                     in its unit"
                        .to_owned(),
            }
        }));
        return;
    };
    missing.extend(wanted.iter().filter(|controller| !best.reachable.contains(controller)).map(|&c| best.missing(c)));
    if only || best.reachable.iter().any(|controller| controller.name_v2().is_some()) {
        let mount = unified.mount_point.clone();
        places.push(Place { version: Version::V2, base: best.base, mount, controllers: best.reachable });
    }
}

/// Root: the mount first, as the other engines do. Everyone: the caller's own group and those above it.
fn candidates_v2(unified: &Hierarchy) -> Vec<PathBuf> {
    let mount = &unified.mount_point;
    let mut candidates = Vec::new();
    if nix::unistd::geteuid().is_root() {
        candidates.push(mount.clone());
    }
    if let Some(own) = &unified.own {
        candidates.extend(
            own.ancestors()
                .map(|ancestor| if ancestor == Path::new("") { mount.clone() } else { mount.join(ancestor) }),
        );
    }
    candidates
}

fn listed(directory: &Directory, file: &str) -> io::Result<Vec<Controller>> {
    let text = directory.read(file)?;
    let names: Vec<&str> = text.split_whitespace().collect();
    Ok(Controller::ALL.into_iter().filter(|held| held.name_v2().is_some_and(|name| names.contains(&name))).collect())
}

impl Place {
    fn v1(hierarchy: &Hierarchy, base: PathBuf, controllers: Vec<Controller>) -> Place {
        Place { version: Version::V1, base, mount: hierarchy.mount_point.clone(), controllers }
    }

    /// How many components of `name`, from the top, there are.
    pub(super) fn existing(&self, name: &str) -> usize {
        let Ok(base) = Directory::open(&self.base) else { return 0 };
        let ends = name.match_indices('/').map(|(end, _)| end).chain([name.len()]);
        ends.take_while(|&end| base.has(&name[..end])).count()
    }

    /// Makes the group `name`, with the groups above it as needed. `EEXIST` where the group itself is there already
    /// and may not be taken over.
    ///
    /// Others may remove an empty parent at any moment, so every step that finds its directory gone starts over.
    pub(super) fn make(&self, name: &str, occupant: Occupant) -> io::Result<Made> {
        let base = Directory::open(&self.base)?;
        let parts = safe_components(name).map_err(|_| io::ErrorKind::InvalidInput)?;
        let ours = |kept| if occupant == Occupant::Refused { 0 } else { kept };
        // Most often the groups above are there already; those of version 2 must be asked for their controllers.
        if self.version == Version::V1
            && !self.inherits()
            && base.make(name).is_ok()
            && let Ok(directory) = base.descend(name)
        {
            return Ok(Made { directory, refused: Vec::new(), kept: ours(parts.len() - 1) });
        }
        let begun = Instant::now();
        // Of several attempts, the first saw what was there before.
        let mut fewest = usize::MAX;
        loop {
            let mut kept = 0;
            let attempt = self.attempt(&base, &parts, occupant, &mut kept);
            fewest = fewest.min(kept);
            match attempt {
                Err(error) if is_gone(&error) && begun.elapsed() < PATIENCE => std::thread::yield_now(),
                Err(error) => {
                    prune(&base, name, ours(fewest));
                    return Err(error);
                }
                Ok((directory, refused)) => return Ok(Made { directory, refused, kept: ours(fewest) }),
            }
        }
    }

    fn attempt(
        &self,
        base: &Directory,
        parts: &[&str],
        occupant: Occupant,
        kept: &mut usize,
    ) -> io::Result<(Directory, Vec<(Controller, io::Error)>)> {
        let mut refused = Vec::new();
        let mut below: Option<Directory> = None;
        for (index, part) in parts.iter().enumerate() {
            let directory = below.as_ref().unwrap_or(base);
            if self.version == Version::V2 {
                self.enable(directory, &mut refused)?;
            }
            let may_be_there = index + 1 < parts.len() || occupant != Occupant::Refused;
            match directory.make(part) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && may_be_there => {
                    *kept += usize::from(*kept == index);
                }
                made => made?,
            }
            let child = directory.child(*part)?;
            if self.inherits() {
                inherit(directory, &child)?;
            }
            below = Some(child);
        }
        below.map(|directory| (directory, refused)).ok_or(io::ErrorKind::InvalidInput.into())
    }

    /// Whether new groups begin without processors and memory nodes, so that nothing could run in them.
    fn inherits(&self) -> bool {
        self.version == Version::V1 && self.controllers.contains(&Controller::CpuSet)
    }

    /// Gives the groups below `directory` the controllers of this place.
    fn enable(&self, directory: &Directory, refused: &mut Vec<(Controller, io::Error)>) -> io::Result<()> {
        let enabled = listed(directory, "cgroup.subtree_control")?;
        for &controller in &self.controllers {
            let Some(name) = controller.name_v2() else { continue };
            if enabled.contains(&controller) || refused.iter().any(|(known, _)| *known == controller) {
                continue;
            }
            match directory.write("cgroup.subtree_control", &format!("+{name}")) {
                // ENOENT is also what the kernel says of a controller that the groups above do not pass on.
                Err(error) if is_gone(&error) && !directory.has("cgroup.subtree_control") => return Err(error),
                Err(error) => refused.push((controller, error)),
                Ok(()) => {}
            }
        }
        Ok(())
    }
}

/// Gives a group the processors and memory nodes of the one above, where it has none.
fn inherit(above: &Directory, group: &Directory) -> io::Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if group.read(file)?.trim().is_empty() {
            group.write(file, above.read(file)?.trim())?;
        }
    }
    Ok(())
}

/// Above the groups that this library makes under names of its own.
const OWN: &str = "coracle";

/// Removes the groups above `name` that are empty, up to `base` and but for the first `kept`; one that is in use stays,
/// which is no error.
pub(super) fn prune(base: &Directory, name: &str, kept: usize) {
    // The library's own goes with the last group below it, whoever made it.
    let kept = if name.split('/').next() == Some(OWN) { 0 } else { kept };
    let mut rest = name;
    while let Some((above, _)) = rest.rsplit_once('/') {
        if above.split('/').count() <= kept {
            return;
        }
        let removed = match above.rsplit_once('/') {
            Some((parent, part)) => base.descend(parent).and_then(|parent| parent.remove(part)),
            None => base.remove(above),
        };
        if removed.is_err() {
            return;
        }
        rest = above;
    }
}
