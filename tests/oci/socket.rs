//! What runtimes send over the sockets they are given: a text and descriptors.

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;

/// Waits for one message.
#[allow(unsafe_code)]
pub fn receive(listener: &UnixListener) -> (String, Vec<OwnedFd>) {
    let (stream, _) = listener.accept().expect("the runtime connects");
    let mut text = vec![0; 1 << 16];
    let mut space = nix::cmsg_space!([i32; 4]);
    let (length, descriptors) = {
        let mut slices = [IoSliceMut::new(&mut text)];
        let flags = nix::sys::socket::MsgFlags::MSG_CMSG_CLOEXEC;
        let message = nix::sys::socket::recvmsg::<()>(stream.as_raw_fd(), &mut slices, Some(&mut space), flags)
            .expect("a message");
        let found = message.cmsgs().expect("control messages").find_map(|control| match control {
            nix::sys::socket::ControlMessageOwned::ScmRights(list) => Some(list),
            _ => None,
        });
        (message.bytes, found.unwrap_or_default())
    };
    text.truncate(length);
    // SAFETY: the kernel made each of them for this message, and nobody else knows them.
    let owned = |number| unsafe { OwnedFd::from_raw_fd(number) };
    (String::from_utf8_lossy(&text).into_owned(), descriptors.into_iter().map(owned).collect())
}
