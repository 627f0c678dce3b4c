//! The client: so many connections at any time, each for one request.

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, socket};
use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";

/// What was seen in one period.
pub struct Sample {
    period: Duration,
    /// From the first packet to the whole answer, in microseconds.
    pub latencies: Vec<u32>,
    /// Connections that were refused or cut off.
    pub failed: usize,
}

impl Sample {
    /// Connections per second.
    pub fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.period.as_secs_f64()
    }
}

struct Connection {
    stream: TcpStream,
    begin: Instant,
    asked: bool,
    answer: Vec<u8>,
}

impl Connection {
    fn open(target: SocketAddrV4) -> Connection {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None).unwrap();
        let begin = Instant::now();
        match connect(socket.as_raw_fd(), &SockaddrIn::from(target)) {
            Ok(()) | Err(Errno::EINPROGRESS) => {}
            Err(errno) => panic!("connect: {errno}"),
        }
        Connection { stream: TcpStream::from(socket), begin, asked: false, answer: Vec::with_capacity(128) }
    }

    /// Goes on; whether the answer is there.
    fn advance(&mut self) -> std::io::Result<bool> {
        if !self.asked {
            self.stream.write_all(REQUEST)?;
            self.asked = true;
            return Ok(false);
        }
        let mut buffer = [0; 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.answer.extend(&buffer[..count]);
                Ok(self.answer.ends_with(b"\nok\n"))
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Keeps `connections` going for `period`, on this thread.
pub fn run(target: SocketAddrV4, connections: usize, period: Duration) -> Sample {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    let open = |slot: usize| {
        let connection = Connection::open(target);
        epoll.add(connection.stream.as_fd(), EpollEvent::new(EpollFlags::EPOLLOUT, slot as u64)).unwrap();
        connection
    };
    let begin = Instant::now();
    let mut slots: Vec<Connection> = (0..connections).map(open).collect();
    let mut sample = Sample { period, latencies: Vec::with_capacity(1 << 16), failed: 0 };
    let mut events = [EpollEvent::empty(); 256];
    while begin.elapsed() < period {
        let count = epoll.wait(&mut events, EpollTimeout::from(50u16)).unwrap_or(0);
        for event in &events[..count] {
            let slot = event.data() as usize;
            match slots[slot].advance() {
                Ok(false) => {
                    let mut event = EpollEvent::new(EpollFlags::EPOLLIN, slot as u64);
                    epoll.modify(slots[slot].stream.as_fd(), &mut event).unwrap();
                    continue;
                }
                Ok(true) => sample.latencies.push(slots[slot].begin.elapsed().as_micros() as u32),
                Err(_) => sample.failed += 1,
            }
            slots[slot] = open(slot);
        }
    }
    sample.period = begin.elapsed();
    sample
}
