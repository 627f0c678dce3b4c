//! Starts with file systems of runtime-spec configurations: what they show inside, and what they refuse.

use super::*;
use crate::isolate::process::Circumstances;
use crate::launch::{Channel, IdMap, IdRange, Launcher, Request, start};
use crate::plan::op::Tolerate;
use oci_spec::runtime::Process;
use serde_json::{Value, json};
use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};

/// A bundle in a directory of its own.
struct Bundle {
    scratch: tempfile::TempDir,
    mounts: Vec<Value>,
    linux: Value,
    root: Value,
    user_namespace: bool,
    cgroups: Vec<PathBuf>,
    no_pivot: bool,
}

impl Bundle {
    fn new() -> Bundle {
        let scratch = tempfile::Builder::new().prefix("coracle-mount-").tempdir().unwrap();
        for name in ["bin", "etc", "tmp"] {
            fs::create_dir_all(scratch.path().join("rootfs").join(name)).unwrap();
        }
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let busybox = scratch.path().join("rootfs/bin/busybox");
        fs::copy("/bin/busybox", busybox).unwrap();
        symlink("busybox", scratch.path().join("rootfs/bin/sh")).unwrap();
        Bundle {
            scratch,
            mounts: Vec::new(),
            linux: json!({}),
            root: json!({"path": "rootfs"}),
            user_namespace: false,
            cgroups: Vec::new(),
            no_pivot: false,
        }
    }

    /// With the mounts, devices and paths that Docker writes into each configuration.
    fn docker() -> Bundle {
        let mut bundle = Bundle::new();
        bundle.mounts = serde_json::from_value(json!([
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
             "options": ["ro", "nosuid", "noexec", "nodev"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
             "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"]},
        ]))
        .unwrap();
        bundle.linux = json!({
            "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        });
        bundle
    }

    fn root(&self) -> PathBuf {
        self.scratch.path().join("rootfs")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn mount(mut self, mount: Value) -> Bundle {
        self.mounts.push(mount);
        self
    }

    fn in_user_namespace(mut self) -> Bundle {
        self.user_namespace = true;
        self
    }

    /// What a shell prints in the container, or why there is none.
    fn run(&self, script: &str) -> Result<String> {
        let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
        let mut process = start(&Launcher::shared()?, self.request(script, write)?)?;
        let mut output = String::new();
        fs::File::from(read).read_to_string(&mut output).unwrap();
        let exit = process.wait()?;
        assert!(exit.status.success(), "{}: {output}", exit.status);
        Ok(output)
    }

    fn spec(&self) -> Spec {
        let mut spec = json!({"ociVersion": "1.2.0", "root": self.root, "mounts": self.mounts, "linux": self.linux});
        spec["process"] = json!({"cwd": "/", "args": ["sh"], "user": {"uid": 0, "gid": 0}});
        serde_json::from_value(spec).unwrap()
    }

    fn request(&self, script: &str, output: OwnedFd) -> Result<Request<'static>> {
        let channel = Channel::new()?;
        let mut plan = Builder::new();
        let output = plan.inherit(output);
        plan.push(OpCode::CloseOthers, &[], "close foreign descriptors");
        plan.push(OpCode::Umask, &[0], "reset the umask");
        let namespaces = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC;
        plan.phase(Phase::Join);
        let id_map = self.user_namespace.then(|| {
            plan.push(OpCode::Unshare, &[libc::CLONE_NEWUSER as u32], "create a user namespace");
            plan.phase(Phase::Map);
            plan.push(OpCode::AskForIdMaps, &[], "get the ids mapped");
            plan.phase(Phase::Identity);
            plan.push(OpCode::BecomeRoot, &[], "become root");
            plan.push(OpCode::Unshare, &[(namespaces | libc::CLONE_NEWCGROUP) as u32], "create namespaces");
            plan.push(OpCode::GoOnInChild, &[], "enter the PID namespace");
            let ids = vec![IdRange { inside: 0, outside: 100_000, count: 65_536 }];
            IdMap { users: ids.clone(), groups: ids }
        });
        let surroundings = Surroundings {
            bundle: self.scratch.path(),
            user_namespace: self.user_namespace,
            own_network: false,
            own_cgroup_namespace: self.user_namespace,
            cgroups: &self.cgroups,
            no_pivot: self.no_pivot,
        };
        let spec = self.spec();
        lower_filesystem(&mut plan, &spec, &surroundings, |_, _| Ok(()))?;
        plan.phase(Phase::Session);
        for number in [1, 2] {
            plan.push(OpCode::StandardStream, &[output.into(), number], "set up a standard stream");
        }
        let process: Process = spec.process().clone().unwrap();
        let circumstances = Circumstances { user_namespace: self.user_namespace, ..Circumstances::default() };
        let _ = (process, circumstances, Tolerate::NONE);
        plan.phase(Phase::Exec);
        let arguments = plan.texts(["sh", "-c", &format!("set -e\nbusybox() {{ /bin/busybox \"$@\"; }}\n{script}")]);
        let (environment, candidates) = (plan.texts(["PATH=/bin"]), plan.texts(["/bin/sh"]));
        plan.push(OpCode::Execute, &[arguments, environment, candidates], "execute the script");
        Ok(Request {
            plan: plan.finish(channel.child())?,
            channel,
            namespaces: if self.user_namespace { 0 } else { namespaces as u64 },
            cgroup: None,
            id_map,
            after_exec_of_stage: None,
            gate: None,
        })
    }
}

#[test]
fn docker_s_configuration_has_its_mounts_devices_and_masks() {
    let output = Bundle::docker()
        .run(
            "busybox cat /proc/self/mountinfo
            busybox ls -l /dev
            busybox cat /proc/keys
            (echo x > /proc/sys/kernel/domainname) 2>&1 || echo sealed
            echo hello > /dev/null; busybox head -c 3 /dev/zero | busybox wc -c; echo $$",
        )
        .unwrap();
    println!("{output}");
}
