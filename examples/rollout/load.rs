//! An open-loop load: requests are due at fixed times, whether earlier ones were answered or not.

use super::request::get;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// So many requests can be under way at once: a second's worth and more.
const THREADS: usize = 256;

/// A load that runs until it is stopped, or until its requests are used up.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    address: SocketAddr,
    begin: Instant,
    interval: Duration,
    most: u64,
    next: AtomicU64,
    stop: AtomicBool,
    found: Mutex<Report>,
}

/// What became of the requests.
#[derive(Debug, Default, Clone)]
pub struct Report {
    /// How many were sent.
    pub sent: u64,
    /// How many were not answered with status 200.
    pub lost: u64,
    /// The first reasons.
    pub errors: Vec<String>,
    /// How many each text answered: the first two words of the body.
    pub by_version: BTreeMap<String, u64>,
    /// How many each text answered: the whole body.
    pub by_replica: BTreeMap<String, u64>,
    /// From the moment a request was due to its answer, sorted.
    pub latencies: Vec<Duration>,
}

impl Load {
    /// Sends `rate` requests a second to `address`, `most` altogether at the most.
    pub fn start(address: SocketAddr, rate: u32, most: u64) -> Load {
        let shared = Arc::new(Shared {
            address,
            begin: Instant::now(),
            interval: Duration::from_secs(1) / rate,
            most,
            next: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            found: Mutex::new(Report::default()),
        });
        let work = |shared: Arc<Shared>| move || shared.work();
        let builder = || std::thread::Builder::new().stack_size(128 << 10);
        let threads = (0..THREADS).map(|_| builder().spawn(work(shared.clone())).expect("a thread")).collect();
        Load { shared, threads }
    }

    /// Ends the load, once the requests under way are answered.
    pub fn stop(self) -> Report {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("no thread panics");
        }
        let mut report = self.shared.found.lock().expect("no thread panics").clone();
        report.latencies.sort_unstable();
        report
    }
}

impl Shared {
    fn work(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.most {
                return;
            }
            let due = self.begin + self.interval.mul_f64(number as f64);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let answer = get(self.address);
            self.found.lock().expect("no thread panics").add(due.elapsed(), answer);
        }
    }
}

impl Report {
    fn add(&mut self, latency: Duration, answer: std::io::Result<String>) {
        self.sent += 1;
        self.latencies.push(latency);
        match answer {
            Ok(body) => {
                let version: Vec<&str> = body.split(' ').take(2).collect();
                *self.by_version.entry(version.join(" ")).or_default() += 1;
                *self.by_replica.entry(body.trim().to_owned()).or_default() += 1;
            }
            Err(error) => {
                self.lost += 1;
                if self.errors.len() < 10 {
                    self.errors.push(format!("after {latency:?}: {error}"));
                }
            }
        }
    }

    /// The latency that `percent` of the requests did not exceed.
    pub fn percentile(&self, percent: usize) -> Duration {
        let index = (self.latencies.len() * percent / 100).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(index).copied().unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answered: Vec<String> =
            self.by_version.iter().map(|(version, count)| format!("{version}: {count}")).collect();
        let milliseconds = |percent| self.percentile(percent).as_secs_f64() * 1e3;
        writeln!(f, "requests sent  {}", self.sent)?;
        writeln!(f, "requests lost  {}", self.lost)?;
        writeln!(f, "answered by    {}", answered.join(", "))?;
        write!(f, "latency        {:.1} ms median, {:.1} ms p99", milliseconds(50), milliseconds(99))
    }
}
