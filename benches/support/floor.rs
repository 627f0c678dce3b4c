//! The least that a start can be: one clone with the same namespaces, the same mounts, capabilities and filter, one
//! exec, one wait. Written straight down for one configuration, without checks, messages or clean-up.

use crate::bundle::Bundle;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What the floor is to build.
pub struct Floor {
    root: CString,
    full: bool,
    namespaces: u64,
    joins: Option<File>,
    files: Vec<(CString, CString)>,
    filter: Vec<u8>,
    capabilities: u64,
}

/// clone3(2)'s argument.
#[repr(C)]
#[derive(Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const STACK: usize = 256 << 10;

impl Floor {
    /// What the bundle says, done with the least. The filter, 8 bytes an instruction, is loaded for a full one.
    pub fn new(bundle: &Bundle<'_>, filter: Vec<u8>) -> Floor {
        let network = if bundle.network { libc::CLONE_NEWNET } else { 0 };
        let namespaces = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | network;
        let text = |path: &Path| CString::new(path.as_os_str().as_bytes()).unwrap();
        Floor {
            root: text(bundle.root),
            full: bundle.full,
            namespaces: namespaces as u64,
            joins: bundle.joins.map(|path| File::open(path).unwrap()),
            files: bundle.files.iter().map(|(source, target)| (text(source), text(Path::new(target)))).collect(),
            filter: if bundle.full { filter } else { Vec::new() },
            capabilities: 0xa80425fb,
        }
    }

    /// One start to its end.
    pub fn run(&self) {
        let groups = if self.full { groups(!self.files.is_empty()) } else { Vec::new() };
        let tasks: Vec<OwnedFd> = groups.iter().map(|group| limit(group)).collect();
        self.start(&tasks);
        drop(tasks);
        groups.iter().for_each(|group| std::fs::remove_dir(group).unwrap());
    }

    fn start(&self, tasks: &[OwnedFd]) {
        let stack = Stack::new();
        let mut pidfd = -1i32;
        let arguments = CloneArguments {
            flags: 0x100 | 0x4000 | 0x1000 | 0x1_0000_0000 | self.namespaces,
            pidfd: &raw mut pidfd as u64,
            exit_signal: libc::SIGCHLD as u64,
            stack: stack.0 as u64,
            stack_size: STACK as u64,
            ..CloneArguments::default()
        };
        // SAFETY: the child runs `child` on a stack of its own while this thread is suspended; it ends by exec or exit.
        let pid = unsafe { clone_into(&arguments, &Order { floor: self, tasks }) };
        assert!(pid > 0, "clone: {}", std::io::Error::from_raw_os_error(-pid as i32));
        // SAFETY: the kernel has just made the descriptor.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        // SAFETY: siginfo_t is plain data and live.
        unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            assert_eq!(libc::waitid(libc::P_PIDFD, pidfd.as_raw_fd() as u32, &mut info, libc::WEXITED), 0);
            assert_eq!((info.si_code, info.si_status()), (libc::CLD_EXITED, 0), "step {}", info.si_status());
        }
    }
}

/// A mapping for the child's stack, made for each start as the library does.
struct Stack(*mut libc::c_void);

