//! The exec of the payload.

use super::constant::*;
use super::program::Program;
use super::call::call;
use super::syscall::Errno;
use crate::plan::layout::State;
use core::sync::atomic::Ordering;

/// How often an exec is tried again while somebody has the file open for writing.
const BUSY_TRIES: u32 = 50;

/// Executes the first candidate that exists; returns only to fail. Nothing is called but that: a filter may be in force.
pub(crate) fn execute(program: &mut Program, arguments: u32, environment: u32, candidates: u32) -> Result<(), Errno> {
    let arguments = program.pointers(arguments);
    let environment = program.pointers(environment);
    let mut candidate = program.pointers(candidates);
    program.recorder().state.store(State::EXECUTING, Ordering::Release);
    let mut worst = ENOENT;
    // SAFETY: the lists are ended by 0, their texts by NUL.
    unsafe {
        while *candidate != 0 {
            match execute_one(*candidate, arguments, environment) {
                // As execvp(3): a directory of PATH without it is passed over, one that may not be used is remembered.
                ENOENT | ENOTDIR => {}
                EACCES => worst = EACCES,
                errno => return Err(errno),
            }
            candidate = candidate.add(1);
        }
    }
    Err(worst)
}

/// Fails unless one of the candidates is a file that may be executed: the error that the exec would meet, met earlier.
pub(crate) fn find(program: &Program, candidates: u32) -> Result<(), Errno> {
    let mut worst = ENOENT;
    for path in program.texts(candidates) {
        // SAFETY: the path is NUL-terminated.
        match unsafe { call!(FACCESSAT2, AT_FDCWD, path, X_OK, AT_EACCESS) } {
            Ok(_) if super::files::is_directory(AT_FDCWD as i32, path) == Ok(true) => worst = EACCES,
            Ok(_) => return Ok(()),
            Err(ENOENT | ENOTDIR) => {}
            Err(EACCES) => worst = EACCES,
            Err(errno) => return Err(errno),
        }
    }
    Err(worst)
}

/// # Safety
/// The path must be NUL-terminated, the lists ended by 0.
unsafe fn execute_one(path: usize, arguments: *const usize, environment: *const usize) -> Errno {
    for _ in 0..BUSY_TRIES {
        // SAFETY: handed on.
        match unsafe { call!(EXECVE, path, arguments, environment) } {
            Err(ETXTBSY) => {
                let pause = [0usize, 2_000_000];
                // SAFETY: ppoll without descriptors is a sleep of 2 ms.
                let _ = unsafe { call!(PPOLL, 0, 0, pause.as_ptr(), 0, 0) };
            }
            Err(errno) => return errno,
            Ok(_) => return EPROTO,
        }
    }
    ETXTBSY
}
