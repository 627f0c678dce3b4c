//! What confines a container; each part lowers itself into a plan.

mod binds;
mod device;
mod filesystem;
mod privilege;
mod root;

pub(crate) use binds::{Bind, Tmpfs, lower_binds, lower_tmpfs};
pub(crate) use device::lower_devices;
pub(crate) use filesystem::{MountTargets, lower_masks, lower_proc, lower_sys};
pub(crate) use privilege::{Privileges, lower_privileges};
pub use root::Root;
pub(crate) use root::{lower_pivot, lower_root};
