//! Named networks: who reaches whom, and who finds which service.

use super::services::{Server, asked, end, equal, name, web};
use super::*;

fn in_networks(engine: &Engine, networks: &[&str]) -> Container {
    let networks: Vec<_> = networks.iter().map(|network| name(network)).collect();
    engine.join(&Joining { networks: &networks, ..Joining::default() })
}

/// What is expected is waited for; what is not has a short while to happen.
fn reaches(from: &Container, to: &Container, expected: bool) -> bool {
    let address = SocketAddr::new(to.address().into(), 80);
    let wait = if expected { PATIENCE } else { Duration::from_millis(100) };
    inside(&from.namespace, || TcpStream::connect_timeout(&address, wait).is_ok()) == expected
}

#[test]
fn containers_reach_those_of_their_networks() {
    on_host(|| {
        let engine = Engine::new();
        let plain = [engine.start(&[]), in_networks(&engine, &["default"])];
        let named =
            [&["a"][..], &["a", "b"], &["b"], &["default", "b"], &["c"]].map(|networks| in_networks(&engine, networks));
        let all: Vec<&Container> = plain.iter().chain(&named).collect();
        let _servers: Vec<Server> = all.iter().map(|container| Server::start(container, 80)).collect();
        let networks: [&[&str]; 7] =
            [&["default"], &["default"], &["a"], &["a", "b"], &["b"], &["default", "b"], &["c"]];
        let check = || {
            for (from, mine) in all.iter().zip(networks) {
                for (to, theirs) in all.iter().zip(networks) {
                    let shared = mine.iter().any(|network| theirs.contains(network));
                    assert!(reaches(from, to, shared), "{mine:?} to {theirs:?}");
                }
            }
        };
        check();
        // The host reaches everybody, and so it is again after a flush.
        asked(named[4].address(), 80);
        tool("nft", &["flush", "ruleset"]);
        engine.networks.restore().unwrap();
        check();
        // Whoever has the address next is not in the networks of the one before.
        let crashed = named[4].address();
        tool("ip", &["link", "delete", &named[4].attachment.record.interface]);
        std::fs::write(engine.scratch.path().join("run/networks/default/next"), "0").unwrap();
        let next = engine.start(&[]);
        assert_eq!(next.address(), crashed);
        let _server = Server::start(&next, 80);
        assert!(reaches(&next, &plain[0], true) && reaches(&plain[0], &next, true) && reaches(&named[0], &next, false));
        for container in plain.iter().chain(&named) {
            engine.networks.detach(&container.attachment.record).unwrap();
        }
        // Nothing is left of the networks.
        assert!(!ruleset().contains("net-") && !ruleset().contains("reach-"), "{}", ruleset());
        engine.leave_no_trace(vec![next]);
    });
}

#[test]
fn services_are_found_within_their_networks() {
    on_host(|| {
        let engine = Engine::new();
        let member = in_networks(&engine, &["shop", "back"]);
        let (inner, outer) = (in_networks(&engine, &["shop"]), engine.start(&[]));
        let outside = neighbour();
        let specification = ServiceSpecification { networks: vec![name("shop")], ..web(Balance::RoundRobin) };
        let stable = engine.networks.ensure_service(&specification).unwrap().address;
        engine.networks.route(&name("web"), &equal(&[&member])).unwrap();
        let _server = Server::start(&member, 80);
        let theirs = inner.address().to_string();
        assert_eq!(inside(&inner.namespace, || asked(stable, 80)), (member.address().to_string(), theirs));
        assert!(inside(&outer.namespace, || refused(stable, 80)));
        assert_eq!(inside(&outside, || asked(Ipv4Addr::new(198, 51, 100, 1), 8080)).1, "198.51.100.2");
        asked(Ipv4Addr::LOCALHOST, 8080);
        let hosts = |container: &Container| {
            let path = engine.scratch.path().join(container.address().to_string());
            engine.networks.write_hosts(&container.attachment.record, &path, "").unwrap();
            std::fs::read_to_string(path).unwrap()
        };
        assert_eq!(hosts(&inner), format!("{stable}\tweb\t# service\n"));
        assert_eq!(hosts(&outer), "");
        tool("ip", &["link", "delete", "wire"]);
        end(engine, vec![member, inner, outer]);
    });
}

