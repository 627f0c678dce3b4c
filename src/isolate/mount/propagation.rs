//! Mount propagation: what is cut off from the host, and how the root is left (`linux.rootfsPropagation`).

use super::entry::Entry;
use super::options::{self, Propagation};
use crate::plan::op::OpCode;
use crate::plan::{Builder, Slot};
use crate::{Error, Result};
use oci_spec::runtime::Spec;

/// How the host's mounts are cut off.
///
/// Nothing that is mounted in the container is to show on the host. What the host mounts later shows in the container
/// only where it is asked for, as in runc: in binds that are not private. Only then are the host's mounts made slaves;
/// else they are private, and so is every copy of them without another word.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    private: bool,
    root: Option<Propagation>,
}

const PRIVATE: u32 = libc::MS_PRIVATE as u32;
const SLAVE: u32 = libc::MS_SLAVE as u32;
const SHARED: u32 = libc::MS_SHARED as u32;

impl Cut {
    pub(super) fn decide(spec: &Spec, entries: &[Entry]) -> Result<Cut> {
        let asked = spec.linux().as_ref().and_then(|linux| linux.rootfs_propagation().as_deref());
        let root = match asked {
            None | Some("") => None,
            Some(name) => Some(options::propagation(name).ok_or_else(|| {
                Error::invalid(format!(
                    "linux.rootfsPropagation: {name:?} is none of shared, slave, private, unbindable"
                ))
            })?),
        };
        let receives = root.is_some_and(|root| matches!(root.kind, SLAVE | SHARED));
        Ok(Cut { private: !receives && !entries.iter().any(Entry::receives), root })
    }

    /// Cuts; `host` is the host's root.
    pub(super) fn lower(self, plan: &mut Builder, host: Slot) {
        let what = if self.private { "make the host's mounts private" } else { "make the host's mounts slaves" };
        plan.push(OpCode::MountAttributes, &[host.into(), 1, 0, 0, self.kind()], what);
    }

    /// What copies of the host's mounts are: MS_PRIVATE or MS_SLAVE.
    pub(super) fn kind(self) -> u32 {
        if self.private { PRIVATE } else { SLAVE }
    }

    /// Leaves the root as `linux.rootfsPropagation` says.
    pub(super) fn lower_root(self, plan: &mut Builder, root: Slot) {
        let Some(Propagation { kind, recursive }) = self.root else { return };
        // A copy of a slave is one.
        if kind != SLAVE && !(kind == PRIVATE && self.private) {
            let what = "linux.rootfsPropagation: set the propagation of the root";
            plan.push(OpCode::MountAttributes, &[root.into(), u32::from(recursive), 0, 0, kind], what);
        }
    }
}
