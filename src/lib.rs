//! A whole container engine light enough to carry inside your own program.
//!
//! A coracle is a boat for one, light enough to carry on your back. Link this crate, and your program builds images,
//! pulls and pushes them, runs them confined and limited, and watches them. No daemon, no helper, no C library.
//!
//! # Run, build, detach
//!
//! ```no_run
//! use coracle::cgroup::Limits;
//! use coracle::{Cpus, Engine, Memory, Network};
//! use std::time::Duration;
//!
//! let engine = Engine::open("/var/lib/coracle")?;
//! // An image from programs of this machine: no registry needed.
//! let tools = engine.image_builder().from_host(["/bin/sh", "/bin/ls"])?.tag("host/tools:1").commit()?;
//!
//! let output = engine
//!     .container(&tools)
//!     .command(["/bin/ls", "/"])
//!     .limits(Limits::new().memory(Memory::mib(64)).cpus(Cpus::of(0.5)).pids(16))
//!     .network(Network::None)
//!     .timeout(Duration::from_secs(10))
//!     .output()?;
//! println!("{}: {}", output.status, String::from_utf8_lossy(&output.stdout));
//!
//! // From a Dockerfile, and as a service that outlives this process.
//! let shop = engine.build("./service").tag("shop/web:1.0").run()?;
//! let web = engine.container(&shop).name("web").publish(8000, 8000).detach()?;
//! println!("{} in use", web.stats()?.memory.used);
//! # Ok::<(), coracle::Error>(())
//! ```
//!
//! # Deploy, update, take back
//!
//! ```no_run
//! use coracle::{Deployment, Engine, Health};
//!
//! let engine = Engine::open("/var/lib/coracle")?;
//! let api = Deployment::new("api", "shop/web:1.1").replicas(4).port(8000).health(Health::http(8000, "/ready"));
//! // Ends with the new version live, or with the last good one back, and why.
//! println!("{}", engine.deploy(api)?.finish()?);
//! # Ok::<(), coracle::Error>(())
//! ```
//!
//! # Just confine a process
//!
//! [`Sandbox`] needs no image, no store and no engine:
//!
//! ```no_run
//! use coracle::{IdMap, Root, Sandbox};
//!
//! let sandbox = Sandbox::new(Root::Directory("/srv/busybox".into()), ["/bin/true"]);
//! // As an ordinary user: root of a user namespace.
//! let mut process = sandbox.user_namespace(IdMap::current_user()).spawn()?;
//! println!("{}", process.wait()?.status);
//! # Ok::<(), coracle::Error>(())
//! ```
//!
//! # Run an OCI bundle
//!
//! ```no_run
//! use coracle::runtime::Runtime;
//!
//! let runtime = Runtime::open("/run/my-containers")?;
//! let mut running = runtime.create("web-1", "/srv/bundles/web").run()?;
//! println!("{}", running.wait()?.status);
//! running.container().delete(true)?;
//! # Ok::<(), coracle::Error>(())
//! ```
//!
//! # Just limit processes
//!
//! ```no_run
//! use coracle::Memory;
//! use coracle::cgroup::{Cgroup, Limits, Policy};
//!
//! let limits = Limits::new().memory(Memory::mib(256)).pids(64);
//! let (group, _) = Cgroup::create("coracle/job-1", &limits, Policy::Strict)?;
//! let child = std::process::Command::new("make").spawn().expect("make");
//! group.attach(child.id() as i32)?;
//! group.arm()?;
//! println!("{}", group.stats()?);
//! group.remove()?;
//! # Ok::<(), coracle::Error>(())
//! ```
//!
//! # Where things are
//!
//! | for | look at |
//! |---|---|
//! | opening a root directory; images by name | [`Engine`], [`EngineOptions`], [`ImageName`] |
//! | building | [`Engine::build`], [`Engine::image_builder`], [`Image`], [`ImageConfig`] |
//! | running | [`ContainerBuilder`], [`Output`], [`Container`] |
//! | several behind one address, updated without a gap | [`Engine::deploy`], [`Deployment`], [`Rollout`], [`Deployed`] |
//! | looking after them | [`Engine::supervise`], [`Engine::resume`], [`Autoscale`], [`Engine::admission`] |
//! | whole applications from Compose files | [`compose`] |
//! | named volumes and their snapshots | [`Engine::volume`], [`Volume`] |
//! | limits and statistics | [`cgroup`] |
//! | watching | [`Container::logs`], [`Engine::logs`], [`DeploymentStats`], [`TimeShares`], [`metrics`] |
//! | OCI bundles, in the place of runc | [`runtime`] |
//! | confining alone | [`Sandbox`], [`Process`] |
//! | system call filters, capabilities | [`seccomp`], [`CapabilitySet`] |
//! | what went wrong | [`Error`], [`ErrorKind`] |
//! | why it is so, and what is missing | [`manual`], above all [`manual::shortcomings`] |
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `registry` | yes | pulling and pushing over HTTP: brings `ureq` and `rustls` |
//! | `kubernetes` | no | deployments as manifests for Kubernetes, see [`manual::kubernetes`]: brings `k8s-openapi` and `serde-saphyr` |
//! | `kubernetes-any-version` | no | the same for a program that depends on `k8s-openapi` itself and chooses its version |
//!
//! # Needs
//!
//! Linux 5.14 or newer on x86_64 (aarch64 is written, not yet compiled or run). Root, or user namespaces for an ordinary
//! user, who has no bridge network. The crate is a guest: it changes nothing of the process that links it, and works from
//! any thread. See [`manual::fork_safety`] for hosts that fork.

