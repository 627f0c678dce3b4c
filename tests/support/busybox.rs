//! A root file system of one program.

use std::path::Path;

/// Makes `/bin` below `root` with the machine's static busybox under the names of all its applets that tests use.
pub fn busybox_root(root: &Path) {
    const APPLETS: &[&str] = &[
        "sh", "cat", "ls", "id", "true", "ps", "mount", "umount", "sleep", "echo", "grep", "hostname", "touch", "env",
        "head", "mkdir", "mknod", "mv", "rm", "ip", "stat", "chroot", "readlink", "cut", "wc", "kill", "od", "dd",
        "nproc", "pwd",
    ];
    let bin = root.join("bin");
    std::fs::create_dir_all(&bin).expect("a directory can be made");
    let program = super::program::require_program("busybox", "busybox-static");
    std::fs::copy(program, bin.join("busybox")).expect("busybox can be copied");
    for name in APPLETS {
        std::os::unix::fs::symlink("busybox", bin.join(name)).expect("a link can be made");
    }
}
