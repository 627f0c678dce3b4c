//! What a service is, and that it survives what happens to it.

use super::*;
use crate::value::Name;
use std::collections::BTreeSet;
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
        alias: None,
        name: name("web"),
        ports: vec![Port::tcp(80)],
        published: vec![PublishedPort::new(8080, 80)],
        balance,
        networks: vec![],
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
    on_host(clients_from_everywhere);
}

#[test]
fn a_host_with_strict_settings_makes_no_difference() {
    on_host(|| {
        for setting in ["rp_filter", "arp_ignore", "log_martians"] {
            std::fs::write(format!("/proc/sys/net/ipv4/conf/all/{setting}"), "1").unwrap();
            std::fs::write(format!("/proc/sys/net/ipv4/conf/default/{setting}"), "1").unwrap();
        }
        clients_from_everywhere();
    });
}

fn clients_from_everywhere() {
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
}

/// The rules of a service as `nft` shows them.
fn chain(chain: &str) -> Vec<String> {
    let text = tool("nft", &["list", "chain", "ip", "coracle0", chain]);
    text.lines().map(str::trim).filter(|line| !line.ends_with('{') && *line != "}").map(str::to_owned).collect()
}

/// The whole ruleset without counters of handles and of versions.
fn shape() -> BTreeSet<String> {
    let value: serde_json::Value = serde_json::from_str(&ruleset()).unwrap();
    let strip = |entry: &serde_json::Value| {
        let mut entry = entry.clone();
        entry.as_object_mut().unwrap().values_mut().for_each(|object| {
            object.as_object_mut().unwrap().remove("handle");
        });
        entry.to_string()
    };
    value["nftables"].as_array().unwrap().iter().map(strip).collect()
}

fn nothing_is_missing(engine: &Engine, before: &BTreeSet<String>) {
    engine.networks.restore().unwrap();
    assert_eq!(shape(), *before);
    engine.networks.restore().unwrap();
    assert_eq!(shape(), *before);
}

#[test]
fn the_rules_of_a_service_can_be_read() {
    on_host(|| {
        let engine = Engine::new();
        let (one, two) = (engine.start(&[]), engine.start(&[]));
        engine.networks.ensure_service(&web(Balance::RoundRobin)).unwrap();
        engine.networks.route(&name("web"), &equal(&[&one, &two])).unwrap();
        let number = format!("svc{}", number(&engine));
        let generation = engine.networks.service(&name("web")).unwrap().unwrap().generation;
        let map = format!("@{number}-{generation}-tcp-80");
        let again = format!("numgen random mod 2 vmap {map}");
        assert_eq!(
            chain(&format!("{number}-tcp-80")),
            [
                format!("numgen inc mod 2 vmap {map}"),
                again.clone(),
                again.clone(),
                again.clone(),
                again,
                format!("jump {number}-tcp-80-{}", one.address()),
                format!("jump {number}-tcp-80-{}", two.address()),
                "drop".to_owned()
            ]
        );
        let member = chain(&format!("{number}-tcp-80-{}", one.address()));
        assert_eq!(member.len(), 1);
        assert!(member[0].contains("!= @down dnat to 10.77.0.2:80"), "{member:?}");
        end(engine, vec![one, two]);
    });
}

fn number(engine: &Engine) -> u32 {
    let address = engine.networks.service(&name("web")).unwrap().unwrap().address;
    address.to_bits() - Ipv4Addr::new(10, 77, 12, 0).to_bits()
}