#[test]
fn a_container_cannot_speak_for_another() {
    on_host(|| {
        let engine = Engine::new();
        let (victim, liar, witness) = (engine.start(&[]), engine.start(&[]), engine.start(&[]));
        let forged = victim.address();
        let socket = inside(&witness.namespace, || UdpSocket::bind("0.0.0.0:53").unwrap());
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let target = witness.address();
        let send = |source: Ipv4Addr| {
            inside(&liar.namespace, || UdpSocket::bind((source, 0)).unwrap().send_to(b"!", (target, 53)).unwrap())
        };
        send(liar.address());
        assert_eq!(socket.recv_from(&mut [0]).unwrap().1.ip(), IpAddr::V4(liar.address()));
        inside(&liar.namespace, || tool("ip", &["address", "add", &format!("{forged}/32"), "dev", "eth0"]));
        send(forged);
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        assert!(socket.recv_from(&mut [0]).is_err());
        // Nor does a container hear what is meant for another: to ask for its address is answered by nobody.
        inside(&liar.namespace, || tool("ip", &["address", "delete", &format!("{forged}/32"), "dev", "eth0"]));
        let server = victim.serve(80, 1);
        assert_eq!(inside(&witness.namespace, || ask(forged, 80)), witness.address().to_string());
        server.join().unwrap();
        engine.leave_no_trace(vec![victim, liar, witness]);
    });
}

#[test]
fn a_conversation_does_not_outlive_the_holder_of_its_address() {
    on_host(|| {
        let engine = Engine::new();
        let (liar, before) = (engine.start(&[]), engine.start(&[]));
        let bind = |container: &Container, port: u16| {
            let socket = inside(&container.namespace, || UdpSocket::bind(("0.0.0.0", port)).unwrap());
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket
        };
        // One conversation that the liar began, and one that the other did.
        let conversations = [(53, true), (54, false)].map(|(port, begun)| {
            let (here, there) = (bind(&liar, port), bind(&before, port));
            let both = [(&here, &there, before.address()), (&there, &here, liar.address())];
            for (from, to, address) in if begun { both } else { [both[1], both[0]] } {
                from.send_to(b"!", (address, port)).unwrap();
                to.recv_from(&mut [0]).unwrap();
            }
            (here, port)
        });
        engine.networks.detach(&before.attachment.record).unwrap();
        // The address comes to a container that the liar may not reach.
        std::fs::write(engine.scratch.path().join("run/networks/default/next"), "1").unwrap();
        let next = in_networks(&engine, &["secret"]);
        assert_eq!(next.address(), before.address());
        for (here, port) in conversations {
            let there = bind(&next, port);
            there.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            here.send_to(b"?", (next.address(), port)).unwrap();
            assert!(there.recv_from(&mut [0]).is_err(), "port {port}");
        }
        engine.leave_no_trace(vec![liar, next]);
    });
}

#[test]
fn a_cable_carries_no_ipv6() {
    on_host(|| {
        let engine = Engine::new();
        let container = engine.start(&[]);
        let interface = &container.attachment.record.interface;
        // Without it a container could tell the host, which believes such words by default, that it is its router
        // (CVE-2020-13401), and reach what listens on every address of the host.
        let switch = std::path::PathBuf::from(format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"));
        assert!(!switch.exists() || std::fs::read_to_string(switch).unwrap().trim() == "1");
        assert!(!tool("ip", &["-6", "address", "show", "dev", interface]).contains("inet6"));
        engine.leave_no_trace(vec![container]);
    });
}
