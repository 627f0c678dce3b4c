//! A network namespace prepared beforehand.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Makes a network namespace that the file `path` holds open.
pub fn prepare(path: &Path) {
    std::fs::write(path, "").unwrap();
    let target = CString::new(path.as_os_str().as_bytes()).unwrap();
    let made = std::thread::spawn(move || {
        let (source, none) = (c"/proc/thread-self/ns/net".as_ptr(), std::ptr::null());
        // SAFETY: the texts are NUL-terminated; the namespace is this thread's alone, which ends.
        unsafe {
            assert_eq!(libc::unshare(libc::CLONE_NEWNET), 0);
            assert_eq!(libc::mount(source, target.as_ptr(), none, libc::MS_BIND, none.cast()), 0);
        }
    });
    made.join().unwrap();
}

/// Lets go of a namespace that [`prepare`] made.
pub fn release(path: &Path) {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the text is NUL-terminated.
    unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
}
