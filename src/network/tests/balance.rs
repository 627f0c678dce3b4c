//! Which member a connection finds.

use super::services::{Server, asked, end, equal, name, read_answer, web};
use super::*;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};

/// The quantiles of chi-square for 1 to 4 degrees of freedom that chance exceeds once in a million times: the kernel's
/// choice has no seed, and no run may fail by noise. (For 2 degrees it is `-2 ln p`.) There are twice as many samples as
/// the usual 99.9 % would want, so that what is uneven shows as well as there.
const CHI_SQUARE: [f64; 4] = [23.928, 27.631, 30.665, 33.377];

/// How often each server answers in `samples` connections.
fn answers(address: Ipv4Addr, samples: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..samples {
        *counts.entry(asked(address, 80).0).or_default() += 1;
    }
    counts
}

/// Chi-square of what was seen against shares in proportion to `weights`.
fn chi_square(seen: &BTreeMap<String, usize>, weights: &[(String, f64)]) -> f64 {
    let (samples, sum): (f64, f64) =
        (seen.values().sum::<usize>() as f64, weights.iter().map(|(_, weight)| weight).sum());
    assert!(seen.keys().all(|name| weights.iter().any(|(known, _)| known == name)), "{seen:?}");
    let one = |(name, weight): &(String, f64)| {
        let expected = samples * weight / sum;
        (seen.get(name).copied().unwrap_or(0) as f64 - expected).powi(2) / expected
    };
    weights.iter().map(one).sum()
}

fn shares(containers: &[&Container], weights: &[f64]) -> Vec<(String, f64)> {
    containers.iter().zip(weights).map(|(container, weight)| (container.address().to_string(), *weight)).collect()
}

/// Says by the prepared message alone, as a keeper does, whether a container gets new connections.
fn say(container: &Container, ready: bool) {
    let (yes, no) = readiness_messages(&container.attachment.record).unwrap();
    send(if ready { &yes } else { &no });
}

fn send(message: &[u8]) {
    crate::kernel::NetlinkSocket::open(crate::kernel::NetlinkFamily::Netfilter).unwrap().send(message).unwrap();
}

#[test]
fn in_turn_by_chance_and_by_weight() {
    on_host(|| {
        let engine = Engine::new();
        let containers: Vec<Container> = (0..4).map(|_| engine.start(&[])).collect();
        let _servers: Vec<Server> = containers.iter().map(|container| Server::start(container, 80)).collect();
        let [a, b, c, d] = [0, 1, 2, 3].map(|index| &containers[index]);
        let stable = engine.networks.ensure_service(&web(Balance::RoundRobin)).unwrap().address;
        engine.networks.route(&name("web"), &equal(&[a, b, c])).unwrap();
        // In turn: exact.
        assert_eq!(answers(stable, 30).into_values().collect::<Vec<_>>(), [10, 10, 10]);
        engine.networks.route(&name("web"), &equal(&[a, b, c, d])).unwrap();
        assert_eq!(answers(stable, 40).into_values().collect::<Vec<_>>(), [10, 10, 10, 10]);

        engine.networks.ensure_service(&web(Balance::Random)).unwrap();
        let even = chi_square(&answers(stable, 2400), &shares(&[a, b, c, d], &[1.0; 4]));
        assert!(even < CHI_SQUARE[2], "{even}");
        engine.networks.route(&name("web"), &equal(&[a, d])).unwrap();
        let even = chi_square(&answers(stable, 2000), &shares(&[a, d], &[1.0; 2]));
        assert!(even < CHI_SQUARE[0], "{even}");

        engine.networks.ensure_service(&web(Balance::Weighted)).unwrap();
        let weighted = |weights: &[u32]| -> Vec<ServiceMember> {
            let members = equal(&[a, b, c]).into_iter().zip(weights);
            members.map(|(member, weight)| ServiceMember { weight: *weight, ..member }).collect()
        };
        for weights in [[1, 2, 5], [900, 50, 50]] {
            engine.networks.route(&name("web"), &weighted(&weights)).unwrap();
            let fit = chi_square(&answers(stable, 3200), &shares(&[a, b, c], &weights.map(f64::from)));
            assert!(fit < CHI_SQUARE[1], "{weights:?}: {fit}");
        }
        end(engine, containers);
    });
}

