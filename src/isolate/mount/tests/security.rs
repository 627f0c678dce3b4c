//! What a hostile root directory may not achieve. Each of these fails where mounts go by path.

use super::*;
use crate::kernel::rename_exchange;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn a_swapped_mount_point_never_leads_out_of_the_root() {
    // CVE-2021-30465: a process that shares the volume swaps the destination with a link to the host while it is
    // mounted on.
    let bundle = Bundle::docker();
    let outside = tempfile::tempdir().unwrap();
    fs::create_dir(bundle.path("data")).unwrap();
    fs::write(bundle.path("data/mark"), "").unwrap();
    let root = bundle.root();
    fs::create_dir_all(root.join("volume/place")).unwrap();
    symlink(outside.path(), root.join("volume/link")).unwrap();
    let bundle = bundle
        .mount(json!({"destination": "/volume/place", "source": "data", "options": ["rbind"]}))
        .mount(json!({"destination": "/volume/place/new", "type": "tmpfs"}));
    let volume = fs::File::open(root.join("volume")).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                rename_exchange(volume.as_fd(), Path::new("place"), volume.as_fd(), Path::new("link")).unwrap();
            }
        });
        for _ in 0..60 {
            // Whether it starts depends on the moment; where it mounts must not: the place of the second mount would be
            // made in the directory that the link leads to.
            let _ = bundle.run("true");
            assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "made outside of the root");
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn proc_and_sys_land_on_directories_of_their_name_or_not_at_all() {
    // CVE-2019-19921, CVE-2023-27561: what is masked must be what is mounted.
    for (name, index) in [("proc", 0), ("sys", 3)] {
        let bundle = Bundle::docker();
        fs::create_dir(bundle.root().join("elsewhere")).unwrap();
        symlink("elsewhere", bundle.root().join(name)).unwrap();
        let error = bundle.run("true").unwrap_err().to_string();
        assert!(error.starts_with(&format!("attach mounts[{index}] (")), "{error}");
        assert!(error.contains("a link stands where none may"), "{error}");
        // A link that leads to nothing is none that is made good.
        fs::remove_dir(bundle.root().join("elsewhere")).unwrap();
        bundle.run("true").unwrap_err();
        fs::remove_file(bundle.root().join(name)).unwrap();
        fs::write(bundle.root().join(name), "").unwrap();
        let error = bundle.run("true").unwrap_err().to_string();
        assert!(error.starts_with(&format!("attach mounts[{index}] (")), "{error}");
    }
}

#[test]
fn nothing_is_mounted_within_proc_by_way_of_a_link() {
    // CVE-2019-16884: a volume over /proc makes writes to /proc/self/attr mean nothing.
    let bundle = Bundle::docker();
    fs::create_dir(bundle.path("data")).unwrap();
    symlink("/proc", bundle.root().join("a")).unwrap();
    symlink("proc/self/attr", bundle.root().join("b")).unwrap();
    symlink("/proc/sys", bundle.root().join("c")).unwrap();
    symlink("/proc/self/cwd", bundle.root().join("magic")).unwrap();
    for place in ["/a", "/b", "/c", "/c/kernel", "/a/self/attr", "/magic/x"] {
        for mount in [
            json!({"destination": place, "source": "data", "options": ["rbind"]}),
            json!({"destination": place, "type": "tmpfs"}),
        ] {
            let mut bundle = Bundle { mounts: bundle.mounts.clone(), ..Bundle::docker() };
            for (name, target) in
                [("a", "/proc"), ("b", "proc/self/attr"), ("c", "/proc/sys"), ("magic", "/proc/self/cwd")]
            {
                symlink(target, bundle.root().join(name)).unwrap();
            }
            fs::create_dir(bundle.path("data")).unwrap();
            bundle.mounts.push(mount);
            let error = bundle.run("true").unwrap_err().to_string();
            assert!(error.starts_with("attach mounts[7] ("), "{place}: {error}");
        }
    }
    // What a configuration may mount there, and what may be mounted on /proc itself.
    let bundle = Bundle::docker();
    fs::write(bundle.path("file"), "covered").unwrap();
    fs::create_dir(bundle.path("data")).unwrap();
    let bundle = bundle.mount(json!({"destination": "/proc/uptime", "source": "file", "options": ["bind"]}));
    assert_eq!(bundle.run("busybox cat /proc/uptime").unwrap(), "covered");
    let mut bundle = bundle;
    bundle.mounts[0] = json!({"destination": "/proc", "source": "data", "options": ["rbind"]});
    let error = bundle.run("true").unwrap_err().to_string();
    assert!(error.contains("only a proc file system may be mounted on /proc"), "{error}");
    bundle.mounts[0] = json!({"destination": "/proc", "source": "/proc", "options": ["rbind"]});
    assert_eq!(bundle.run("busybox cat /proc/uptime").unwrap(), "covered");
}

