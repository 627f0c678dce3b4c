//! The manual: why things are as they are, and how to live with them. Text alone, no code.
//!
//! - [`design`]: the rooms of the crate, how a start works, what is on disk.
//! - [`security`]: the classes of holes that container engines have had, and what makes each impossible here.
//! - [`fork_safety`]: what the crate does in a process that forks, or that was forked.
//! - [`deployments`]: replicas behind one address, rollouts, rollbacks, and what goes on without your program.
//! - [`compose`]: Compose files, key by key.
//! - [`detaching`]: how containers outlive the program that started them, without a daemon.
//! - [`async_hosts`]: how to use it from an event loop or an asynchronous runtime.
//! - [`kubernetes`]: what a deployment means as manifests for a cluster.
//! - [`runtime`]: the crate as the OCI runtime of podman, containerd, dockerd and buildah.
//! - [`shortcomings`]: what is missing or weak, and what to do instead.

pub mod async_hosts;
pub mod compose;
pub mod deployments;
pub mod design;
pub mod detaching;
pub mod fork_safety;
pub mod kubernetes;
pub mod runtime;
pub mod security;
pub mod shortcomings;