#[test]
fn what_was_flushed_or_cut_off_is_restored() {
    on_host(|| {
        tool("nft", &["add table ip theirs; add chain ip theirs input { type filter hook input priority 0; }"]);
        let engine = Engine::new();
        engine.networks.restore().unwrap();
        assert_eq!(interfaces(), ["lo"]);
        let (one, two) = (engine.start(&[PublishedPort::new(8000, 80)]), engine.start(&[]));
        engine.networks.ensure_service(&web(Balance::RoundRobin)).unwrap();
        engine.networks.route(&name("web"), &equal(&[&one, &two])).unwrap();
        let _servers = [Server::start(&one, 80), Server::start(&two, 80)];
        // A fresh start has one version of the slots; the versions before are gone with a flush.
        tool("nft", &["delete", "table", "ip", "coracle0"]);
        engine.networks.restore().unwrap();
        let before = shape();
        let again = || nothing_is_missing(&engine, &before);
        again();
        for flush in [vec!["delete", "table", "ip", "coracle0"], vec!["flush", "table", "ip", "coracle0"]] {
            tool("nft", &flush);
            again();
            asked(Ipv4Addr::LOCALHOST, 8080);
        }
        let service_chain = format!("svc{}-tcp-80", number(&engine));
        tool("nft", &["flush", "chain", "ip", "coracle0", &service_chain]);
        again();
        tool("nft", &["flush", "map", "ip", "coracle0", "services"]);
        again();
        tool("nft", &["add", "element", "ip", "coracle0", "members", "{ 10.77.0.9 . 80 }"]);
        again();
        // Another engine on the same root sees and restores the same.
        let (root, run) = (engine.scratch.path().join("root"), engine.scratch.path().join("run"));
        let other = Networks::new(&root, &run);
        assert_eq!(other.services().unwrap(), engine.networks.services().unwrap());
        tool("nft", &["flush", "ruleset"]);
        other.restore().unwrap();
        tool("nft", &["add table ip theirs; add chain ip theirs input { type filter hook input priority 0; }"]);
        assert_eq!(shape(), before);
        end(engine, vec![one, two]);
        tool("nft", &["delete", "table", "ip", "theirs"]);
    });
}

#[test]
fn a_record_that_the_kernel_does_not_know_yet_is_carried_out() {
    on_host(|| {
        let engine = Engine::new();
        let (one, two) = (engine.start(&[]), engine.start(&[]));
        let made = engine.networks.ensure_service(&web(Balance::RoundRobin)).unwrap();
        engine.networks.route(&name("web"), &equal(&[&one])).unwrap();
        let _servers = [Server::start(&one, 80), Server::start(&two, 80)];
        // Killed after the record was written: other members, other ports.
        let store = engine.networks.service_store();
        let mut record = engine.networks.service(&name("web")).unwrap().unwrap();
        record.members = equal(&[&two]);
        record.generation += 1;
        record.specification.ports = vec![Port::tcp(81)];
        record.specification.published = vec![PublishedPort::new(8081, 80)];
        store.save(&record).unwrap();
        assert_eq!(asked(made.address, 80).0, one.address().to_string());
        engine.networks.restore().unwrap();
        assert_eq!(asked(Ipv4Addr::LOCALHOST, 8081).0, two.address().to_string());
        assert!(refused(Ipv4Addr::LOCALHOST, 8080));
        assert!(refused(made.address, 80));
        // Killed within the removal: rules gone, record there.
        tool("nft", &["delete", "table", "ip", "coracle0"]);
        engine.networks.remove_service(&name("web")).unwrap();
        assert!(engine.networks.services().unwrap().is_empty());
        // And the other way round, which no kill brings about.
        engine.networks.ensure_service(&web(Balance::Random)).unwrap();
        engine.networks.route(&name("web"), &equal(&[&one])).unwrap();
        std::fs::remove_file(engine.scratch.path().join("root/networks/services/web.json")).unwrap();
        engine.networks.restore().unwrap();
        assert!(!ruleset().contains("svc"), "{}", ruleset());
        end(engine, vec![one, two]);
    });
}

#[test]
fn two_engines_change_services_side_by_side() {
    on_host(|| {
        let engine = Engine::new();
        let one = engine.start(&[]);
        let host = crate::kernel::current_network_namespace().unwrap();
        let members = equal(&[&one]);
        let change = |service: &str| {
            let networks = Networks::new(&engine.scratch.path().join("root"), &engine.scratch.path().join("run"));
            let specification = ServiceSpecification { name: name(service), published: vec![], ..web(Balance::Random) };
            for round in 0..8 {
                networks.ensure_service(&specification).unwrap();
                networks.route(&specification.name, &members[..round % 2]).unwrap();
                networks.restore().unwrap();
            }
            networks.route(&specification.name, &members).unwrap();
        };
        std::thread::scope(|scope| {
            for service in ["web", "db", "cache"] {
                let (change, host) = (&change, &host);
                let work = move || {
                    change(service);
                    Ok(())
                };
                scope.spawn(move || crate::kernel::in_network_namespace(std::os::fd::AsFd::as_fd(host), work).unwrap());
            }
        });
        let _server = Server::start(&one, 80);
        let records = engine.networks.services().unwrap();
        assert_eq!(records.len(), 3);
        records.iter().for_each(|record| assert_eq!(asked(record.address, 80).0, one.address().to_string()));
        for service in ["db", "cache"] {
            engine.networks.remove_service(&name(service)).unwrap();
        }
        end(engine, vec![one]);
    });
}