#[test]
fn a_client_keeps_its_member_and_few_move() {
    on_host(|| {
        let engine = Engine::new();
        let containers: Vec<Container> = (0..4).map(|_| engine.start(&[])).collect();
        let _servers: Vec<Server> = containers.iter().map(|container| Server::start(container, 80)).collect();
        let all: Vec<&Container> = containers.iter().collect();
        engine.networks.ensure_service(&web(Balance::SourceHash)).unwrap();
        engine.networks.route(&name("web"), &equal(&all)).unwrap();
        // The clients: 400 addresses of the host's own.
        tool("ip", &["route", "add", "local", "192.0.2.0/23", "dev", "lo"]);
        let clients: Vec<Ipv4Addr> =
            (0..400u32).map(|index| Ipv4Addr::from_bits(Ipv4Addr::new(192, 0, 2, 0).to_bits() + index)).collect();
        let chosen = || -> Vec<String> { clients.iter().map(|client| asked_from(*client)).collect() };
        let before = chosen();
        assert_eq!(before, chosen(), "a client moved without a change");
        let mut seen = BTreeMap::new();
        before.iter().for_each(|server| *seen.entry(server.clone()).or_default() += 1);
        let even = chi_square(&seen, &shares(&all, &[1.0; 4]));
        assert!(even < CHI_SQUARE[2], "{even}");
        // One goes: its clients must move, and few others. It comes back: all is as it was.
        engine.networks.route(&name("web"), &equal(&all[..3])).unwrap();
        let gone = all[3].address().to_string();
        let after = chosen();
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after && **before != gone).count();
        assert!(moved < 40 && after.iter().all(|server| *server != gone), "{moved} of 400 moved without need");
        engine.networks.route(&name("web"), &equal(&all)).unwrap();
        assert_eq!(before, chosen());
        end(engine, containers);
    });
}

/// The server that answers a client of the host's with this address, by the published port.
fn asked_from(client: Ipv4Addr) -> String {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(socket.as_raw_fd(), &SockaddrIn::from(std::net::SocketAddrV4::new(client, 0))).unwrap();
    connect(socket.as_raw_fd(), &SockaddrIn::new(192, 0, 2, 1, 8080)).unwrap();
    read_answer(TcpStream::from(socket)).0
}

#[test]
fn a_dead_member_is_passed_over() {
    on_host(|| {
        let engine = Engine::new();
        let outside = neighbour();
        let (dead, alive, client) = (engine.start(&[]), engine.start(&[]), engine.start(&[]));
        let stable = engine.networks.ensure_service(&web(Balance::RoundRobin)).unwrap().address;
        engine.networks.route(&name("web"), &equal(&[&dead, &alive])).unwrap();
        // Nobody listens in the dead one: its kernel refuses.
        let _server = Server::start(&alive, 80);
        let living = alive.address().to_string();
        for _ in 0..2 {
            assert_eq!(asked(stable, 80).0, living);
            assert_eq!(asked(Ipv4Addr::LOCALHOST, 8080).0, living);
            assert_eq!(inside(&outside, || asked(Ipv4Addr::new(198, 51, 100, 1), 8080)).0, living);
            assert_eq!(inside(&client.namespace, || asked(stable, 80)).0, living);
            assert_eq!(inside(&alive.namespace, || asked(stable, 80)).0, living);
        }
        // The members' own ports refuse as they always do.
        assert!(refused_at_once(dead.address(), 80));
        assert!(refused_at_once(alive.address(), 81));
        tool("ip", &["link", "delete", "wire"]);
        end(engine, vec![dead, alive, client]);
    });
}

