//! The stage: the program between the host and the payload.
//!
//! It is exec'ed from sealed memory right after the clone, carries out the plan it finds on a descriptor, and becomes
//! the payload. It has no libc, no allocator, no thread-local storage and no panics: it starts in microseconds,
//! whatever the size of the host.
#![no_std]
#![no_main]

#[path = "../plan"]
mod plan {
    pub mod layout;
    pub mod op;
}

#[path = "../value"]
mod value {
    pub(crate) mod civil;
}

#[path = "."]
mod stage {
    pub(crate) mod attributes;
    pub(crate) mod backoff;
    pub(crate) mod call;
    pub(crate) mod care;
    pub(crate) mod checks;
    pub(crate) mod clock;
    pub(crate) mod command;
    pub(crate) mod constant;
    pub(crate) mod copy;
    pub(crate) mod credentials;
    pub(crate) mod execute;
    pub(crate) mod files;
    pub(crate) mod hook;
    pub(crate) mod http;
    pub(crate) mod init;
    pub(crate) mod interpreter;
    pub(crate) mod keeper;
    pub(crate) mod landlock;
    pub(crate) mod log;
    pub(crate) mod maps;
    pub(crate) mod memory;
    pub(crate) mod mounts;
    pub(crate) mod notify;
    pub(crate) mod number;
    pub(crate) mod parent;
    pub(crate) mod place;
    pub(crate) mod probe;
    pub(crate) mod process;
    pub(crate) mod program;
    pub(crate) mod record;
    pub(crate) mod syscall;
    pub(crate) mod terminal;
    pub(crate) mod text;
    pub(crate) mod verdict;
    pub(crate) mod watch;
}

use stage::{interpreter, process, program::Program};

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {main}",
    "ud2",
    main = sym main
);

#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(".globl _start", "_start:", "mov x29, #0", "mov x0, sp", "bl {main}", "brk #0", main = sym main);

/// The first Rust code: `stack` is what the kernel left there (argc, argv, environment).
///
/// # Safety
/// Only `_start` calls it, with the initial stack pointer.
unsafe extern "C" fn main(stack: *const usize) -> ! {
    // SAFETY: the kernel puts argc first, then argc pointers to NUL-terminated texts.
    let numbers = unsafe {
        if *stack == 3 { (number(*stack.add(2) as *const u8), number(*stack.add(3) as *const u8)) } else { (None, None) }
    };
    let (Some(descriptor), Some(size)) = numbers else { process::exit(2) };
    match Program::map(descriptor, size as usize) {
        Ok(mut program) => interpreter::play(&mut program),
        Err(_) => process::exit(2),
    }
}

/// Reads a decimal number.
///
/// # Safety
/// `text` must be NUL-terminated.
unsafe fn number(mut text: *const u8) -> Option<i32> {
    let mut value = 0i32;
    loop {
        // SAFETY: the NUL that ends the text has not been passed yet.
        match unsafe { *text } {
            0 => return Some(value),
            digit @ b'0'..=b'9' => value = value.checked_mul(10)?.checked_add(i32::from(digit - b'0'))?,
            _ => return None,
        }
        // SAFETY: as above.
        text = unsafe { text.add(1) };
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    process::exit(3)
}
