//! Choosing where in each hierarchy a group goes, and making it there.

use super::Unenforced;
use super::controller::{Controller, Version};
use super::directory::{Directory, components, is_gone};
use super::layout::Hierarchy;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long creation goes on against others who remove the parent at the same time.
const PATIENCE: Duration = Duration::from_secs(10);

/// A directory in which groups may be made, and the controllers they get there.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) version: Version,
    pub(super) base: PathBuf,
    pub(super) controllers: Vec<Controller>,
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
            Some(base) => places.push(Place { version: Version::V1, base, controllers: here }),
            None => missing.extend(here.iter().map(|&controller| unwritable_v1(hierarchy, controller))),
        }
    }
    let unified = hierarchies.iter().find(|hierarchy| hierarchy.version == Version::V2);
    match unified {
        Some(unified) => find_v2(unified, &rest, places.is_empty(), &mut places, &mut missing),
        None => missing.extend(rest.into_iter().map(|controller| Missing {
            controller,
            reason: format!("no mounted hierarchy has the {controller} controller"),
            remedy: "mount cgroup version 2 at /sys/fs/cgroup".to_owned(),
        })),
    }
    (places, missing)
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
        places.push(Place { version: Version::V2, base: best.base, controllers: best.reachable });
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
    /// Makes the group `name`, with the groups above it as needed, and returns it with the controllers that the kernel
    /// refused to enable. `EEXIST` where the group itself is there already.
    ///
    /// Others may remove an empty parent at any moment, so every step that finds its directory gone starts over.
    pub(super) fn make(&self, name: &str) -> io::Result<(Directory, Vec<(Controller, io::Error)>)> {
        let base = Directory::open(&self.base)?;
        let parts = components(name).ok_or(io::ErrorKind::InvalidInput)?;
        // Most often the groups above are there already; those of version 2 must be asked for their controllers.
        if self.version == Version::V1
            && base.make(name).is_ok()
            && let Ok(directory) = base.descend(name)
        {
            return Ok((directory, Vec::new()));
        }
        let begun = Instant::now();
        loop {
            match self.attempt(&base, &parts) {
                Err(error) if is_gone(&error) && begun.elapsed() < PATIENCE => std::thread::yield_now(),
                Err(error) => {
                    prune(&base, name);
                    return Err(error);
                }
                made => return made,
            }
        }
    }

    fn attempt(&self, base: &Directory, parts: &[&str]) -> io::Result<(Directory, Vec<(Controller, io::Error)>)> {
        let mut refused = Vec::new();
        let mut below: Option<Directory> = None;
        for (index, part) in parts.iter().enumerate() {
            let directory = below.as_ref().unwrap_or(base);
            if self.version == Version::V2 {
                self.enable(directory, &mut refused)?;
            }
            match directory.make(part) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && index + 1 < parts.len() => {}
                made => made?,
            }
            below = Some(directory.child(part)?);
        }
        below.map(|directory| (directory, refused)).ok_or(io::ErrorKind::InvalidInput.into())
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

/// Removes the groups above `name` that are empty, up to `base`; one that is in use stays, which is no error.
pub(super) fn prune(base: &Directory, name: &str) {
    let mut rest = name;
    while let Some((above, _)) = rest.rsplit_once('/') {
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
