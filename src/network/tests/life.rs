//! Coming, going, crashing, and what refuses.

use super::*;
use std::os::fd::AsFd;

#[test]
fn fifty_come_and_go() {
    on_host(|| {
        let engine = Engine::new();
        let mut addresses = std::collections::BTreeSet::new();
        for _ in 0..50 {
            let container = engine.start(&[PublishedPort::new(8000, 80)]);
            assert!(addresses.insert(container.address()), "an address came back at once");
            engine.networks.detach(&container.attachment.record).unwrap();
            engine.networks.detach(&container.attachment.record).unwrap();
        }
        engine.leave_no_trace(Vec::new());
    });
}

#[test]
fn many_attach_at_once() {
    on_host(|| {
        let engine = Engine::new();
        let mut containers: Vec<Container> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|thread| {
                    let engine = &engine;
                    scope.spawn(move || {
                        (0..4).map(|index| engine.start(&[PublishedPort::new(8000 + thread * 4 + index, 80)])).collect()
                    })
                })
                .collect();
            threads.into_iter().flat_map(|thread| -> Vec<Container> { thread.join().unwrap() }).collect()
        });
        let addresses: std::collections::BTreeSet<_> = containers.iter().map(Container::address).collect();
        assert_eq!(addresses.len(), 32);
        let bridges = interfaces().into_iter().filter(|name| name.starts_with("coracle")).count();
        assert_eq!(bridges, 1);
        let server = containers[31].serve(80, 1);
        ask(Ipv4Addr::LOCALHOST, containers[31].attachment.ports[0].host_port);
        server.join().unwrap();
        assert!(!engine.networks.remove_unused().unwrap());
        // One detached by its namespace's end alone.
        let last = containers.pop().unwrap();
        let interface = last.attachment.record.interface.clone();
        drop(last);
        let deadline = Instant::now() + PATIENCE;
        while interfaces().contains(&interface) {
            assert!(Instant::now() < deadline, "the interface stays");
            std::thread::sleep(Duration::from_millis(5));
        }
        engine.leave_no_trace(containers);
    });
}

#[test]
fn two_engines_have_two_networks() {
    on_host(|| {
        let (one, two) = (Engine::new(), Engine::new());
        let (first, second) = std::thread::scope(|scope| {
            let first = scope.spawn(|| one.start(&[]));
            let second = scope.spawn(|| two.start(&[]));
            (first.join().unwrap(), second.join().unwrap())
        });
        assert_ne!(first.attachment.record.bridge, second.attachment.record.bridge);
        assert_ne!(first.attachment.gateway, second.attachment.gateway);
        let server = first.serve(80, 1);
        let address = first.address();
        assert!(inside(&second.namespace, || refused(address, 80)));
        ask(address, 80);
        server.join().unwrap();
        one.networks.detach(&first.attachment.record).unwrap();
        assert!(one.networks.remove_unused().unwrap());
        assert!(one.networks.remove_unused().unwrap());
        two.leave_no_trace(vec![second]);
    });
}

#[test]
fn a_subnet_of_the_host_is_avoided_and_the_choice_is_kept() {
    on_host(|| {
        tool("ip", &["link", "add", "lan", "type", "bridge"]);
        tool("ip", &["link", "set", "lan", "mtu", "1400", "up"]);
        tool("ip", &["address", "add", "10.77.3.4/16", "dev", "lan"]);
        tool("ip", &["route", "add", "default", "via", "10.77.3.5"]);
        let engine = Engine::new();
        let web = engine.start(&[]);
        assert_eq!(web.attachment.gateway, Ipv4Addr::new(10, 78, 0, 1));
        let eth0 = inside(&web.namespace, || RouteSocket::open().unwrap().link("eth0").unwrap().unwrap());
        assert_eq!(eth0.mtu, 1400);
        engine.networks.detach(&web.attachment.record).unwrap();
        assert!(engine.networks.remove_unused().unwrap());
        tool("ip", &["link", "delete", "lan"]);
        let again = engine.start(&[]);
        assert_eq!(again.attachment.gateway, Ipv4Addr::new(10, 78, 0, 1));
        let definition = std::fs::read_to_string(engine.scratch.path().join("root/networks/default.json")).unwrap();
        assert!(definition.contains("\"forwarding_enabled\": true"), "{definition}");
        engine.leave_no_trace(vec![again]);
    });
}

