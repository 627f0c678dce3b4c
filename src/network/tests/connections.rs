//! Who reaches whom.

use super::*;

#[test]
fn a_published_port_is_reached_from_everywhere() {
    on_host(|| {
        let engine = Engine::new();
        let outside = neighbour();
        let web = engine.start(&[PublishedPort::new(8000, 80)]);
        let other = engine.start(&[]);
        let gateway = web.attachment.gateway;
        let server = web.serve(80, 7);
        assert_eq!(ask(Ipv4Addr::LOCALHOST, 8000), gateway.to_string());
        assert_eq!(ask(gateway, 8000), gateway.to_string());
        assert_eq!(ask(Ipv4Addr::new(198, 51, 100, 1), 8000), "198.51.100.1");
        assert_eq!(ask(web.address(), 80), gateway.to_string());
        let host = Ipv4Addr::new(198, 51, 100, 1);
        assert_eq!(inside(&outside, || ask(host, 8000)), "198.51.100.2");
        // From another container, and from the container itself, by the host's address.
        assert_eq!(inside(&other.namespace, || ask(host, 8000)), other.address().to_string());
        assert_eq!(inside(&web.namespace, || ask(gateway, 8000)), gateway.to_string());
        server.join().unwrap();
        tool("ip", &["link", "delete", "wire"]);
        engine.leave_no_trace(vec![web, other]);
    });
}

#[test]
fn containers_reach_each_other_and_leave_with_the_hosts_address() {
    on_host(|| {
        let engine = Engine::new();
        let outside = neighbour();
        let (one, two) = (engine.start(&[]), engine.start(&[]));
        let server = one.serve(80, 1);
        let address = one.address();
        assert_eq!(inside(&two.namespace, || ask(address, 80)), two.address().to_string());
        server.join().unwrap();
        let listener = inside(&outside, || TcpListener::bind("198.51.100.2:7000").unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, peer) = listener.accept().unwrap();
            stream.write_all(peer.ip().to_string().as_bytes()).unwrap();
        });
        assert_eq!(inside(&two.namespace, || ask(Ipv4Addr::new(198, 51, 100, 2), 7000)), "198.51.100.1");
        server.join().unwrap();
        tool("ip", &["link", "delete", "wire"]);
        engine.leave_no_trace(vec![one, two]);
    });
}

#[test]
fn what_is_not_published_is_not_reached_from_outside() {
    on_host(|| {
        let engine = Engine::new();
        let outside = neighbour();
        let local = PublishedPort::new(8001, 80).address(Ipv4Addr::LOCALHOST);
        let web = engine.start(&[local]);
        let server = web.serve(80, 2);
        let address = web.address();
        // Routed to the container's address, and written on the wire as 127.0.0.1.
        assert!(inside(&outside, || refused(address, 80)));
        assert!(inside(&outside, || refused(Ipv4Addr::new(198, 51, 100, 1), 8001)));
        inside(&outside, || {
            tool("ip", &["address", "delete", "127.0.0.1/8", "dev", "lo"]);
            tool("ip", &["route", "add", "127.0.0.1/32", "via", "198.51.100.1", "src", "198.51.100.2"]);
            tool("ip", &["rule", "add", "to", "127.0.0.1", "lookup", "main", "pref", "0"]);
            std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1").unwrap();
        });
        assert!(inside(&outside, || refused(Ipv4Addr::LOCALHOST, 8001)));
        assert_eq!(ask(Ipv4Addr::LOCALHOST, 8001), web.attachment.gateway.to_string());
        assert!(refused(web.attachment.gateway, 8001));
        assert_eq!(ask(address, 80), web.attachment.gateway.to_string());
        server.join().unwrap();
        tool("ip", &["link", "delete", "wire"]);
        engine.leave_no_trace(vec![web]);
    });
}

#[test]
fn a_container_does_not_reach_what_the_host_serves_to_itself() {
    on_host(|| {
        let engine = Engine::new();
        let container = engine.start(&[]);
        let gateway = container.attachment.gateway;
        let _secret = TcpListener::bind("127.0.0.1:9000").unwrap();
        let reach = || inside(&container.namespace, || !refused(Ipv4Addr::LOCALHOST, 9000));
        inside(&container.namespace, || {
            let eth0 = super::super::route::RouteSocket::open().unwrap().link("eth0").unwrap().unwrap();
            assert!(eth0.up);
            std::fs::write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1").unwrap();
            tool("ip", &["address", "delete", "127.0.0.1/8", "dev", "lo"]);
            tool("ip", &["route", "add", "127.0.0.1/32", "via", &gateway.to_string(), "dev", "eth0", "onlink"]);
        });
        assert!(!reach());
        // The rule, and nothing else, keeps it out.
        tool("nft", &["flush", "chain", "ip", &container.attachment.record.bridge, "guard"]);
        assert!(reach());
        engine.leave_no_trace(vec![container]);
    });
}

#[test]
fn udp_follows_the_port_to_its_new_container() {
    on_host(|| {
        let engine = Engine::new();
        let port = PublishedPort::new(5300, Port::udp(53));
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        for round in 0..2u8 {
            let dns = engine.start(&[port]);
            let server = inside(&dns.namespace, || UdpSocket::bind("0.0.0.0:53").unwrap());
            server.set_read_timeout(Some(PATIENCE)).unwrap();
            client.send_to(&[round], "127.0.0.1:5300").unwrap();
            let mut byte = [0];
            let (_, peer) = server.recv_from(&mut byte).unwrap();
            server.send_to(&byte, peer).unwrap();
            let (_, answerer) = client.recv_from(&mut byte).unwrap();
            assert_eq!((byte, answerer.port()), ([round], 5300));
            engine.networks.detach(&dns.attachment.record).unwrap();
        }
        engine.leave_no_trace(Vec::new());
    });
}

#[test]
fn what_a_container_sends_is_counted() {
    on_host(|| {
        let engine = Engine::new();
        let web = engine.start(&[]);
        let stats = || engine.networks.stats(&web.attachment.record).unwrap().unwrap();
        let before = stats();
        let listener = inside(&web.namespace, || TcpListener::bind("0.0.0.0:80").unwrap());
        let mut client = TcpStream::connect((web.address(), 80)).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(&[0; 100_000]).unwrap();
        drop(client);
        let mut received = Vec::new();
        server.read_to_end(&mut received).unwrap();
        let after = stats();
        assert!(after.received_bytes - before.received_bytes > 100_000, "{after:?}");
        assert!(after.sent_bytes - before.sent_bytes < 20_000, "{after:?}");
        assert!(after.received_packets > before.received_packets && after.sent_packets > before.sent_packets);
        engine.networks.detach(&web.attachment.record).unwrap();
        assert_eq!(engine.networks.stats(&web.attachment.record).unwrap(), None);
        engine.leave_no_trace(vec![web]);
    });
}
