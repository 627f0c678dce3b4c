//! Private namespaces for one test, on a thread of its own.

use nix::sched::{CloneFlags, unshare};

/// Runs `body` on a thread in a fresh network namespace with loopback up; programs it starts live there too.
///
/// The namespace ends with the thread and what the body left running. A panic of the body is passed on.
pub fn in_network_namespace<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    crate::require_root();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace can be made");
            raise_loopback();
            body()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn raise_loopback() {
    use std::os::fd::AsRawFd;
    let socket = std::net::UdpSocket::bind(("0.0.0.0", 0)).expect("a datagram socket can be made");
    // SAFETY: ifreq is plain data, for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the socket is open and the request is a valid ifreq that outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &request) };
    assert_eq!(result, 0, "bring loopback up: {}", std::io::Error::last_os_error());
}
