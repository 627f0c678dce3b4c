//! Loads a filter, as the stage does, into a thread of the tests.

use nix::errno::Errno;
use std::io;

/// Confines the calling thread for the rest of its life; `program` is an array of `struct sock_filter`.
pub(crate) fn confine_thread(program: &[u8], flags: u32) -> io::Result<()> {
    nix::sys::prctl::set_no_new_privs()?;
    let instructions: Vec<libc::sock_filter> = program
        .chunks_exact(size_of::<libc::sock_filter>())
        .map(|bytes| libc::sock_filter {
            code: u16::from_ne_bytes([bytes[0], bytes[1]]),
            jt: bytes[2],
            jf: bytes[3],
            k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        })
        .collect();
    let program = libc::sock_fprog { len: instructions.len() as u16, filter: instructions.as_ptr().cast_mut() };
    // SAFETY: `program` points to `len` live instructions, which the kernel copies and does not write.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags as libc::c_ulong, &raw const program)
    };
    Errno::result(result).map(drop).map_err(io::Error::from)
}
