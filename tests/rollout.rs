//! Rollouts under load: not one request is lost, whatever happens to the program that drives them.

#[path = "support/host.rs"]
mod host;
#[path = "../examples/rollout/load.rs"]
mod load;
#[path = "support/namespace.rs"]
mod namespace;
#[path = "../examples/rollout/request.rs"]
mod request;
#[path = "support/server.rs"]
mod server;

use coracle::{
    ContainerState, Deployment, DeploymentStage, Engine, Health, Outcome, Rolling, RolloutEvent, RolloutFailure,
};
use host::on_a_host;
use load::{Load, Report};
use server::server;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Says to a copy of this program that it is the host to be killed, and where.
const HOST: &str = "CORACLE_TEST_ROLLOUT_HOST";
/// What the host is to do.
const CHANGE: &str = "CORACLE_TEST_ROLLOUT_CHANGE";
const PORT: u16 = 8000;
const RATE: u32 = 1000;
/// Bounds every load.
const MOST_REQUESTS: u64 = 90_000;

fn web(version: &str, behaviour: &str) -> Deployment {
    Deployment::new("web", "test/web")
        .replicas(3)
        .command([server().to_str().unwrap(), "serve", version, behaviour])
        .port(PORT)
        .publish(18_000, PORT)
        .health(Health::http(PORT, "/healthy").every(Duration::from_millis(100)).timeout(Duration::from_secs(5)))
        .rollout(Rolling::new().minimum_healthy_time(Duration::from_millis(200)).deadline(Duration::from_secs(6)))
}

/// Runs `test` with an engine that has version 1 of the server deployed, and its directory.
fn with_version_1(test: impl FnOnce(&Engine, &Path) + Send) {
    on_a_host(|engine, directory| {
        engine.image_builder().from_host([server()]).unwrap().tag("test/web").commit().unwrap();
        assert_eq!(engine.deploy(web("1", "well")).unwrap().finish().unwrap(), Outcome::Complete(1));
        test(engine, directory);
    });
}

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 18_000).into()
}

fn nothing_lost(report: &Report) {
    println!("{report}");
    assert_eq!(report.lost, 0, "{:?}", report.errors);
    assert!(report.sent > 200, "only {} requests were sent", report.sent);
}

#[test]
fn updates_rollbacks_and_changes_of_scale_lose_no_request() {
    with_version_1(|engine, _| {
        let web_now = engine.deployment("web").unwrap();
        let load = Load::start(loopback(), RATE, MOST_REQUESTS);

        assert_eq!(engine.deploy(web("2", "well")).unwrap().finish().unwrap(), Outcome::Complete(2));
        assert_eq!(web_now.scale(5).unwrap().finish().unwrap(), Outcome::Complete(2));
        assert_eq!(web_now.status().unwrap().available(), 5);
        assert_eq!(web_now.scale(2).unwrap().finish().unwrap(), Outcome::Complete(2));
        assert_eq!(web_now.scale(3).unwrap().finish().unwrap(), Outcome::Complete(2));

        let sick = engine.deploy(web("3", "sick")).unwrap().finish().unwrap();
        let Outcome::RolledBack { failed: 3, to: 2, because } = sick else { panic!("{sick}") };
        // Whichever of the two deadlines, which are equal, is seen first.
        assert!(because.to_string().ends_with(" available in time: health check: status 503"), "{because}");

        let crashing = engine.deploy(web("4", "crash")).unwrap().finish().unwrap();
        assert!(
            matches!(crashing, Outcome::RolledBack { failed: 4, to: 2, because: RolloutFailure::Crashed { .. } }),
            "{crashing}"
        );
        assert_eq!(web_now.rollback(1).unwrap().finish().unwrap(), Outcome::Complete(1));
        let report = load.stop();
        web_now.remove().unwrap();
        nothing_lost(&report);
        let versions: Vec<&str> = report.by_version.keys().map(String::as_str).collect();
        assert_eq!(versions, ["version 1", "version 2"]);
    });
}

