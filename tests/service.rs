//! The stable address of a deployment: who reaches it, what is refused, what is left of it.

#[path = "support/host.rs"]
mod host;
#[path = "support/namespace.rs"]
mod namespace;
#[path = "support/program.rs"]
mod program;
#[path = "../examples/rollout/request.rs"]
mod request;
#[path = "support/server.rs"]
mod server;

use coracle::{Deployment, Engine, ErrorKind, Health, Network, Outcome, Rolling};
use server::server;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const PORT: u16 = 8000;

fn web(name: &str, version: &str) -> Deployment {
    Deployment::new(name, "test/web")
        .command([server().to_str().unwrap(), "serve", version, "well"])
        .port(PORT)
        .health(Health::http(PORT, "/healthy").every(Duration::from_millis(100)).timeout(Duration::from_secs(5)))
        .rollout(Rolling::new().minimum_healthy_time(Duration::from_millis(100)).deadline(Duration::from_secs(5)))
}

/// An engine with the image `test/web` in a fresh directory, on a host of its own.
fn on_a_host(test: impl FnOnce(&Engine, &Path) + Send) {
    host::on_a_host(|engine, directory| {
        let programs = ["/bin/sh", "/bin/cat", "/bin/grep", "/bin/sleep", "/bin/bash"].map(PathBuf::from);
        let programs = programs.into_iter().chain([server()]);
        engine.image_builder().from_host(programs).unwrap().tag("test/web").commit().unwrap();
        test(engine, directory);
    });
}

fn live(engine: &Engine, deployment: Deployment) -> u32 {
    match engine.deploy(deployment).unwrap().finish().unwrap() {
        Outcome::Complete(revision) => revision,
        other => panic!("{other}"),
    }
}

/// What a program of the machine prints, in this namespace.
fn output(program: &str, arguments: &[&str]) -> String {
    let package = if program == "nft" { "nftables" } else { "iproute2" };
    let output = Command::new(program::require_program(program, package)).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Everything of the network that a deployment could leave.
fn surroundings() -> String {
    ["link", "address", "route", "rule"].map(|object| output("ip", &["-o", object])).concat()
        + &output("nft", &["list", "ruleset"])
}

#[test]
fn it_is_reached_from_the_host_its_loopback_and_other_containers_by_name() {
    on_a_host(|engine, _| {
        live(engine, web("web", "1").replicas(2).publish(18_100, PORT));
        let status = engine.deployment("web").unwrap().status().unwrap();
        let address = status.address.expect("a stable address");
        for target in [SocketAddr::from((address, PORT)), (Ipv4Addr::LOCALHOST, 18_100).into()] {
            let answers: Vec<String> = (0..8).map(|_| request::get(target).unwrap()).collect();
            assert!(answers.iter().all(|answer| answer.starts_with("version 1 on web-r1-")), "{answers:?}");
            let replicas: std::collections::BTreeSet<&String> = answers.iter().collect();
            assert_eq!(replicas.len(), 2, "round robin reaches both: {answers:?}");
        }
        // From another container, by its name.
        let script = "exec 3<>/dev/tcp/web/8000; printf 'GET / HTTP/1.1\\r\\n\\r\\n' >&3; cat <&3";
        let image = engine.image("test/web").unwrap().get().unwrap();
        let output = engine.container(&image).entrypoint(["/bin/bash", "-c", script]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("version 1 on web-r1-"), "{output:?}");
        engine.deployment("web").unwrap().remove().unwrap();
    });
}

#[test]
fn a_port_that_is_taken_is_refused_and_what_runs_is_untouched() {
    on_a_host(|engine, _| {
        live(engine, web("web", "1").publish(18_101, PORT));
        let before = engine.deployment("web").unwrap().status().unwrap();
        let foreign = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 18_102)).unwrap();
        let error = engine.deploy(web("web", "2").publish(18_102, PORT)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InUse);
        assert!(
            error.to_string().starts_with("deploying web: publish 18102/tcp: port 18102 is taken (hint: "),
            "{error}"
        );
        // By another deployment.
        let error = engine.deploy(web("other", "1").publish(18_101, PORT)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InUse);
        assert!(error.to_string().contains("18101"), "{error}");
        assert_eq!(engine.deployment("other").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(engine.deployment("web").unwrap().status().unwrap(), before);
        let answer = request::get((Ipv4Addr::LOCALHOST, 18_101).into()).unwrap();
        assert!(answer.starts_with("version 1 "), "{answer}");
        // The port stays taken as long as the deployment lives.
        assert!(TcpListener::bind((Ipv4Addr::UNSPECIFIED, 18_101)).is_err());
        drop(foreign);
        engine.deployment("web").unwrap().remove().unwrap();
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, 18_101)).unwrap();
    });
}

