//! Sources of binds: copied by the stage, or by the parent where only it can.

use super::Surroundings;
use super::entry::Entry;
use super::propagation::Cut;
use crate::error::{Context, During};
use crate::isolate::namespace::ranges;
use crate::kernel::{clone_mount, map_ids, set_propagation};
use crate::launch::{IdMap, make_user_namespace};
use crate::plan::op::OpCode;
use crate::plan::{Builder, Slot};
use crate::{Error, Result};
use oci_spec::runtime::LinuxIdMapping;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

/// A source to copy.
pub(super) struct Source<'a> {
    /// On the host.
    pub(super) path: &'a Path,
    /// With everything mounted below it.
    pub(super) recursive: bool,
    /// AT_SYMLINK_NOFOLLOW, or 0.
    pub(super) flags: u32,
    /// What is mounted in it is to show on the host.
    pub(super) shared: bool,
    /// For sentences.
    pub(super) name: &'a Arc<str>,
    /// The id maps of an id-mapped mount, and whether all below it is mapped, too.
    pub(super) id_map: Option<(&'a IdMap, bool)>,
}

/// User namespaces made for id-mapped mounts, by their maps: of many mounts most have the same.
pub(super) type MapCache = Vec<(IdMap, OwnedFd)>;

impl Source<'_> {
    /// The copy in a slot. In a user namespace the parent makes it where the container's root could not reach the
    /// source, or could not take a mount without what is mounted below it. Everything else is copied by the stage,
    /// where the kernel locks what the host has set: nothing below such a mount can be laid bare.
    pub(super) fn lower(
        &self,
        plan: &mut Builder,
        surroundings: &Surroundings<'_>,
        cut: Cut,
        maps: &mut MapCache,
    ) -> Result<Slot> {
        let flags = self.flags | if self.recursive { libc::AT_RECURSIVE as u32 } else { 0 };
        let privileged = self.id_map.is_some()
            || surroundings.user_namespace
                && nix::unistd::geteuid().is_root()
                && (!self.recursive || !is_open_to_all(self.path));
        if privileged && let Some(mount) = self.copy(flags as i32, maps)? {
            // Nothing that is mounted in a user namespace may show on the host, whatever is asked for.
            if surroundings.user_namespace || !self.shared {
                set_propagation(mount.as_fd(), u64::from(cut.kind())).during(|| format!("cut off {}", self.name))?;
            }
            return Ok(plan.inherit(mount));
        }
        let (path, mount) = (plan.text(self.path.as_os_str().as_encoded_bytes()), plan.slot());
        plan.push(OpCode::CloneHost, &[path, flags, mount.into()], ("copy the source of ", self.name))
            .hint(libc::ENOENT, "the source does not exist on the host")
            .hint(libc::EACCES, "the user of the user namespace may not reach it")
            .hint(libc::EINVAL, "the source is unbindable, or hides mounts that only rbind can take along");
        Ok(mount)
    }

    /// The copy, made here; `None` where this process may not either.
    fn copy(&self, flags: i32, maps: &mut MapCache) -> Result<Option<OwnedFd>> {
        let step = || format!("copy the source of {}", self.name);
        let mount = match clone_mount(self.path, flags) {
            Err(error) if error.raw_os_error() == Some(libc::EPERM) && self.id_map.is_none() => return Ok(None),
            other => other.during(step)?,
        };
        if let Some((map, recursive)) = self.id_map {
            let namespace = user_namespace(map, maps).context(step)?;
            map_ids(mount.as_fd(), namespace.as_fd(), recursive).map_err(|error| {
                let errno = error.raw_os_error().unwrap_or(0);
                let error = Error::os(format!("map the ids of {}", self.name), errno);
                match errno {
                    libc::EINVAL => error.hint("its file system does not support id-mapped mounts"),
                    libc::EPERM => error.hint("id-mapped mounts need CAP_SYS_ADMIN where the file system is mounted"),
                    _ => error,
                }
            })?;
        }
        Ok(Some(mount))
    }
}

/// Whether every directory on the way to `path` may be searched by everybody. What an access control list says beside
/// the mode shows when the stage is refused.
fn is_open_to_all(path: &Path) -> bool {
    let Ok(path) = path.canonicalize() else { return true };
    path.ancestors()
        .skip(1)
        .all(|directory| directory.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o001 != 0))
}

fn user_namespace<'a>(map: &IdMap, maps: &'a mut MapCache) -> Result<&'a OwnedFd> {
    let at = match maps.iter().position(|(known, _)| known == map) {
        Some(at) => at,
        None => {
            maps.push((map.clone(), make_user_namespace(map)?));
            maps.len() - 1
        }
    };
    Ok(&maps[at].1)
}

/// The id maps of a mount, `mounts[].uidMappings` and `mounts[].gidMappings`; without them those of the container.
pub(super) fn id_map(
    users: Option<&[LinuxIdMapping]>,
    groups: Option<&[LinuxIdMapping]>,
    container: Option<&IdMap>,
) -> Result<IdMap> {
    let map = match (users.unwrap_or_default(), groups.unwrap_or_default()) {
        ([], []) => container.cloned().ok_or_else(|| {
            Error::invalid(
                "options: the mount is to be id-mapped, and neither it nor a new user namespace has mappings",
            )
        })?,
        ([], _) => return Err(Error::invalid("uidMappings is missing, and gidMappings is not")),
        (_, []) => return Err(Error::invalid("gidMappings is missing, and uidMappings is not")),
        (users, groups) => IdMap { users: ranges(users), groups: ranges(groups) },
    };
    map.check()?;
    Ok(map)
}

impl Entry {
    /// The source of a bind.
    pub(super) fn bind_source(&self) -> Source<'_> {
        let recursive = self.options.bind == Some(true);
        Source {
            path: self.source.as_deref().unwrap_or(Path::new("")),
            recursive,
            flags: if self.options.source_link { libc::AT_SYMLINK_NOFOLLOW as u32 } else { 0 },
            shared: self.is_shared(),
            name: &self.name,
            id_map: self.id_map.as_ref().map(|map| (map, self.options.id_map == Some(true))),
        }
    }
}