/// The body of the host: changes the deployment and says what happens, until it is killed.
#[test]
fn host_to_be_killed() {
    let Ok(directory) = std::env::var(HOST) else { return };
    let engine = host::engine(Path::new(&directory));
    let change = std::env::var(CHANGE).unwrap();
    let rollout = match change.as_str() {
        "up" => engine.deployment("web").unwrap().scale(5).unwrap(),
        "down" => engine.deployment("web").unwrap().scale(1).unwrap(),
        behaviour => engine.deploy(web("2", behaviour)).unwrap(),
    };
    for event in rollout {
        println!("\nevent {}", event.unwrap());
    }
    println!("\nevent end");
    // Until it is killed.
    std::thread::sleep(Duration::from_secs(60));
}

/// A host, which ends with the test at the latest.
struct HostProcess(Child);

impl Drop for HostProcess {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

fn start_host(directory: &Path, change: &str) -> HostProcess {
    let mut host = Command::new(std::env::current_exe().unwrap());
    host.args(["--exact", "host_to_be_killed", "--nocapture"]).env(HOST, directory).env(CHANGE, change);
    HostProcess(host.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap())
}

/// Kills the host some time after its event number `after`, or at the end.
fn kill_after(mut host: HostProcess, after: usize, pause: Duration) {
    let lines = BufReader::new(host.0.stdout.take().unwrap()).lines();
    let events = lines.map_while(Result::ok).filter(|line| line.starts_with("event "));
    let seen: Vec<String> = events.take(after).take_while(|line| line != "event end").collect();
    assert!(!seen.is_empty(), "the host ended by itself");
    std::thread::sleep(pause);
    drop(host);
}

/// Kills a host in the middle of a change, under load, at several moments; the next host goes on.
fn kill_in_the_middle(change: &str, expected: impl Fn(&Outcome) -> bool + Sync) {
    for (after, pause) in [(1, 0), (2, 30), (3, 5), (5, 100)] {
        with_version_1(|_, directory| {
            let load = Load::start(loopback(), RATE, MOST_REQUESTS);
            kill_after(start_host(directory, change), after, Duration::from_millis(pause));
            // Traffic flows on with nobody there.
            std::thread::sleep(Duration::from_millis(300));
            let engine = host::engine(directory);
            let mut outcomes = Vec::new();
            for rollout in engine.resume().unwrap() {
                outcomes.push(rollout.finish().unwrap());
            }
            let web_now = engine.deployment("web").unwrap();
            let status = web_now.status().unwrap();
            let history = web_now.history().unwrap();
            let report = load.stop();
            web_now.remove().unwrap();
            println!("{change}, killed {pause} ms after event {after}: {outcomes:?}");
            assert!(matches!(outcomes.as_slice(), [outcome] if expected(outcome)), "{outcomes:?}\n{history:?}");
            assert_eq!(status.stage, DeploymentStage::Steady);
            assert_eq!(status.available(), status.wanted as usize);
            assert_eq!(status.replicas.len(), status.wanted as usize, "{status:?}");
            nothing_lost(&report);
        });
    }
}

#[test]
fn a_host_killed_in_an_update_loses_no_request() {
    kill_in_the_middle("well", |outcome| *outcome == Outcome::Complete(2));
}

#[test]
fn a_host_killed_while_scaling_up_loses_no_request() {
    kill_in_the_middle("up", |outcome| *outcome == Outcome::Complete(1));
}

#[test]
fn a_host_killed_while_scaling_down_loses_no_request() {
    kill_in_the_middle("down", |outcome| *outcome == Outcome::Complete(1));
}

#[test]
fn a_host_killed_while_a_version_does_not_get_healthy_loses_no_request() {
    // Where it was killed after the end of the rollback there is nothing left to do.
    kill_in_the_middle("sick", |outcome| matches!(outcome, Outcome::RolledBack { to: 1, .. } | Outcome::Complete(1)));
}

#[test]
fn a_host_killed_while_a_version_crashes_loses_no_request() {
    kill_in_the_middle("crash", |outcome| matches!(outcome, Outcome::RolledBack { to: 1, .. } | Outcome::Complete(1)));
}

#[test]
fn a_killed_replica_loses_at_most_what_was_in_flight_on_it() {
    with_version_1(|engine, _| {
        let web_now = engine.deployment("web").unwrap();
        for supervised in [true, false] {
            let supervisor = supervised.then(|| engine.supervise().unwrap());
            let load = Load::start(loopback(), RATE, MOST_REQUESTS);
            std::thread::sleep(Duration::from_millis(500));
            let victim = web_now.replicas().unwrap().remove(0);
            let ContainerState::Running(_) = victim.state().unwrap() else { panic!("it does not run") };
            victim.kill(libc::SIGKILL).unwrap();
            wait_for("the replica is back", || {
                web_now.status().unwrap().available() == 3 && victim.restarts().unwrap() > 0
            });
            std::thread::sleep(Duration::from_millis(500));
            let report = load.stop();
            drop(supervisor);
            println!("supervised {supervised}:\n{report}\n{:?}", report.errors);
            // It has 8 threads, each of which answers one request at a time, and a queue.
            assert!(report.lost <= 16, "{} lost: {:?}", report.lost, report.errors);
        }
        web_now.remove().unwrap();
    });
}

#[test]
fn an_open_connection_is_answered_by_the_version_that_accepted_it() {
    with_version_1(|engine, _| {
        let mut connections: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(loopback()).unwrap()).collect();
        for connection in &mut connections {
            connection.write_all(b"GET / HTTP/1.1\r\n").unwrap();
        }
        std::thread::scope(|scope| {
            // As many more as there are: no new one has to wait for an old one whose connection is open.
            let rolling = Rolling::new().surge(3).minimum_healthy_time(Duration::from_millis(200));
            let rollout = engine.deploy(web("2", "well").rollout(rolling)).unwrap();
            let rollout = scope.spawn(|| rollout.finish().unwrap());
            let web_now = engine.deployment("web").unwrap();
            wait_for("new connections go to version 2 alone", || {
                let status = web_now.status().unwrap();
                status.available() == 3
                    && status.replicas.iter().all(|replica| !replica.in_traffic || replica.revision == 2)
            });
            assert!(request::get(loopback()).unwrap().starts_with("version 2 "));
            for connection in &mut connections {
                connection.write_all(b"\r\n").unwrap();
                let mut answer = String::new();
                connection.read_to_string(&mut answer).unwrap();
                assert!(answer.contains("version 1 on web-r1-"), "{answer}");
            }
            assert_eq!(rollout.join().unwrap(), Outcome::Complete(2));
        });
        engine.deployment("web").unwrap().remove().unwrap();
    });
}