fn refused_at_once(address: Ipv4Addr, port: u16) -> bool {
    let outcome = TcpStream::connect_timeout(&SocketAddr::new(address.into(), port), PATIENCE);
    outcome.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}

#[test]
fn a_member_whose_cable_is_gone_is_passed_over() {
    on_host(|| {
        let engine = Engine::new();
        let (dead, alive, client) = (engine.start(&[]), engine.start(&[]), engine.start(&[]));
        let stable = engine.networks.ensure_service(&web(Balance::RoundRobin)).unwrap().address;
        engine.networks.route(&name("web"), &equal(&[&dead, &alive])).unwrap();
        let _server = Server::start(&alive, 80);
        tool("ip", &["link", "delete", &dead.attachment.record.interface]);
        let living = alive.address().to_string();
        for _ in 0..2 {
            assert_eq!(asked(stable, 80).0, living);
            assert_eq!(asked(Ipv4Addr::LOCALHOST, 8080).0, living);
            assert_eq!(inside(&client.namespace, || asked(stable, 80)).0, living);
        }
        end(engine, vec![dead, alive, client]);
    });
}

#[test]
fn what_is_not_ready_gets_nothing() {
    on_host(|| {
        for balance in [Balance::RoundRobin, Balance::Random, Balance::Weighted, Balance::SourceHash] {
            let engine = Engine::new();
            let joining = Joining { membership: Membership::Awaited, ..Joining::default() };
            let (one, two) = (engine.join(&joining), engine.join(&joining));
            let _servers = [Server::start(&one, 80), Server::start(&two, 80)];
            let stable = engine.networks.ensure_service(&web(balance)).unwrap().address;
            engine.networks.route(&name("web"), &equal(&[&one, &two])).unwrap();
            // Both are awaited: a client waits, and is served as soon as one is ready.
            let waiting = inside_thread(move || asked(stable, 80).0);
            std::thread::sleep(Duration::from_millis(200));
            assert!(!waiting.is_finished());
            say(&two, true);
            assert_eq!(waiting.join().unwrap(), two.address().to_string());
            assert_eq!(answers(stable, 20).len(), 1);
            say(&one, true);
            say(&one, true);
            if balance != Balance::SourceHash {
                assert_eq!(answers(stable, 64).len(), 2, "{balance:?}");
            }
            say(&two, false);
            say(&two, false);
            assert_eq!(answers(stable, 20).into_keys().collect::<Vec<_>>(), [one.address().to_string()]);
            // What a keeper sends last keeps clients away; the next holder of the address begins anew.
            send(&undo_message(&one.attachment.record).unwrap());
            say(&two, true);
            assert_eq!(answers(stable, 20).into_keys().collect::<Vec<_>>(), [two.address().to_string()]);
            engine.networks.detach(&one.attachment.record).unwrap();
            engine.networks.detach(&two.attachment.record).unwrap();
            assert!(!set("down").contains("elem"), "{}", set("down"));
            end(engine, vec![]);
        }
    });
}

/// A thread in the network namespace of the caller.
fn inside_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> std::thread::JoinHandle<T> {
    std::thread::spawn(work)
}

fn set(set: &str) -> String {
    tool("nft", &["-j", "list", "set", "ip", "coracle0", set])
}

#[test]
fn an_address_that_a_crash_left_down_is_up_for_its_next_holder() {
    on_host(|| {
        let engine = Engine::new();
        let joining = Joining { membership: Membership::Ready, ..Joining::default() };
        let crashed = engine.join(&joining);
        say(&crashed, false);
        assert!(set("down").contains(&crashed.address().to_string()));
        tool("ip", &["link", "delete", &crashed.attachment.record.interface]);
        // The turn comes back to the address.
        std::fs::write(engine.scratch.path().join("run/networks/default/next"), "0").unwrap();
        let next = engine.start(&[]);
        assert_eq!(next.address(), crashed.address());
        assert!(!set("down").contains("elem"));
        engine.leave_no_trace(vec![crashed, next]);
    });
}

