//! Starts with file systems of runtime-spec configurations: what they show inside, and what they refuse.

mod kinds;
mod security;

use super::*;
use crate::launch::{Channel, IdMap, IdRange, Launcher, Request, start};
use serde_json::{Value, json};
use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};

/// The first of the host's ids that user namespaces have here.
const IDS: u32 = 100_000;

/// A bundle in a directory of its own.
struct Bundle {
    scratch: tempfile::TempDir,
    mounts: Vec<Value>,
    linux: Value,
    root: Value,
    user_namespace: bool,
    cgroups: Vec<PathBuf>,
    no_pivot: bool,
    namespace: MountNamespace,
    /// With a device in the place of a terminal on /dev/console.
    console: bool,
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
            namespace: MountNamespace::Own,
            console: false,
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

    /// In a user namespace whose root owns the root directory.
    fn in_user_namespace(mut self) -> Bundle {
        self.user_namespace = true;
        for name in ["", "bin", "etc", "tmp"] {
            std::os::unix::fs::chown(self.root().join(name), Some(IDS), Some(IDS)).unwrap();
        }
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
        let own = self.namespace == MountNamespace::Own;
        let namespaces = if own { libc::CLONE_NEWNS } else { 0 } | libc::CLONE_NEWPID | libc::CLONE_NEWIPC;
        plan.phase(Phase::Join);
        let id_map = self.user_namespace.then(|| {
            plan.push(OpCode::Unshare, &[libc::CLONE_NEWUSER as u32], "create a user namespace");
            plan.phase(Phase::Map);
            plan.push(OpCode::AskForIdMaps, &[], "get the ids mapped");
            plan.phase(Phase::Identity);
            plan.push(OpCode::BecomeRoot, &[], "become root");
            plan.push(OpCode::Unshare, &[(namespaces | libc::CLONE_NEWCGROUP) as u32], "create namespaces");
            plan.push(OpCode::GoOnInChild, &[], "enter the PID namespace");
            let ids = vec![IdRange { inside: 0, outside: IDS, count: 65_536 }];
            IdMap { users: ids.clone(), groups: ids }
        });
        let surroundings = Surroundings {
            bundle: self.scratch.path(),
            user_namespace: self.user_namespace,
            makes_devices: !self.user_namespace,
            own_network: false,
            own_cgroup_namespace: self.user_namespace,
            cgroups: &self.cgroups,
            id_map: id_map.as_ref(),
            mounts: self.namespace,
            no_pivot: self.no_pivot,
        };
        let spec = self.spec();
        lower_filesystem(&mut plan, &spec, &surroundings, |plan, root| {
            if self.console {
                let (terminal, path) = (plan.slot(), plan.text("/dev/full"));
                plan.push(OpCode::OpenHost, &[path, libc::O_RDWR as u32, terminal.into()], "open a device");
                crate::isolate::lower_console(plan, root, terminal);
            }
            Ok(())
        })?;
        plan.phase(Phase::Session);
        for number in [1, 2] {
            plan.push(OpCode::StandardStream, &[output.into(), number], "set up a standard stream");
        }
        plan.phase(Phase::EarlyFilter);
        plan.push(OpCode::CloseOnExec, &[3], "have the exec close descriptors");
        plan.phase(Phase::Exec);
        let arguments = plan.texts(["sh", "-c", &format!("set -e\nbusybox() {{ /bin/busybox \"$@\"; }}\n{script}")]);
        let (environment, candidates) = (plan.texts(["PATH=/bin"]), plan.texts(["/bin/sh"]));
        plan.push(OpCode::Execute, &[arguments, environment, candidates], "execute the script");
        Ok(Request {
            namespaces: if self.user_namespace { 0 } else { namespaces as u64 },
            id_map,
            ..Request::new(plan.finish(channel.child())?, channel)
        })
    }
}

/// The fields behind the mount point of the mount at `path`: its options, and behind a dash the file system.
fn mount_of(mounts: &str, path: &str) -> String {
    let line = mounts.lines().rfind(|line| line.split(' ').nth(4) == Some(path));
    line.unwrap_or_else(|| panic!("nothing on {path}: {mounts}")).split(' ').skip(5).collect::<Vec<_>>().join(" ")
}

