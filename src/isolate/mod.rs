//! What confines a container; each part lowers itself into a plan.

mod begin;
mod binds;
mod capability;
mod command;
mod defaults;
mod device;
mod filesystem;
mod hooks;
mod landlock;
mod mount;
mod namespace;
mod privilege;
mod process;
mod rdt;
mod rlimit;
mod root;
pub mod seccomp;
mod terminal;

pub(crate) use begin::{lower_fence, lower_join_cgroup, lower_null};
pub(crate) use binds::{Bind, Tmpfs, lower_binds, lower_tmpfs};
pub(crate) use capability::CapabilitySets;
pub use capability::{Capability, CapabilitySet};
pub(crate) use command::{CommandLine, lower_exec, lower_find};
pub(crate) use defaults::{MASKED_PATHS, READ_ONLY_PATHS};
pub(crate) use device::lower_devices;
pub(crate) use filesystem::{MountTargets, lower_masks, lower_proc, lower_sys};
pub(crate) use hooks::{
    HookPoint, HookState, check_hooks, lower_gate, lower_hook_directory, lower_hooks, run_hooks, run_poststop_hooks,
};
pub use landlock::Landlock;
#[cfg(fuzzing)]
pub(crate) use mount::fuzz as fuzz_mount_options;
pub(crate) use mount::{MountNamespace, Surroundings, lower_filesystem, mount_option_names};
pub(crate) use namespace::{Namespaces, differing_namespaces, lower_user_namespace};
pub(crate) use privilege::{Confinement, Privileges, lower_confinement, lower_keyring};
pub(crate) use process::{Circumstances, lower_own, lower_process, lower_sysctls, process_problems};
pub(crate) use rdt::{IntelRdt, remove as remove_rdt_groups};
pub use rlimit::{Resource, ResourceLimit};
pub use root::Root;
pub(crate) use root::{lower_pivot, lower_root};
pub(crate) use terminal::{
    TerminalEnd, check_terminal, connect_console_socket, lower_console, lower_controlling_terminal, lower_terminal,
};
