//! What confines a container; each part lowers itself into a plan.

mod binds;
mod capability;
mod defaults;
mod device;
mod filesystem;
mod landlock;
mod mount;
mod privilege;
mod process;
mod rdt;
mod rlimit;
mod root;
pub mod seccomp;

pub(crate) use binds::{Bind, Tmpfs, lower_binds, lower_tmpfs};
pub(crate) use capability::CapabilitySets;
pub use capability::{Capability, CapabilitySet};
pub(crate) use defaults::{MASKED_PATHS, READ_ONLY_PATHS};
pub(crate) use device::lower_devices;
pub(crate) use filesystem::{MountTargets, lower_masks, lower_proc, lower_sys};
pub use landlock::Landlock;
#[allow(unused_imports)]
pub(crate) use mount::{Surroundings, lower_filesystem};
pub(crate) use privilege::{Confinement, Privileges, lower_confinement, lower_keyring};
#[allow(unused_imports)]
pub(crate) use process::{Circumstances, lower_own, lower_process, lower_sysctls, validate_process};
#[allow(unused_imports)]
pub(crate) use rdt::{IntelRdt, remove as remove_rdt_groups};
pub use rlimit::{Resource, ResourceLimit};
pub use root::Root;
pub(crate) use root::{lower_pivot, lower_root};