#[test]
fn a_half_made_bridge_is_finished() {
    on_host(|| {
        let engine = Engine::new();
        let web = engine.start(&[]);
        engine.networks.detach(&web.attachment.record).unwrap();
        let bridge = &web.attachment.record.bridge;
        tool("ip", &["link", "set", bridge, "down"]);
        tool("ip", &["address", "flush", "dev", bridge]);
        tool("nft", &["flush", "ruleset"]);
        let again = engine.start(&[PublishedPort::new(8000, 80)]);
        let server = again.serve(80, 1);
        ask(Ipv4Addr::LOCALHOST, 8000);
        server.join().unwrap();
        engine.leave_no_trace(vec![again]);
    });
}

#[test]
fn a_container_comes_back_under_its_own_name() {
    on_host(|| {
        let engine = Engine::new();
        let id = ContainerId::random().unwrap();
        let (before, after) = (NetworkNamespace::create().unwrap(), NetworkNamespace::create().unwrap());
        let first = engine.networks.attach(&before, &id, &Joining::default()).unwrap();
        let second = engine.networks.attach(&after, &id, &Joining::default()).unwrap();
        assert_eq!(first.record.interface, second.record.interface);
        assert!(first.record.interface.len() <= 15 && first.record.interface.starts_with("crcl"));
        let namespace = NetworkNamespace::from_fd(after.as_fd().try_clone_to_owned().unwrap()).unwrap();
        let taken =
            engine.networks.attach(&namespace, &ContainerId::random().unwrap(), &Joining::default()).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
        assert!(taken.to_string().contains("eth0 already"), "{taken}");
        engine.networks.detach(&first.record).unwrap();
        engine.networks.detach(&second.record).unwrap();
        engine.leave_no_trace(Vec::new());
    });
}

#[test]
fn a_failed_attachment_leaves_nothing() {
    on_host(|| {
        let engine = Engine::new();
        let web = engine.start(&[PublishedPort::new(8000, 80)]);
        let before = (interfaces(), ruleset());
        let namespace = NetworkNamespace::create().unwrap();
        let id = ContainerId::random().unwrap();
        let ports = [PublishedPort::new(8001, 80), PublishedPort::new(8000, 80)];
        let error =
            engine.networks.attach(&namespace, &id, &Joining { ports: &ports, ..Joining::default() }).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InUse);
        assert_eq!((interfaces(), ruleset()), before);
        // Fails late: the namespace has a default route already, after its eth0 was made.
        inside(&namespace, || {
            tool("ip", &["link", "add", "own", "type", "bridge"]);
            tool("ip", &["link", "set", "own", "up"]);
            tool("ip", &["route", "add", "default", "dev", "own"]);
        });
        engine.networks.attach(&namespace, &id, &Joining { ports: &ports[..1], ..Joining::default() }).unwrap_err();
        assert_eq!((interfaces(), ruleset()), before);
        assert!(TcpListener::bind("127.0.0.1:8001").is_ok());
        engine.leave_no_trace(vec![web]);
    });
}

#[test]
fn without_the_right_the_error_says_which() {
    on_host(|| {
        let namespace = NetworkNamespace::create().unwrap();
        let engine = Engine::new();
        caps::drop(None, caps::CapSet::Effective, caps::Capability::CAP_NET_ADMIN).unwrap();
        let error =
            engine.networks.attach(&namespace, &ContainerId::random().unwrap(), &Joining::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
        caps::drop(None, caps::CapSet::Effective, caps::Capability::CAP_SYS_ADMIN).unwrap();
        let error = NetworkNamespace::create().unwrap_err();
        assert!(error.to_string().contains("CAP_SYS_ADMIN"), "{error}");
    });
}

#[test]
fn a_damaged_definition_is_named() {
    on_host(|| {
        let engine = Engine::new();
        let path = engine.scratch.path().join("root/networks/default.json");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let other = |bridge: &str, prefix: u8| {
            let subnet = format!(r#"{{"address":"10.77.0.0","prefix":{prefix}}}"#);
            format!(r#"{{"version":1,"bridge":"{bridge}","mac":[2,0,0,0,0,0],"subnet":{subnet},"mtu":1500}}"#)
        };
        for damage in ["{".to_owned(), other("eth0", 20), other("coracle0", 99), other("coracle0", 12)] {
            std::fs::write(&path, damage).unwrap();
            let namespace = NetworkNamespace::create().unwrap();
            let error =
                engine.networks.attach(&namespace, &ContainerId::random().unwrap(), &Joining::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(error.to_string().contains("default.json"), "{error}");
        }
        assert_eq!(interfaces(), ["lo"]);
    });
}
