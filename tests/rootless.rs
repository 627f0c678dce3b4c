//! Starts without privileges: in a user namespace of the calling user. Run as root these are root's own user namespaces.

use coracle::{ErrorKind, ExitStatus, IdMap, NetworkMode, Root, Sandbox, Stream};
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

/// A small root as layers.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let directory = tempfile::Builder::new().prefix("coracle-rootless-").tempdir().unwrap();
        for name in ["lower/bin", "upper", "work"] {
            fs::create_dir_all(directory.path().join(name)).unwrap();
        }
        let bin = directory.path().join("lower/bin");
        fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
        for name in ["sh", "cat", "ls", "id", "grep", "mv", "rm", "ip", "stat", "mount", "mkdir", "touch", "tty"] {
            symlink("busybox", bin.join(name)).unwrap();
        }
        Place { directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn sandbox(&self, script: &str) -> Sandbox {
        let root = Root::Overlay {
            lower: vec![self.path().join("lower")],
            upper: self.path().join("upper"),
            work: self.path().join("work"),
        };
        Sandbox::new(root, ["/bin/sh", "-c", script]).user_namespace(IdMap::current_user())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // overlayfs leaves a directory of mode 0 there, which stops an ordinary user from removing the rest.
        let _ = fs::set_permissions(self.path().join("work/work"), fs::Permissions::from_mode(0o700));
    }
}

fn output(sandbox: Sandbox) -> String {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let error = writer.try_clone().unwrap();
    let mut process =
        sandbox.stdout(Stream::Descriptor(writer.into())).stderr(Stream::Descriptor(error.into())).spawn().unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    let status = process.wait().unwrap().status;
    assert_eq!(status, ExitStatus::Exited(0), "{text}");
    text
}

#[test]
fn rootless_processes_are_root_of_their_own_namespaces() {
    let place = Place::new();
    let text = output(place.sandbox("echo $$; id -u; id -g; ls /proc | grep -c '^[0-9]'; cat /proc/self/uid_map"));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..3], ["1", "0", "0"], "{text}");
    let map: Vec<&str> = lines[4].split_whitespace().collect();
    assert_eq!(map, ["0", &nix::unistd::geteuid().to_string(), "1"], "{text}");
}

#[test]
fn rootless_devices_terminals_and_shared_memory_work() {
    let place = Place::new();
    let script = "echo x > /dev/null && cat /dev/zero | id > /dev/shm/id && ls /dev/pts/ptmx /dev/mqueue > /dev/null &&
        for name in null zero full random urandom tty; do [ -c /dev/$name ] || exit 3; done
        grep -c . /proc/sys/kernel/ostype; ls /sys/class > /dev/null && echo x > /sys/x || ls /sys/class/net";
    let text = output(place.sandbox(script));
    assert!(text.starts_with("1\n") && text.ends_with("\nlo\n"), "{text}");
}

#[test]
fn rootless_overlays_take_changes_and_whiteouts() {
    let place = Place::new();
    fs::write(place.path().join("lower/old"), "old").unwrap();
    fs::create_dir(place.path().join("lower/directory")).unwrap();
    fs::write(place.path().join("lower/directory/inside"), "").unwrap();
    let script = "rm /old; echo new > /new; rm -r /directory; mkdir /directory; mv /new /renamed; ls /; ls /directory";
    let text = output(place.sandbox(script));
    assert_eq!(text, "bin\ndev\ndirectory\nproc\nrenamed\nsys\n");
    assert_eq!(fs::read_to_string(place.path().join("upper/renamed")).unwrap(), "new\n");
    let whiteout = fs::symlink_metadata(place.path().join("upper/old")).unwrap();
    assert_eq!((whiteout.mode() & libc::S_IFMT, whiteout.rdev()), (libc::S_IFCHR, 0));
    let text = output(place.sandbox("ls /; ls /directory"));
    assert_eq!(text, "bin\ndev\ndirectory\nproc\nrenamed\nsys\n", "a second start finds the changes");
}

