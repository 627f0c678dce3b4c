//! The servers: one thread for all of them, so that a contestant pays for as few switches between threads as can be.

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";

/// Serves until it is dropped.
pub struct Backend {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A listening socket in the namespace of the calling thread.
pub fn listen() -> TcpListener {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 80)).unwrap();
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(1024).unwrap()).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

impl Backend {
    pub fn start(listeners: Vec<TcpListener>) -> Backend {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        Backend { stop, thread: Some(std::thread::spawn(move || serve(&listeners, &stopped))) }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

fn serve(listeners: &[TcpListener], stop: &AtomicBool) {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    let watch = |socket: &dyn AsFd| {
        let number = socket.as_fd().as_raw_fd() as u64;
        epoll.add(socket.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, number)).unwrap();
        number
    };
    let doors: HashMap<u64, &TcpListener> = listeners.iter().map(|listener| (watch(listener), listener)).collect();
    let mut guests: HashMap<u64, TcpStream> = HashMap::new();
    let mut events = [EpollEvent::empty(); 256];
    let mut buffer = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        let count = epoll.wait(&mut events, EpollTimeout::from(50u16)).unwrap_or(0);
        for event in &events[..count] {
            if let Some(door) = doors.get(&event.data()) {
                while let Ok((stream, _)) = door.accept() {
                    stream.set_nonblocking(true).unwrap();
                    guests.insert(watch(&stream), stream);
                }
                continue;
            }
            let Some(guest) = guests.get_mut(&event.data()) else { continue };
            // A request comes in one piece and is answered in one; a client that has got its answer closes.
            let stays = match guest.read(&mut buffer) {
                Ok(0) => false,
                Ok(_) => guest.write_all(ANSWER).is_ok(),
                Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
            };
            if !stays {
                guests.remove(&event.data());
            }
        }
    }
}
