//! The default network as a whole, each test on a "host" of its own: real connections, the kernel's own view of the
//! rules by `nft`, and what is left at the end.

use super::attachment::Attachment;
use super::route::RouteSocket;
use super::*;
use crate::ErrorKind;
use crate::value::{ContainerId, Port};
use host::{inside, on_host};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(5);

/// An engine's directories, on the "host" of the calling thread.
struct Engine {
    networks: Networks,
    scratch: tempfile::TempDir,
}

impl Engine {
    fn new() -> Engine {
        let scratch = tempfile::tempdir().unwrap();
        Engine { networks: Networks::new(&scratch.path().join("root"), &scratch.path().join("run")), scratch }
    }

    fn start(&self, ports: &[PublishedPort]) -> Container {
        self.join(&Joining { ports, ..Joining::default() })
    }

    fn join(&self, joining: &Joining<'_>) -> Container {
        let namespace = NetworkNamespace::create().unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.networks.attach(&namespace, &ContainerId::random().unwrap(), joining) {
                Ok(attachment) => return Container { namespace, attachment },
                // A program that another test is about to start has, between fork and exec, what this process had.
                Err(error) if error.kind() == ErrorKind::InUse && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Everything is taken down; nothing is left on the host.
    fn leave_no_trace(self, containers: Vec<Container>) {
        for container in containers {
            self.networks.detach(&container.attachment.record).unwrap();
        }
        assert!(self.networks.remove_unused().unwrap());
        assert_eq!(interfaces(), ["lo"]);
        assert!(!ruleset().contains("coracle"), "{}", ruleset());
        let leases = std::fs::read_dir(self.scratch.path().join("run/networks/default")).unwrap();
        let names: Vec<_> = leases.map(|entry| entry.unwrap().file_name()).collect();
        assert!(names.iter().all(|name| name == "next"), "{names:?}");
    }
}

struct Container {
    namespace: NetworkNamespace,
    attachment: Attachment,
}

impl Container {
    /// Serves one TCP connection for each of `times` with "name of the peer", on a thread in the container.
    fn serve(&self, port: u16, times: usize) -> std::thread::JoinHandle<()> {
        let listener = inside(&self.namespace, || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap());
        std::thread::spawn(move || {
            for _ in 0..times {
                let (mut stream, peer) = listener.accept().unwrap();
                stream.write_all(peer.ip().to_string().as_bytes()).unwrap();
            }
        })
    }

    fn address(&self) -> Ipv4Addr {
        self.attachment.address
    }
}

/// Connects and reads to the end: the peer's address as the server saw it.
fn ask(address: impl Into<IpAddr>, port: u16) -> String {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(address.into(), port), PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn refused(address: Ipv4Addr, port: u16) -> bool {
    TcpStream::connect_timeout(&SocketAddr::new(address.into(), port), Duration::from_millis(300)).is_err()
}

fn interfaces() -> Vec<String> {
    RouteSocket::open().unwrap().links().unwrap().into_iter().map(|link| link.name).collect()
}

fn ruleset() -> String {
    tool("nft", &["-j", "list", "ruleset"])
}

/// Runs a program on the "host" of the calling thread.
fn tool(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A neighbour of the host: a namespace at the other end of a cable, 198.51.100.2; the host has 198.51.100.1.
fn neighbour() -> NetworkNamespace {
    let namespace = NetworkNamespace::create().unwrap();
    tool("ip", &["link", "add", "wire", "type", "veth", "peer", "name", "far"]);
    let far = RouteSocket::open().unwrap().link("far").unwrap().unwrap();
    let thread = format!("/proc/{}/fd/{}", std::process::id(), {
        use std::os::fd::{AsFd, AsRawFd};
        namespace.as_fd().as_raw_fd()
    });
    assert!(far.index > 0);
    tool("ip", &["link", "set", "far", "netns", &thread]);
    tool("ip", &["address", "add", "198.51.100.1/24", "dev", "wire"]);
    tool("ip", &["link", "set", "wire", "up"]);
    inside(&namespace, || {
        tool("ip", &["address", "add", "198.51.100.2/24", "dev", "far"]);
        tool("ip", &["link", "set", "far", "up"]);
        tool("ip", &["route", "add", "default", "via", "198.51.100.1"]);
    });
    namespace
}

mod balance;
mod connections;
mod conversations;
pub(super) mod host;
mod isolation;
mod life;
mod rules;
mod services;
