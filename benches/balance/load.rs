//! The client's load: so many connections at any time, each for one request.

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, socket};
use nix::time::{ClockId, clock_gettime};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

/// Without `Connection: close`: with every contestant it is the client that closes, and keeps the port for a while.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n";
/// For the connections that are open when the period ends.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was seen in one period.
#[derive(Default)]
pub struct Sample {
    /// Answers per second.
    pub rate: f64,
    /// From the first packet to the whole answer, in microseconds.
    pub latencies: Vec<u32>,
    /// Connections that were refused, cut off or not answered.
    pub failed: usize,
    /// The share of the period for which each thread of the client had a processor, from 0 to 1.
    pub client: f64,
}

/// Keeps `connections` going for `period`, spread over one thread for each processor.
pub fn run(target: SocketAddrV4, connections: usize, period: Duration) -> Sample {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(connections);
    let share = |index: usize| (connections + index) / threads;
    let samples: Vec<Sample> = std::thread::scope(|scope| {
        let start = |index| scope.spawn(move || run_thread(target, share(index), period));
        let threads: Vec<_> = (0..threads).map(start).collect();
        threads.into_iter().map(|thread| thread.join().expect("the client works")).collect()
    });
    let mut all = Sample::default();
    for sample in samples {
        all.rate += sample.rate;
        all.latencies.extend(sample.latencies);
        all.failed += sample.failed;
        all.client += sample.client / threads as f64;
    }
    all
}

fn run_thread(target: SocketAddrV4, connections: usize, period: Duration) -> Sample {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("an epoll");
    let open = |slot: usize| Connection::open(target, &epoll, slot as u64);
    let mut sample = Sample { latencies: Vec::with_capacity(1 << 15), ..Sample::default() };
    let (begin, used) = (Instant::now(), processor_time());
    let mut slots: Vec<Option<Connection>> = (0..connections).map(|slot| Some(open(slot))).collect();
    let mut live = connections;
    let mut ended = false;
    let mut events = [EpollEvent::empty(); 256];
    while live > 0 && begin.elapsed() < period + PATIENCE {
        let count = epoll.wait(&mut events, EpollTimeout::from(50u16)).unwrap_or(0);
        for event in &events[..count] {
            let slot = event.data() as usize;
            let Some(connection) = slots[slot].as_mut() else { continue };
            match connection.advance() {
                Ok(false) => continue,
                Ok(true) => sample.latencies.push(connection.begin.elapsed().as_micros() as u32),
                Err(_) => sample.failed += 1,
            }
            slots[slot] = (!ended).then(|| open(slot));
            live -= usize::from(ended);
        }
        // From now on no new ones are opened: the next contestant begins on a quiet wire.
        if !ended && begin.elapsed() >= period {
            let elapsed = begin.elapsed().as_secs_f64();
            sample.rate = sample.latencies.len() as f64 / elapsed;
            sample.client = (processor_time() - used).as_secs_f64() / elapsed;
            ended = true;
        }
    }
    sample.failed += live;
    sample
}

fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

struct Connection {
    stream: TcpStream,
    begin: Instant,
    asked: bool,
    answer: Vec<u8>,
}

impl Connection {
    fn open(target: SocketAddrV4, epoll: &Epoll, slot: u64) -> Connection {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None).expect("a socket");
        let begin = Instant::now();
        match connect(socket.as_raw_fd(), &SockaddrIn::from(target)) {
            Ok(()) | Err(Errno::EINPROGRESS) => {}
            Err(errno) => panic!("connect to {target}: {errno}"),
        }
        let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
        epoll.add(socket.as_fd(), EpollEvent::new(interest, slot)).expect("a place in the epoll");
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
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.answer.extend(&buffer[..count]);
                Ok(self.answer.ends_with(b"\nok\n"))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}
