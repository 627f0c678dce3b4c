//! One test for each class of holes that container engines have had: each fails on a naive implementation.

#[path = "support/busybox.rs"]
mod busybox;
#[path = "support/program.rs"]
mod program;

use busybox::busybox_root;
use coracle::{Exit, ExitStatus, Root, Sandbox, Stream};
use nix::fcntl::{AT_FDCWD, FcntlArg, RenameFlags, fcntl, renameat2};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A root of busybox, and a directory beside it that no container may reach.
struct Prison {
    directory: tempfile::TempDir,
}

impl Prison {
    fn new() -> Prison {
        let directory = tempfile::Builder::new().prefix("coracle-escape-").tempdir().unwrap();
        busybox_root(&directory.path().join("root"));
        fs::create_dir(directory.path().join("outside")).unwrap();
        fs::write(directory.path().join("outside/secret"), "secret").unwrap();
        Prison { directory }
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    fn outside(&self) -> PathBuf {
        self.directory.path().join("outside")
    }

    fn sandbox(&self, script: &str) -> Sandbox {
        Sandbox::new(Root::Directory(self.root()), ["/bin/sh", "-c", script])
    }

    /// What the script prints, however it ends.
    fn run(&self, script: &str) -> String {
        output(self.sandbox(script)).1
    }
}

fn output(sandbox: Sandbox) -> (Exit, String) {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let error = writer.try_clone().unwrap();
    let mut process =
        sandbox.stdout(Stream::Descriptor(writer.into())).stderr(Stream::Descriptor(error.into())).spawn().unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    (process.wait().unwrap(), text)
}

/// The value of a field of /proc/self/status as `text` shows it.
fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).trim()
}

/// CVE-2019-5736: overwriting the engine through /proc/PID/exe.
#[test]
fn the_program_behind_a_container_is_sealed_memory_and_never_the_host() {
    let prison = Prison::new();
    let script = "readlink /proc/1/exe || echo closed; echo x > /proc/1/exe || echo refused; sleep 100";
    let (mut reader, writer) = std::io::pipe().unwrap();
    let process = prison.sandbox(script).init(true).stdout(Stream::Descriptor(writer.into())).spawn().unwrap();
    let mut text = [0; 15];
    reader.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"closed\nrefused\n");
    let program = PathBuf::from(format!("/proc/{}/exe", process.pid()));
    assert_eq!(fs::read_link(&program).unwrap(), Path::new("/memfd:coracle-stage (deleted)"));
    assert!(fs::File::options().write(true).open(&program).is_err());
    let seals = fcntl(fs::File::open(&program).unwrap(), FcntlArg::F_GET_SEALS).unwrap();
    let needed = libc::F_SEAL_WRITE | libc::F_SEAL_GROW | libc::F_SEAL_SHRINK | libc::F_SEAL_SEAL;
    assert_eq!(seals & needed, needed);
}

#[test]
fn executing_the_engine_itself_leads_nowhere() {
    let prison = Prison::new();
    for arguments in [&["/proc/self/exe"][..], &["/proc/self/exe", "0"], &["/proc/self/exe", "3"]] {
        let mut process = Sandbox::new(Root::Directory(prison.root()), arguments.to_vec()).spawn().unwrap();
        assert_eq!(process.wait().unwrap().status, ExitStatus::Exited(2));
    }
}

/// CVE-2024-21626: descriptors of the host in the container.
#[test]
fn no_descriptor_of_the_host_leaks() {
    let prison = Prison::new();
    let outside = fs::File::open(prison.outside()).unwrap();
    // Without close-on-exec, on purpose.
    let leaks: Vec<i32> = (0..50).map(|_| fcntl(&outside, FcntlArg::F_DUPFD(300)).unwrap()).collect();
    let text = prison.run("ls /proc/self/fd; ls -l /proc/self/fd 2>/dev/null | grep -c outside");
    assert_eq!(text, "0\n1\n2\n3\n0\n", "3 is that of ls itself");
    let process = prison.sandbox("sleep 100").init(true).spawn().unwrap();
    let held = fs::read_dir(format!("/proc/{}/fd", process.pid())).unwrap().count();
    assert_eq!(held, 0, "an init holds nothing");
    leaks.into_iter().for_each(|leak| nix::unistd::close(leak).unwrap());
}

