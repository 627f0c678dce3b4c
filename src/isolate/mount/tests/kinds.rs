//! File systems, devices and propagation of every kind.

use super::*;
use std::io::BufRead;
use std::os::unix::fs::chown;

#[test]
fn a_tmpfs_begins_with_what_it_hides_where_it_is_asked_to() {
    let bundle = Bundle::docker();
    let data = bundle.root().join("data");
    fs::create_dir_all(data.join("deep/er")).unwrap();
    fs::write(data.join("deep/er/file"), vec![b'x'; 3 << 20]).unwrap();
    symlink("er/file", data.join("deep/link")).unwrap();
    nix::unistd::mkfifo(&data.join("fifo"), nix::sys::stat::Mode::from_bits_truncate(0o640)).unwrap();
    for index in 0..300 {
        fs::write(data.join(format!("deep/a-name-of-some-length-{index}")), "").unwrap();
    }
    chown(data.join("deep"), Some(12), Some(13)).unwrap();
    fs::set_permissions(data.join("deep"), fs::Permissions::from_mode(0o2751)).unwrap();
    fs::set_permissions(data.join("deep/er/file"), fs::Permissions::from_mode(0o4711)).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o711)).unwrap();
    let bundle = bundle
        .mount(json!({"destination": "/data", "type": "tmpfs", "options": ["tmpcopyup", "ro", "size=16m"]}))
        .mount(json!({"destination": "/new", "type": "tmpfs"}))
        .mount(json!({"destination": "/etc", "type": "tmpfs", "options": ["mode=700"]}));
    let output = bundle
        .run(
            "busybox stat -c '%n %a %u:%g %s' /data/deep/er/file
            busybox stat -c '%n %a %u:%g %F' /data /data/deep /data/fifo /new /etc
            busybox ls /data/deep | busybox wc -l; busybox readlink /data/deep/link
            busybox touch /data/x 2>/dev/null || echo sealed",
        )
        .unwrap();
    assert_eq!(
        output,
        "/data/deep/er/file 4711 0:0 3145728\n/data 711 0:0 directory\n/data/deep 2751 12:13 directory\n\
         /data/fifo 640 0:0 fifo\n/new 1777 0:0 directory\n/etc 700 0:0 directory\n302\ner/file\nsealed\n"
    );
}

#[test]
fn devices_have_the_owner_mode_and_number_that_are_asked_for() {
    let mut bundle = Bundle::docker();
    bundle.linux = json!({"devices": [
        {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 3, "gid": 4},
        {"path": "/dev/net/tun", "type": "u", "major": 10, "minor": 200},
        {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600},
        {"path": "/dev/pipe", "type": "p", "fileMode": 0o622},
        {"path": "/srv/disk", "type": "b", "major": 7, "minor": 300_000},
    ]});
    let script = "for path in fuse net/tun null pipe ../srv/disk; do
        busybox stat -c '%n %F %t,%T %a %u:%g' /dev/$path; done";
    let expected = "/dev/fuse character special file a,e5 640 3:4\n\
        /dev/net/tun character special file a,c8 666 0:0\n/dev/null character special file 1,3 600 0:0\n\
        /dev/pipe fifo 0,0 622 0:0\n/dev/../srv/disk block special file 7,493e0 666 0:0\n";
    assert_eq!(bundle.run(script).unwrap(), expected);
    // Without a /dev of its own they are made in the root, and found there by the next start.
    bundle.mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    for _ in 0..2 {
        assert_eq!(bundle.run(script).unwrap(), expected);
    }
    fs::remove_file(bundle.root().join("dev/fuse")).unwrap();
    fs::write(bundle.root().join("dev/fuse"), "").unwrap();
    let error = bundle.run("true").unwrap_err().to_string();
    assert!(error.starts_with("make the device /dev/fuse: "), "{error}");
    assert!(error.contains("something else in its place"), "{error}");
}

#[test]
fn a_user_namespace_has_the_host_s_devices_and_no_others() {
    let mut bundle = Bundle::docker().in_user_namespace();
    bundle.linux = json!({"devices": [{"path": "/dev/null", "type": "c", "major": 1, "minor": 5}]});
    let error = bundle.run("true").unwrap_err().to_string();
    assert!(error.starts_with("check the host's device /dev/null: "), "{error}");
    bundle.linux = json!({"devices": [{"path": "/dev/no-such", "type": "c", "major": 1, "minor": 5}]});
    let error = bundle.run("true").unwrap_err().to_string();
    assert!(error.starts_with("bind the host's device /dev/no-such: "), "{error}");
}

