//! Containers on the bridge, each test in a network namespace that plays the host.

use super::*;
use crate::kernel::in_network_namespace;
use crate::network::NetworkNamespace;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Instant;

const SERVER: &str = "mkdir /www; echo Hello from $(hostname) > /www/index.html; exec busybox httpd -f -p 80 -h /www";

/// Runs `work` on a thread with a network of its own; a failed assertion fails the caller.
fn on_a_host(work: impl FnOnce() + Send) {
    let host = NetworkNamespace::create().unwrap();
    let result = in_network_namespace(host.as_fd(), || Ok(catch_unwind(AssertUnwindSafe(work))));
    result.unwrap().unwrap_or_else(|panic| resume_unwind(panic));
}

fn get(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn get_patiently(port: u16) -> String {
    let begin = Instant::now();
    loop {
        match get(port) {
            Ok(text) if !text.is_empty() => return text,
            other if begin.elapsed() > Duration::from_secs(10) => panic!("no answer: {other:?}"),
            _ => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

#[test]
fn a_published_port_answers_until_the_container_ends() {
    on_a_host(|| {
        let ground = Ground::new();
        let container = ground.container(SERVER).name("web").network(Network::Bridge).publish(0, 80).detach().unwrap();
        let port = container.ports()[0].host_port;
        assert!(get_patiently(port).contains("Hello from web"));
        assert!(container.stats().unwrap().network.is_some());
        // The port is taken for everybody else.
        assert!(std::net::TcpListener::bind(("0.0.0.0", port)).is_err());
        let error = ground.container("true").network(Network::Bridge).publish(port, 80).detach().unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::InUse, "{error}");
        container.stop(Duration::from_secs(5)).unwrap();
        // The keeper has withdrawn the port by itself.
        assert!(get(port).is_err());
        assert!(std::net::TcpListener::bind(("0.0.0.0", port)).is_ok());
        container.remove().unwrap();
    });
}

#[test]
fn two_attached_containers_have_addresses_of_their_own() {
    on_a_host(|| {
        let ground = Ground::new();
        let addresses: Vec<String> = (0..2)
            .map(|_| {
                let output = ground.container("cat /etc/hosts | tail -n 2").network(Network::Bridge).output().unwrap();
                text(&output.stdout).split_whitespace().next().unwrap_or("").to_owned()
            })
            .collect();
        assert!(addresses[0] != addresses[1] && !addresses[0].is_empty(), "{addresses:?}");
    });
}

#[test]
fn networks_with_names_are_on_the_bridge_alone() {
    on_a_host(|| {
        let ground = Ground::new();
        let error = ground.container("true").network(Network::None).join("shop").output().unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::InvalidInput, "{error}");
        let error = ground.container("true").network(Network::Bridge).join("no/name").output().unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::InvalidInput, "{error}");
        let output = ground.container("true").network(Network::Bridge).join("shop").output().unwrap();
        assert!(output.status.success());
    });
}
