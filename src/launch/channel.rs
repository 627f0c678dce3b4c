//! The socket between parent and stage: one-byte messages, and their end.

use crate::error::During;
use crate::plan::layout::Message;
use crate::{Error, Result};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, send, socketpair};
use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A pair of connected sockets.
#[derive(Debug)]
pub(crate) struct Channel {
    parent: OwnedFd,
    child: OwnedFd,
}

/// The parent's end, once the child has its own.
#[derive(Debug)]
pub(crate) struct ParentEnd(OwnedFd);

/// What the stage said.
#[derive(Debug)]
pub(crate) enum Word {
    /// It wants its id maps written.
    Maps,
    /// It goes on in this child.
    Child(OwnedFd),
    /// It has loaded a filter, whose supervisor is to get this descriptor.
    Listener(OwnedFd),
    /// The container is built.
    Gate,
    /// It is parked.
    Ready,
    /// It has executed the payload, or is gone.
    End,
}

impl Channel {
    pub(crate) fn new() -> Result<Channel> {
        let (parent, child) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
            .during(|| "create the socket to the stage")?;
        Ok(Channel { parent, child })
    }

    /// The end that the plan names.
    pub(crate) fn child(&self) -> &OwnedFd {
        &self.child
    }

    /// The parent's end, and the child's: when all copies of that are closed, the parent reads the end.
    pub(crate) fn split(self) -> (ParentEnd, OwnedFd) {
        (ParentEnd(self.parent), self.child)
    }
}

impl ParentEnd {
    /// Waits for the next word of the stage.
    pub(crate) fn receive(&self) -> Result<Word> {
        let mut byte = [0u8; 1];
        let mut control = nix::cmsg_space!([i32; 1]);
        let (length, descriptor) = loop {
            let mut buffers = [IoSliceMut::new(&mut byte)];
            match recvmsg::<()>(self.0.as_raw_fd(), &mut buffers, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC) {
                Err(Errno::EINTR) => {}
                Err(Errno::ECONNRESET) => break (0, None),
                Err(errno) => return Err(Error::os("read from the stage", errno as i32)),
                Ok(message) => break (message.bytes, received_descriptor(&message)),
            }
        };
        match (length, byte[0], descriptor) {
            (0, ..) => Ok(Word::End),
            (_, Message::MAPS, None) => Ok(Word::Maps),
            (_, Message::CHILD, Some(descriptor)) => Ok(Word::Child(descriptor)),
            (_, Message::LISTENER, Some(descriptor)) => Ok(Word::Listener(descriptor)),
            (_, Message::GATE, None) => Ok(Word::Gate),
            (_, Message::READY, None) => Ok(Word::Ready),
            _ => Err(Error::os("read from the stage", libc::EPROTO)),
        }
    }

    /// Tells the stage to go on; that it is gone shows in the next [`receive`](Self::receive).
    pub(crate) fn go(&self) -> Result<()> {
        match send(self.0.as_raw_fd(), &[Message::GO], MsgFlags::MSG_NOSIGNAL) {
            Ok(_) | Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(()),
            Err(errno) => Err(Error::os("write to the stage", errno as i32)),
        }
    }
}

/// Receives one descriptor over `socket`, with whatever text comes along.
pub(crate) fn receive_descriptor(socket: BorrowedFd<'_>) -> Result<OwnedFd> {
    let mut text = [0u8; 4096];
    let mut control = nix::cmsg_space!([i32; 1]);
    loop {
        let mut buffers = [IoSliceMut::new(&mut text)];
        match recvmsg::<()>(socket.as_raw_fd(), &mut buffers, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::os("receive a descriptor", errno as i32)),
            Ok(message) => {
                return received_descriptor(&message).ok_or_else(|| Error::os("receive a descriptor", libc::EPROTO));
            }
        }
    }
}

impl AsFd for ParentEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn received_descriptor(message: &nix::sys::socket::RecvMsg<'_, '_, ()>) -> Option<OwnedFd> {
    let mut found = None;
    for control in message.cmsgs().ok()? {
        if let ControlMessageOwned::ScmRights(descriptors) = control {
            for descriptor in descriptors {
                // SAFETY: the kernel has just installed this descriptor for us; each is owned once.
                found = Some(unsafe { OwnedFd::from_raw_fd(descriptor) });
            }
        }
    }
    found
}