impl Stack {
    fn new() -> Stack {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a fresh mapping.
        Stack(unsafe { libc::mmap(std::ptr::null_mut(), STACK, protection, flags, -1, 0) })
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`; the child has left it.
        unsafe { libc::munmap(self.0, STACK) };
    }
}

#[cfg(target_arch = "x86_64")]
unsafe fn clone_into(arguments: &CloneArguments, order: &Order<'_>) -> isize {
    let result: isize;
    // SAFETY: one system call in the parent; the child begins on the new stack and calls what does not return.
    unsafe {
        std::arch::asm!(
            "syscall", "test rax, rax", "jnz 2f", "xor ebp, ebp", "mov rdi, r12", "call {child}", "ud2", "2:",
            child = sym child,
            inlateout("rax") libc::SYS_clone3 as isize => result,
            in("rdi") arguments, in("rsi") size_of::<CloneArguments>(), in("r12") order,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    result
}

#[cfg(target_arch = "aarch64")]
unsafe fn clone_into(arguments: &CloneArguments, order: &Order<'_>) -> isize {
    let result: isize;
    // SAFETY: as on x86_64.
    unsafe {
        std::arch::asm!(
            "svc 0", "cbnz x0, 2f", "mov x29, #0", "mov x0, x20", "bl {child}", "brk #0", "2:",
            child = sym child,
            in("x8") libc::SYS_clone3, inlateout("x0") arguments as *const _ as isize => result,
            in("x1") size_of::<CloneArguments>(), in("x20") order, lateout("x30") _,
        );
    }
    result
}

/// What the child is handed.
struct Order<'a> {
    floor: &'a Floor,
    tasks: &'a [OwnedFd],
}

/// The hierarchies that the limits need, and behind them those that the mounted control groups show besides.
const HIERARCHIES: [&str; 9] = ["memory", "pids", "cpu", "cpuacct", "freezer", "devices", "cpuset", "blkio", "systemd"];

/// How many of them a start without mounted control groups needs.
const LIMITED: usize = 5;

/// The `coracle-bench-floor` groups, made.
fn groups(all: bool) -> Vec<PathBuf> {
    let hierarchies = &HIERARCHIES[..if all { HIERARCHIES.len() } else { LIMITED }];
    let groups: Vec<PathBuf> =
        hierarchies.iter().map(|name| Path::new("/sys/fs/cgroup").join(name).join("coracle-bench-floor")).collect();
    for group in &groups {
        std::fs::create_dir(group).unwrap();
    }
    groups
}

/// What engines allow.
const DEVICE_RULES: &[(&str, &str)] = &[
    ("devices.deny", "a"),
    ("devices.allow", "c *:* m"),
    ("devices.allow", "b *:* m"),
    ("devices.allow", "c 1:3 rwm"),
    ("devices.allow", "c 1:5 rwm"),
    ("devices.allow", "c 1:7 rwm"),
    ("devices.allow", "c 1:8 rwm"),
    ("devices.allow", "c 1:9 rwm"),
    ("devices.allow", "c 5:0 rwm"),
    ("devices.allow", "c 5:1 rwm"),
    ("devices.allow", "c 5:2 rwm"),
    ("devices.allow", "c 136:* rwm"),
];

/// Writes the limits of the group, and opens its `tasks`.
fn limit(group: &Path) -> OwnedFd {
    let limits: &[(&str, &str)] = match group.iter().nth(4).and_then(|name| name.to_str()) {
        Some("memory") => &[("memory.limit_in_bytes", "268435456"), ("memory.memsw.limit_in_bytes", "536870912")],
        Some("pids") => &[("pids.max", "64")],
        Some("devices") => DEVICE_RULES,
        // A new group has none, and takes no process so.
        Some("cpuset") => {
            for file in ["cpuset.cpus", "cpuset.mems"] {
                std::fs::write(group.join(file), std::fs::read(group.parent().unwrap().join(file)).unwrap()).unwrap();
            }
            &[]
        }
        Some("cpu") => &[("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "50000")],
        _ => &[],
    };
    for (file, value) in limits {
        std::fs::write(group.join(file), value).unwrap();
    }
    std::fs::File::options().write(true).open(group.join("tasks")).unwrap().into()
}

unsafe extern "C" fn child(order: *const Order<'_>) -> ! {
    // SAFETY: the parent is suspended and keeps the value.
    unsafe {
        let Order { floor, tasks } = *order;
        build(floor, tasks);
        let arguments = [c"/bin/exit".as_ptr(), std::ptr::null()];
        let environment = [std::ptr::null::<libc::c_char>()];
        libc::syscall(libc::SYS_close_range, 3, u32::MAX, 4);
        libc::syscall(libc::SYS_execve, c"/bin/exit".as_ptr(), arguments.as_ptr(), environment.as_ptr());
        libc::_exit(99)
    }
}

/// The result of a step, or the end with its number.
unsafe fn check(step: i32, result: i64) -> i32 {
    if result < 0 {
        // SAFETY: ends the process.
        unsafe { libc::_exit(step) };
    }
    result as i32
}

const EMPTY: &CStr = c"";
const AT_EMPTY_PATH: i32 = libc::AT_EMPTY_PATH;

unsafe fn build(floor: &Floor, tasks: &[OwnedFd]) {
    // SAFETY: every text is NUL-terminated, every structure live.
    unsafe {
        for tasks in tasks {
            check(10, libc::syscall(libc::SYS_write, tasks.as_raw_fd(), c"0".as_ptr(), 1));
        }
        check(11, libc::syscall(libc::SYS_unshare, libc::CLONE_NEWCGROUP));
        if let Some(network) = &floor.joins {
            check(9, libc::syscall(libc::SYS_setns, network.as_raw_fd(), libc::CLONE_NEWNET));
        }
        if floor.namespaces & libc::CLONE_NEWNET as u64 != 0 {
            loopback_up();
        }
        let host = check(12, libc::syscall(libc::SYS_openat, libc::AT_FDCWD, c"/".as_ptr(), libc::O_PATH));
        attributes(host, AT_EMPTY_PATH | libc::AT_RECURSIVE, 0, libc::MS_PRIVATE);
        let root = open_tree(libc::AT_FDCWD, &floor.root, libc::AT_RECURSIVE);
        attributes(root, AT_EMPTY_PATH | libc::AT_RECURSIVE, libc::MOUNT_ATTR_NODEV, 0);
        attach(root, host, EMPTY);
        if floor.full {
            mount_all(root, &floor.files);
        }
        check(13, libc::syscall(libc::SYS_fchdir, root));
        check(14, libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()));
        check(15, libc::syscall(libc::SYS_umount2, c".".as_ptr(), libc::MNT_DETACH));
        check(16, libc::syscall(libc::SYS_chdir, c"/".as_ptr()));
        let null = if floor.full { c"/dev/null" } else { c"/bin/exit" };
        let null = check(17, libc::syscall(libc::SYS_openat, libc::AT_FDCWD, null.as_ptr(), libc::O_RDONLY));
        for number in 0..3 {
            check(18, libc::syscall(libc::SYS_dup3, null, number, 0));
        }
        confine(floor);
    }
}

unsafe fn mount_all(root: i32, files: &[(CString, CString)]) {
    let nodev = libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
    // SAFETY: every text is NUL-terminated.
    unsafe {
        let proc = mount(c"proc", &[], nodev);
        attach(proc, root, c"proc");
        let devices = mount(c"tmpfs", &[(c"mode", c"755"), (c"size", c"65536k")], nodev);
        for (name, target) in [
            (c"fd", c"/proc/self/fd"),
            (c"stdin", c"/proc/self/fd/0"),
            (c"stdout", c"/proc/self/fd/1"),
            (c"stderr", c"/proc/self/fd/2"),
            (c"ptmx", c"pts/ptmx"),
        ] {
            check(20, libc::syscall(libc::SYS_symlinkat, target.as_ptr(), devices, name.as_ptr()));
        }
        for name in [c"pts", c"shm", c"mqueue"] {
            check(21, libc::syscall(libc::SYS_mkdirat, devices, name.as_ptr(), 0o755));
        }
        attach(devices, root, c"dev");
        let nodes = mount(c"tmpfs", &[(c"mode", c"755"), (c"size", c"4k")], libc::MOUNT_ATTR_NOSUID);
        let names =
            [(c"null", 3), (c"zero", 5), (c"full", 7), (c"random", 8), (c"urandom", 9), (c"tty", 0x500 - 0x100)];
        for (name, minor) in names {
            let (mode, file) = (libc::S_IFCHR | 0o666, libc::S_IFREG | 0o666);
            check(22, libc::syscall(libc::SYS_mknodat, nodes, name.as_ptr(), mode, 0x100 + minor));
            check(23, libc::syscall(libc::SYS_mknodat, devices, name.as_ptr(), file, 0));
            let one = open_tree(nodes, name, 0);
            attach(one, devices, name);
            libc::syscall(libc::SYS_close, one);
        }
        let terminals = [(c"ptmxmode", c"0666"), (c"mode", c"0620"), (c"gid", c"5")];
        attach(mount(c"devpts", &terminals, libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC), devices, c"pts");
        attach(mount(c"tmpfs", &[(c"mode", c"1777"), (c"size", c"67108864")], nodev), devices, c"shm");
        attach(mount(c"mqueue", &[], nodev), devices, c"mqueue");
        let system = mount(c"sysfs", &[], nodev | libc::MOUNT_ATTR_RDONLY);
        attach(system, root, c"sys");
        if !files.is_empty() {
            mount_for_engines(root, files);
        }
        for name in [c"bus", c"fs", c"irq", c"sys", c"sysrq-trigger"] {
            let mut stat: libc::stat = std::mem::zeroed();
            if libc::syscall(libc::SYS_newfstatat, proc, name.as_ptr(), &raw mut stat, 0) != 0 {
                continue;
            }
            let one = open_tree(proc, name, libc::AT_RECURSIVE);
            attributes(one, AT_EMPTY_PATH | libc::AT_RECURSIVE, libc::MOUNT_ATTR_RDONLY, 0);
            attach(one, proc, name);
            libc::syscall(libc::SYS_close, one);
        }
        mask(proc, system);
    }
}

/// The groups of [`HIERARCHIES`] by name, as a child without an allocator can use them.
const GROUPS: [(&CStr, &CStr); 9] = [
    (c"memory", c"/sys/fs/cgroup/memory/coracle-bench-floor"),
    (c"pids", c"/sys/fs/cgroup/pids/coracle-bench-floor"),
    (c"cpu", c"/sys/fs/cgroup/cpu/coracle-bench-floor"),
    (c"cpuacct", c"/sys/fs/cgroup/cpuacct/coracle-bench-floor"),
    (c"freezer", c"/sys/fs/cgroup/freezer/coracle-bench-floor"),
    (c"devices", c"/sys/fs/cgroup/devices/coracle-bench-floor"),
    (c"cpuset", c"/sys/fs/cgroup/cpuset/coracle-bench-floor"),
    (c"blkio", c"/sys/fs/cgroup/blkio/coracle-bench-floor"),
    (c"systemd", c"/sys/fs/cgroup/systemd/coracle-bench-floor"),
];

unsafe fn mount_for_engines(root: i32, files: &[(CString, CString)]) {
    let attributes_of_all = libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
    // SAFETY: every text is NUL-terminated.
    unsafe {
        let groups = mount(c"tmpfs", &[(c"mode", c"755")], attributes_of_all);
        for (name, group) in GROUPS {
            check(25, libc::syscall(libc::SYS_mkdirat, groups, name.as_ptr(), 0o755));
            let one = open_tree(libc::AT_FDCWD, group, 0);
            attach(one, groups, name);
            libc::syscall(libc::SYS_close, one);
        }
        attributes(groups, AT_EMPTY_PATH | libc::AT_RECURSIVE, attributes_of_all | libc::MOUNT_ATTR_RDONLY, 0);
        attach(groups, root, c"sys/fs/cgroup");
        for (source, target) in files {
            let one = open_tree(libc::AT_FDCWD, source, libc::AT_RECURSIVE);
            attributes(one, AT_EMPTY_PATH | libc::AT_RECURSIVE, 0, libc::MS_PRIVATE);
            attach(one, root, target);
            libc::syscall(libc::SYS_close, one);
        }
    }
}

unsafe fn mask(proc: i32, system: i32) {
    // SAFETY: every text is NUL-terminated.
    unsafe {
        let covers = mount(c"tmpfs", &[], 0);
        check(30, libc::syscall(libc::SYS_mknodat, covers, c"file".as_ptr(), libc::S_IFREG, 0));
        check(31, libc::syscall(libc::SYS_mkdirat, covers, c"directory".as_ptr(), 0o555));
        attributes(covers, AT_EMPTY_PATH, libc::MOUNT_ATTR_RDONLY, 0);
        for (base, name) in [
            (proc, c"asound"),
            (proc, c"acpi"),
            (proc, c"interrupts"),
            (proc, c"kcore"),
            (proc, c"keys"),
            (proc, c"latency_stats"),
            (proc, c"timer_list"),
            (proc, c"timer_stats"),
            (proc, c"sched_debug"),
            (proc, c"scsi"),
            (system, c"firmware"),
            (system, c"devices/virtual/powercap"),
        ] {
            let mut stat: libc::stat = std::mem::zeroed();
            if libc::syscall(libc::SYS_newfstatat, base, name.as_ptr(), &raw mut stat, 0) != 0 {
                continue;
            }
            let cover = if stat.st_mode & libc::S_IFMT == libc::S_IFDIR { c"directory" } else { c"file" };
            let one = open_tree(covers, cover, 0);
            attach(one, base, name);
            libc::syscall(libc::SYS_close, one);
        }
    }
}

unsafe fn confine(floor: &Floor) {
    // SAFETY: the structures are live and of the kernel's shape.
    unsafe {
        for capability in (0..41).filter(|capability| floor.capabilities & (1 << capability) == 0) {
            check(40, libc::syscall(libc::SYS_prctl, libc::PR_CAPBSET_DROP, capability, 0, 0, 0));
        }
        let header = [0x2008_0522u32, 0];
        let low = floor.capabilities as u32;
        let sets = [low, low, 0, 0, 0, 0];
        check(41, libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()));
        check(42, libc::syscall(libc::SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        if !floor.filter.is_empty() {
            let filter = floor.filter.as_ptr().cast_mut().cast();
            let program = libc::sock_fprog { len: (floor.filter.len() / 8) as u16, filter };
            check(43, libc::syscall(libc::SYS_seccomp, 1, 0, &raw const program));
        }
    }
}

unsafe fn mount(kind: &CStr, options: &[(&CStr, &CStr)], attributes: u64) -> i32 {
    // SAFETY: every text is NUL-terminated.
    unsafe {
        let context = check(50, libc::syscall(libc::SYS_fsopen, kind.as_ptr(), 1));
        for (key, value) in options {
            check(51, libc::syscall(libc::SYS_fsconfig, context, 1, key.as_ptr(), value.as_ptr(), 0));
        }
        check(52, libc::syscall(libc::SYS_fsconfig, context, 6, 0, 0, 0));
        let mount = check(53, libc::syscall(libc::SYS_fsmount, context, 1, attributes));
        libc::syscall(libc::SYS_close, context);
        mount
    }
}

unsafe fn open_tree(base: i32, path: &CStr, flags: i32) -> i32 {
    // SAFETY: the path is NUL-terminated.
    unsafe { check(54, libc::syscall(libc::SYS_open_tree, base, path.as_ptr(), flags | 1 | libc::O_CLOEXEC)) }
}

unsafe fn attach(mount: i32, base: i32, path: &CStr) {
    // SAFETY: the paths are NUL-terminated.
    unsafe { check(55, libc::syscall(libc::SYS_move_mount, mount, EMPTY.as_ptr(), base, path.as_ptr(), 0x44)) };
}

unsafe fn attributes(mount: i32, flags: i32, set: u64, propagation: u64) {
    let attributes = [set, 0, propagation, 0];
    // SAFETY: the structure is live and its size passed.
    unsafe { check(56, libc::syscall(libc::SYS_mount_setattr, mount, EMPTY.as_ptr(), flags, attributes.as_ptr(), 32)) };
}

unsafe fn loopback_up() {
    // SAFETY: ifreq is plain data.
    unsafe {
        let socket =
            check(60, libc::syscall(libc::SYS_socket, libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0));
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
        check(61, libc::syscall(libc::SYS_ioctl, socket, libc::SIOCSIFFLAGS, &raw mut request));
    }
}
