//! The clone into an exec: the only instructions that ever run in a child of the host's memory.

use crate::stage::syscall::{Errno, syscall};
use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

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

/// libc has some of these as c_int, where the highest become 0 by sign or width: own 64-bit constants.
const CLONE_VM: u64 = 0x100;
const CLONE_PIDFD: u64 = 0x1000;
const CLONE_VFORK: u64 = 0x4000;
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What to clone into.
pub(super) struct Spawn<'a> {
    /// The sealed stage.
    pub(super) stage: BorrowedFd<'a>,
    /// The memory with the plan.
    pub(super) plan: BorrowedFd<'a>,
    /// The size of the plan in bytes.
    pub(super) plan_size: usize,
    /// The descriptors that the exec must not close, the plan's own among them.
    pub(super) inherited: Vec<i32>,
    /// The CLONE_NEW flags of namespaces that begin with the process.
    pub(super) namespaces: u64,
    /// The control group (v2) in which the process begins.
    pub(super) cgroup: Option<BorrowedFd<'a>>,
}

/// A process that has executed the stage.
pub(super) struct Spawned {
    pub(super) pid: i32,
    pub(super) pidfd: OwnedFd,
}

/// The stack of the child; it makes a dozen system calls.
const STACK_SIZE: usize = 64 << 10;

/// What the child needs, all of it prepared: it may not allocate.
struct Child {
    stage: i32,
    inherited: *const i32,
    inherited_count: usize,
    arguments: *const *const libc::c_char,
    environment: *const *const libc::c_char,
    errno: i32,
}

impl Spawn<'_> {
    /// Clones and executes the stage; returns when the exec is done.
    ///
    /// Call it with every signal blocked: a handler of the host must not run in the child.
    pub(super) fn run(&self, stack: &Stack) -> Result<Spawned, Errno> {
        let plan = CString::new(self.plan.as_raw_fd().to_string()).map_err(|_| libc::EINVAL)?;
        let size = CString::new(self.plan_size.to_string()).map_err(|_| libc::EINVAL)?;
        let arguments = [c"coracle-stage".as_ptr(), plan.as_ptr(), size.as_ptr(), std::ptr::null()];
        let environment = [std::ptr::null()];
        let mut child = Child {
            stage: self.stage.as_raw_fd(),
            inherited: self.inherited.as_ptr(),
            inherited_count: self.inherited.len(),
            arguments: arguments.as_ptr(),
            environment: environment.as_ptr(),
            errno: 0,
        };
        let mut pidfd = -1i32;
        let clone = CloneArguments {
            flags: CLONE_VM
                | CLONE_VFORK
                | CLONE_PIDFD
                | CLONE_CLEAR_SIGHAND
                | self.namespaces
                | if self.cgroup.is_some() { CLONE_INTO_CGROUP } else { 0 },
            pidfd: &raw mut pidfd as u64,
            exit_signal: libc::SIGCHLD as u64,
            stack: stack.base as u64,
            stack_size: STACK_SIZE as u64,
            cgroup: self.cgroup.map_or(0, |cgroup| cgroup.as_raw_fd() as u64),
            ..CloneArguments::default()
        };
        // SAFETY: the child runs `run_child` on a stack of its own while this thread is suspended (CLONE_VFORK), so
        // that everything it borrows stays alive; it ends by exec or exit.
        let pid = unsafe { clone_into(&clone, &raw mut child) }?;
        // SAFETY: the kernel has just made this descriptor for us.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        // Volatile: the child, another process to the compiler, has written it.
        // SAFETY: `child` is live.
        let errno = unsafe { (&raw const child.errno).read_volatile() };
        if errno != 0 {
            let _ = crate::kernel::PidFd::from_fd(pidfd).wait();
            return Err(errno);
        }
        Ok(Spawned { pid, pidfd })
    }
}

impl Spawned {
    /// Kills and reaps it.
    pub(super) fn kill(self) {
        let pidfd = crate::kernel::PidFd::from_fd(self.pidfd);
        let _ = pidfd.send_signal(libc::SIGKILL);
        let _ = pidfd.wait();
    }
}

/// A mapping for the child's stack. One child after the other uses it: each has left it when the clone returns.
pub(super) struct Stack {
    base: *mut libc::c_void,
}

// SAFETY: the mapping belongs to this value, which only hands out its address.
unsafe impl Send for Stack {}

impl Stack {
    pub(super) fn new() -> Result<Stack, Errno> {
        // SAFETY: a fresh private mapping.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                STACK_SIZE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED { Err(nix::errno::Errno::last_raw()) } else { Ok(Stack { base }) }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this size; the child has left it by exec or exit.
        unsafe { libc::munmap(self.base, STACK_SIZE) };
    }
}

/// # Safety
/// Flags must be those of a vfork with a stack of its own; `child` and what it points to must be live.
#[cfg(target_arch = "x86_64")]
unsafe fn clone_into(clone: &CloneArguments, child: *mut Child) -> Result<i32, Errno> {
    let result: isize;
    // SAFETY: in the parent this is one system call. The child begins on the new stack, whose top is aligned to 16,
    // and calls a function that does not return.
    unsafe {
        core::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call {run_child}",
            "ud2",
            "2:",
            run_child = sym run_child,
            inlateout("rax") libc::SYS_clone3 as isize => result,
            in("rdi") clone, in("rsi") size_of::<CloneArguments>(), in("r12") child,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    if result < 0 { Err(-result as Errno) } else { Ok(result as i32) }
}

/// # Safety
/// Flags must be those of a vfork with a stack of its own; `child` and what it points to must be live.
#[cfg(target_arch = "aarch64")]
unsafe fn clone_into(clone: &CloneArguments, child: *mut Child) -> Result<i32, Errno> {
    let result: isize;
    // SAFETY: as on x86_64.
    unsafe {
        core::arch::asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, #0",
            "mov x0, x20",
            "bl {run_child}",
            "brk #0",
            "2:",
            run_child = sym run_child,
            in("x8") libc::SYS_clone3,
            inlateout("x0") clone as *const _ as isize => result,
            in("x1") size_of::<CloneArguments>(), in("x20") child,
            lateout("x30") _,
        );
    }
    if result < 0 { Err(-result as Errno) } else { Ok(result as i32) }
}

/// The child: keep the descriptors of the plan open over the exec, and exec. No libc: its errno and its locks are the
/// host's.
///
/// # Safety
/// Only [`clone_into`] calls it, with a live `child`.
unsafe extern "C" fn run_child(child: *mut Child) -> ! {
    const F_SETFD: usize = 2;
    const AT_EMPTY_PATH: usize = 0x1000;
    // SAFETY: the parent is suspended and keeps everything that `child` points to alive.
    unsafe {
        for index in 0..(*child).inherited_count {
            let descriptor = *(*child).inherited.add(index);
            // The child's table of descriptors is a copy: the host's keep their flag.
            let _ = syscall(libc::SYS_fcntl as usize, [descriptor as usize, F_SETFD, 0, 0, 0, 0]);
        }
        let result = syscall(
            libc::SYS_execveat as usize,
            [
                (*child).stage as usize,
                c"".as_ptr() as usize,
                (*child).arguments as usize,
                (*child).environment as usize,
                AT_EMPTY_PATH,
                0,
            ],
        );
        (&raw mut (*child).errno).write_volatile(result.err().unwrap_or(libc::EPROTO));
        loop {
            let _ = syscall(libc::SYS_exit_group as usize, [127, 0, 0, 0, 0, 0]);
        }
    }
}
