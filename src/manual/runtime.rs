//! Using coracle as the OCI runtime of podman, containerd, dockerd and buildah.
//!
//! `examples/runtime` is a program with the command line of `runc` over [`coracle::runtime`](crate::runtime). Build it
//! once and put it where the engine finds it:
//!
//! ```text
//! cargo build --release --example runtime
//! install -m 755 target/release/examples/runtime /usr/local/bin/coracle-runtime
//! ```
//!
//! It needs nothing else at run time: no library, no helper, no daemon. Its own state is in `/run/coracle-runtime`, or where
//! the engine's `--root` says. What it refuses is one line, also in the engine's own error: what was being done, the
//! field of the configuration, the errno, and a hint.
//!
//! # podman
//!
//! For one command: `podman --runtime /usr/local/bin/coracle-runtime run ...`. For all, in `containers.conf`:
//!
//! ```text
//! [engine]
//! runtime = "coracle"
//! runtime_supports_json = ["coracle"]
//!
//! [engine.runtimes]
//! coracle = ["/usr/local/bin/coracle-runtime"]
//! ```
//!
//! With `runtime_supports_json` podman asks for the log as JSON and shows the runtime's sentence alone. A container keeps
//! the runtime it was made with.
//!
//! # buildah
//!
//! `buildah --runtime` is an option of `bud`, `build` and `run`; the variable `BUILDAH_RUNTIME` is the same for all of them.
//! It is used with `--isolation oci`, the default of root:
//!
//! ```text
//! BUILDAH_RUNTIME=/usr/local/bin/coracle-runtime buildah bud --isolation oci .
//! ```
//!
//! Give `--cgroup-parent` where builds are to be accounted below a group of yours: buildah names none by itself.
//!
//! # dockerd
//!
//! In `/etc/docker/daemon.json`, or as `--add-runtime coracle=/usr/local/bin/coracle-runtime`:
//!
//! ```text
//! {
//!   "runtimes": { "coracle": { "path": "/usr/local/bin/coracle-runtime" } },
//!   "default-runtime": "coracle"
//! }
//! ```
//!
//! Without `default-runtime`, `docker run --runtime coracle` chooses it for one container. The steps of the classic builder
//! of `docker build` use the default one. With the cgroup driver `systemd` dockerd asks for scopes; with
//! `"exec-opts": ["native.cgroupdriver=cgroupfs"]` for plain groups.
//!
//! # containerd
//!
//! The shim `io.containerd.runc.v2` calls the program that its option `BinaryName` names. By hand:
//! `ctr run --runc-binary /usr/local/bin/coracle-runtime ...`. For Kubernetes, in `/etc/containerd/config.toml`, with a
//! `RuntimeClass` whose handler is `coracle`:
//!
//! ```text
//! [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.coracle]
//!   runtime_type = "io.containerd.runc.v2"
//!   [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.coracle.options]
//!     BinaryName = "/usr/local/bin/coracle-runtime"
//! ```
//!
//! # What is tested
//!
//! `tests/engines/` drives the engines of Debian 12, each in namespaces of its own: podman 4.3.1 (conmon 2.1.6, netavark
//! 1.4.0), as root and as an ordinary user, buildah 1.28.2, dockerd 20.10.24, and containerd 1.6.20 with `ctr`.
//!
//! | | podman | dockerd | containerd | buildah |
//! |---|---|---|---|---|
//! | run, exit codes 125 to 127, standard input, `--init` | yes | yes | yes | `run`, `bud` |
//! | detached, wait, remove | yes | yes | yes | |
//! | exec: user, directory, variables, input, detached; `top` | yes | yes | yes | |
//! | terminal, its size, of run and exec | yes | yes | yes | yes |
//! | limits of memory, CPU time, processes; changing them; `stats` | yes | yes | memory, CPU | yes |
//! | stop with a grace, restart, kill with a signal | yes | yes | yes | |
//! | pause, also removal while paused | yes | yes | yes | |
//! | logs, also followed | yes | yes | to a file | |
//! | published ports; networks `none`, `host`, of another container | yes | yes | CNI | networks |
//! | binds, volumes with the image's files, tmpfs | yes | yes | yes | yes, caches |
//! | users and groups, read-only root, capabilities, `--privileged` | yes | yes | yes | yes |
//! | own, default and no seccomp profile | yes | yes | yes | yes |
//!
//! Tried by hand besides: podman's pods (shared namespaces, pause, stop, start), `podman play kube` with limits, probes and a
//! host port, health checks, `commit`, `cp`, `diff`; `--uidmap` with volumes by `idmap`, `O` and `U`; `--ipc`, `--pid`, `--uts`
//! and `--cgroupns` of host and containers, `--systemd=always`, `--rootfs`, `mask=` and `unmask=`, `--device`; docker's
//! classic builder, networks, health checks, restart rules and live restore; ctr's `--uidmap`, `--with-ns`, `--no-pivot`.
//!
//! # Where it differs from runc
//!
//! - `--privileged` works for a root that lacks a capability itself: it is left out with a warning, as the
//!   specification says. runc refuses to start.
//! - A program that cannot be executed is noticed by `create`, as with runc; the sentence says `find` in place of `exec:`.
//! - Commands that end within milliseconds, on a busy machine: about one in fifty `ctr task exec` lost its output, which
//!   `ctr` seems to open too late; with commands of a tenth of a second none did, nor with runc, which is slower. Once in
//!   some hundred the end of such a command went unnoticed by containerd or dockerd. That did not come back in 700 tries,
//!   and whether the engines or this runtime are at fault is not known.
//! - Where a configuration names no cgroup path, the group is `/coracle/<id>`; that of runc is `/<id>`.