mod archive;
mod build;
pub mod cgroup;
pub mod compose;
mod container;
mod deploy;
mod engine;
mod error;
#[doc(hidden)]
#[cfg(fuzzing)]
pub mod fuzz;
mod isolate;
mod kernel;
#[cfg(feature = "kubernetes-any-version")]
pub mod kubernetes;
mod launch;
pub mod manual;
mod network;
mod plan;
#[cfg(feature = "registry")]
mod registry;
pub mod runtime;
mod sandbox;
pub mod spec;
mod stage;
mod store;
mod value;
mod volume;

pub use build::{BuildBuilder, BuildEvent, Image, ImageBuilder};
pub use container::{
    Chunk, Container, ContainerBuilder, ContainerExit, ContainerState, ContainerStats, Health, HealthReport,
    HealthState, HealthTest, LogLine, LogOptions, Logs, MergedLine, MergedLogs, Output, Restart, RestartCondition,
};
pub use deploy::{
    Admission, Amounts, Autoscale, Deployed, Deployment, DeploymentStage, DeploymentStats, DeploymentStatus,
    DeploymentTotals, Guard, HistoryEntry, Holder, OnFailure, Outcome, Rates, ReplicaStats, ReplicaStatus, Request,
    RevisionInfo, Rolling, Rollout, RolloutEvent, RolloutFailure, Stalls, Strategy, Supervisor, TimeShares, metrics,
};
pub use engine::{Collected, Engine, EngineOptions, ImageName};
pub use error::{Error, ErrorKind, Result};
pub use isolate::seccomp;
pub use isolate::{Capability, CapabilitySet, Landlock, Resource, ResourceLimit, Root};
pub use launch::{Exit, ExitStatus, IdMap, IdRange, Process};
pub use network::{Balance, Network, NetworkStats, PublishedPort};
#[cfg(feature = "registry")]
pub use registry::{Credentials, PullEvent, PushEvent, RegistryOptions};
pub use sandbox::{NetworkMode, Sandbox, Seccomp, Stream};
pub use spec::{HealthConfig, History, ImageConfig, RootFs, RunConfig};
pub use value::{
    ContainerId, Cpus, Digest, EnvVar, IdOrName, Memory, Name, Platform, Port, Protocol, Reference, Timestamp, User,
};
pub use volume::{Volume, VolumeDetails, VolumeSnapshot};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;
