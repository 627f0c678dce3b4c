//! What is missing or weak, and what to do instead.
//!
//! # Not there yet
//!
//! - **Commands in running containers (`exec`), attaching, copying files in and out, terminals** for containers of an
//!   [`Engine`](crate::Engine): their standard input is the null device, the others are pipes. Those of a
//!   [`runtime`](crate::runtime) have `exec` and terminals.
//! - **Volumes that images declare.** A `VOLUME` of an image has no effect at run time: what is written there goes with
//!   the container. *Instead:* mount a volume there.
//! - **Starting an ended container again.** Make a new one; files to keep belong on a bind.
//! - **What only a [`runtime`](crate::runtime) has:** hooks, terminals, AppArmor and SELinux labels, system call
//!   notification, time namespaces, mappings of ids for mounts, device rules. Containers of an
//!   [`Engine`](crate::Engine) do not take them yet. On a host with SELinux enforcing, files bound into those may need a
//!   label that containers may read. They have the harmless devices of their own `/dev`; device files anywhere else do not
//!   open, and a single device of the host can be given by a bind.
//! - **Credential helpers.** A `docker config.json` is read for plain credentials; `credHelpers` and `credsStore` would
//!   start programs and are not used. *Instead:* [`RegistryOptions::credentials`](crate::RegistryOptions::credentials).
//! - **Signatures of images.** Digests are verified, signatures are not. *Instead:* pull by digest.
//!
//! # The OCI runtime
//!
//! - **Speed.** Faster than crun and runc in every verb, but `run` in-process takes twice the least that is possible, `exec` is
//!   4.5 times as fast as crun's in-process and 1.7 times as a command, the command's peak memory is 5 to 6 MB, and two
//!   threads start about 200 containers a second; see "Measured" in [`manual::design`](super::design).
//! - **Checkpoints** call `criu`. Debian 12's cannot run on the kernel of the development machine, so a dump and a restore
//!   have never succeeded here: only what `criu` is asked, and what is said where it fails, is tested. What of a restore is
//!   missing: `--console-socket`, `--no-pivot`.
//! - **SELinux labels** were never tried with a real policy; AppArmor profiles were, by hand, on kernel 6.1.
//! - **Intel RDT** was tried on an imitated directory alone; `exec` does not join its groups, `update` does not change them.
//! - **systemd** was played by tests, and the bus spoken with a real `dbus-daemon`; no machine here runs systemd itself.
//! - **`idmap` without mappings** needs a new user namespace; in a joined one it is an error that says so.
//! - **Without a mount namespace** mounts lie over the root directory until the container is deleted.
//! - **Version 2 is stricter than runc:** swappiness, `disableOOMKiller`, kernel memory, real-time and network classes of
//!   a configuration cannot be enforced there and are errors.
//! - **`startContainer` hooks run behind the filter,** as under runc; a filter that refuses what they need shows as their
//!   failure.
//! - **A command that ends at once under `ctr task exec`** sometimes loses its output, and rarely its end goes unnoticed by
//!   the engine: see [`manual::runtime`](super::runtime). The cause of the second is not known.
//! - **Out-of-memory events of version 1** come up to half a second late: the kernel tells before it counts.
//! - **Who detaches, reaps:** in a program that goes on, a process of [`Create::create`](crate::runtime::Create::create) or
//!   [`Exec::detach`](crate::runtime::Exec::detach) that ends is a child to wait for; deleting the container does so.
//! - **Hidden processes:** a start that another process traces with rights over the host can be held up without limit.
//!
//! # Networks
//!
//! - **IPv4 only.** A container on the bridge has no IPv6 address, and published ports answer on IPv4.
//! - **No bridge for ordinary users.** They have [`Network::None`](crate::Network::None) and
//!   [`Network::Host`](crate::Network::Host).
//! - **Other firewalls.** A rule of another program that drops forwarded packets (Docker's, firewalld's, ufw's) drops
//!   those of containers too: in nftables one chain's acceptance does not bind another's. *Instead:* allow the interfaces
//!   whose names begin with `crcl` there.
//! - **The host's switch.** The first container on a bridge switches `net.ipv4.ip_forward` on.
//! - **Names.** Containers find services by name, in `/etc/hosts`; not each other, and a program that reads the file once
//!   does not see a service that comes later.
//! - **No broadcast, no multicast** between containers: each is alone on its cable.
//! - **A second for a dead member.** Until the members of a service are changed, a connection that is led to a dead one
//!   is asked for again by the client's kernel after a second, and again after two more if that finds a dead one too.
//! - **Other ports of a stable address** do not refuse: a connection to one fails after three seconds, as to an address
//!   that nobody has.
//! - **`net.ipv4.conf.all.ignore_routes_with_linkdown`** on a host keeps the host itself from stable addresses, since the
//!   interface that has the route to them has no carrier. Containers and published ports are not concerned.
//! - **Readiness after a flush.** If another program flushes the packet filter, members that were not ready count as ready
//!   until their keepers say so again.
//! - **Sharing a service's port.** While its members live, no program gets the host's port but one of the same user that
//!   asks to share it (`SO_REUSEPORT`); while none lives, nobody holds it against other programs.
//! - **Ports that clients use again.** A client behind the host that uses one source port for a service's stable address
//!   and, within a minute, for its published port can meet the same member's memory of the first connection, if the
//!   member closed it; its kernel then asks again after a second. So it is with every balancer that rewrites addresses.
//! - **Many short connections.** The kernel remembers a closed connection for two minutes: beyond
//!   `nf_conntrack_max` / 120 new ones a second for long it refuses. *Instead:* lower
//!   `net.netfilter.nf_conntrack_tcp_timeout_time_wait`.
//! - **Addresses after a crash.** What a killed keeper held is given back by the next engine that opens the root, not
//!   before.
//!
//! # Containers
//!
//! - **The keeper stays in your control group.** A manager that kills your program's whole group (systemd's default at
//!   the stop of a service) kills the keepers and so the containers. *Instead:* `KillMode=process` for that service.
//! - **Control groups inside.** With version 1 no control group file system is mounted in the container; a program that
//!   sizes itself by its limits (a JVM) sees the whole machine.
//! - **Limits with version 2** need, for an ordinary user or inside a container, a delegated group that holds no
//!   processes itself. Where there is none, a limit is an error that says so, or a note with
//!   [`Policy::BestEffort`](crate::cgroup::Policy::BestEffort).
//! - **The init has no filter of its own.** PID 1 of a container is this crate's own code with `CAP_KILL` alone. A payload
//!   that is given `CAP_SYS_PTRACE` can take it over and so leave the system call filter.
//! - **Payloads as PID 1.** With `init(false)` a payload can switch off that it dies with its keeper. Where it has no
//!   control group (an ordinary user without delegation) it can then outlive a keeper that was killed.
//! - **Bind sources are looked at, then opened.** Do not bind from directories that others may write.
//! - **Logging costs the host.** The keeper's time and the log's space (bounded by rotation) are not the container's.
//! - **Many layers, many descriptors.** Looking into an image of hundreds of layers takes as many descriptors for a moment.
//! - **Stopping without an init.** With `init(false)` a command without handlers ignores its stop signal; `stop` then
//!   takes the whole grace period.
//! - **No user namespace for containers of root.** Root in the container is root of the host with fewer rights.
//! - **One id for ordinary users.** Their containers have id 0 alone: a command cannot run as another user, layers lose
//!   their owners, and device files in layers are passed over. Ranges of further ids (`newuidmap`) are not used.
//! - **Hosts whose root is an initramfs** cannot start containers: the kernel does not let go of that root.
//! - **Inside another container** a fresh `/proc` may be refused, where the outer one masks its own. The error says so.
//!
//! - **A keeper that was killed starts nothing again,** and after a reboot nothing is started by itself. *Instead:* look
//!   for ended containers when your program starts.
//! - **Health checks without HTTPS, names, headers or bodies.** An HTTP check is one `GET` of HTTP/1.1 in the clear to an
//!   IPv4 address. *Instead:* a command.
//! - **Checks by a command need to join.** For root that takes `CAP_SYS_PTRACE`, for an ordinary user whose containers have
//!   an init a kernel with `CONFIG_PROC_CHILDREN`; where it is missing the check fails and says so.
//! - **Docker's `StartInterval` of an image** is not used; see [`Health::every`](crate::Health::every).
//! - **Half-open services.** Who accepts connections and never answers passes a TCP check.
//! - **Processes that leave a check behind** (a new session) stay until the container ends, and count as its own.
//! - **What is written over a restart.** Standard output of two runs goes to one log, in which nothing but the time
//!   separates them; [`ContainerExit`](crate::ContainerExit) tells of the last run alone.
//! - **A restart that fails** is recorded as one that failed to start; at which step is known only of a first start.
//! - **A container that is started again** finds binds, devices and layers at the paths they had; a plan is not made anew.
//! # Volumes
//!
//! - **Snapshots are taken while nobody writes.** A volume that a running container mounts, even read-only, is neither
//!   copied nor restored: that is an error. *Instead:* stop the container first.
//! - **A copy costs its size** where the file system cannot share blocks (ext4, tmpfs); btrfs and xfs can.
//! - **Hard links in images.** What an empty volume takes over from an image are files of their own, also where the image
//!   has several names for one; devices and pipes of the image are left out. An empty volume that a running container
//!   mounts takes nothing over.
//! - **Paths longer than 4,095 bytes** in a volume make its snapshot an error. Sockets are left out of it.
//! - **No limit of size.** A volume may fill the file system of the root. *Instead:* a file system of its own, or a quota.
//!
//! # Deployments
//!
//! - **Root alone.** Replicas live on the bridge network, which ordinary users do not have.
//! - **Nobody there, nothing decided.** Without a [`Rollout`](crate::Rollout) or a [`Supervisor`](crate::Supervisor) health
//!   checks, restarts and balancing go on; replicas that ended for good are not replaced, a rollout stands still, and the
//!   scale stays. After a reboot nothing runs until [`Engine::resume`](crate::Engine::resume).
//! - **A dead replica costs a second.** A connection that the kernel leads to a replica that has just died, before its
//!   keeper has said so, is tried again after the first retransmission of TCP, a second later, at another one.
//! - **All dead is silence.** Where no replica works, connections hang until one does or the client gives up; they are
//!   refused only where there is no replica at all.
//! - **Ports belong to the revision that is wanted.** Where a new revision has other ports than the old one, replicas of
//!   both get connections to the new ones during the rollout.
//! - **An unhealthy replica stays** out of traffic until it is healthy again; to have it started again use
//!   [`Restart::when_unhealthy`](crate::Restart::when_unhealthy).
//! - **Canaries** are not stages of their own: a rolling update begins with as many as `surge` allows and judges them.
//! - **After a foreign flush of the packet filter,** and the rebuilding by the next change or
//!   [`Engine::resume`](crate::Engine::resume), a replica that is not ready gets connections until its health changes or
//!   somebody looks after the deployment.
//! - **Admission counts requests of this root alone.** Other programs on the machine, and other roots, are the reserve of
//!   a twentieth at best.
//!
//! # Compose
//!
//! - What of a file is not carried out is an error; [`manual::compose`](super::compose) lists it. Among it: `secrets`,
//!   `configs`, `profiles`, `extends`, `include`, capabilities, devices, `network_mode`, aliases.
//! - Services come up one after the other, also those that do not depend on each other.
//! - A service is reached by the others on the ports that the file or the image names, no others.
//!
//! # Images and builds
//!
//! - **`from_host` sees what ELF says.** It follows interpreters and libraries. Plug-ins, name service modules, locales
//!   and what a program opens by itself are not seen; name them.
//! - **Implied directories.** A directory that a layer uses but does not contain belongs to root with mode 0755.
//! - **The store's file system** must hold the upper directory of an overlay: ext4, xfs, btrfs and tmpfs do; another
//!   overlay and NFS do not.
//! - **Leases and the clock.** The garbage collector compares times of files with the start of work that is under way.
//!   A clock that is set back by hours at that moment may let it remove a layer too early; the next use reports it as
//!   missing, and a pull or build brings it back.
//! - **One platform.** Images of other architectures can be pulled, not run.
//! - **`RUN` has the host's network** unless told otherwise, so that package managers work for everybody.
//!   *Instead:* [`BuildBuilder::network`](crate::BuildBuilder::network) with `Network::None`, or `RUN --network=none`.
//! - **`ADD` from addresses and repositories, `RUN --mount=type=cache` and `ssh`,** and external frontends are refused
//!   with the line.
//!
//! # Watching
//!
//! - **Waiting for a processor** ([`Container::processor_wait`](crate::Container::processor_wait)) is known of living
//!   threads. What threads that ended between two looks had waited is lost, and kernels count what the limit of
//!   processors throttles partly as waiting. Pressure needs control groups of version 2.
//! - **Time of one request.** [`TimeShares`](crate::TimeShares) divides what a container used by the number of requests
//!   that you give it; single requests are not traced.
//! - **Order of logs.** A line that its keeper writes more than 200 ms after it read it, on a machine that hardly gets to
//!   run it, can come after later lines of other containers. Within one container the order is always kept.
//! - **Removed containers.** Following the logs of many does not keep the files of one that is removed before its last
//!   lines were read.
//!
//! # Kubernetes
//!
//! - **Manifests alone.** They are written, not applied, and a cluster is not watched. *Instead:* `kubectl apply -f -`.
//! - **One way.** Manifests of others are not read.
//! - **Unseen by a cluster.** The tests hold them to the types of Kubernetes and to golden texts; they were validated with
//!   the published schemas of 1.33 and 1.37 by hand, and never given to a real cluster.
//!
//! # Machines
//!
//! - Linux 5.14 is the floor. It was developed and tested on one machine with kernel 6.18, control groups of version 1
//!   and an empty version 2 beside it. The tests of control groups, sandboxes and containers also passed on kernel 6.1
//!   with everything on version 2, in an emulated machine; `tests/run` repeats those of control groups there.
//! - The code for aarch64 is written, but has not been compiled or run.