/// CVE-2024-21626: a working directory that is a descriptor of the host.
#[test]
fn a_working_directory_leads_out_by_no_link() {
    let prison = Prison::new();
    symlink("/proc/self/fd", prison.root().join("descriptors")).unwrap();
    symlink("/proc/1/root", prison.root().join("magic")).unwrap();
    symlink("../../../../../../..", prison.root().join("up")).unwrap();
    for number in 3..30 {
        for path in [format!("/proc/self/fd/{number}"), format!("/descriptors/{number}")] {
            let error = prison.sandbox("pwd").workdir(&path).spawn().unwrap_err();
            assert!(error.to_string().starts_with(&format!("enter the working directory {path}: ")), "{error}");
        }
    }
    assert!(prison.sandbox("pwd").workdir("/magic").spawn().is_err());
    assert!(prison.sandbox("pwd").workdir("/proc/self/cwd").spawn().is_err());
    assert_eq!(output(prison.sandbox("pwd; ls").workdir("/up")).1, "/\nbin\ndescriptors\ndev\nmagic\nproc\nsys\nup\n");
}

/// CVE-2019-19921: the mount points of the system are links of the image.
#[test]
fn a_system_mount_on_a_link_is_refused() {
    for name in ["proc", "dev", "sys"] {
        for target in ["/tmp/elsewhere", "../outside", "bin"] {
            let prison = Prison::new();
            symlink(target, prison.root().join(name)).unwrap();
            let error = prison.sandbox("true").spawn().unwrap_err();
            assert!(error.to_string().starts_with(&format!("open in the root /{name}: ")), "{error}");
            assert!(error.remedy().is_some_and(|hint| hint.contains("link")), "{error}");
        }
        let prison = Prison::new();
        fs::write(prison.root().join(name), "").unwrap();
        assert!(prison.sandbox("true").spawn().is_err());
    }
}

/// CVE-2021-30465 and its kin: mount points through links.
#[test]
fn mount_points_behind_links_stay_in_the_root() {
    let prison = Prison::new();
    symlink(prison.outside(), prison.root().join("absolute")).unwrap();
    symlink("../../../../../..", prison.root().join("up")).unwrap();
    symlink("/proc/self/root", prison.root().join("magic")).unwrap();
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("bound"), "").unwrap();
    let outside = prison.outside();
    let inner = outside.strip_prefix("/").unwrap();
    let script = format!("ls /up/made/here /{}/made", inner.display());
    let sandbox = prison.sandbox(&script).bind(source.path(), "/absolute/made", false);
    // The absolute link is dangling within the root: it is refused, or made within.
    if let Ok(mut process) = sandbox.spawn() {
        process.wait().unwrap();
    }
    let text = output(prison.sandbox("ls /made/here").bind(source.path(), "/up/made/here", false)).1;
    assert_eq!(text, "bound\n");
    assert!(prison.sandbox("true").bind(source.path(), "/magic/made", false).spawn().is_err());
    let left: Vec<_> = fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["secret"]);
}

