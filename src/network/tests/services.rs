//! What a service is, and that it survives what happens to it.

use super::*;
use crate::value::Name;
use std::io::{BufRead, BufReader};

/// A server in a container that answers every connection with the address of the container and that of the client,
/// until it is dropped.
pub(super) struct Server {
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    pub(super) fn start(container: &Container, port: u16) -> Server {
        let listener = inside(&container.namespace, || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap());
        listener.set_nonblocking(true).unwrap();
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (name, stopped) = (container.address(), stop.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                let mut ready =
                    [nix::poll::PollFd::new(std::os::fd::AsFd::as_fd(&listener), nix::poll::PollFlags::POLLIN)];
                nix::poll::poll(&mut ready, 20u16).unwrap();
                while let Ok((mut stream, peer)) = listener.accept() {
                    stream.set_nonblocking(false).unwrap();
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    let _ = stream.write_all(format!("{name} {}\n", peer.ip()).as_bytes());
                    // The client closes first: a port that waits here for late packets would refuse its next user.
                    let _ = stream.read(&mut [0]);
                }
            }
        });
        Server { stop, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        self.thread.take().map(|thread| thread.join());
    }
}

pub(super) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(super) fn web(balance: Balance) -> ServiceSpecification {
    ServiceSpecification {
        name: name("web"),
        ports: vec![Port::tcp(80)],
        published: vec![PublishedPort::new(8080, 80)],
        balance,
    }
}

pub(super) fn equal(containers: &[&Container]) -> Vec<ServiceMember> {
    containers.iter().map(|container| ServiceMember { address: container.address(), weight: 1 }).collect()
}

/// Who answered, and whom it saw as the client.
pub(super) fn asked(address: impl Into<IpAddr>, port: u16) -> (String, String) {
    let stream = TcpStream::connect_timeout(&SocketAddr::new(address.into(), port), PATIENCE).unwrap();
    read_answer(stream)
}

pub(super) fn read_answer(stream: TcpStream) -> (String, String) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    let (server, client) = answer.trim_end().split_once(' ').unwrap_or_else(|| panic!("answer {answer:?}"));
    (server.to_owned(), client.to_owned())
}

/// The service goes, then everything else.
pub(super) fn end(engine: Engine, containers: Vec<Container>) {
    engine.networks.remove_service(&name("web")).unwrap();
    engine.networks.remove_service(&name("web")).unwrap();
    engine.leave_no_trace(containers);
}

#[test]
fn clients_from_everywhere_are_seen_by_their_own_address() {
    on_host(|| {
        let engine = Engine::new();
        let outside = neighbour();
        let (one, client) = (engine.start(&[]), engine.start(&[]));
        let record = engine.networks.ensure_service(&web(Balance::RoundRobin)).unwrap();
        engine.networks.route(&name("web"), &equal(&[&one])).unwrap();
        let _server = Server::start(&one, 80);
        let (host, stable) = (Ipv4Addr::new(198, 51, 100, 1), record.address);
        let gateway = one.attachment.gateway.to_string();
        let member = one.address().to_string();
        // The host itself: by the stable address, by loopback, by its own address.
        assert_eq!(asked(stable, 80), (member.clone(), gateway.clone()));
        assert_eq!(asked(Ipv4Addr::LOCALHOST, 8080), (member.clone(), gateway.clone()));
        assert_eq!(asked(host, 8080), (member.clone(), host.to_string()));
        // A neighbour, by the published port alone.
        assert_eq!(inside(&outside, || asked(host, 8080)), (member.clone(), "198.51.100.2".to_owned()));
        assert!(inside(&outside, || refused(stable, 80)));
        // Another container, and the member itself.
        let theirs = client.address().to_string();
        assert_eq!(inside(&client.namespace, || asked(stable, 80)), (member.clone(), theirs.clone()));
        assert_eq!(inside(&client.namespace, || asked(host, 8080)), (member.clone(), theirs));
        assert_eq!(inside(&one.namespace, || asked(stable, 80)), (member.clone(), gateway.clone()));
        assert_eq!(inside(&one.namespace, || asked(host, 8080)), (member, gateway));
        tool("ip", &["link", "delete", "wire"]);
        end(engine, vec![one, client]);
    });
}
