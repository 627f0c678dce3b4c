//! Constants of the kernel's interface, as the headers under `include/uapi/linux` name them.

pub(crate) const AT_FDCWD: isize = -100;
pub(crate) const AT_EMPTY_PATH: usize = 0x1000;
pub(crate) const AT_RECURSIVE: usize = 0x8000;
pub(crate) const AT_SYMLINK_NOFOLLOW: usize = 0x100;
pub(crate) const AT_EACCESS: usize = 0x200;
pub(crate) const X_OK: usize = 1;

pub(crate) const O_CLOEXEC: usize = 0o2000000;
pub(crate) const O_PATH: usize = 0o10000000;
pub(crate) const O_CREAT: usize = 0o100;
pub(crate) const O_TRUNC: usize = 0o1000;
pub(crate) const O_NONBLOCK: usize = 0o4000;
pub(crate) const O_EXCL: usize = 0o200;
pub(crate) const O_WRONLY: usize = 1;
pub(crate) const O_RDWR: usize = 2;
pub(crate) const O_RDONLY: usize = 0;
#[cfg(target_arch = "x86_64")]
pub(crate) const O_DIRECTORY: usize = 0o200000;
#[cfg(target_arch = "aarch64")]
pub(crate) const O_DIRECTORY: usize = 0o40000;
#[cfg(target_arch = "x86_64")]
pub(crate) const O_NOFOLLOW: usize = 0o400000;
#[cfg(target_arch = "aarch64")]
pub(crate) const O_NOFOLLOW: usize = 0o100000;

pub(crate) const RESOLVE_NO_XDEV: u64 = 0x1;
pub(crate) const RESOLVE_NO_MAGICLINKS: u64 = 0x2;
pub(crate) const RESOLVE_NO_SYMLINKS: u64 = 0x4;
pub(crate) const RESOLVE_BENEATH: u64 = 0x8;
pub(crate) const RESOLVE_IN_ROOT: u64 = 0x10;

pub(crate) const PROT_READ: usize = 1;
pub(crate) const PROT_WRITE: usize = 2;
pub(crate) const MAP_SHARED: usize = 1;
pub(crate) const MAP_PRIVATE: usize = 2;
pub(crate) const MAP_ANONYMOUS: usize = 0x20;
pub(crate) const MAP_POPULATE: usize = 0x8000;

pub(crate) const CLOSE_RANGE_CLOEXEC: usize = 4;

pub(crate) const SIG_BLOCK: usize = 0;
pub(crate) const SIG_SETMASK: usize = 2;
pub(crate) const SIGKILL: usize = 9;
pub(crate) const SIGSTOP: usize = 19;
pub(crate) const SIGUSR1: usize = 10;
pub(crate) const SIGCHLD: usize = 17;
pub(crate) const SIGNALS: usize = 64;

pub(crate) const PR_SET_PDEATHSIG: usize = 1;
pub(crate) const PR_GET_DUMPABLE: usize = 3;
pub(crate) const PR_SET_DUMPABLE: usize = 4;
pub(crate) const PR_SET_KEEPCAPS: usize = 8;
pub(crate) const PR_SET_NAME: usize = 15;
pub(crate) const PR_CAPBSET_READ: usize = 23;
pub(crate) const PR_CAPBSET_DROP: usize = 24;
pub(crate) const PR_SET_NO_NEW_PRIVS: usize = 38;
pub(crate) const PR_CAP_AMBIENT: usize = 47;
pub(crate) const PR_CAP_AMBIENT_IS_SET: usize = 1;
pub(crate) const PR_CAP_AMBIENT_RAISE: usize = 2;
pub(crate) const PR_CAP_AMBIENT_CLEAR_ALL: usize = 4;
pub(crate) const CAP_KILL: u32 = 5;
pub(crate) const CAPABILITIES: usize = 64;
pub(crate) const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

pub(crate) const POLLIN: i16 = 1;
pub(crate) const POLLOUT: i16 = 4;
pub(crate) const POLLHUP: i16 = 0x10;

pub(crate) const KEYCTL_JOIN_SESSION_KEYRING: usize = 1;
pub(crate) const KEYCTL_SETPERM: usize = 5;
pub(crate) const KEYCTL_DESCRIBE: usize = 6;
pub(crate) const KEY_USR_SEARCH: u64 = 0x8_0000;

pub(crate) const LANDLOCK_RULE_PATH_BENEATH: usize = 1;
/// Execute, write, read, truncate, ioctl: the rights of what is no directory.
pub(crate) const LANDLOCK_FILE_RIGHTS: u64 = 0b1100_0000_0000_0111;
pub(crate) const IOPRIO_WHO_PROCESS: usize = 1;
pub(crate) const PROC_SUPER_MAGIC: u32 = 0x9fa0;

pub(crate) const P_ALL: usize = 0;
pub(crate) const P_PID: usize = 1;
pub(crate) const WEXITED: usize = 4;
pub(crate) const WNOHANG: usize = 1;
pub(crate) const WNOWAIT: usize = 0x0100_0000;
pub(crate) const CLD_EXITED: i32 = 1;

