//! Deployments as a whole: what is on record, what is refused, what is left.

#[path = "support/host.rs"]
mod host;
#[path = "support/namespace.rs"]
mod namespace;

use coracle::cgroup::Limits;
use coracle::{
    Deployment, DeploymentStage, Engine, ErrorKind, Guard, Health, Memory, Outcome, Request, Restart, Rolling,
    RolloutEvent, RolloutFailure, Strategy,
};
use std::path::Path;
use std::time::{Duration, Instant};

/// An engine with the image `test/sh` in a fresh directory, on a host of its own.
fn on_a_host(test: impl FnOnce(&Engine, &Path) + Send) {
    host::on_a_host(|engine, directory| {
        let programs = ["/bin/sh", "/bin/sleep", "/bin/cat"];
        engine.image_builder().from_host(programs).unwrap().tag("test/sh").commit().unwrap();
        test(engine, directory);
    });
}

fn quick() -> Rolling {
    Rolling::new().minimum_healthy_time(Duration::from_millis(50)).deadline(Duration::from_secs(10))
}

/// A program that does nothing, and does it until it is asked to stop.
fn idle(name: &str) -> Deployment {
    let script = "trap 'exit 0' TERM; while :; do sleep 0.05; done";
    Deployment::new(name, "test/sh").command(["/bin/sh", "-c", script]).rollout(quick())
}

fn live(engine: &Engine, deployment: Deployment) -> u32 {
    match engine.deploy(deployment).unwrap().finish().unwrap() {
        Outcome::Complete(revision) => revision,
        other => panic!("{other}"),
    }
}

