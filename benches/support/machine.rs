//! What a bench makes of the machine, for itself alone.

use std::path::{Path, PathBuf};

/// pause(2), again and again.
#[cfg(target_arch = "x86_64")]
const WAIT: &[u8] = &[0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7];
/// ppoll(2) of nothing, again and again.
#[cfg(target_arch = "aarch64")]
const WAIT: &[u8] = &[
    0x28, 0x09, 0x80, 0xd2, 0x00, 0x00, 0x80, 0xd2, 0x01, 0x00, 0x80, 0xd2, 0x02, 0x00, 0x80, 0xd2, 0x03, 0x00, 0x80,
    0xd2, 0x01, 0x00, 0x00, 0xd4, 0xfa, 0xff, 0xff, 0x17,
];

/// A mount namespace of this process's own, without the version 2 control groups of a hybrid machine: crun refuses to
/// work where it sees both versions.
pub fn leave_hybrid_mode() {
    let flags = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: all texts are NUL-terminated.
    unsafe {
        assert_eq!(libc::unshare(libc::CLONE_NEWNS), 0, "this bench needs root");
        assert_eq!(libc::mount(c"none".as_ptr(), c"/".as_ptr(), std::ptr::null(), flags, std::ptr::null()), 0);
        libc::umount2(c"/sys/fs/cgroup/unified".as_ptr(), libc::MNT_DETACH);
    }
}

/// A root directory in `scratch`, whose `/bin/exit` ends at once and whose `/bin/wait` waits for a signal.
pub fn root(scratch: &Path) -> PathBuf {
    let root = scratch.join("root");
    for name in ["bin", "proc", "dev", "sys", "etc"] {
        std::fs::create_dir_all(root.join(name)).unwrap();
    }
    crate::tiny::tiny_program(&root.join("bin/exit"));
    crate::tiny::program(&root.join("bin/wait"), WAIT);
    root
}