pub(crate) const CLONE_PIDFD: u64 = 0x1000;
pub(crate) const CLONE_PARENT: u64 = 0x8000;
pub(crate) const CLONE_PARENT_SETTID: u64 = 0x10_0000;
pub(crate) const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

pub(crate) const SOL_SOCKET: i32 = 1;
pub(crate) const SCM_RIGHTS: i32 = 1;
pub(crate) const MSG_NOSIGNAL: usize = 0x4000;
pub(crate) const AF_UNIX: usize = 1;
pub(crate) const AF_INET: usize = 2;
pub(crate) const SOCK_STREAM: usize = 1;
pub(crate) const SOCK_SEQPACKET: usize = 5;
pub(crate) const SOCK_NONBLOCK: usize = 0o4000;
pub(crate) const SO_ERROR: usize = 4;
pub(crate) const F_SETFL: usize = 4;
pub(crate) const F_SETPIPE_SZ: usize = 1031;
pub(crate) const SOCK_DGRAM: usize = 2;
pub(crate) const SOCK_CLOEXEC: usize = 0o2000000;
pub(crate) const SIOCGIFFLAGS: usize = 0x8913;
pub(crate) const SIOCSIFFLAGS: usize = 0x8914;
pub(crate) const IFF_UP: u16 = 1;
pub(crate) const TIOCSCTTY: usize = 0x540e;
pub(crate) const TIOCSWINSZ: usize = 0x5414;
pub(crate) const TIOCSPTLCK: usize = 0x4004_5431;
pub(crate) const TIOCGPTPEER: usize = 0x5441;
pub(crate) const O_NOCTTY: usize = 0o400;
pub(crate) const DEVPTS_MAGIC: u32 = 0x1cd1;

pub(crate) const OPEN_TREE_CLONE: usize = 1;
pub(crate) const OPEN_TREE_CLOEXEC: usize = O_CLOEXEC;
pub(crate) const MOVE_MOUNT_F_EMPTY_PATH: usize = 0x4;
pub(crate) const MOVE_MOUNT_T_EMPTY_PATH: usize = 0x40;
pub(crate) const FSOPEN_CLOEXEC: usize = 1;
pub(crate) const FSMOUNT_CLOEXEC: usize = 1;
pub(crate) const FSCONFIG_SET_FLAG: usize = 0;
pub(crate) const FSCONFIG_SET_STRING: usize = 1;
pub(crate) const FSCONFIG_CMD_CREATE: usize = 6;
pub(crate) const FSCONFIG_CMD_RECONFIGURE: usize = 7;
pub(crate) const FSPICK_CLOEXEC: usize = 1;
pub(crate) const FSPICK_EMPTY_PATH: usize = 8;
pub(crate) const MS_RDONLY: usize = 1;
pub(crate) const MS_NOSUID: usize = 2;
pub(crate) const MS_NODEV: usize = 4;
pub(crate) const MS_NOEXEC: usize = 8;
pub(crate) const MOUNT_ATTR_RDONLY: u64 = 1;
pub(crate) const MNT_DETACH: usize = 2;
pub(crate) const UMOUNT_NOFOLLOW: usize = 8;

pub(crate) const STATX_BASIC: usize = 0x7ff;
pub(crate) const STATX_MNT_ID: usize = 0x1000;
pub(crate) const S_IFMT: u32 = 0o170000;
pub(crate) const S_IFDIR: u32 = 0o040000;
pub(crate) const S_IFREG: u32 = 0o100000;
pub(crate) const S_IFLNK: u32 = 0o120000;
pub(crate) const S_IFSOCK: u32 = 0o140000;
pub(crate) const S_IFIFO: u32 = 0o010000;


pub(crate) const SECCOMP_SET_MODE_FILTER: usize = 1;
pub(crate) const SECCOMP_FILTER_FLAG_NEW_LISTENER: u32 = 8;
pub(crate) const PR_SET_SECCOMP: usize = 22;
pub(crate) const SECCOMP_MODE_STRICT: usize = 1;

pub(crate) const EPERM: i32 = 1;
pub(crate) const ENOENT: i32 = 2;
pub(crate) const EINTR: i32 = 4;
pub(crate) const ECHILD: i32 = 10;
pub(crate) const EAGAIN: i32 = 11;
pub(crate) const EACCES: i32 = 13;
pub(crate) const EEXIST: i32 = 17;
pub(crate) const EXDEV: i32 = 18;
pub(crate) const ENODEV: i32 = 19;
pub(crate) const ENOTDIR: i32 = 20;
pub(crate) const EINVAL: i32 = 22;
pub(crate) const ETXTBSY: i32 = 26;
pub(crate) const ENAMETOOLONG: i32 = 36;
pub(crate) const ENOTTY: i32 = 25;
pub(crate) const ENOSYS: i32 = 38;
pub(crate) const ELOOP: i32 = 40;
pub(crate) const EPROTO: i32 = 71;
pub(crate) const ECONNRESET: i32 = 104;
pub(crate) const ETIMEDOUT: i32 = 110;
pub(crate) const ECANCELED: i32 = 125;
pub(crate) const ECONNREFUSED: i32 = 111;
pub(crate) const EHOSTUNREACH: i32 = 113;
pub(crate) const EINPROGRESS: i32 = 115;
