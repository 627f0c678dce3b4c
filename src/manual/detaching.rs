//! How containers outlive the program that started them, without a daemon.
//!
//! ```no_run
//! # fn main() -> coracle::Result<()> {
//! let engine = coracle::Engine::open("/var/lib/coracle")?;
//! let image = engine.image("shop/web:1.0")?.get()?;
//! let id = engine.container(&image).name("web").publish(8000, 8000).detach()?.id().clone();
//! drop(engine); // or be killed
//!
//! let engine = coracle::Engine::open("/var/lib/coracle")?;
//! let web = engine.find_container("web")?;
//! assert_eq!(*web.id(), id);
//! # Ok(())
//! # }
//! ```
//!
//! # The keeper
//!
//! [`detach`](crate::ContainerBuilder::detach) starts one small process for each container, the *keeper*. It is the same
//! static program that prepares each start, in a session of its own and a child of PID 1, never of yours. It
//!
//! - starts the container and is the parent of its first process;
//! - copies standard output and standard error to the log, line by line with time and stream, and rotates it;
//! - records which processes run, and at the end the exit status, whether memory ran out, CPU time and peak memory,
//!   durably;
//! - gives back what the container held in the kernel: control groups, published ports, network.
//!
//! It has no configuration, listens on nothing and cannot be asked for anything. Everything else (state, statistics,
//! signals, logs) is read from files and from the kernel by whoever wants to know.
//!
//! # The files
//!
//! Each container has a directory `<root>/containers/<id>`:
//!
//! | file | what |
//! |---|---|
//! | `specification.json` | what the container is; durable before anything is started |
//! | `holdings.json` | what it holds in the kernel; written before it is used |
//! | `lock` | locked by the keeper as long as it lives |
//! | `pid` | first process and keeper, valid while there is no `exit` |
//! | `exit` | how it ended; written aside, synced, renamed |
//! | `log/` | `log`, then `log.1` and so on, in the line format of Kubernetes' CRI |
//! | `upper/`, `work/` | its own files |
//! | `hosts`, `hostname`, `resolv.conf` | bound into its `/etc` |
//!
//! `<root>/containers/names/<name>` leads from a name to the id.
//!
//! A process number alone proves nothing, since numbers are used again. A container lives if its `lock` is held; the
//! kernel drops that lock with the keeper, whatever happens. The keeper leaves the first process as a zombie until `exit`
//! is on disk, so as long as there is no `exit` the number in `pid` belongs to the container.
//!
//! # When something is killed
//!
//! | what dies | what follows |
//! |---|---|
//! | your program, at any instant | running containers go on, with logs and statuses; a start that was under way either goes on or is undone |
//! | an attached container's program | the container dies with it; the next `Engine::open` gives back its control group and network |
//! | a keeper | its container dies with it; the next look records an end of unknown status and gives back what it held |
//! | the machine | the next `Engine::open` records ends of unknown status; nothing is started again by itself |
//!
//! `Engine::open` is the recovery: it adopts what lives, which needs nothing, and undoes the rest. Half-made
//! files of dead processes are removed; those of living ones are left alone, so several programs may use one root.
//!
//! # Stopping
//!
//! [`stop`](crate::Container::stop) sends the image's stop signal, waits, and then kills. An init runs as PID 1 by
//! default and passes signals on. Without it (`init(false)`) the command itself is PID 1, and the kernel drops every
//! signal for which it has no handler; `stop` then takes the whole grace period.
