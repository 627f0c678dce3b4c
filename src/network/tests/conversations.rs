//! Conversations that go on: how many there are, and where they go when a member does.

use super::services::{end, equal, name, web};
use super::*;

#[test]
fn living_connections_are_counted() {
    on_host(|| {
        let engine = Engine::new();
        let (one, two, client) = (engine.start(&[]), engine.start(&[]), engine.start(&[]));
        let mut specification = web(Balance::RoundRobin);
        specification.ports.push(Port::udp(53));
        let stable = engine.networks.ensure_service(&specification).unwrap().address;
        engine.networks.route(&name("web"), &equal(&[&one, &two])).unwrap();
        let listen = |container: &Container| inside(&container.namespace, || TcpListener::bind("0.0.0.0:80").unwrap());
        let listeners = [listen(&one), listen(&two)];
        let count = || engine.networks.connections_of(&[one.address(), client.address(), two.address()]).unwrap();
        assert_eq!(count(), [0, 0, 0]);
        let from_host: Vec<TcpStream> = (0..4).map(|_| TcpStream::connect((stable, 80)).unwrap()).collect();
        let inner: Vec<TcpStream> =
            inside(&client.namespace, || (0..2).map(|_| TcpStream::connect((stable, 80)).unwrap()).collect());
        // Straight to the member: no connection of the service.
        let direct = TcpStream::connect((one.address(), 80)).unwrap();
        assert_eq!(count(), [3, 0, 3]);
        assert_eq!(engine.networks.connections_of(&[one.address()]).unwrap()[0], 3);
        // One side has closed: it lives, the other may still send. Both have: it does not.
        from_host.iter().for_each(|stream| stream.shutdown(std::net::Shutdown::Write).unwrap());
        let deadline = Instant::now() + PATIENCE;
        assert_eq!(count(), [3, 0, 3]);
        drop(listeners);
        drop((from_host, inner, direct));
        while count() != [0, 0, 0] {
            assert!(Instant::now() < deadline, "{:?}", count());
            std::thread::sleep(Duration::from_millis(5));
        }
        end(engine, vec![one, two, client]);
    });
}

#[test]
fn udp_conversations_leave_a_member_that_goes() {
    on_host(|| {
        let engine = Engine::new();
        let (one, two) = (engine.start(&[]), engine.start(&[]));
        let specification = ServiceSpecification {
            ports: vec![Port::udp(53)],
            published: vec![PublishedPort::new(5300, Port::udp(53))],
            ..web(Balance::RoundRobin)
        };
        engine.networks.ensure_service(&specification).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let servers = [&one, &two].map(|container| {
            let server = inside(&container.namespace, || UdpSocket::bind("0.0.0.0:53").unwrap());
            server.set_read_timeout(Some(PATIENCE)).unwrap();
            server
        });
        for round in [0usize, 1, 0] {
            engine.networks.route(&name("web"), &equal(&[[&one, &two][round]])).unwrap();
            for _ in 0..2 {
                client.send_to(&[round as u8], "127.0.0.1:5300").unwrap();
                let mut byte = [9];
                let (_, peer) = servers[round].recv_from(&mut byte).unwrap();
                servers[round].send_to(&byte, peer).unwrap();
                assert_eq!(client.recv_from(&mut byte).unwrap().1.port(), 5300);
                assert_eq!(byte, [round as u8]);
            }
        }
        // A conversation counts once it has gone on for two seconds.
        assert_eq!(engine.networks.connections_of(&[one.address()]).unwrap()[0], 0);
        let deadline = Instant::now() + 2 * PATIENCE;
        while engine.networks.connections_of(&[one.address()]).unwrap()[0] == 0 {
            assert!(Instant::now() < deadline);
            client.send_to(&[0], "127.0.0.1:5300").unwrap();
            let (_, peer) = servers[0].recv_from(&mut [0]).unwrap();
            servers[0].send_to(&[0], peer).unwrap();
            client.recv_from(&mut [0]).unwrap();
            std::thread::sleep(Duration::from_millis(100));
        }
        end(engine, vec![one, two]);
    });
}
