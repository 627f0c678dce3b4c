//! The attributes of a process, from config.json to what the process finds.

use coracle::Landlock;
use coracle::runtime::Runtime;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg};
use serde_json::{Value, json};
use std::fs;
use std::io::{IoSliceMut, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// A bundle with busybox for a shell, and the state directory of a runtime.
struct Ground {
    scratch: tempfile::TempDir,
    runtime: Runtime,
}

impl Ground {
    fn new() -> Ground {
        let scratch = tempfile::Builder::new().prefix("coracle-oci-process-").tempdir().unwrap();
        for name in ["rootfs/bin", "rootfs/proc", "rootfs/open"] {
            fs::create_dir_all(scratch.path().join(name)).unwrap();
        }
        fs::copy("/bin/busybox", scratch.path().join("rootfs/bin/sh")).unwrap();
        let runtime = Runtime::open(scratch.path().join("state")).unwrap();
        Ground { scratch, runtime }
    }

    fn id(&self) -> String {
        self.scratch.path().file_name().unwrap().to_str().unwrap().to_owned()
    }

    /// Writes config.json; `process` and `linux` replace what is said here.
    fn configure(&self, script: &str, process: Value, linux: Value) {
        let mut config = json!({
            "ociVersion": "1.2.0",
            "process": { "user": { "uid": 0, "gid": 0 }, "args": ["/bin/sh", "-c", script], "env": ["PATH=/bin"], "cwd": "/" },
            "root": { "path": "rootfs" },
            "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
            "linux": { "namespaces": [
                { "type": "mount" }, { "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" },
            ] },
        });
        for (name, changes) in [("process", process), ("linux", linux)] {
            for (field, value) in changes.as_object().unwrap() {
                config[name][field] = value.clone();
            }
        }
        fs::write(self.scratch.path().join("config.json"), config.to_string()).unwrap();
    }

    fn output(&self, landlock: Option<Landlock>) -> coracle::Result<String> {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let descriptor = |writer: &std::io::PipeWriter| coracle::Stream::Descriptor(writer.try_clone().unwrap().into());
        let streams = [coracle::Stream::Null, descriptor(&writer), descriptor(&writer)];
        drop(writer);
        let mut create = self.runtime.create(&self.id(), self.scratch.path()).streams(streams);
        if let Some(landlock) = landlock {
            create = create.landlock(landlock);
        }
        let mut running = create.run()?;
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        running.wait()?;
        running.container().delete(true)?;
        Ok(text)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if let Ok(container) = self.runtime.container(&self.id()) {
            let _ = container.delete(true);
        }
    }
}

#[test]
fn attributes_reach_the_process() {
    let ground = Ground::new();
    let process = json!({
        "user": { "uid": 7, "gid": 8, "umask": 0o77, "additionalGids": [9] },
        "capabilities": {
            "bounding": ["CAP_KILL", "CAP_WARP"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"],
            "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"],
        },
        "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 64, "hard": 128 }],
        "oomScoreAdj": 77,
        "scheduler": { "policy": "SCHED_BATCH", "nice": 4 },
        "ioPriority": { "class": "IOPRIO_CLASS_IDLE", "priority": 0 },
    });
    let linux = json!({ "sysctl": { "net.ipv4.ip_forward": "1" } });
    let script = "id -u; id -g; umask; ulimit -n; cat /proc/self/oom_score_adj /proc/sys/net/ipv4/ip_forward; ionice -p $$; \
                  while read name value; do case $name in CapBnd:|CapAmb:|CapEff:) echo $value;; esac; done < /proc/self/status";
    ground.configure(script, process, linux);
    let kill = format!("{:016x}", 1 << 5);
    let printed = ground.output(None).unwrap();
    assert_eq!(
        printed.lines().collect::<Vec<_>>(),
        ["7", "8", "0077", "64", "77", "1", "idle", &kill, &kill, &kill],
        "{printed}"
    );
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let ground = Ground::new();
    let process = json!({ "oomScoreAdj": 5000, "ioPriority": { "class": "IOPRIO_CLASS_BE", "priority": 9 } });
    ground.configure("true", process, json!({ "sysctl": { "kernel.pid_max": "9" } }));
    let error = ground.output(None).unwrap_err().to_string();
    for field in ["process.oomScoreAdj", "process.ioPriority.priority", "linux.sysctl.kernel.pid_max"] {
        assert!(error.contains(field), "{error}");
    }
}

#[test]
fn landlock_confines_the_container() {
    let ground = Ground::new();
    ground.configure("echo a > /open/a; cat /open/a; echo b > /b", json!({ "noNewPrivileges": true }), json!({}));
    let landlock = Landlock::new().read_only("/bin").read_write("/open");
    let printed = ground.output(Some(landlock)).unwrap();
    assert!(printed.starts_with("a\n") && printed.contains("Permission denied"), "{printed}");
}

/// Takes one descriptor and its document.
#[allow(unsafe_code)]
fn accept(listening: &UnixListener) -> (OwnedFd, Value) {
    let (mut stream, _) = listening.accept().unwrap();
    let (mut bytes, mut control) = (vec![0; 1 << 16], nix::cmsg_space!([i32; 2]));
    let mut buffers = [IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<UnixAddr>(stream.as_raw_fd(), &mut buffers, Some(&mut control), flags).unwrap();
    let (length, rights) = (message.bytes, message.cmsgs().unwrap().next().unwrap());
    let ControlMessageOwned::ScmRights(descriptors) = rights else { panic!("no descriptor came along") };
    assert_eq!(descriptors.len(), 1);
    // SAFETY: the kernel has just installed it for us.
    let descriptor = unsafe { OwnedFd::from_raw_fd(descriptors[0]) };
    bytes.truncate(length);
    stream.read_to_end(&mut bytes).unwrap();
    (descriptor, serde_json::from_slice(&bytes).unwrap())
}

#[test]
fn a_seccomp_agent_gets_the_descriptor_and_the_state() {
    for no_new_privileges in [true, false] {
        let ground = Ground::new();
        let path = ground.scratch.path().join("agent.sock");
        let listening = UnixListener::bind(&path).unwrap();
        let seccomp = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "listenerMetadata": "boat",
            "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY" }],
        });
        let process = json!({ "noNewPrivileges": no_new_privileges });
        ground.configure("mkdir /made; sleep 1000", process, json!({ "seccomp": seccomp }));
        let agent = std::thread::spawn(move || accept(&listening));
        let container = ground.runtime.create(&ground.id(), ground.scratch.path()).create().unwrap();
        let (descriptor, document) = agent.join().unwrap();
        let state = container.state().unwrap();
        assert_eq!((&document["metadata"], &document["fds"]), (&json!("boat"), &json!(["seccompFd"])));
        assert_eq!((&document["state"]["id"], &document["state"]["status"]), (&json!(ground.id()), &json!("creating")));
        assert_eq!(document["pid"], document["state"]["pid"]);
        assert_eq!(document["pid"], json!(state.pid));
        container.start().unwrap();
        drop(descriptor);
        container.delete(true).unwrap();
    }
}

#[test]
fn a_filter_that_the_start_cannot_live_with_is_refused_by_name() {
    let ground = Ground::new();
    let seccomp = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["setresuid"], "action": "SCMP_ACT_KILL" }] });
    ground.configure("true", json!({}), json!({ "seccomp": seccomp }));
    let error = ground.output(None).unwrap_err().to_string();
    assert!(error.contains("the seccomp profile refuses setresuid"), "{error}");
    assert!(!Path::new(&ground.scratch.path().join("state").join(ground.id())).exists(), "nothing is left");
}
