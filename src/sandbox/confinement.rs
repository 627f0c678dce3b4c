//! Which capabilities and which system call filter a sandbox gets.

use super::Sandbox;
use crate::isolate::seccomp::{Architecture, Filter, Profile};
use crate::isolate::{CapabilitySet, Landlock, ResourceLimit};
use crate::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The system call filter of a sandbox.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Seccomp {
    /// Docker's decisions for the sandbox's capabilities.
    #[default]
    Default,
    /// This filter.
    Filter(Filter),
    /// None: every system call is allowed.
    Unconfined,
}

impl Sandbox {
    /// The capabilities of its processes, [`CapabilitySet::DEFAULT`] by default, less what this process does not have
    /// itself. Of a set given here nothing is left out: what this process lacks is an error of the terminal verb.
    #[must_use]
    pub fn capabilities(mut self, capabilities: CapabilitySet) -> Sandbox {
        self.capabilities = Some(capabilities);
        self
    }

    /// The system call filter, [`Seccomp::Default`] by default.
    #[must_use]
    pub fn seccomp(mut self, seccomp: Seccomp) -> Sandbox {
        self.seccomp = seccomp;
        self
    }

    /// The files and ports its processes may use, as the kernel's Landlock enforces it, on top of everything else; all by
    /// default. Where the kernel has none this is an error of the terminal verb.
    #[must_use]
    pub fn landlock(mut self, landlock: Landlock) -> Sandbox {
        self.landlock = Some(landlock);
        self
    }

    /// Limits a resource of each of its processes (setrlimit(2)); the last one for a resource counts.
    #[must_use]
    pub fn rlimit(mut self, limit: ResourceLimit) -> Sandbox {
        self.limits.retain(|other| other.resource() != limit.resource());
        self.limits.push(limit);
        self
    }

    /// The capabilities to end up with.
    pub(super) fn decided_capabilities(&self) -> Result<CapabilitySet> {
        let asked = self.capabilities.unwrap_or(CapabilitySet::DEFAULT);
        if self.id_map.is_some() {
            // Within a user namespace of its own a process has them all.
            return Ok(asked);
        }
        let held = CapabilitySet::permitted()?;
        let missing = asked.difference(held);
        if self.capabilities.is_some() && !missing.is_empty() {
            return Err(Error::new(
                ErrorKind::PermissionDenied,
                format!("capabilities {missing} were asked for, which this process does not have"),
            )
            .hint("leave them out, or use a user namespace"));
        }
        Ok(asked.intersection(held))
    }

    /// The filter to load.
    pub(super) fn decided_filter(&self, capabilities: CapabilitySet) -> Result<Option<Arc<Filter>>> {
        match &self.seccomp {
            Seccomp::Unconfined => Ok(None),
            Seccomp::Default => default_filter(capabilities).map(Some),
            Seccomp::Filter(filter) if filter.notifies() => {
                Err(Error::new(ErrorKind::Unsupported, "the seccomp filter hands calls to a supervisor (notify)")
                    .hint("there is none yet: choose another action"))
            }
            Seccomp::Filter(filter) => Ok(Some(Arc::new(filter.clone()))),
        }
    }
}

/// The default filter for a set of capabilities, made once.
fn default_filter(capabilities: CapabilitySet) -> Result<Arc<Filter>> {
    static MADE: Mutex<BTreeMap<u64, Arc<Filter>>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(filter) = made.get(&capabilities.bits()) {
        return Ok(filter.clone());
    }
    let native = Architecture::native()
        .ok_or_else(|| Error::new(ErrorKind::Unsupported, "there is no seccomp filter for this architecture"))?;
    let filter = Arc::new(Profile::default_for(&capabilities).compile(native)?);
    made.insert(capabilities.bits(), filter.clone());
    Ok(filter)
}
