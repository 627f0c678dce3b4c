//! The server that is balanced: one thread without blocking, so that answering costs little beside the connection itself.

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";

/// Answers every request at `port` with the same small page, until the process is ended; whoever asks closes.
pub fn serve(port: u16) -> std::io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(1024)?)?;
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let door = watch(&epoll, &listener)?;
    let mut guests: HashMap<u64, TcpStream> = HashMap::new();
    let mut events = [EpollEvent::empty(); 256];
    loop {
        let count = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => 0,
            count => count?,
        };
        for event in &events[..count] {
            if event.data() == door {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    guests.insert(watch(&epoll, &stream)?, stream);
                }
            } else if guests.get_mut(&event.data()).is_some_and(|guest| !answer(guest)) {
                guests.remove(&event.data());
            }
        }
    }
}

fn watch(epoll: &Epoll, socket: &impl AsFd) -> std::io::Result<u64> {
    let number = socket.as_fd().as_raw_fd().unsigned_abs().into();
    epoll.add(socket.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, number))?;
    Ok(number)
}

/// Whether the guest stays. A request comes in one piece and is answered in one.
fn answer(guest: &mut TcpStream) -> bool {
    match guest.read(&mut [0; 4096]) {
        Ok(0) => false,
        Ok(_) => guest.write_all(ANSWER).is_ok(),
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}