#[test]
fn a_second_change_from_another_process_is_refused() {
    with_version_1(|engine, directory| {
        let mut host = start_host(directory, "sick");
        // Read on, or the host dies of what it has to say.
        let mut lines = BufReader::new(host.0.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.starts_with("event ")), "the host has begun");
        let error = engine.deploy(web("3", "well")).unwrap_err();
        drop(host);
        assert_eq!(
            error.to_string(),
            "deploying web: deployment web is being changed (hint: another rollout of it is under way, in this process or in \
             another: wait for its end)"
        );
        // Its lock went with it.
        assert_eq!(engine.deploy(web("3", "well")).unwrap().finish().unwrap(), Outcome::Complete(3));
        engine.deployment("web").unwrap().remove().unwrap();
    });
}

#[test]
fn a_supervisor_goes_on_with_what_was_dropped() {
    with_version_1(|engine, _| {
        let mut rollout = engine.deploy(web("2", "well")).unwrap();
        assert!(matches!(rollout.next(), Some(Ok(RolloutEvent::Accepted { revision: 2, .. }))));
        drop(rollout);
        let web_now = engine.deployment("web").unwrap();
        let supervisor = engine.supervise().unwrap();
        wait_for("revision 2 is live", || {
            let status = web_now.status().unwrap();
            status.stage == DeploymentStage::Steady && status.stable == Some(2) && status.replicas.len() == 3
        });
        drop(supervisor);
        web_now.remove().unwrap();
    });
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