#[test]
fn the_container_s_own_control_groups_are_mounted_and_no_others() {
    let name = format!("coracle-test-mounts-{}", std::process::id());
    let groups: Vec<PathBuf> = ["pids", "memory", "unified"]
        .iter()
        .map(|hierarchy| Path::new("/sys/fs/cgroup").join(hierarchy).join(&name))
        .filter(|group| fs::create_dir(group).is_ok())
        .collect();
    let expected: String = groups.iter().map(|group| format!("{}\n", group.iter().nth(4).unwrap().display())).collect();
    for user_namespace in [false, true] {
        let mut bundle = Bundle::docker();
        if user_namespace {
            bundle = bundle.in_user_namespace();
        }
        bundle.cgroups = groups.clone();
        let output = bundle.run(
            "busybox ls /sys/fs/cgroup | busybox sort -r; busybox test -e /sys/fs/cgroup/pids/cgroup.procs
            for file in /sys/fs/cgroup/x /sys/fs/cgroup/pids/x; do ! busybox mkdir $file 2>/dev/null; done
            busybox ls -d /sys/fs/cgroup/pids/coracle* 2>/dev/null || echo alone",
        );
        let mut names: Vec<&str> = expected.lines().collect();
        names.sort_unstable_by(|one, other| other.cmp(one));
        if user_namespace || output.is_err() {
            groups.iter().for_each(|group| fs::remove_dir(group).unwrap());
        }
        assert_eq!(output.unwrap(), names.join("\n") + "\nalone\n", "in a user namespace: {user_namespace}");
    }
}

#[test]
fn an_overlay_and_other_file_systems_are_mounted_with_their_own_options() {
    let bundle = Bundle::docker();
    for name in ["lower", "upper", "work"] {
        fs::create_dir(bundle.path(name)).unwrap();
    }
    fs::write(bundle.path("lower/file"), "content").unwrap();
    let option = |key: &str, name: &str| format!("{key}={}", bundle.path(name).display());
    // More layers than one option takes.
    let mut layers = option("lowerdir", "lower");
    for index in 0..8 {
        let name = format!("a-layer-with-a-name-of-some-length-{index}");
        fs::create_dir(bundle.path(&name)).unwrap();
        layers += &format!(":{}", bundle.path(&name).display());
    }
    assert!(layers.len() > 300);
    let options = [layers, option("upperdir", "upper"), option("workdir", "work"), "nosuid".into()];
    let bundle = bundle
        .mount(json!({"destination": "/merged", "type": "overlay", "source": "layers", "options": options}))
        .mount(json!({"destination": "/ram", "type": "ramfs", "options": ["mode=711", "sync", "noexec", "private"]}));
    let output = bundle
        .run("busybox cat /merged/file /proc/self/mountinfo; echo new > /merged/file; busybox stat -c %a /ram")
        .unwrap();
    assert!(mount_of(&output, "/merged").starts_with("rw,nosuid,relatime - overlay layers "), "{output}");
    assert!(mount_of(&output, "/ram").starts_with("rw,noexec,relatime - ramfs "), "{output}");
    assert!(mount_of(&output, "/ram").contains("sync"), "{output}");
    assert!(output.starts_with("content") && output.ends_with("\n711\n"), "{output}");
    assert_eq!(fs::read_to_string(bundle.path("upper/file")).unwrap(), "new\n");
    assert_eq!(fs::read_to_string(bundle.path("lower/file")).unwrap(), "content");
}

#[test]
fn a_mount_can_be_changed_by_a_later_one() {
    let bundle = Bundle::docker();
    let bundle = bundle
        .mount(json!({"destination": "/data", "type": "tmpfs", "options": ["size=1m", "nodev"]}))
        .mount(json!({"destination": "/data", "options": ["remount", "bind", "noexec", "dev"]}))
        .mount(json!({"destination": "/data", "options": ["remount", "size=2m", "nosuid"]}));
    let output = bundle.run("busybox cat /proc/self/mountinfo").unwrap();
    assert!(mount_of(&output, "/data").starts_with("rw,nosuid,noexec,relatime - "), "{output}");
    assert!(mount_of(&output, "/data").contains("size=2048k"), "{output}");
    let bundle = bundle.mount(json!({"destination": "/etc", "options": ["remount", "bind", "ro"]}));
    let error = bundle.run("true").unwrap_err().to_string();
    assert!(error.contains("mounts[10]") && error.contains("nothing is mounted there"), "{error}");
}

#[test]
fn a_link_is_copied_followed_or_mounted_over_as_asked() {
    let bundle = Bundle::docker();
    fs::write(bundle.path("file"), "content").unwrap();
    symlink("file", bundle.path("link")).unwrap();
    symlink("/etc/target", bundle.root().join("there")).unwrap();
    let bundle = bundle
        .mount(json!({"destination": "/made/link", "source": "link", "options": ["bind", "copy-symlink"]}))
        .mount(json!({"destination": "/followed", "source": "link", "options": ["bind"]}))
        .mount(json!({"destination": "/there", "source": "file", "options": ["bind", "dest-nofollow"]}));
    for _ in 0..2 {
        let output = bundle
            .run("busybox readlink /made/link; busybox cat /followed /there; ! busybox test -e /etc/target; echo")
            .unwrap();
        assert_eq!(output, "file\ncontentcontent\n");
    }
}