#[test]
fn rootless_networks_are_cut_off_or_the_hosts() {
    let place = Place::new();
    let script = "ls /sys/class/net; ip address show lo | grep -o 127.0.0.1/8";
    assert_eq!(output(place.sandbox(script)), "lo\n127.0.0.1/8\n");
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    let text = output(place.sandbox("ls -l /proc/self/ns/net; ls /sys/class/net").network(NetworkMode::Host));
    assert!(text.contains(own.to_str().unwrap()) && text.contains("\nlo\n"), "{text}");
}

#[test]
fn rootless_confinement_holds() {
    let place = Place::new();
    let script = "grep -E '^(NoNewPrivs|CapEff|CapBnd|CapAmb|CapInh|Groups)' /proc/self/status
        cat /proc/kcore 2>&1 | id > /dev/null; [ -s /proc/keys ] && echo keys; echo x > /proc/sysrq-trigger || echo refused";
    let text = output(place.sandbox(script));
    assert!(text.contains("NoNewPrivs:\t1\n"), "{text}");
    assert!(text.contains("CapEff:\t00000000a80425fb\n") && text.contains("CapAmb:\t0000000000000000\n"), "{text}");
    assert!(text.contains("refused\n") && !text.contains("keys\n"), "{text}");
}

#[test]
fn rootless_binds_and_memory_file_systems_work() {
    let place = Place::new();
    let bound = tempfile::tempdir().unwrap();
    fs::write(bound.path().join("file"), "bound\n").unwrap();
    let sandbox = place
        .sandbox("cat /a/b/file; echo x > /a/b/file || echo read-only; echo x > /writable/y && ls /writable; echo > /scratch/x")
        .bind(bound.path(), "/a/b", true)
        .bind(bound.path(), "/writable", false)
        .tmpfs("/scratch", coracle::Memory::mib(1))
        .read_only(true)
        .init(true);
    let text = output(sandbox);
    assert!(text.starts_with("bound\n") && text.ends_with("read-only\nfile\ny\n"), "{text}");
    assert_eq!(fs::metadata(bound.path().join("y")).unwrap().uid(), nix::unistd::geteuid().as_raw());
}

#[test]
fn rootless_ids_that_are_not_mapped_are_refused_with_the_reason() {
    let place = Place::new();
    let error = place.sandbox("id").user(1000, 1000, []).spawn().unwrap_err();
    assert!(error.to_string().starts_with("become user 1000 and group 1000: invalid argument (EINVAL)"), "{error}");
    assert!(error.remedy().unwrap().contains("not mapped"), "{error}");
}

#[test]
fn rootless_maps_that_make_no_sense_are_refused_before_the_start() {
    let place = Place::new();
    let mut twice = IdMap::current_user();
    twice.users.push(twice.users[0]);
    let mut nothing = IdMap::current_user();
    nothing.groups.clear();
    for (map, expected) in [(twice, "the user id map overlaps"), (nothing, "the group id map is empty")] {
        let error = place.sandbox("id").user_namespace(map).spawn().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}

/// Runs this very test once more where user namespaces are switched off.
#[test]
fn user_namespaces_that_are_switched_off_name_the_sysctl() {
    const INNER: &str = "CORACLE_TEST_WITHOUT_USER_NAMESPACES";
    if std::env::var_os(INNER).is_none() {
        let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$0\" --exact --nocapture \"$1\"";
        let own = std::env::current_exe().unwrap();
        let name = "user_namespaces_that_are_switched_off_name_the_sysctl";
        let result = std::process::Command::new("unshare")
            .args(["--user", "--map-root-user", "sh", "-c", script])
            .args([own.as_os_str(), name.as_ref()])
            .env(INNER, "1")
            .output()
            .unwrap();
        assert!(result.status.success(), "{result:?}");
        return;
    }
    let error = Place::new().sandbox("id").spawn().unwrap_err();
    assert!(error.to_string().starts_with("create a user namespace: no space left on device (ENOSPC)"), "{error}");
    assert!(error.remedy().unwrap().contains("sysctl user.max_user_namespaces"), "{error}");
}