#[test]
fn ports_and_rule_change_in_place() {
    on_host(|| {
        let engine = Engine::new();
        let one = engine.start(&[]);
        let _servers = [Server::start(&one, 80), Server::start(&one, 81)];
        let made = engine.networks.ensure_service(&web(Balance::RoundRobin)).unwrap();
        engine.networks.route(&name("web"), &equal(&[&one])).unwrap();
        assert_eq!(engine.networks.ensure_service(&web(Balance::RoundRobin)).unwrap().address, made.address);
        let mut changed = web(Balance::SourceHash);
        changed.ports = vec![Port::tcp(81)];
        changed.published = vec![PublishedPort::new(0, 81), PublishedPort::new(8080, 81), PublishedPort::new(8082, 80)];
        let record = engine.networks.ensure_service(&changed).unwrap();
        assert_eq!((record.address, &record.members), (made.address, &equal(&[&one])));
        let chosen = record.specification.published[0].host_port;
        assert_ne!(chosen, 0);
        let again = engine.networks.ensure_service(&changed).unwrap();
        assert_eq!(again, record, "the chosen port stays, and nothing is written");
        for (address, port) in [(record.address, 81), (Ipv4Addr::LOCALHOST, chosen), (Ipv4Addr::LOCALHOST, 8080)] {
            asked(address, port);
        }
        asked(Ipv4Addr::LOCALHOST, 8082);
        assert!(refused(record.address, 80));
        end(engine, vec![one]);
    });
}

#[test]
fn ports_belong_to_one() {
    on_host(|| {
        let engine = Engine::new();
        let foreign = TcpListener::bind("0.0.0.0:8080").unwrap();
        let error = engine.networks.ensure_service(&web(Balance::RoundRobin)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InUse);
        assert!(error.to_string().contains("port 8080 is taken"), "{error}");
        assert!(engine.networks.services().unwrap().is_empty());
        drop(foreign);
        let record = ensure_patiently(&engine, &web(Balance::RoundRobin));
        // Nobody holds it at the moment, and yet it is taken: for another service, for a container.
        let other = ServiceSpecification { name: name("other"), ..web(Balance::RoundRobin) };
        let error = engine.networks.ensure_service(&other).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
        let local = PublishedPort::new(8080, 81).address(Ipv4Addr::LOCALHOST);
        let namespace = NetworkNamespace::create().unwrap();
        let joining = Joining { ports: &[local], ..Joining::default() };
        let error = engine.networks.attach(&namespace, &ContainerId::random().unwrap(), &joining).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
        // Two members hold it together; nobody else gets it until both are gone.
        let (first, second) = (service_ports_held(&record).unwrap(), service_ports_held(&record).unwrap());
        assert_eq!((first.duplicates().unwrap().len(), second.duplicates().unwrap().len()), (1, 1));
        drop(first);
        assert!(TcpListener::bind("0.0.0.0:8080").is_err());
        assert!(TcpListener::bind("127.0.0.1:8080").is_err());
        drop(second);
        for wrong in [
            ServiceSpecification { ports: vec![Port::tcp(80), Port::tcp(80)], ..other.clone() },
            ServiceSpecification { ports: vec![Port::tcp(0)], ..other.clone() },
            ServiceSpecification {
                published: vec![
                    PublishedPort::new(8090, 80),
                    PublishedPort::new(8090, 81).address(Ipv4Addr::LOCALHOST),
                ],
                ..other
            },
        ] {
            let error = engine.networks.ensure_service(&wrong).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::InUse), "{error}");
        }
        assert_eq!(engine.networks.services().unwrap().len(), 1);
        end(engine, vec![]);
    });
}

