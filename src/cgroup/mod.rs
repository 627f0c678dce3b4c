//! Limits, statistics and the end of a group of processes: control groups, version 1, version 2 and both at once.
//!
//! A [`Cgroup`] is one container's group in every hierarchy it needs. Which those are is read from the machine: each
//! controller is taken from the hierarchy it is mounted in, so a machine that keeps some controllers on version 1 and
//! others on version 2 needs nothing special.
//!
//! ```no_run
//! use coracle::cgroup::{Cgroup, Limits, Policy};
//! use coracle::{Cpus, Memory};
//!
//! let limits = Limits::new().memory(Memory::mib(256)).cpus(Cpus::of(0.5)).pids(64);
//! let (group, _) = Cgroup::create("coracle/job-1", &limits, Policy::Strict)?;
//! group.attach(std::process::id() as i32)?;
//! group.arm()?;
//! println!("{}", group.stats()?);
//! # Ok::<(), coracle::Error>(())
//! ```
//!
//! # Where the group is made
//!
//! With version 1, and with version 2 on the machine's own root: `/coracle/<id>` below the mount of the hierarchy.
//! Otherwise (an ordinary user, or root in a container) in the nearest group above the caller's own that may be
//! written, has the controllers, and holds no processes itself: version 2 gives limits only to groups whose parent
//! holds none (Documentation/admin-guide/cgroup-v2.rst, "No Internal Process Constraint"). The caller itself is never
//! moved. A limit that cannot be enforced is an error under [`Policy::Strict`] and an [`Unenforced`] in the result
//! under [`Policy::BestEffort`].

mod controller;
mod device;
mod directory;
mod end;
mod group;
mod layout;
mod limits;
mod make;
mod oom;
mod own;
mod path;
mod place;
mod pressure;
mod resources;
mod stats;
mod systemd;
mod usage;
mod wait;
mod write;

#[cfg(fuzzing)]
pub(crate) use systemd::read_as_everything;

pub use controller::Controller;
pub use device::{DeviceAccess, DeviceKind, DeviceRule};
pub use group::{Cgroup, CgroupRecord, HierarchyGroup, Join};
pub use limits::{Limits, Policy, Unenforced};
pub(crate) use make::Intended;
pub use oom::{MemoryEvents, OomWatch};
pub(crate) use own::OwnLimits;
pub use path::CgroupsPath;
pub use pressure::{Pressure, Stall, StallShare};
pub use resources::{
    BlockResources, Bound, CpuResources, CpuWeight, HugePageLimit, IoWeight, MemoryResources, NetworkResources,
    RdmaLimit, Resources, Throttle, Traffic, WeightDevice,
};
pub use stats::{CpuStats, IoStats, MemoryStats, PidsStats, Stats};
pub use systemd::{ScopeUnit, SystemdBus};
pub use usage::{
    BlockEntry, BlockUsage, CpuSetUsage, CpuTime, CpuUsage, HugePageUsage, MemoryEntry, MemoryUsage, PidsUsage,
    Throttling, Usage,
};
pub use wait::ProcessorWait;