#[test]
fn a_service_without_members_refuses() {
    on_host(|| {
        let engine = Engine::new();
        let client = engine.start(&[]);
        let mut specification = web(Balance::RoundRobin);
        specification.ports.push(Port::udp(53));
        let stable = engine.networks.ensure_service(&specification).unwrap().address;
        assert!(refused_at_once(stable, 80));
        assert!(refused_at_once(Ipv4Addr::LOCALHOST, 8080));
        assert!(inside(&client.namespace, || refused_at_once(stable, 80)));
        inside(&client.namespace, || {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.connect((stable, 53)).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.send(b"?").unwrap();
            assert_eq!(socket.recv(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
        });
        end(engine, vec![client]);
    });
}

/// How many first packets of connections were sent again in the network namespace of the calling thread.
fn repeated_attempts() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/netstat").unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, numbers) = (lines.next().unwrap(), lines.next().unwrap());
    let mut both = names.split_whitespace().zip(numbers.split_whitespace());
    both.find(|(name, _)| *name == "TCPSynRetrans").unwrap().1.parse().unwrap()
}

#[test]
fn no_connection_is_lost_while_members_change() {
    const CHANGES: usize = 500;
    on_host(|| {
        let engine = Engine::new();
        let containers: Vec<Container> = (0..4).map(|_| engine.start(&[])).collect();
        let _servers: Vec<Server> = containers.iter().map(|container| Server::start(container, 80)).collect();
        let stable = engine.networks.ensure_service(&web(Balance::RoundRobin)).unwrap().address;
        engine.networks.route(&name("web"), &equal(&[&containers[0]])).unwrap();
        let done = AtomicBool::new(false);
        let host = crate::kernel::current_network_namespace().unwrap();
        let counts: Vec<(usize, u64)> = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..3)
                .map(|client: usize| {
                    let (done, containers) = (&done, &containers);
                    let work = move || {
                        let mut count = 0usize;
                        while !done.load(Ordering::Relaxed) {
                            let (address, port) = if client == 1 { (Ipv4Addr::LOCALHOST, 8080) } else { (stable, 80) };
                            asked(address, port);
                            std::thread::sleep(Duration::from_millis(1));
                            count += 1;
                        }
                        (count, repeated_attempts())
                    };
                    let host = &host;
                    scope.spawn(move || match client {
                        2 => inside(&containers[3].namespace, work),
                        _ => {
                            crate::kernel::in_network_namespace(std::os::fd::AsFd::as_fd(host), || Ok(work())).unwrap()
                        }
                    })
                })
                .collect();
            for change in 0..CHANGES {
                let some: Vec<&Container> = containers
                    .iter()
                    .enumerate()
                    .filter(|(index, _)| (change + 1) >> index & 1 == 1 || *index == change % 4)
                    .map(|(_, one)| one)
                    .collect();
                engine.networks.route(&name("web"), &equal(&some)).unwrap();
                if change % 100 == 50 {
                    engine
                        .networks
                        .ensure_service(&web([Balance::Random, Balance::RoundRobin][change / 100 % 2]))
                        .unwrap();
                }
            }
            done.store(true, Ordering::Relaxed);
            clients.into_iter().map(|client| client.join().unwrap()).collect()
        });
        // No packet was dropped: none had to be sent again after a second.
        assert!(counts.iter().all(|(connections, repeated)| *connections > 50 && *repeated == 0), "{counts:?}");
        // Of 500 versions two are left.
        let sets: BTreeSet<String> = ruleset()
            .split('"')
            .filter(|word| word.starts_with("svc") && !word.contains("tcp"))
            .map(str::to_owned)
            .collect();
        assert!(sets.len() <= 2, "{sets:?}");
        end(engine, containers);
    });
}
