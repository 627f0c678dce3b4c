//! System calls by inline assembly: no libc, no errno, no thread-local storage.
//!
//! Between clone and exec the child of a start lives in the host's memory; this is all it may call.

/// The errno of a refused system call.
pub(crate) type Errno = i32;

/// Runs system call `number`.
///
/// # Safety
/// The arguments must be what the call expects: every pointer valid for what the kernel reads or writes through it.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) unsafe fn syscall(number: usize, arguments: [usize; 6]) -> Result<usize, Errno> {
    let result: isize;
    // SAFETY: the kernel's calling convention of x86_64: number and result in rax, rcx and r11 overwritten. The caller
    // answers for the arguments.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") arguments[0], in("rsi") arguments[1], in("rdx") arguments[2],
            in("r10") arguments[3], in("r8") arguments[4], in("r9") arguments[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    outcome(result)
}

/// Runs system call `number`.
///
/// # Safety
/// The arguments must be what the call expects: every pointer valid for what the kernel reads or writes through it.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
pub(crate) unsafe fn syscall(number: usize, arguments: [usize; 6]) -> Result<usize, Errno> {
    let result: isize;
    // SAFETY: the kernel's calling convention of aarch64: number in x8, result in x0. The caller answers for the
    // arguments.
    unsafe {
        core::arch::asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") arguments[0] as isize => result,
            in("x1") arguments[1], in("x2") arguments[2], in("x3") arguments[3],
            in("x4") arguments[4], in("x5") arguments[5],
            options(nostack),
        );
    }
    outcome(result)
}

#[inline(always)]
fn outcome(result: isize) -> Result<usize, Errno> {
    if (-4095..0).contains(&result) { Err(-result as Errno) } else { Ok(result as usize) }
}
