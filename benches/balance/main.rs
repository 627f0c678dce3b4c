//! What a new connection through a balanced service costs, beside haproxy with the same backends.
//!
//! `cargo bench --bench balance` prints a table. All runs in private network namespaces: a client on a wire of its own, a
//! host, three containers. The contestants take turns, so that whatever the machine does besides hits all of them alike.
//! The client asks for one small page on every connection and closes it; `CONNECTIONS` (default 64) are open at any time,
//! `ROUNDS` (default 12) of half a second each are run. haproxy must be installed; without it its rows are missing.
//!
//! The network room is compiled into the bench as it stands in the library, for want of a way to it from outside.

#![allow(unsafe_code, unused, missing_docs)]

mod backend;
#[path = "../../src/error.rs"]
mod error;
mod haproxy;
#[path = "../../src/kernel/mod.rs"]
mod kernel;
mod load;
#[path = "../../src/network/mod.rs"]
mod network;
#[path = "../../src/value/mod.rs"]
mod value;

use error::{Error, ErrorKind, Result};
use load::Sample;
use network::{Balance, Joining, NetworkNamespace, Networks, PublishedPort, ServiceMember, ServiceSpecification};
use nix::sched::{CloneFlags, setns, unshare};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::time::Duration;
use value::{ContainerId, Port};

const HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const PERIOD: Duration = Duration::from_millis(500);
const MEMBERS: usize = 3;

fn main() {
    let quick = std::env::args().any(|argument| argument == "--test");
    let number = |name: &str, usual| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (rounds, connections) = (if quick { 1 } else { number("ROUNDS", 12) }, number("CONNECTIONS", 64));
    // Before the first thread: the whole process lives on the bench's host.
    unshare(CloneFlags::CLONE_NEWNET).expect("this bench needs root");
    run("ip", &["link", "set", "lo", "up"]);
    let client = NetworkNamespace::create().unwrap();
    wire(&client);
    let scratch = tempfile::Builder::new().prefix("coracle-bench-").tempdir().unwrap();
    let networks = Networks::new(&scratch.path().join("root"), &scratch.path().join("run"));
    let containers = containers(&networks);
    allow_many_connections();
    inside(&client, allow_many_connections);

    let addresses: Vec<Ipv4Addr> = containers.iter().map(|(_, address)| *address).collect();
    let listeners = containers.iter().map(|(namespace, _)| inside(namespace, backend::listen)).collect();
    let _backend = backend::Backend::start(listeners);
    let haproxy = haproxy::Haproxy::start(scratch.path(), &addresses);
    let mut contestants = vec![("this crate, in turn", 8080), ("this crate, by client", 8081), ("one container", 8000)];
    if haproxy.is_some() {
        contestants.extend([("haproxy, TCP", haproxy::TCP_PORT), ("haproxy, HTTP", haproxy::HTTP_PORT)]);
    } else {
        println!("haproxy is not installed: its rows are missing");
    }
    let target = |port: u16| SocketAddrV4::new(HOST, port);
    let mut samples: Vec<Vec<Sample>> = contestants.iter().map(|_| Vec::new()).collect();
    for round in 0..=rounds {
        for ((_, port), samples) in contestants.iter().zip(&mut samples) {
            let sample = inside(&client, || load::run(target(*port), connections, PERIOD));
            // The first round warms up.
            if round > 0 || rounds == 0 {
                samples.push(sample);
            }
        }
    }
    print(&contestants, &samples, connections);
    for service in ["in-turn", "by-client"] {
        println!("one change of the members of {service}: {:?}", change(&networks, service, &addresses));
    }
    drop(haproxy);
    for name in ["in-turn", "by-client"] {
        networks.remove_service(&name.parse().unwrap()).unwrap();
    }
}