#[test]
fn masks_and_read_only_paths_stay_within_the_root() {
    // CVE-2025-31133: the cover is one that the runtime made, and the place is looked up once.
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("file"), "outside").unwrap();
    let mut bundle = Bundle::docker();
    let root = bundle.root();
    for name in ["secret", "plain"] {
        fs::write(root.join("etc").join(name), "inside").unwrap();
    }
    fs::create_dir(root.join("hidden")).unwrap();
    fs::write(root.join("hidden/file"), "inside").unwrap();
    symlink(outside.path().join("file"), root.join("out")).unwrap();
    symlink("etc/secret", root.join("link")).unwrap();
    symlink("/proc/1/root", root.join("magic")).unwrap();
    bundle.linux = json!({
        "maskedPaths": ["/link", "/hidden", "/out", "/no/such/path", "/proc/keys", "/proc/../etc/../proc/acpi"],
        "readonlyPaths": ["/etc/plain", "/out", "/no-such", "/proc/sys", "/tmp"],
    });
    let output = bundle
        .run(
            "busybox wc -c < /etc/secret; busybox ls /hidden | busybox wc -l; busybox wc -c < /proc/keys
            for path in /etc/plain /etc/secret /tmp/x /hidden/x /proc/sys/kernel/hostname; do
                (echo x > $path) 2>/dev/null || echo sealed; done",
        )
        .unwrap();
    assert_eq!(output, "0\n0\n0\nsealed\nsealed\nsealed\nsealed\nsealed\n");
    assert_eq!(fs::read_to_string(outside.path().join("file")).unwrap(), "outside");
    bundle.linux = json!({"maskedPaths": ["/magic/etc"]});
    let error = bundle.run("true").unwrap_err().to_string();
    assert!(error.starts_with("linux.maskedPaths: mask /magic/etc: "), "{error}");
}

#[test]
fn links_in_dev_lead_nowhere_else() {
    let outside = tempfile::tempdir().unwrap();
    let mut bundle = Bundle::docker();
    // The /dev of the root directory itself, prepared by an image.
    bundle.mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    let dev = bundle.root().join("dev");
    fs::create_dir(&dev).unwrap();
    for name in ["null", "pts", "ptmx", "console"] {
        symlink(outside.path().join(name), dev.join(name)).unwrap();
    }
    let error = bundle.run("true").unwrap_err().to_string();
    assert!(error.starts_with("make the device /dev/null: "), "{error}");
    fs::remove_file(dev.join("null")).unwrap();
    bundle.mounts.push(json!({"destination": "/dev/pts", "type": "devpts", "options": ["ptmxmode=0666"]}));
    let output =
        bundle.run(&format!("busybox readlink /dev/ptmx; busybox ls {}/pts", outside.path().display())).unwrap();
    assert_eq!(output, "pts/ptmx\nptmx\n");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    symlink("/no-such", bundle.root().join("dev/gone")).unwrap();
    fs::remove_dir_all(&dev).unwrap();
    symlink(outside.path(), &dev).unwrap();
    bundle.run("busybox test -c /dev/null").unwrap();
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn the_console_is_no_link() {
    // CVE-2025-52565.
    for (target, fine) in
        [(None, true), (Some("/etc/target"), false), (Some("/proc/1/fd/0"), false), (Some("null"), false)]
    {
        let mut bundle = Bundle::docker();
        bundle.console = true;
        bundle.mounts.retain(|mount| mount["destination"] != "/dev");
        fs::create_dir(bundle.root().join("dev")).unwrap();
        if let Some(target) = target {
            symlink(target, bundle.root().join("dev/console")).unwrap();
        }
        let outcome = bundle.run("busybox stat -c %t,%T /dev/console");
        match outcome {
            Ok(output) => assert_eq!((output.as_str(), fine), ("1,7\n", true), "{target:?}"),
            Err(error) => assert!(
                !fine && error.to_string().starts_with("bind the terminal on /dev/console: "),
                "{target:?}: {error}"
            ),
        }
        assert!(!bundle.root().join("etc/target").exists());
    }
}
