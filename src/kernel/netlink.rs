//! Netlink sockets: the kernel's message interface for links, addresses, routes and nftables.

use super::descriptor;
use nix::errno::Errno;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The longest answer the kernel gives in one datagram is 32 KiB plus one message (netlink_dump in af_netlink.c).
const RECEIVE_BYTES: usize = 1 << 16;

/// The kernel works while it is asked, so an answer that is not there after this time, in seconds, never comes.
const ANSWER_SECONDS: libc::time_t = 10;

const BUFFER_BYTES: libc::c_int = 4 << 20;

/// Which part of the kernel a netlink socket speaks with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NetlinkFamily {
    /// `NETLINK_ROUTE`: links, addresses, routes (rtnetlink(7)).
    Route,
    /// `NETLINK_NETFILTER`: nftables and connection tracking.
    Netfilter,
}

/// A netlink socket. It stays bound to the network namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct NetlinkSocket(OwnedFd);

impl NetlinkSocket {
    /// A socket in the calling thread's network namespace, with extended error messages where the kernel has them.
    pub(crate) fn open(family: NetlinkFamily) -> io::Result<NetlinkSocket> {
        let protocol = match family {
            NetlinkFamily::Route => libc::NETLINK_ROUTE,
            NetlinkFamily::Netfilter => libc::NETLINK_NETFILTER,
        };
        // SAFETY: socket takes plain numbers.
        let fd = descriptor(libc::c_long::from(unsafe {
            libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol)
        }))?;
        let socket = NetlinkSocket(fd);
        let on: libc::c_int = 1;
        socket.option(libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, &on)?;
        socket.option(libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, &on)?;
        let limit = libc::timeval { tv_sec: ANSWER_SECONDS, tv_usec: 0 };
        socket.option(libc::SOL_SOCKET, libc::SO_RCVTIMEO, &limit)?;
        // A long transaction and its answers must fit; what is not used is not allocated. Without CAP_NET_ADMIN the
        // usual 208 KiB have to do.
        for buffer in [libc::SO_SNDBUFFORCE, libc::SO_RCVBUFFORCE] {
            let _ = socket.option(libc::SOL_SOCKET, buffer, &BUFFER_BYTES);
        }
        Ok(socket)
    }

    /// Sends `bytes`, one or more complete messages, to the kernel as one datagram.
    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let kernel = address();
        loop {
            // SAFETY: the pointers and lengths describe the live slice and the live address.
            let sent = unsafe {
                libc::sendto(
                    self.0.as_raw_fd(),
                    bytes.as_ptr().cast(),
                    bytes.len(),
                    0,
                    (&raw const kernel).cast(),
                    size_of_val(&kernel) as libc::socklen_t,
                )
            };
            match Errno::result(sent) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// The next datagram from the kernel. What other processes send to this socket is skipped.
    pub(crate) fn receive(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0u8; RECEIVE_BYTES];
        loop {
            let mut sender = address();
            let mut sender_length = size_of_val(&sender) as libc::socklen_t;
            // SAFETY: the pointers and lengths describe the live buffer and the live address.
            let got = unsafe {
                libc::recvfrom(
                    self.0.as_raw_fd(),
                    bytes.as_mut_ptr().cast(),
                    bytes.len(),
                    libc::MSG_TRUNC,
                    (&raw mut sender).cast(),
                    &mut sender_length,
                )
            };
            match Errno::result(got) {
                Ok(_) if sender.nl_pid != 0 => {}
                Ok(length) if length as usize > bytes.len() => return Err(Errno::EMSGSIZE.into()),
                Ok(length) => {
                    bytes.truncate(length as usize);
                    return Ok(bytes);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Err(Errno::ETIMEDOUT.into()),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn option<T>(&self, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
        // SAFETY: the pointer and the length describe the live value.
        let result = unsafe {
            libc::setsockopt(
                self.0.as_raw_fd(),
                level,
                name,
                std::ptr::from_ref(value).cast(),
                size_of::<T>() as libc::socklen_t,
            )
        };
        Errno::result(result).map(drop).map_err(io::Error::from)
    }
}

impl AsFd for NetlinkSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The kernel's own address: port 0, no groups.
fn address() -> libc::sockaddr_nl {
    // SAFETY: sockaddr_nl is plain data.
    let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    address
}