#[test]
fn docker_s_configuration_has_its_mounts_devices_and_masks() {
    for bundle in [Bundle::docker(), Bundle::docker().in_user_namespace()] {
        let output = bundle
            .run(
                "busybox cat /proc/self/mountinfo
                for name in null zero full random urandom tty; do busybox stat -c '%n %F %t,%T %a' /dev/$name; done
                for name in fd stdin stdout stderr ptmx; do echo $name $(busybox readlink /dev/$name); done
                busybox wc -c < /proc/keys
                (echo x > /proc/sys/kernel/domainname) 2>/dev/null || echo sealed
                echo hello > /dev/null; busybox head -c 3 /dev/zero | busybox wc -c
                busybox ls / | busybox tr '\\n' ' '",
            )
            .unwrap();
        let sys = mount_of(&output, "/sys");
        assert!(sys.starts_with("ro,nosuid,nodev,noexec,relatime"), "{sys}");
        assert!(mount_of(&output, "/dev").starts_with("rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755"), "{output}");
        assert!(mount_of(&output, "/dev/pts").starts_with("rw,nosuid,noexec,relatime - devpts devpts rw,gid="));
        assert!(mount_of(&output, "/dev/shm").contains(" - tmpfs shm rw,size=65536k"), "{output}");
        assert!(mount_of(&output, "/dev/mqueue").contains(" - mqueue mqueue rw"), "{output}");
        assert!(mount_of(&output, "/proc").starts_with("rw,nosuid,nodev,noexec,relatime - proc proc rw"), "{output}");
        assert!(mount_of(&output, "/proc/sys").starts_with("ro,"), "{output}");
        let devices: String =
            output.lines().skip_while(|line| !line.starts_with("/dev/null")).collect::<Vec<_>>().join("\n");
        assert_eq!(
            devices,
            "/dev/null character special file 1,3 666\n/dev/zero character special file 1,5 666\n\
             /dev/full character special file 1,7 666\n/dev/random character special file 1,8 666\n\
             /dev/urandom character special file 1,9 666\n/dev/tty character special file 5,0 666\n\
             fd /proc/self/fd\nstdin /proc/self/fd/0\nstdout /proc/self/fd/1\nstderr /proc/self/fd/2\nptmx pts/ptmx\n\
             0\nsealed\n3\nbin dev etc proc sys tmp "
        );
    }
}

#[test]
fn binds_have_the_options_they_ask_for() {
    let bundle = Bundle::docker();
    for name in ["data/inner", "plain"] {
        fs::create_dir_all(bundle.path(name)).unwrap();
    }
    fs::write(bundle.path("file"), "content").unwrap();
    let bundle = bundle
        .mount(json!({"destination": "/srv/data", "source": "data", "options": ["rbind", "ro", "nosuid", "rprivate"]}))
        .mount(json!({"destination": "/a/b/file", "type": "none", "source": "file", "options": ["bind", "noexec", "nodev"]}))
        .mount(json!({"destination": "srv/plain", "type": "bind", "source": bundle_path("plain"), "options": ["rro", "noatime"]}));
    let output =
        bundle.run("busybox cat /proc/self/mountinfo /a/b/file; ! busybox touch /srv/plain/x 2>/dev/null").unwrap();
    assert!(mount_of(&output, "/srv/data").starts_with("ro,nosuid,relatime - "), "{output}");
    assert!(mount_of(&output, "/a/b/file").contains("nodev,noexec,relatime"), "{output}");
    assert!(mount_of(&output, "/srv/plain").starts_with("ro,noatime"), "{output}");
    assert!(output.ends_with("content"));
}

/// A path of the bundle, which relative sources belong to.
fn bundle_path(name: &str) -> String {
    format!("./{name}")
}

#[test]
fn places_that_are_missing_are_made_and_links_stay_within_the_root() {
    let bundle = Bundle::docker();
    let outside = tempfile::tempdir().unwrap();
    fs::write(bundle.path("file"), "content").unwrap();
    fs::create_dir(bundle.path("data")).unwrap();
    let root = bundle.root();
    // Docker's case: an image whose resolv.conf is a link to what only a running system has.
    symlink("../run/resolve/stub.conf", root.join("etc/resolv.conf")).unwrap();
    symlink("/run/else", root.join("var")).unwrap();
    symlink(outside.path(), root.join("out")).unwrap();
    symlink("../../../../../..", root.join("up")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    let bind = |place: &str| json!({"destination": place, "source": "file", "options": ["bind"]});
    let bundle = bundle
        .mount(bind("/etc/resolv.conf"))
        .mount(json!({"destination": "/var/x/data", "source": "data", "options": ["rbind"]}))
        .mount(bind("/out/file"))
        .mount(bind("/up/tmp/file"));
    let output = bundle
        .run(&format!(
            "busybox cat /run/resolve/stub.conf {}/file /tmp/file; echo; busybox ls -d /run/else/x/data",
            outside.path().display()
        ))
        .unwrap();
    assert_eq!(output, "contentcontentcontent\n/run/else/x/data\n");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "something was made outside of the root");
    let error = bundle.mount(bind("/loop/x")).run("true").unwrap_err();
    assert!(error.to_string().starts_with("attach mounts[11] ("), "{error}");
}

