//! What the compiler expects of every program: copying, filling and comparing memory.

/// Copies `count` bytes.
///
/// # Safety
/// As for C's memcpy.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(target: *mut u8, source: *const u8, count: usize) -> *mut u8 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller promises `count` readable and writable bytes that do not overlap.
    unsafe {
        core::arch::asm!("rep movsb", inout("rcx") count => _, inout("rdi") target => _, inout("rsi") source => _, options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "x86_64"))]
    for index in 0..count {
        // SAFETY: as above; volatile, so that the loop is not compiled into a call of this function.
        unsafe { target.add(index).write_volatile(source.add(index).read_volatile()) };
    }
    target
}

/// Copies `count` bytes that may overlap.
///
/// # Safety
/// As for C's memmove.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(target: *mut u8, source: *const u8, count: usize) -> *mut u8 {
    if (target as usize).wrapping_sub(source as usize) >= count {
        // SAFETY: the target does not begin within the source, so copying upwards reads each byte before it is written.
        return unsafe { memcpy(target, source, count) };
    }
    for index in (0..count).rev() {
        // SAFETY: the caller promises `count` readable and writable bytes.
        unsafe { target.add(index).write_volatile(source.add(index).read_volatile()) };
    }
    target
}

/// Fills `count` bytes.
///
/// # Safety
/// As for C's memset.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(target: *mut u8, value: i32, count: usize) -> *mut u8 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller promises `count` writable bytes.
    unsafe {
        core::arch::asm!("rep stosb", inout("rcx") count => _, inout("rdi") target => _, in("al") value as u8, options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "x86_64"))]
    for index in 0..count {
        // SAFETY: as above.
        unsafe { target.add(index).write_volatile(value as u8) };
    }
    target
}

/// Compares `count` bytes.
///
/// # Safety
/// As for C's memcmp.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
    for index in 0..count {
        // SAFETY: the caller promises `count` readable bytes on both sides.
        let (a, b) = unsafe { (left.add(index).read_volatile(), right.add(index).read_volatile()) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
    }
    0
}

/// As C's bcmp.
///
/// # Safety
/// As for C's memcmp.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
    // SAFETY: handed on.
    unsafe { memcmp(left, right, count) }
}

/// The length of a text.
///
/// # Safety
/// As for C's strlen.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut length = 0;
    // SAFETY: the caller promises a NUL at the end.
    while unsafe { text.add(length).read_volatile() } != 0 {
        length += 1;
    }
    length
}
