//! What containers are seen to do: their logs as one, and where their time goes.

use coracle::cgroup::Limits;
use coracle::{
    Container, Cpus, DeploymentStats, Engine, EngineOptions, Memory, Network, Rates, ReplicaStats, TimeShares, metrics,
};
use std::path::Path;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

fn engine(directory: &Path) -> Engine {
    let engine = EngineOptions::new(directory.join("root")).run_directory(directory.join("run")).open().unwrap();
    let programs = ["/bin/sh", "/bin/sleep", "/bin/echo"];
    engine.image_builder().from_host(programs).unwrap().tag("test/host").commit().unwrap();
    engine
}

fn start(engine: &Engine, name: &str, script: &str) -> Container {
    let image = engine.image("test/host").unwrap().get().unwrap();
    engine
        .container(&image)
        .command(["/bin/sh", "-c", script])
        .name(name)
        .label("deployment", name.split('-').next().unwrap())
        .network(Network::None)
        .limits(Limits::new().memory(Memory::mib(64)).cpus(Cpus::of(0.2)).pids(16))
        .detach()
        .unwrap()
}

fn end(container: Container) {
    container.kill(9).unwrap();
    container.wait().unwrap();
    container.remove().unwrap();
}

#[test]
fn a_busy_container_is_told_apart_from_a_sleeping_one() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(directory.path());
    let busy = start(&engine, "web-0", "while :; do :; done");
    let idle = start(&engine, "web-1", "sleep 1000");
    let sample = |container: &Container| (container.stats().unwrap(), container.processor_wait().unwrap());
    let (begin, earlier) = (Instant::now(), [sample(&busy), sample(&idle)]);
    // Long enough that both the use and the limit have shown, however slow the machine is.
    let mut later = sample(&busy);
    while later.0.cpu.throttled < Duration::from_millis(200) || later.0.cpu.usage < Duration::from_millis(200) {
        assert!(begin.elapsed() < PATIENCE, "{later:?}");
        std::thread::sleep(Duration::from_millis(100));
        later = sample(&busy);
    }
    let later = [later, sample(&idle)];
    let period = begin.elapsed();
    let shares = |index: usize| TimeShares::between(&earlier[index].0, &later[index].0, period);
    let (busy_shares, idle_shares) = (shares(0), shares(1));
    assert!(busy_shares.user > idle_shares.user && busy_shares.throttled > idle_shares.throttled);
    assert_eq!((busy_shares.received, idle_shares.throttled), (None, Duration::ZERO));
    let (Some(before), Some(after)) = (&earlier[0].1, &later[0].1) else { panic!("schedstat is not accounted for") };
    assert!(after.threads() >= 1);
    println!("{}", busy_shares.waiting(before, after).requests(10));
    let rates = Rates::between(Some(&earlier[0].0), &later[0].0, period).unwrap();
    assert!(rates.cpus > 0.0 && rates.throttled > 0.0, "{rates}");

    let mut stats = DeploymentStats::new("web", 1, 2);
    for container in [&busy, &idle] {
        let mut replica = ReplicaStats::new(container, 1);
        replica.look(container).unwrap();
        stats.replicas.push(replica);
    }
    assert_eq!((stats.totals().running, stats.totals().ready), (2, 2));
    let text = metrics(std::slice::from_ref(&stats));
    println!("{text}");
    assert!(text.contains("coracle_replica_cpu_seconds_total{deployment=\"web\",replica=\"web-0\",revision=\"1\"} "));
    busy.kill(9).unwrap();
    busy.wait().unwrap();
    stats.replicas[0].look(&busy).unwrap();
    assert_eq!(stats.totals().running, 1, "an ended one is no error");
    busy.remove().unwrap();
    end(idle);
}

#[test]
fn the_logs_of_a_deployment_are_one_also_of_replicas_to_come() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(directory.path());
    let mut logs = engine.logs(|container| container.labels()["deployment"] == "web").follow();
    assert_eq!(logs.next_within(Duration::ZERO).unwrap(), None);
    for number in 0..3 {
        let other = start(&engine, &format!("other-{number}"), "echo no; sleep 1000");
        let replica = start(&engine, &format!("web-{number}"), "echo yes; sleep 1000");
        let line = logs.next_within(PATIENCE).unwrap().unwrap();
        assert_eq!(line.to_string(), format!("web-{number}: yes"));
        assert_eq!(line.container, *replica.id());
        end(other);
        end(replica);
    }
    assert_eq!(logs.next_within(Duration::ZERO).unwrap(), None);
    assert!(!logs.has_ended(), "more may come");
}
