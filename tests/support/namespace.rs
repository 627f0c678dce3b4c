//! Private namespaces for one test, on a thread of its own.

use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket};
use std::os::fd::AsRawFd;

/// Runs `body` on a thread in a fresh network namespace with loopback up; programs it starts live there too.
///
/// The namespace ends with the thread and what the body left running. A panic of the body is passed on.
pub fn in_network_namespace<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    require_root();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace can be made");
            raise_loopback();
            body()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Panics where the test does not run as root.
pub fn require_root() {
    assert!(nix::unistd::geteuid().is_root(), "this test needs root");
}

/// RTM_NEWLINK for interface 1, which is the loopback of every namespace (rtnetlink(7)).
fn raise_loopback() {
    let (family, kind) = (AddressFamily::Netlink, SockType::Raw);
    let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute).expect("a netlink socket");
    let up = libc::IFF_UP as u32;
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u32;
    let words = [32, flags << 16 | u32::from(libc::RTM_NEWLINK), 1, 0, 0, 1, up, up];
    let message: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    sendto(socket.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty()).expect("a message can be sent");
    let mut answer = [0; 128];
    let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty()).expect("an answer");
    assert!(length >= 20 && answer[16..20] == [0; 4], "bring loopback up: {answer:?}");
}