/// CVE-2024-45310, CVE-2025-52881: somebody changes the root while mounts are made in it.
#[test]
fn a_racing_link_never_leads_a_mount_out() {
    let prison = Prison::new();
    let source = tempfile::tempdir().unwrap();
    fs::create_dir(prison.root().join("race")).unwrap();
    symlink(prison.outside(), prison.root().join("link")).unwrap();
    symlink("../../outside", prison.root().join("relative")).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
    let before = mounts();
    let (mut started, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let path = |name: &str| prison.root().join(name);
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for other in ["link", "relative"] {
                    let exchange = RenameFlags::RENAME_EXCHANGE;
                    renameat2(AT_FDCWD, &path("race"), AT_FDCWD, &path(other), exchange).unwrap();
                }
            }
        });
        for round in 0..2000 {
            let sandbox = Sandbox::new(Root::Directory(prison.root()), ["/bin/true"])
                .system_mounts(false)
                .workdir("/race")
                .bind(source.path(), format!("/race/a/{}", round % 7), false);
            match sandbox.spawn() {
                Ok(mut process) => {
                    process.wait().unwrap();
                    started += 1;
                }
                Err(_) => refused += 1,
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(started > 0, "{started} started, {refused} refused");
    assert_eq!(mounts(), before);
    let left: Vec<_> = fs::read_dir(prison.outside()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["secret"], "{started} started, {refused} refused");
}

/// CVE-2025-31133, CVE-2025-52565: what must be hidden is hidden, what must not be written cannot be.
#[test]
fn the_dangerous_parts_of_proc_and_sys_are_closed() {
    let prison = Prison::new();
    let text = prison.run(
        "for path in kcore keys timer_list interrupts sysrq-trigger; do cat /proc/$path 2>/dev/null | wc -c; done
        for path in /proc/sysrq-trigger /proc/sys/kernel/core_pattern /proc/irq/default_smp_affinity /sys/kernel/x \
            /proc/kcore; do (echo x > $path) 2>/dev/null && echo written $path; done
        ls /sys/firmware /proc/scsi /proc/acpi 2>/dev/null | grep -v : | grep -c .
        umount /proc/kcore 2>/dev/null && echo uncovered; umount /proc 2>/dev/null && echo bare",
    );
    assert_eq!(text, "0\n0\n0\n0\n0\n0\n");
}

/// A device file of the image, one made by the default CAP_MKNOD, and one on a volume.
#[test]
fn no_device_file_opens_but_those_of_the_sandbox() {
    let prison = Prison::new();
    let volume = tempfile::tempdir().unwrap();
    for directory in [prison.root(), volume.path().to_owned()] {
        mknod(&directory.join("device"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 5)).unwrap();
    }
    let script = "for path in /made /dev/made /dev/shm/made /volume/made /dev/mqueue/made; do mknod $path c 1 5; done
        for path in /device /volume/device /made /dev/made /dev/shm/made /volume/made; do
            head -c 1 $path > /dev/null && echo opened $path; done 2> /dev/null
        head -c 3 /dev/zero | wc -c; echo > /dev/null && echo fine";
    let text = output(prison.sandbox(script).bind(volume.path(), "/volume", false)).1;
    let text: Vec<&str> = text.lines().filter(|line| !line.starts_with("mknod: ")).collect();
    assert_eq!(text, ["3", "fine"]);
    let text = output(prison.sandbox("head -c 2 /zero | wc -c").bind("/dev/zero", "/zero", false)).1;
    assert_eq!(text, "2\n", "a device that is itself bound is meant to work");
}

/// CVE-2022-0492: a control group hierarchy mounted by the container.
#[test]
fn the_container_mounts_nothing_and_enters_no_other_root() {
    let prison = Prison::new();
    let text = prison.run(
        "mount -t cgroup -o memory none /bin 2>/dev/null && echo mounted; mount -t tmpfs none /bin 2>/dev/null && echo mounted
        ls /proc/1/root; [ $(ls -d /proc/[0-9]* | wc -l) -lt 6 ] && echo few; id -G
        cat /proc/self/mountinfo | grep -c coracle-escape",
    );
    // The root's own line names the directory it is of.
    assert_eq!(text, "bin\ndev\nproc\nsys\nfew\n0\n1\n");
}

/// CVE-2022-24769, and Docker's default set: chown to setfcap.
#[test]
fn the_payload_has_dockers_capabilities_and_no_more() {
    let prison = Prison::new();
    let text = prison.run("cat /proc/self/status");
    for (name, value) in [
        ("CapInh", "0000000000000000"),
        ("CapPrm", "00000000a80425fb"),
        ("CapEff", "00000000a80425fb"),
        ("CapBnd", "00000000a80425fb"),
        ("CapAmb", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Groups", ""),
    ] {
        assert_eq!(field(&text, name), value, "{name}");
    }
    let text = output(prison.sandbox("cat /proc/self/status").user(1000, 1001, [7, 8])).1;
    for (name, value) in [
        ("Uid", "1000\t1000\t1000\t1000"),
        ("Gid", "1001\t1001\t1001\t1001"),
        ("Groups", "7 8"),
        ("CapInh", "0000000000000000"),
        ("CapPrm", "0000000000000000"),
        ("CapEff", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
    ] {
        assert_eq!(field(&text, name), value, "{name}");
    }
}