/// See `Engine::join`.
fn ensure_patiently(engine: &Engine, specification: &ServiceSpecification) -> ServiceRecord {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match engine.networks.ensure_service(specification) {
            Ok(record) => return record,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn wrong_members_change_nothing() {
    on_host(|| {
        let engine = Engine::new();
        let one = engine.start(&[]);
        let missing = engine.networks.route(&name("web"), &[]).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        let record = engine.networks.ensure_service(&web(Balance::RoundRobin)).unwrap();
        let member = equal(&[&one])[0];
        for wrong in [
            vec![ServiceMember { address: record.address, weight: 1 }],
            vec![ServiceMember { address: one.attachment.gateway, weight: 1 }],
            vec![ServiceMember { address: Ipv4Addr::new(192, 0, 2, 1), weight: 1 }],
            vec![ServiceMember { weight: 0, ..member }],
            vec![ServiceMember { weight: 1001, ..member }],
            vec![member, member],
        ] {
            assert_eq!(engine.networks.route(&name("web"), &wrong).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        assert_eq!(engine.networks.service(&name("web")).unwrap(), Some(record));
        end(engine, vec![one]);
    });
}

#[test]
fn hosts_files_name_the_services_and_stay_the_same_file() {
    use std::os::unix::fs::MetadataExt;
    on_host(|| {
        let engine = Engine::new();
        let (one, two) = (engine.start(&[]), engine.start(&[]));
        let file = |container: &Container| engine.scratch.path().join(container.address().to_string());
        let write = |container: &Container| {
            engine
                .networks
                .write_hosts(&container.attachment.record, &file(container), "127.0.0.1\tlocalhost\n")
                .unwrap();
        };
        let read = |container: &Container| std::fs::read_to_string(file(container)).unwrap();
        write(&one);
        let inode = std::fs::metadata(file(&one)).unwrap().ino();
        let service = |text: &str| ServiceSpecification { name: name(text), published: vec![], ..web(Balance::Random) };
        let address = |text: &str| engine.networks.ensure_service(&service(text)).unwrap().address;
        let (web, db) = (address("web"), address("db"));
        assert_ne!(web, db);
        let both = format!("127.0.0.1\tlocalhost\n{db}\tdb\t# service\n{web}\tweb\t# service\n");
        assert_eq!(read(&one), both);
        // A container that comes later, and what a container has added itself.
        write(&two);
        assert_eq!(read(&two), both);
        std::fs::write(file(&one), format!("{both}192.0.2.1\tmine\n")).unwrap();
        engine.networks.remove_service(&name("db")).unwrap();
        assert_eq!(read(&one), format!("127.0.0.1\tlocalhost\n192.0.2.1\tmine\n{web}\tweb\t# service\n"));
        assert_eq!(read(&two), format!("127.0.0.1\tlocalhost\n{web}\tweb\t# service\n"));
        assert_eq!(std::fs::metadata(file(&one)).unwrap().ino(), inode);
        // A container that is gone, a file that is no hosts file any more.
        std::fs::remove_file(file(&two)).unwrap();
        assert_eq!(address("db"), db, "a name comes back to its address");
        write(&two);
        // The container's own doing keeps nobody else from being told.
        std::fs::write(file(&one), vec![b'#'; 2 << 20]).unwrap();
        engine.networks.remove_service(&name("db")).unwrap();
        assert_eq!(std::fs::read(file(&one)).unwrap(), vec![b'#'; 2 << 20]);
        assert_eq!(read(&two), format!("127.0.0.1\tlocalhost\n{web}\tweb\t# service\n"));
        end(engine, vec![one, two]);
    });
}

#[test]
fn a_service_keeps_the_network_and_outlives_a_reboot() {
    on_host(|| {
        let engine = Engine::new();
        let one = engine.start(&[]);
        let made = engine.networks.ensure_service(&web(Balance::RoundRobin)).unwrap();
        engine.networks.route(&name("web"), &equal(&[&one])).unwrap();
        engine.networks.detach(&one.attachment.record).unwrap();
        assert!(!engine.networks.remove_unused().unwrap());
        // A reboot: no interface, no rule, no run directory.
        tool("ip", &["link", "delete", "coracle0"]);
        tool("nft", &["flush", "ruleset"]);
        std::fs::remove_dir_all(engine.scratch.path().join("run")).unwrap();
        engine.networks.restore().unwrap();
        let record = engine.networks.service(&name("web")).unwrap().unwrap();
        assert_eq!((record.address, record.members.len()), (made.address, 0));
        let two = engine.start(&[]);
        engine.networks.route(&name("web"), &equal(&[&two])).unwrap();
        let _server = Server::start(&two, 80);
        assert_eq!(asked(Ipv4Addr::LOCALHOST, 8080).0, two.address().to_string());
        // The next time the subnet is somebody else's.
        engine.networks.detach(&two.attachment.record).unwrap();
        tool("ip", &["link", "delete", "coracle0"]);
        tool("ip", &["route", "add", "10.77.0.0/16", "dev", "lo"]);
        std::fs::remove_dir_all(engine.scratch.path().join("run")).unwrap();
        engine.networks.restore().unwrap();
        let record = engine.networks.service(&name("web")).unwrap().unwrap();
        assert_eq!(record.address.octets()[1], 78);
        end(engine, vec![]);
    });
}
