//! How the crate is built, and why.
//!
//! # A guest in your process
//!
//! The crate runs inside somebody else's program. That program may have hundreds of threads, gigabytes of memory, its
//! own signal handlers and allocator, and need not be written in Rust. So the crate never changes the state of the
//! process: no working directory, umask, environment, limit, signal handler or subreaper flag, and no descriptor
//! without close-on-exec. It never executes the host's own binary again, and has no hook in `main`.
//!
//! It does start threads of its own, and only these:
//!
//! - one launch thread for each engine (and one for all [`Sandbox`](crate::Sandbox) values without engine);
//! - some threads during one pull or push, gone when it returns;
//! - a thread for an instant to make a network namespace, since a namespace belongs to a thread;
//! - a thread for each [`Supervisor`](crate::Supervisor), and one for each replica that is being stopped.
//!
//! All signals are blocked in the launch thread, and it owns no locks of the host's libraries.
//!
//! # The rooms
//!
//! A room is a module; dependencies point downwards only, and a test (`tests/architecture.rs`) keeps it so.
//!
//! | room | what it is for |
//! |---|---|
//! | `kubernetes` | deployments as manifests, and what of them means something else in a cluster (feature `kubernetes`) |
//! | `engine` | opens a root directory and hands out the rooms below |
//! | `compose` | Compose files: parsed strictly, lowered into deployments |
//! | `deploy` | deployments: controller, rollouts, scale, admission, statistics |
//! | `build` | Dockerfiles and typed builders: steps, cache, contexts, programs of this machine |
//! | `container` | one container's life: builder, record, logs, statistics, recovery |
//! | `volume` | named volumes and their snapshots |
//! | `network` | virtual cables, published ports, balanced services, over netlink |
//! | `registry` | the distribution protocol: pull, push, credentials |
//! | `store` | blobs, names, layers, snapshots, leases, garbage collection |
//! | `archive` | layers as tar, in and out |
//! | `runtime` | OCI bundles: created, started and watched by different processes |
//! | `sandbox` | one confined process, without image or store |
//! | `cgroup` | limits, statistics and ends of groups of processes |
//! | `isolate` | what confines: root, mounts, devices, masks, capabilities |
//! | `launch` | the parent's side of a start: clone, answer, explain a fault |
//! | `stage` | the program between the host and the command |
//! | `plan` | a start as data: operations, phases, verifier, listing |
//! | `spec`, `value`, `kernel` | image documents, small types, system calls that other crates lack |
//!
//! `unsafe` stands in `kernel`, `launch` and `stage` alone.
//!
//! # How a start works
//!
//! There are two sound ways to start a process from a threaded program: execute a fresh program at once and work
//! there, or work from a list prepared beforehand. This crate does both.
//!
//! 1. **Lower.** The wishes become a *plan*: one piece of memory with fixed-size operations. Offsets take the place of
//!    pointers, numbered slots that of descriptors. Every operation belongs to a phase, and each carries the sentence
//!    that explains its failure and the remedy for each errno.
//! 2. **Verify.** Before anything is cloned it is proved that the phases are in order, that every slot is filled before
//!    it is used, and that nothing points outside. The verifier is fuzzed.
//! 3. **Clone.** The launch thread clones with `CLONE_VM | CLONE_VFORK`, so no page table is copied: a host of many
//!    gigabytes starts a container as fast as a small one. The child runs a handful of system calls, without libc, and
//!    executes the *stage* from a sealed memory file.
//! 4. **Carry out.** The stage is a static program of some kilobytes without libc and allocator, compiled by `build.rs`
//!    with the same compiler. It interprets the plan: namespaces, mounts from descriptor to descriptor, the new root,
//!    ids, capabilities, the system call filter, and at last the command.
//! 5. **Explain.** A page shared with the parent, the *recorder*, holds the number of the operation at work. So the
//!    failing step is known even after a kill. [`Sandbox::listing`](crate::Sandbox::listing) prints the plan instead of
//!    carrying it out: a change of what confines is visible as a change of text.
//!
//! The start returns after the command was executed, or with the error of the step that failed. Nothing is left of a
//! start that fails.
//!
//! # The OCI runtime
//!
//! [`runtime`](crate::runtime) lowers a `config.json` into a plan by the same pieces. What is its own:
//!
//! - **Created by one process, started by another.** The stage does all that does not depend on the start, tells its
//!   parent that it is parked, and waits on a fifo in the state directory, both ends of which it holds. Whoever opens that
//!   for writing without waiting learns at once whether there is anybody parked (`ENXIO`). A second fifo tells the
//!   outcome: it closes by the exec, or says which operation failed. While it waits it is not dumpable, so nobody in a
//!   shared PID namespace can talk it out of the filter that is still to come.
//! - **Gates.** Before the pivot the stage asks its parent to run the hooks of the runtime's namespaces and to move
//!   network devices; the hooks of the container's namespaces it runs itself. Programs of the host are run through the
//!   launch thread, like everything else.
//! - **Filters that are loaded early** (without `no_new_privs`) are asked beforehand about each system call that the rest
//!   of the start makes: a profile that refuses one is refused by that call's name, instead of a death by SIGSYS.
//! - **`exec`** joins all namespaces by one setns(2) on the first process's descriptor, lowers its privileges by the
//!   operations of the start, and only then forks into the PID namespace (CVE-2016-9962).
//! - **State** is a small record that names the process by number, start time and boot, so a number that was given again
//!   is never taken for the container's. It is not synced: nothing of a container outlives the machine's power.
//!
//! # State on disk
//!
//! The root (`/var/lib/coracle` by default, mode 0700) holds `blobs` as an OCI layout that other tools can read, names,
//! unpacked `layers`, `containers` and `networks`. The run directory holds what a reboot ends. A file or directory is
//! written aside, synced, then renamed: nothing half-made has a name. Locks are `flock`, so they end with their process.
//! A process on record counts as living while its keeper's lock is held, never by its number alone. Several programs may
//! use one root at once.
//!
//! # The network
//!
//! One virtual cable from the host to each container, one nftables table, and one interface that holds the host's address
//! and the route to what has no cable. It is a bridge by kind, without ports: whatever a container sends, the host
//! routes. So no setting for bridged frames (`bridge-nf-call-iptables`) matters, no container can answer for another's
//! address or send with it, a container that is led to another by a port or a service is seen by its own address, and
//! who reaches whom is one chain of rules. The cables are known by their interface group, not by name.
//!
//! A published port is an element of a map, so a change is one transaction and does not grow with the number of
//! containers. A container in the network `default` alone needs no element; one in other networks has one for each, and
//! one that leads to the chain of its combination. Names resolve by `/etc/hosts`. All of it lives in the kernel and in
//! files, so it survives the host.
//!
//! # Services
//!
//! A service has a stable address in the upper quarter of the subnet, and ports of the host. The kernel balances: a new
//! connection to one of them goes through a chain that chooses a slot (in turn, by chance, by a hash of the client's
//! address), and a map of slots leads to the chain of a member, which rewrites the destination. Connection tracking keeps
//! the rest of the connection there. No process of ours sees a packet, and none needs to live.
//!
//! - **A change of members** is one transaction with a new version of the map. The version before stays until the next
//!   change, since a packet that is among the old rules at that moment looks the old map up in its present state.
//! - **A member that is not ready** is in the set `down`. Its keeper puts it there and takes it out by a message that was
//!   prepared when it started. Its chain leads back, and another is chosen: four times by the same rule, then the first
//!   that is ready. Where none is, the packet is dropped, and the client's kernel sends it again a second later.
//! - **A member that has died** refuses a connection with a RST of sequence number 0 (RFC 9293, 3.5.2), which is dropped
//!   after the kernel's connection tracking has forgotten the attempt. One whose cable is gone is routed nowhere; that
//!   is dropped before the attempt is remembered. In both cases the packet that the client sends again finds another.
//! - **By the client's address**: the slots are Maglev's table (Eisenbud and others, NSDI 2016), so shares differ by one
//!   slot and few clients move.
//! - **By weight**: the slots are as many as the weights say, evenly mixed, and chosen by chance.
//! - **The host's ports** are held by each member's keeper with sockets that share (`SO_REUSEPORT`), after the port was
//!   found free without sharing.
//!
//! The records are written before the kernel is told, carry a number that grows with every change, and every change and
//! every opening of the root bring the kernel up to them: what a kill cut off is carried out, what a flush took comes
//! back, and nothing else is touched.
//!
//! # Measured, and therefore changed
//!
//! - Writing a number into `cgroup.procs` waits for the kernel about 10 ms on an idle machine. With version 1 the stage,
//!   which has one thread, writes itself into each `tasks` file instead; with version 2 it is cloned into the group.
//! - With version 2 `memory.max` is written after the exec of the stage only. While the child still shares the host's
//!   memory, an out-of-memory kill of the group would be one of the host.
//! - Where the kernel has `lowerdir+` (6.5), the layers of an overlay are given one by one, so neither their number nor
//!   the length of their paths matters. Older kernels take all paths in one page; an image that does not fit is refused
//!   with the reason.
//! - Device files of images and volumes do not open at all, because every mount but the container's own `/dev` is
//!   mounted `nodev`. So no program for device rules is loaded into the kernel at each start.
//! - One start of a static program, to its reaped end, beside a hand-written clone, mount, filter, exec and wait of the
//!   same (the floor), in one interleaved run of `cargo bench --bench start`: with Docker's mounts, masks, capabilities,
//!   filter and limits 1.26 times the floor back to back, 1.25 to 1.30 with idle gaps; 12 to 16 times as fast as `crun`
//!   with the same bundle; from a host of 4 GB 0.98 times what it takes from one of 15 MB. With the least configuration
//!   1.5 times the floor: the 0.13 ms of the stage's own exec and of the plan weigh more there.
//! - The OCI runtime beside crun 1.8.1 and runc 1.1.5 on control groups of version 1 with Docker's configuration, medians of
//!   20 interleaved rounds of `cargo bench --bench runtime -- --quick` on two processors that were not quite idle: `run` as a
//!   command 6.2 ms (crun 31.7, runc 39.5), in-process 3.5, the floor 1.6; `exec` 3.7 (crun 6.2), in-process 1.4; `create`
//!   6.3 (38.2), `start` 2.3 (5.4), `delete` 2.4 (4.5); in-process 3.7, 0.32 and 0.48. In-process `run` is 1.9 to 2.2 times
//!   the floor: what costs is nine hierarchies looked at three times each, and reading ids and capabilities back. The command
//!   has 5 to 6 MB at its peak, of which most is the program file itself. Two threads start 190 to 200 containers a second
//!   and delete 800 to 950.
//! - New connections to a service of three replicas, one small answer each, beside haproxy with the same replicas, in one
//!   interleaved run of `cargo bench --bench balance` on two processors: 22,800 a second in turn, 1.8 times as many as
//!   haproxy in TCP mode (1.7 where it is spared connection tracking), and as many as haproxy in HTTP mode, which keeps
//!   its connections to the servers open. 1 % took longer than 10.6 ms, with haproxy 11.4 and 5.4 ms. The rules
//!   themselves are about a twentieth of the time; the rest is TCP, cables and scheduling.
//! - 20 replicas rolled over one at a time, each proven for 50 ms: 3.7 s and half a second of processor time in the
//!   program that drives it; all at a time 0.9 s (`cargo bench --bench rollout`).
//! - A keeper that checks health has about 60 KiB of memory of its own.
//! - The memory of a plan is kept for the next start once all of its processes have ended.