#[test]
fn what_the_root_of_a_user_namespace_cannot_reach_is_copied_for_it() {
    let bundle = Bundle::docker().in_user_namespace();
    fs::create_dir_all(bundle.path("secret/data")).unwrap();
    fs::write(bundle.path("secret/data/file"), "content").unwrap();
    fs::set_permissions(bundle.path("secret"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(bundle.scratch.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let bundle = bundle
        .mount(json!({"destination": "/data", "source": "secret/data", "options": ["rbind", "ro"]}))
        .mount(json!({"destination": "/shared", "source": "secret/data", "options": ["bind", "rshared"]}));
    let script = "busybox cat /data/file; busybox cat /proc/self/mountinfo | busybox grep ' /shared '
        busybox mkdir /tmp/x; busybox mount -t tmpfs x /shared; busybox touch /shared/inside";
    let output = bundle.run(script).unwrap();
    assert!(output.starts_with("content"), "{output}");
    assert!(!bundle.path("secret/data/inside").exists());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains("secret/data"), "what was mounted in a user namespace shows on the host");
}

#[test]
fn ids_are_mapped_mount_by_mount() {
    let bundle = Bundle::docker();
    fs::create_dir(bundle.path("data")).unwrap();
    fs::write(bundle.path("data/file"), "content").unwrap();
    std::os::unix::fs::chown(bundle.path("data/file"), Some(7), Some(8)).unwrap();
    let map = |host: u32| json!([{"containerID": 0, "hostID": host, "size": 1000}]);
    let mut bundle = bundle.mount(json!({"destination": "/data", "source": "data", "options": ["rbind", "idmap"],
        "uidMappings": map(50_000), "gidMappings": map(60_000)}));
    assert_eq!(bundle.run("busybox stat -c %u:%g /data/file").unwrap(), "50007:60008\n");
    bundle.mounts.pop();
    let mut bundle = bundle.in_user_namespace();
    bundle.mounts.push(json!({"destination": "/data", "source": "data", "options": ["bind", "ridmap"]}));
    assert_eq!(bundle.run("busybox stat -c %u:%g /data/file").unwrap(), "7:8\n");
    bundle.mounts.pop();
    bundle.mounts.push(json!({"destination": "/data", "source": "/proc/self/fd", "options": ["bind", "idmap"]}));
    let error = bundle.run("true").unwrap_err().to_string();
    assert!(error.contains("does not support id-mapped mounts"), "{error}");
}

#[test]
fn what_makes_no_sense_is_refused_with_its_field() {
    let refused = |mount: Value| Bundle::docker().mount(mount).run("true").unwrap_err().to_string();
    for (mount, expected) in [
        (json!({"destination": "/x"}), "mounts[7].type is missing"),
        (json!({"destination": "/x", "options": ["bind"]}), "mounts[7].source is missing"),
        (json!({"destination": "/", "type": "tmpfs"}), "mounts[7].destination: / is the root itself"),
        (json!({"destination": "/..", "type": "tmpfs"}), "mounts[7].destination: / is the root itself"),
        (json!({"destination": "/proc", "type": "tmpfs"}), "mounts[7].destination: it lies inside /proc"),
        (json!({"destination": "/proc/sys", "type": "tmpfs"}), "mounts[7].destination: it lies inside /proc"),
        (
            json!({"destination": "/x", "source": "/etc", "options": ["bind", "size=1"]}),
            "mounts[7].options: \"size\" means nothing",
        ),
        (json!({"destination": "/x", "type": "proc", "options": ["tmpcopyup"]}), "mounts[7].options: tmpcopyup"),
        (json!({"destination": "/x", "type": "proc", "options": ["=x"]}), "mounts[7].options: option \"=x\""),
        (json!({"destination": "/x", "type": "tmpfs", "options": ["idmap"]}), "mounts[7]: options: the mount is to be"),
        (json!({"destination": "/x", "type": "tmpfs", "options": ["wrong=1"]}), "set option wrong of mounts[7] (tmpfs"),
        (json!({"destination": "/x", "type": "no-such"}), "open the file system of mounts[7] (no-such on /x): "),
        (json!({"destination": "/x", "source": "no-such", "options": ["bind"]}), "copy the source of mounts[7] ("),
    ] {
        let error = refused(mount.clone());
        assert!(error.starts_with(expected), "{mount}: {error}");
    }
    let refused = |linux: Value| {
        let mut bundle = Bundle::docker();
        bundle.linux = linux;
        bundle.run("true").unwrap_err().to_string()
    };
    for (linux, expected) in [
        (json!({"rootfsPropagation": "wrong"}), "linux.rootfsPropagation: \"wrong\" is none of"),
        (json!({"devices": [{"path": "/dev/x", "type": "a", "major": 1, "minor": 1}]}), "linux.devices[0]: type: "),
        (json!({"devices": [{"path": "/dev/x", "type": "c", "major": -1, "minor": 1}]}), "linux.devices[0]: major: -1"),
        (json!({"devices": [{"path": "", "type": "c", "major": 1, "minor": 1}]}), "linux.devices[0]: path is empty"),
        (json!({"maskedPaths": ["/"]}), "linux.maskedPaths[0]: / is the root itself"),
        (json!({"readonlyPaths": [""]}), "linux.readonlyPaths[0] is empty"),
        (json!({"mountLabel": "system_u:object_r:x:s0"}), "linux.mountLabel: \"system_u:object_r:x:s0\" cannot be set"),
    ] {
        let error = refused(linux.clone());
        assert!(error.starts_with(expected), "{linux}: {error}");
    }
}
