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
//! - runs its [health check](crate::Health), and starts it again by its [rule](crate::Restart);
//! - takes it out of the load balancing of its services while it does not serve;
//! - copies standard output and standard error to the log, line by line with time and stream, and rotates it;
//! - records which processes run, and at the end the exit status, whether memory ran out, CPU time and peak memory,
//!   durably;
//! - gives back what the container held in the kernel: control groups, published ports, network.
//!
//! It has no configuration, listens on nothing and cannot be asked for anything: at most a signal has it look for the file
//! `stop`. Everything else (state, statistics, signals, logs) is read from files and from the kernel by whoever wants to
//! know. It holds about 60 KiB of memory of its own, with or without a health check.
//!
//! # Health checks
//!
//! HTTP and TCP checks are connections from the keeper, which lives in your network, to the container's address on the
//! bridge, or to 127.0.0.1 where the container has the host's network. The keeper never waits for an answer: a server that
//! hangs, floods or talks nonsense fails its check at the deadline and holds up nothing. No more than 256 bytes of an
//! answer are read, as far as its status line; redirects are not followed, they count as success.
//!
//! A command is run in the container, in all its namespaces and control groups, with the ids, capabilities, limits,
//! environment and system call filter of the container's own command. The operations for that lie behind those of the start in
//! the same verified plan, and rights are lowered by the same operations. The process appears in the container only after
//! that. When it takes too long it is killed with its process group; what has left that group ends with the container.
//! One check runs at a time, and the next begins an interval after its end. What the check uses counts as the container's.
//!
//! Until the first verdict the keeper asks soon and often, at least every second, so that a container serves as soon as it can. Failures
//! count once an interval, so it is as patient as it was asked to be: with `every(30 s)` and `retries(3)` a container that
//! never answers is unhealthy after 90 s, not after 3.
//!
//! # Restarts
//!
//! The keeper carries out the plan of the first start again, in new namespaces of all kinds but the network's: address,
//! published ports, control groups, log and files stay. What is below a `tmpfs` is gone, as is what other containers could
//! have mounted; binds lead to what is at their paths by then. Limits that were changed since stay changed. Between two runs
//! [`state`](crate::Container::state) is [`Restarting`](crate::ContainerState::Restarting). The number in `pid` is then 0,
//! and the number of a process is given free only when no record names it any more.
//!
//! [`stop`](crate::Container::stop) first leaves the file `stop`, for which the keeper looks after each end and before each
//! start, and only then signals. A container that was asked to stop is therefore never started again. A signal sent by
//! [`kill`](crate::Container::kill) leaves no such word: where it ends the command, that is an end like every other.
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
//! | `pid` | first process (0 between two runs) and keeper, valid while there is no `exit` |
//! | `exit` | how it ended; written aside, synced, renamed |
//! | `health` | verdict, since when, failures in a row, restarts, finding; replaced at every change, to be watched with inotify; only with a health check or a restart rule |
//! | `last` | how the run before ended, in the form of `exit` |
//! | `stop` | word to the keeper: no restart |
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
//! | your program, at any instant | running containers go on, with logs, statuses, health checks and restarts; a start that was under way either goes on or is undone |
//! | an attached container's program | the container dies with it; the next `Engine::open` gives back its control group and network |
//! | a container's command | restarted by its rule, else its end is recorded |
//! | a keeper | its container dies with it, and is not started again; the next look records an end of unknown status and gives back what it held |
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
