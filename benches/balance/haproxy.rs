//! The peer, in TCP mode and in HTTP mode, configured as its manual recommends for this machine: one thread for each
//! core, no logs, connections to servers kept and shared where the mode allows it.

use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const TCP_PORT: u16 = 9001;
pub const HTTP_PORT: u16 = 9002;

/// Runs until it is dropped.
pub struct Haproxy(Child);

impl Haproxy {
    /// `None` where it is not installed.
    pub fn start(directory: &Path, members: &[Ipv4Addr]) -> Option<Haproxy> {
        let path = directory.join("haproxy.cfg");
        std::fs::write(&path, configuration(members)).unwrap();
        let child = Command::new("haproxy").arg("-db").arg("-f").arg(&path).stdin(Stdio::null()).spawn().ok()?;
        let haproxy = Haproxy(child);
        let deadline = Instant::now() + Duration::from_secs(10);
        while [TCP_PORT, HTTP_PORT].iter().any(|port| TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_err()) {
            assert!(Instant::now() < deadline, "haproxy does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(haproxy)
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn configuration(members: &[Ipv4Addr]) -> String {
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    let servers: String = members.iter().map(|address| format!("    server {address} {address}:80\n")).collect();
    format!(
        "global\n    maxconn 4000\n    nbthread {threads}\n\
         defaults\n    timeout connect 5s\n    timeout client 30s\n    timeout server 30s\n    balance roundrobin\n\
         listen tcp\n    bind :{TCP_PORT}\n    mode tcp\n{servers}\
         listen http\n    bind :{HTTP_PORT}\n    mode http\n    http-reuse always\n{servers}"
    )
}
