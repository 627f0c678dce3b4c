//! The least that a namespace can cost: a clone, perhaps an unshare or a join, an exec, a wait.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::AsRawFd;

/// A process with other namespaces than this one's.
pub struct Bare<'a> {
    pub program: &'a CStr,
    /// CLONE_NEW flags of those that it is to have new.
    pub new: i32,
    /// Those that it is to join.
    pub joined: &'a [Namespace],
}

/// A namespace that may be joined.
pub struct Namespace {
    pub file: File,
    /// Its CLONE_NEW flag.
    pub flag: i32,
}

const STACK: usize = 64 << 10;

/// clone(2) has no room for the first; a new control group namespace is to begin at the group that was joined.
const BY_UNSHARE: i32 = libc::CLONE_NEWTIME | libc::CLONE_NEWCGROUP;

impl Bare<'_> {
    /// Starts it; its number.
    pub fn start(&self) -> i32 {
        let own = File::open("/proc/thread-self/ns/pid").unwrap();
        let pid_namespace = self.joined.iter().find(|namespace| namespace.flag == libc::CLONE_NEWPID);
        let mut stack = vec![0u8; STACK];
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD | (self.new & !BY_UNSHARE);
        // SAFETY: the child runs on a stack of its own, and this thread waits until it has executed or ended; the
        // namespace for children is put back.
        let pid = unsafe {
            if let Some(Namespace { file, flag }) = pid_namespace {
                assert_eq!(libc::setns(file.as_raw_fd(), *flag), 0);
            }
            let top = stack.as_mut_ptr().add(STACK - STACK % 16);
            let pid = libc::clone(child, top.cast(), flags, std::ptr::from_ref(self).cast_mut().cast());
            if pid_namespace.is_some() {
                assert_eq!(libc::setns(own.as_raw_fd(), libc::CLONE_NEWPID), 0);
            }
            pid
        };
        assert!(pid > 0, "clone: {}", std::io::Error::last_os_error());
        pid
    }

    /// Starts it and waits for its end.
    pub fn run(&self) {
        let status = wait(self.start());
        assert_eq!(status, 0, "a step of the bare start failed");
    }
}

/// The status of a child that has ended.
pub fn wait(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: the status is live.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    status
}

extern "C" fn child(bare: *mut libc::c_void) -> i32 {
    // SAFETY: the parent is suspended and keeps the value; nothing here allocates or touches what threads share.
    unsafe {
        let bare: &Bare<'_> = &*bare.cast();
        for Namespace { file, flag } in bare.joined {
            if *flag != libc::CLONE_NEWPID && libc::setns(file.as_raw_fd(), *flag) != 0 {
                return 1;
            }
        }
        let late = bare.new & BY_UNSHARE;
        if late != 0 && libc::unshare(late) != 0 {
            return 2;
        }
        let (arguments, environment) = ([bare.program.as_ptr(), std::ptr::null()], [std::ptr::null()]);
        libc::execve(bare.program.as_ptr(), arguments.as_ptr(), environment.as_ptr());
        3
    }
}