#[test]
fn a_deployment_is_rolled_out_scaled_taken_back_and_removed() {
    on_a_host(|engine, directory| {
        assert_eq!(live(engine, idle("worker").replicas(2)), 1);
        let worker = engine.deployment("worker").unwrap();
        assert_eq!(worker.status().unwrap().available(), 2);

        // The same once more changes nothing.
        let ids = |engine: &Engine| -> Vec<String> {
            engine.containers().unwrap().iter().map(|container| container.id().to_string()).collect()
        };
        let before = ids(engine);
        assert_eq!(live(engine, idle("worker").replicas(2)), 1);
        assert_eq!(ids(engine), before);

        assert_eq!(live(engine, idle("worker").replicas(3)), 1);
        assert!(before.iter().all(|id| ids(engine).contains(id)));
        assert_eq!(live(engine, idle("worker").replicas(3).env("A", "1")), 2);
        assert!(before.iter().all(|id| !ids(engine).contains(id)));
        assert_eq!(worker.rollback(1).unwrap().finish().unwrap(), Outcome::Complete(1));

        let status = worker.status().unwrap();
        assert_eq!(
            (status.stage, status.revision, status.stable, status.wanted),
            (DeploymentStage::Steady, 1, Some(1), 3)
        );
        assert!(status.replicas.iter().all(|replica| replica.revision == 1 && replica.in_traffic));
        let numbers: Vec<u32> = worker.revisions().unwrap().iter().map(|revision| revision.number).collect();
        assert_eq!(numbers, [1, 2]);
        let history = worker.history().unwrap();
        assert!(history.is_sorted_by_key(|entry| entry.time));
        let complete: Vec<u32> = (history.iter())
            .filter_map(|entry| match entry.event {
                RolloutEvent::Complete { revision } => Some(revision),
                _ => None,
            })
            .collect();
        assert_eq!(complete, [1, 2, 1]);

        worker.remove().unwrap();
        assert_eq!(worker.status().unwrap_err().kind(), ErrorKind::NotFound);
        assert!(engine.deployments().unwrap().is_empty() && engine.containers().unwrap().is_empty());
        let left: Vec<_> = std::fs::read_dir(directory.join("root/deployments")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    });
}

#[test]
fn an_image_that_was_tagged_anew_is_a_new_revision_and_the_old_one_comes_back() {
    on_a_host(|engine, _| {
        let show = |engine: &Engine| {
            let container = engine.deployment("worker").unwrap().replicas().unwrap().remove(0);
            let line = container.logs().follow().next().unwrap().unwrap();
            line.to_string()
        };
        let build = |word: &str| {
            let script = format!("echo {word}; exec sleep 1000");
            let image = engine.image_builder().from("test/sh").command(["/bin/sh", "-c", &script]);
            image.tag("test/word").commit().unwrap();
        };
        let worker = Deployment::new("worker", "test/word").rollout(quick());
        build("one");
        assert_eq!(live(engine, worker.clone()), 1);
        assert_eq!(show(engine), "one");
        build("two");
        assert_eq!(live(engine, worker), 2);
        assert_eq!(show(engine), "two");
        // What a revision is made of outlives its tag.
        engine.image("test/word").unwrap().remove().unwrap();
        engine.collect_garbage().unwrap();
        let worker = engine.deployment("worker").unwrap();
        assert_eq!(worker.rollback(1).unwrap().finish().unwrap(), Outcome::Complete(1));
        assert_eq!(show(engine), "one");
        worker.remove().unwrap();
    });
}

#[test]
fn a_version_that_ends_at_once_is_taken_back_with_the_reason() {
    on_a_host(|engine, _| {
        assert_eq!(live(engine, idle("worker").replicas(2)), 1);
        // The scale comes back too, as it was.
        let bad = idle("worker").replicas(4).command(["/bin/sh", "-c", "exit 3"]);
        let outcome = engine.deploy(bad).unwrap().finish().unwrap();
        // On a slow machine more than the three that suffice have been counted by the time somebody looks.
        let text = outcome.to_string();
        assert!(text.starts_with("back on revision 1: revision 2 failed (its replicas crashed "), "{text}");
        assert!(text.ends_with(" times: exited with 3)"), "{text}");
        let missing = idle("worker").replicas(2).command(["/bin/nothing"]);
        let Outcome::RolledBack { failed: 3, to: 1, because: RolloutFailure::NotStarted { error } } =
            engine.deploy(missing).unwrap().finish().unwrap()
        else {
            panic!("it must be rolled back")
        };
        assert!(error.contains("execute /bin/nothing"), "{error}");
        let worker = engine.deployment("worker").unwrap();
        assert_eq!(worker.status().unwrap().available(), 2);
        assert!(engine.containers().unwrap().len() == 2);
        worker.remove().unwrap();
    });
}

#[test]
fn a_first_version_that_fails_leaves_no_replica_and_can_be_mended() {
    on_a_host(|engine, _| {
        let bad = idle("worker").command(["/bin/sh", "-c", "exit 3"]);
        let outcome = engine.deploy(bad).unwrap().finish().unwrap();
        let text = outcome.to_string();
        assert!(text.starts_with("revision 1 failed: its replicas crashed "), "{text}");
        assert!(outcome.complete().is_err());
        assert!(engine.containers().unwrap().is_empty());
        assert_eq!(live(engine, idle("worker")), 2);
        engine.deployment("worker").unwrap().remove().unwrap();
    });
}

#[test]
fn a_replica_that_has_ended_for_good_is_replaced() {
    on_a_host(|engine, directory| {
        live(engine, idle("worker").restart(Restart::never()));
        let worker = engine.deployment("worker").unwrap();
        let first = worker.replicas().unwrap().remove(0);
        first.kill(libc::SIGKILL).unwrap();
        first.wait().unwrap();
        // Also beside one that cannot be looked after.
        let damaged = directory.join("root/deployments/damaged");
        std::fs::create_dir(&damaged).unwrap();
        std::fs::write(damaged.join("deployment.json"), "{").unwrap();
        let supervisor = engine.supervise().unwrap();
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let status = worker.status().unwrap();
            if status.available() == 1 && status.replicas.len() == 1 && status.replicas[0].id != *first.id() {
                break;
            }
            assert!(Instant::now() < end, "{status:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(supervisor);
        worker.remove().unwrap();
    });
}

#[test]
fn a_volume_with_snapshots_goes_back_with_its_revision() {
    on_a_host(|engine, _| {
        let writer = |text: &str, then: &str| {
            let script = format!("echo {text} >> /data/log; {then}");
            let recreate = Guard::default()
                .minimum_healthy_time(Duration::from_millis(300))
                .healthy_deadline(Duration::from_secs(5));
            Deployment::new("store", "test/sh")
                .command(["/bin/sh", "-c", &script])
                .volume_with_snapshot("data", "/data")
                .rollout(Strategy::Recreate(recreate))
        };
        let content = || {
            let path = engine.volume("data").unwrap().inspect().unwrap().path;
            std::fs::read_to_string(path.join("log")).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(live(engine, writer("one", "exec sleep 1000")), 1);
        assert_eq!(content(), ["one"]);
        assert_eq!(live(engine, writer("two", "exec sleep 1000")), 2);
        assert_eq!(content(), ["one", "two"]);
        // It damages the data and crashes.
        let bad = writer("three", "exit 1");
        let outcome = engine.deploy(bad).unwrap().finish().unwrap();
        assert!(matches!(outcome, Outcome::RolledBack { failed: 3, to: 2, .. }), "{outcome}");
        assert_eq!(
            content(),
            ["one", "two", "two"],
            "as it was before revision 3, and what revision 2 wrote when it came back"
        );
        let store = engine.deployment("store").unwrap();
        assert_eq!(store.rollback(1).unwrap().finish().unwrap(), Outcome::Complete(1));
        assert_eq!(content(), ["one", "one"]);
        store.remove().unwrap();
        assert!(engine.volume("data").unwrap().snapshots().unwrap().is_empty());
        engine.volume("data").unwrap().remove().unwrap();
    });
}

#[test]
fn what_makes_no_sense_is_named_all_at_once() {
    on_a_host(|engine, _| {
        let refuse = |deployment: Deployment| engine.deploy(deployment).unwrap_err();
        let error = refuse(
            Deployment::new("two words", "test/sh")
                .replicas(100_000)
                .port(0)
                .rollout(Rolling::new().surge(0))
                .limits(Limits::new().memory(Memory::bytes(1))),
        );
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let text = error.to_string();
        for field in ["name: ", "replicas: ", "ports: ", "rollout: ", "limits: "] {
            assert!(text.contains(field), "{field:?} is missing: {text}");
        }
        assert_eq!(text.lines().count(), 1);
        let error = refuse(idle("worker").health(Health::http(0, "no-slash").retries(0)));
        assert!(error.to_string().contains("health: "), "{error}");
        let error = refuse(Deployment::new("worker", "test/missing"));
        assert_eq!(
            error.to_string(),
            "deploying worker: image test/missing:latest is not in the store (hint: build it, or name its registry to pull \
             it: registry/repository:tag)"
        );
        let error = refuse(idle("worker").publish(8000, 0).bind("/nowhere/at/all", "/mnt", true));
        for part in ["published: 0 is no port of a replica", "mounts: bind /nowhere/at/all: No such file or directory"]
        {
            assert!(error.to_string().contains(part), "{error}");
        }
        let error = refuse(Deployment::new("worker", "test/sh"));
        assert!(error.to_string().starts_with("deploying worker: image test/sh:latest names no command"), "{error}");
        let error = refuse(idle("worker").volume_with_snapshot("data", "/data"));
        assert!(error.to_string().contains("needs the strategy Recreate"), "{error}");
        assert!(engine.deployments().unwrap().is_empty());
        assert_eq!(engine.deployment("worker").unwrap_err().to_string(), "there is no deployment worker");
    });
}

#[test]
fn what_replicas_use_and_say_is_seen_as_one() {
    on_a_host(|engine, _| {
        let script = "echo hello from $HOSTNAME; exec sleep 1000";
        let limits = Limits::new().memory(Memory::mib(64));
        live(engine, idle("worker").replicas(3).limits(limits).command(["/bin/sh", "-c", script]));
        let worker = engine.deployment("worker").unwrap();
        let lines: Vec<_> = worker.logs().map(|line| line.unwrap()).collect();
        let mut said: Vec<String> = lines.iter().map(|line| line.line.to_string()).collect();
        assert!(lines.is_sorted_by_key(|line| line.line.time), "in the order of time");
        said.sort();
        assert_eq!(said, [0, 1, 2].map(|place| format!("hello from worker-r1-{place}")));
        // Followed, it ends with the deployment.
        let following = std::thread::spawn({
            let logs = worker.logs().follow();
            move || logs.count()
        });
        let stats = worker.stats().unwrap();
        assert_eq!((stats.replicas.len(), stats.totals().running, stats.totals().ready), (3, 3, 3));
        assert!(stats.totals().memory > Memory::bytes(0) && stats.totals().pids >= 3);
        let text = coracle::metrics(&engine.deployment_stats().unwrap());
        assert!(text.contains("deployment=\"worker\"") && text.contains("replica=\"worker-r1-0\""), "{text}");
        worker.remove().unwrap();
        assert_eq!(following.join().unwrap(), 3);
    });
}

#[test]
fn replicas_that_do_not_fit_are_refused_with_who_holds_what() {
    on_a_host(|engine, _| {
        let small = Limits::new().memory(Memory::mib(64)).pids(16);
        live(engine, idle("worker").replicas(2).limits(small));
        let greedy = idle("greedy").replicas(2).request(Request::new().memory(Memory::gib(1 << 20)));
        let error = engine.deploy(greedy).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
        let text = error.to_string();
        assert!(text.starts_with("deploying greedy: greedy x3 does not fit: "), "{text}");
        assert!(text.contains("worker x3: 0 cpus, 192.0 MiB memory, 48 pids"), "{text}");
        assert_eq!(text.lines().count(), 1);
        assert_eq!(engine.deployment("greedy").unwrap_err().kind(), ErrorKind::NotFound);
        let worker = engine.deployment("worker").unwrap();
        let error = worker.scale(1000).unwrap_err();
        assert!(error.to_string().contains("worker x1001 does not fit"), "{error}");
        let table = engine.admission().unwrap().to_string();
        assert!(table.contains("worker x3") && table.contains("free"), "{table}");
        worker.remove().unwrap();
    });
}

#[test]
fn a_change_under_way_refuses_another_one() {
    on_a_host(|engine, directory| {
        live(engine, idle("worker"));
        let rollout = engine.deploy(idle("worker").env("A", "1")).unwrap();
        let other = host::engine(directory);
        let error = other.deploy(idle("worker").env("A", "2")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InUse);
        assert_eq!(
            error.to_string(),
            "deploying worker: deployment worker is being changed (hint: another rollout of it is under way, in this \
             process or in another: wait for its end)"
        );
        assert_eq!(rollout.finish().unwrap(), Outcome::Complete(2));
        let worker = other.deployment("worker").unwrap();
        assert_eq!(worker.revisions().unwrap().len(), 2);
        worker.remove().unwrap();
    });
}