#[test]
fn the_root_is_read_only_and_propagates_as_asked() {
    let state = |propagation: Value, recursive: bool| {
        let mut bundle = Bundle::docker();
        fs::create_dir(bundle.root().join("proc")).unwrap();
        bundle.linux = json!({"rootfsPropagation": propagation});
        bundle.root = json!({"path": bundle.root(), "readonly": true});
        for name in ["dev", "sys"] {
            fs::create_dir(bundle.root().join(name)).unwrap();
        }
        let output = bundle.run("busybox cat /proc/self/mountinfo; ! busybox touch /x 2>/dev/null").unwrap();
        let root = mount_of(&output, "/");
        assert!(root.starts_with("ro,"), "{root}");
        assert_eq!(mount_of(&output, "/dev").contains("shared:"), recursive, "{propagation}");
        root
    };
    assert!(!state(Value::Null, false).contains("shared:"));
    assert!(state("shared".into(), false).contains("shared:"));
    assert!(state("rshared".into(), true).contains("shared:"));
    assert!(state("unbindable".into(), false).contains("unbindable"));
    assert!(!state("private".into(), false).contains("shared:"));
    assert!(!state("rslave".into(), false).contains("shared:"));
}

#[test]
fn the_root_can_be_changed_without_a_pivot() {
    let mut bundle = Bundle::docker();
    bundle.no_pivot = true;
    let output = bundle.run("busybox cat /proc/self/mountinfo; busybox ls /; busybox ls /..").unwrap();
    assert_eq!(output.lines().filter(|line| line.contains(" - proc ")).count(), 5, "{output}");
    assert!(output.ends_with("bin\ndev\netc\nproc\nsys\ntmp\nbin\ndev\netc\nproc\nsys\ntmp\n"), "{output}");
}

#[test]
fn without_a_mount_namespace_everything_lies_over_the_root_directory() {
    let mut bundle = Bundle::docker();
    bundle.namespace = MountNamespace::Callers;
    for masks in [true, false] {
        if !masks {
            bundle.linux = json!({});
        }
        let output = bundle.run("busybox ls /; busybox wc -c < /proc/keys");
        let root = bundle.root();
        let mut layers = 0;
        while nix::mount::umount2(&root, nix::mount::MntFlags::MNT_DETACH).is_ok() {
            layers += 1;
        }
        assert!(layers == 1 || layers == 2 && masks, "{layers}");
        let output = output.unwrap();
        assert!(output.starts_with("bin\ndev\netc\nproc\nsys\ntmp\n"), "{output}");
        assert_eq!(output.ends_with("\n0\n"), masks, "{output}");
    }
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(bundle.scratch.path().to_str().unwrap()));
}

#[test]
fn as_many_mounts_fit_as_anybody_has() {
    let mut bundle = Bundle::docker();
    fs::write(bundle.path("file"), "content").unwrap();
    for index in 0..600 {
        bundle =
            bundle.mount(json!({"destination": format!("/many/{index}"), "source": "file", "options": ["bind", "ro"]}));
    }
    assert_eq!(bundle.run("busybox ls /many | busybox wc -l; busybox cat /many/599").unwrap(), "600\ncontent");
}

/// Undoes what a test has mounted in its mount namespace.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH);
    }
}

#[test]
fn mounts_pass_between_host_and_container_only_where_they_are_asked_to() {
    use nix::mount::{MsFlags, mount};
    // A mount namespace of this thread's, and of the one that starts containers.
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
    let launcher = Launcher::new().unwrap();
    for (options, to_host, to_container) in [
        (json!(["rbind"]), false, true),
        (json!(["rbind", "rslave"]), false, true),
        (json!(["rbind", "rprivate"]), false, false),
        (json!(["rbind", "rshared"]), true, true),
    ] {
        let bundle = Bundle::docker().mount(json!({"destination": "/data", "source": "data", "options": options}));
        let data = bundle.path("data");
        fs::create_dir(&data).unwrap();
        mount(Some("host"), &data, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        let mounted = Mounted(data.clone());
        mount(None::<&str>, &data, None::<&str>, MsFlags::MS_SHARED, None::<&str>).unwrap();
        for name in ["outer", "inner"] {
            fs::create_dir(data.join(name)).unwrap();
        }
        let script = "busybox mount -t tmpfs inner /data/inner; echo ready
            until busybox test -e /data/go; do busybox usleep 1000; done
            busybox grep -c outer /proc/self/mountinfo || true";
        let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
        let mut process = start(&launcher, bundle.request(script, write).unwrap()).unwrap();
        let mut output = std::io::BufReader::new(fs::File::from(read));
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        let seen = fs::read_to_string("/proc/thread-self/mountinfo").unwrap().contains(" - tmpfs inner ");
        mount(Some("outer"), &data.join("outer"), Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        fs::write(data.join("go"), "").unwrap();
        line.clear();
        output.read_line(&mut line).unwrap();
        assert!(process.wait().unwrap().status.success());
        assert_eq!((seen, line != "0\n"), (to_host, to_container), "{options}");
        // Before the directory that it lies in.
        drop(mounted);
    }
}
