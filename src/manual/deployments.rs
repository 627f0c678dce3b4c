//! Deployments: several replicas behind one address, replaced without a gap, taken back by themselves.
//!
//! ```no_run
//! use coracle::{Deployment, Engine, Health, Outcome, Rolling};
//! use std::time::Duration;
//!
//! # fn main() -> coracle::Result<()> {
//! let engine = Engine::open("/var/lib/coracle")?;
//! let api = Deployment::new("api", "shop/web:1.1")
//!     .replicas(4)
//!     .port(8000)
//!     .publish(80, 8000)
//!     .health(Health::http(8000, "/ready").every(Duration::from_secs(2)).healthy_after(3))
//!     .rollout(Rolling::new().surge(1).unavailable(0).deadline(Duration::from_secs(120)));
//! match engine.deploy(api)?.finish()? {
//!     Outcome::Complete(revision) => println!("live: {revision}"),
//!     outcome => eprintln!("{outcome}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Who does what
//!
//! There is no daemon. Three parties share the work, and each goes on without those above it:
//!
//! | who | does | lives |
//! |---|---|---|
//! | your program, by [`Rollout`](crate::Rollout) or [`Supervisor`](crate::Supervisor) | starts, drains, stops and replaces replicas; decides on rollbacks and scale | as long as you want |
//! | each replica's keeper | checks its health, starts it again after a crash, takes it out of traffic and back | as long as the replica |
//! | the kernel | spreads connections over the replicas that are ready, keeps established ones where they are, tries another replica where one does not answer | until it is told otherwise |
//!
//! A rollout goes on while somebody iterates over it. Killed in the middle, or dropped, it stays where it is with traffic
//! flowing, until [`Engine::resume`](crate::Engine::resume), a supervisor, or the next change goes on with it, in
//! this process or in another. What was decided is on disk before it is done.
//!
//! # The controller
//!
//! A pure function decides: what is remembered, the time and what is seen go in; what to remember, what to do and what
//! has happened come out. It has no clock and does no I/O, so it is tested by ten thousand simulated lives with crashes,
//! slow starts, flapping health, dying hosts, clocks that jump and changes that overlap.
//!
//! - A replica counts as *available* once it has been ready for the minimum healthy time without a break: its command
//!   runs, and its health check, if it has one, succeeds. Only then does it get connections.
//! - Never more than `replicas + surge` replicas exist; never fewer than `replicas - unavailable` are available by the
//!   controller's own doing. What crashes by itself it cannot hold up.
//! - A replica that goes loses new connections first, then those it has may end (`drain`), then it is asked to stop,
//!   then (`stop_grace`) killed.
//! - A revision fails when its replicas crash too often (`crashes`), when one is not available within `healthy_deadline`,
//!   when `progress_deadline` passes without another one available, or when one cannot be started at all. Then the last
//!   good revision comes back, and the reason is in the outcome and in the history.
//! - A revision is what the image *was*: by digest, kept from the garbage collector. A tag that moves changes nothing
//!   until the next `deploy`.
//! - Time that nobody looked at does not count: after a suspend, a reboot or a long pause no deadline has passed by
//!   itself.
//!
//! # Volumes
//!
//! A volume of [`Deployment::volume_with_snapshot`](crate::Deployment::volume_with_snapshot) goes with its revision. After
//! the old replica has stopped and before the first new one starts its content is kept; where the revision fails, or on
//! [`rollback`](crate::Deployed::rollback), it is brought back. What was written to it meanwhile is gone then: that is
//! what it is for. It needs [`Strategy::Recreate`](crate::Strategy::Recreate).
//!
//! # Scale and room
//!
//! [`Autoscale`](crate::Autoscale) follows processor time, memory, or numbers that you feed
//! ([`Deployed::feed`](crate::Deployed::feed)), with the arithmetic of Kubernetes' HorizontalPodAutoscaler. It works while
//! a supervisor runs.
//!
//! What the replicas request must fit: what the machine has, less a reserve, less what the others hold. A refusal shows
//! who holds what. Requests default to the limits.
//!
//! # Files
//!
//! | file below `<root>/deployments/<name>` | what |
//! |---|---|
//! | `lock` | locked by whoever changes the deployment |
//! | `deployment.json` | the goal, the controller's state, the history (500 entries) |
//! | `revisions/<n>` | revision `n` (the last 10, the wanted one and the last good one) |