/// Three containers, two services in front of them, and the first published by itself.
fn containers(networks: &Networks) -> Vec<(NetworkNamespace, Ipv4Addr)> {
    let containers: Vec<(NetworkNamespace, Ipv4Addr)> = (0..MEMBERS)
        .map(|index| {
            let namespace = NetworkNamespace::create().unwrap();
            let ports = [PublishedPort::new(8000, 80)];
            let joining = Joining { ports: if index == 0 { &ports } else { &[] }, ..Joining::default() };
            let attachment = networks.attach(&namespace, &ContainerId::random().unwrap(), &joining).unwrap();
            (namespace, attachment.address)
        })
        .collect();
    for (name, port, balance) in [("in-turn", 8080, Balance::RoundRobin), ("by-client", 8081, Balance::SourceHash)] {
        let specification = ServiceSpecification {
            alias: None,
            name: name.parse().unwrap(),
            ports: vec![Port::tcp(80)],
            published: vec![PublishedPort::new(port, 80)],
            balance,
            networks: Vec::new(),
        };
        networks.ensure_service(&specification).unwrap();
        let members: Vec<ServiceMember> =
            containers.iter().map(|(_, address)| ServiceMember { address: *address, weight: 1 }).collect();
        networks.route(&specification.name, &members).unwrap();
    }
    containers
}

/// The median time of a change of members, with its durable record.
fn change(networks: &Networks, service: &str, addresses: &[Ipv4Addr]) -> Duration {
    let name = service.parse().unwrap();
    let members: Vec<ServiceMember> =
        addresses.iter().map(|address| ServiceMember { address: *address, weight: 1 }).collect();
    let mut times: Vec<Duration> = (0..41)
        .map(|turn| {
            let begin = std::time::Instant::now();
            networks.route(&name, &members[..members.len() - turn % 2]).unwrap();
            begin.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

/// The client's wire to the host.
fn wire(client: &NetworkNamespace) {
    let namespace = format!("/proc/{}/fd/{}", std::process::id(), client.as_fd().as_raw_fd());
    run("ip", &["link", "add", "wire", "type", "veth", "peer", "name", "far"]);
    run("ip", &["link", "set", "far", "netns", &namespace]);
    run("ip", &["address", "add", "198.51.100.1/24", "dev", "wire"]);
    run("ip", &["link", "set", "wire", "up"]);
    inside(client, || {
        run("ip", &["address", "add", "198.51.100.2/24", "dev", "far"]);
        run("ip", &["link", "set", "far", "up"]);
        run("ip", &["route", "add", "default", "via", "198.51.100.1"]);
    });
}

/// One client makes more connections than one usually does: ports and the kernel's memory of closed connections are let
/// go sooner, for all contestants alike.
fn allow_many_connections() {
    for (file, value) in [
        ("ipv4/ip_local_port_range", "1024 65535"),
        ("ipv4/tcp_tw_reuse", "1"),
        ("netfilter/nf_conntrack_tcp_timeout_time_wait", "1"),
        ("netfilter/nf_conntrack_tcp_timeout_close", "1"),
    ] {
        // The client's namespace has no connection tracking.
        let _ = std::fs::write(format!("/proc/sys/net/{file}"), value);
    }
}

/// Runs `work` on a thread in `namespace`.
fn inside<T: Send>(namespace: &NetworkNamespace, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        thread.join().unwrap()
    })
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}");
}

fn print(contestants: &[(&str, u16)], samples: &[Vec<Sample>], connections: usize) {
    let rates: Vec<f64> = samples.iter().map(|samples| median(samples.iter().map(Sample::rate).collect())).collect();
    println!("{connections} connections at a time, medians of {} rounds of {PERIOD:?}", samples[0].len());
    println!("{:24}{:>16}{:>8}{:>12}{:>12}{:>8}", "", "connections/s", "ratio", "median us", "99 % us", "failed");
    for (((name, _), samples), rate) in contestants.iter().zip(samples).zip(&rates) {
        let mut latencies: Vec<u32> = samples.iter().flat_map(|sample| sample.latencies.iter().copied()).collect();
        latencies.sort_unstable();
        let quantile = |share: f64| latencies.get((latencies.len() as f64 * share) as usize).copied().unwrap_or(0);
        let failed: usize = samples.iter().map(|sample| sample.failed).sum();
        println!("{name:24}{rate:>16.0}{:>8.2}{:>12}{:>12}{failed:>8}", rates[0] / rate, quantile(0.5), quantile(0.99));
    }
    println!("ratio: connections per second of the first row for one of this row");
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
