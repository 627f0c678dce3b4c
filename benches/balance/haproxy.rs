//! The peer, in TCP mode and in HTTP mode: one thread for each processor, no logs, no checks; in HTTP mode connections to
//! the servers are kept and shared.

use super::wire::{HOST, UNTRACKED};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const TCP_PORT: u16 = 9001;
const HTTP_PORT: u16 = 9002;

/// Runs until it is dropped.
pub struct Haproxy(Child);

impl Haproxy {
    /// In front of `servers`; `None` where it is not installed.
    pub fn start(directory: &Path, servers: &[SocketAddrV4]) -> Option<Haproxy> {
        let path = directory.join("haproxy.cfg");
        std::fs::write(&path, configuration(servers)).expect("a configuration");
        let child = match Command::new("haproxy").arg("-db").arg("-f").arg(&path).stdin(Stdio::null()).spawn() {
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            child => child.expect("haproxy starts"),
        };
        let haproxy = Haproxy(child);
        let deadline = Instant::now() + Duration::from_secs(10);
        while Haproxy::contestants(HOST).iter().any(|(_, address)| TcpStream::connect(address).is_err()) {
            assert!(Instant::now() < deadline, "haproxy does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(haproxy)
    }

    /// Where it is reached at one of the two addresses of the host.
    pub fn contestants(host: Ipv4Addr) -> [(&'static str, SocketAddrV4); 2] {
        let names = if host == UNTRACKED {
            ["haproxy TCP, untracked", "haproxy HTTP, untracked"]
        } else {
            ["haproxy TCP", "haproxy HTTP"]
        };
        [(names[0], SocketAddrV4::new(host, TCP_PORT)), (names[1], SocketAddrV4::new(host, HTTP_PORT))]
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn configuration(servers: &[SocketAddrV4]) -> String {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let servers: String = servers.iter().map(|server| format!("    server {server} {server}\n")).collect();
    let mut text = format!(
        "global\n    maxconn 4000\n    nbthread {threads}\n\
         defaults\n    timeout connect 5s\n    timeout client 30s\n    timeout server 30s\n    balance roundrobin\n"
    );
    for (host, source) in [(HOST, String::new()), (UNTRACKED, format!("    source {UNTRACKED}\n"))] {
        text += &format!(
            "listen tcp-{host}\n    bind {host}:{TCP_PORT}\n    mode tcp\n{source}{servers}\
             listen http-{host}\n    bind {host}:{HTTP_PORT}\n    mode http\n    http-reuse always\n{source}{servers}"
        );
    }
    text
}