#[test]
fn a_name_belongs_to_one_service_of_a_network() {
    on_a_host(|engine, _| {
        live(engine, web("web", "1").network("front"));
        let error = engine.deploy(web("other", "1").alias("web").network("back").network("front")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert!(
            error.to_string().starts_with("deploying other: the name web is taken in this network by web (hint: "),
            "{error}"
        );
        live(engine, web("other", "1").alias("web").network("back"));
    });
}

#[test]
fn a_health_check_on_a_port_nobody_listens_on_is_told_as_such() {
    on_a_host(|engine, _| {
        live(engine, web("web", "1"));
        let deaf =
            web("web", "2").health(Health::tcp(9).every(Duration::from_millis(100)).timeout(Duration::from_secs(1)));
        let Outcome::RolledBack { failed: 2, to: 1, because } = engine.deploy(deaf).unwrap().finish().unwrap() else {
            panic!("it must be rolled back")
        };
        assert!(because.to_string().ends_with(" available in time: health check: connection refused"), "{because}");
        engine.deployment("web").unwrap().remove().unwrap();
    });
}

#[test]
fn nothing_is_left_of_what_was_removed_and_nothing_of_others_is_touched() {
    on_a_host(|engine, directory| {
        output("nft", &["add", "table", "ip", "others"]);
        output("nft", &["add", "chain", "ip", "others", "c", "{ type filter hook input priority 0 ; }"]);
        output("nft", &["add", "rule", "ip", "others", "c", "counter", "accept"]);
        let before = surroundings();
        live(engine, web("web", "1").replicas(2).publish(0, PORT));
        live(engine, web("web", "2").replicas(3).publish(0, PORT));
        engine.deployment("web").unwrap().remove().unwrap();
        // Network namespaces, and the interfaces in them, go in the background.
        let end = std::time::Instant::now() + Duration::from_secs(20);
        let counters = |text: &str| -> Vec<String> {
            text.lines().map(|line| line.split(" packets ").next().unwrap_or(line).to_owned()).collect()
        };
        while counters(&surroundings()) != counters(&before) {
            assert!(std::time::Instant::now() < end, "before:\n{before}\nafter:\n{}", surroundings());
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(engine.containers().unwrap().is_empty());
        for place in ["root/deployments", "root/networks/services", "root/pins"] {
            let left: Vec<_> = match std::fs::read_dir(directory.join(place)) {
                Ok(entries) => entries.map(|entry| entry.unwrap().file_name()).collect(),
                Err(_) => Vec::new(),
            };
            assert!(left.is_empty(), "{place}: {left:?}");
        }
    });
}

#[test]
fn flushed_rules_are_made_again_by_resume() {
    on_a_host(|engine, _| {
        live(engine, web("web", "1").replicas(2).publish(18_103, PORT));
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, 18_103));
        request::get(target).unwrap();
        output("nft", &["flush", "ruleset"]);
        output("nft", &["add", "table", "ip", "others"]);
        assert!(request::get(target).is_err());
        for rollout in engine.resume().unwrap() {
            assert_eq!(rollout.finish().unwrap(), Outcome::Complete(1));
        }
        request::get(target).unwrap();
        assert!(output("nft", &["list", "tables"]).contains("table ip others"));
        engine.deployment("web").unwrap().remove().unwrap();
    });
}

#[test]
fn a_change_that_was_cut_off_leaves_the_service_of_what_runs() {
    on_a_host(|engine, directory| {
        live(engine, web("web", "1").publish(18_104, PORT));
        // The new revision cannot be written down, by when the service has its ports.
        let obstacle = directory.join("root/deployments/web/revisions/2");
        std::fs::create_dir(&obstacle).unwrap();
        engine.deploy(web("web", "2").publish(18_105, PORT)).unwrap_err();
        std::fs::remove_dir(&obstacle).unwrap();
        for rollout in engine.resume().unwrap() {
            assert_eq!(rollout.finish().unwrap(), Outcome::Complete(1));
        }
        request::get((Ipv4Addr::LOCALHOST, 18_104).into()).unwrap();
        assert!(request::get((Ipv4Addr::LOCALHOST, 18_105).into()).is_err());
        engine.deployment("web").unwrap().remove().unwrap();
    });
}

#[test]
fn a_rollback_takes_the_published_ports_back() {
    on_a_host(|engine, _| {
        live(engine, web("web", "1").publish(18_106, PORT));
        let deaf = Health::tcp(9).every(Duration::from_millis(100)).timeout(Duration::from_secs(1));
        let deaf = web("web", "2").health(deaf).publish(18_107, PORT);
        let Outcome::RolledBack { failed: 2, to: 1, .. } = engine.deploy(deaf).unwrap().finish().unwrap() else {
            panic!("it must be rolled back")
        };
        let answer = request::get((Ipv4Addr::LOCALHOST, 18_106).into()).unwrap();
        assert!(answer.starts_with("version 1 "), "{answer}");
        assert!(request::get((Ipv4Addr::LOCALHOST, 18_107).into()).is_err());
        // The same port on fewer addresses.
        live(engine, web("web", "3").publish_on("127.0.0.1:18106:8000".parse().unwrap()));
        request::get((Ipv4Addr::LOCALHOST, 18_106).into()).unwrap();
        engine.deployment("web").unwrap().remove().unwrap();
    });
}

#[test]
fn deployments_that_are_made_later_are_found_by_name() {
    on_a_host(|engine, _| {
        let image = engine.image("test/web").unwrap().get().unwrap();
        let script = "until grep -q late /etc/hosts; do sleep 0.05; done; cat /etc/hosts";
        let waiting = engine.container(&image).entrypoint(["/bin/sh", "-c", script]).network(Network::Bridge);
        let waiting = waiting.name("waiting").detach().unwrap();
        live(engine, web("late", "1"));
        let address = engine.deployment("late").unwrap().status().unwrap().address.unwrap();
        assert!(waiting.wait_for(Duration::from_secs(30)).unwrap().is_some(), "it never learned of the service");
        let hosts: Vec<String> = waiting.logs().map(|line| line.unwrap().to_string()).collect();
        assert!(hosts.iter().any(|line| line.starts_with(&format!("{address}\tlate\t"))), "{hosts:?}");
        waiting.remove().unwrap();
        engine.deployment("late").unwrap().remove().unwrap();
    });
}
