//! Compose files as a whole: up, ps, logs, changes, down, and what is left.

#[path = "support/host.rs"]
mod host;
#[path = "support/namespace.rs"]
mod namespace;

use coracle::compose::{self, Project, ProjectEvent};
use coracle::{ContainerState, Engine, ErrorKind, HealthState, RolloutEvent};
use std::collections::BTreeMap;
use std::path::Path;

/// An engine with the image `test/sh` in a fresh directory, on a host of its own.
fn on_a_host(test: impl FnOnce(&Engine, &Path) + Send) {
    host::on_a_host(|engine, directory| {
        let programs = ["/bin/sh", "/bin/sleep", "/bin/cat", "/bin/ls"];
        engine.image_builder().from_host(programs).unwrap().tag("test/sh").commit().unwrap();
        test(engine, directory);
    });
}

fn project(text: &str, directory: &Path) -> Project {
    Project::parse(text, directory, &BTreeMap::new()).unwrap_or_else(|error| panic!("{error}"))
}

/// Brings it up; what happened, a line each.
fn up(engine: &Engine, project: &Project) -> Vec<ProjectEvent> {
    let mut events = Vec::new();
    compose::up(engine, project).on_event(|event| events.push(event.clone())).run().unwrap();
    events
}

fn down(engine: &Engine, project: &Project) {
    compose::down(engine, project).volumes(true).remove_orphans(true).run().unwrap();
    assert!(engine.containers().unwrap().is_empty());
    assert!(engine.deployments().unwrap().is_empty());
    assert!(engine.volumes().unwrap().is_empty());
}

const SHOP: &str = r#"
name: shop
services:
  web:
    image: test/sh
    command: ["/bin/sh", "-c", "cat /data/migrated; echo $$NAME is up; trap 'exit 0' TERM; while :; do sleep 0.05; done"]
    environment: {NAME: web}
    volumes: ["data:/data:ro"]
    depends_on:
      migrate: {condition: service_completed_successfully}
      worker: {condition: service_healthy}
    deploy: {replicas: 2, update_config: {order: start-first, failure_action: rollback}}
  migrate:
    image: test/sh
    command: ["/bin/sh", "-c", "echo version 1 > /data/migrated; echo migrated"]
    volumes: ["data:/data"]
    restart: "no"
  worker:
    image: test/sh
    command: ["/bin/sh", "-c", "echo worker; trap 'exit 0' TERM; while :; do sleep 0.05; done"]
    healthcheck: {test: ["CMD", "/bin/ls", "/"], interval: 1s}
volumes:
  data:
"#;

#[test]
fn a_project_comes_up_in_order_changes_what_changed_and_goes_without_a_trace() {
    on_a_host(|engine, directory| {
        let shop = project(SHOP, directory);
        let events = up(engine, &shop);
        let place = |wanted: &dyn Fn(&ProjectEvent) -> bool| {
            events.iter().position(wanted).unwrap_or_else(|| panic!("{events:#?}"))
        };
        let of = |event: &ProjectEvent, name: &str| matches!(event, ProjectEvent::Rollout { service, event: RolloutEvent::Accepted { .. } } if service == name);
        let completed = place(&|event| matches!(event, ProjectEvent::Completed { service } if service == "migrate"));
        assert!(completed < place(&|event| of(event, "web")));
        assert!(place(&|event| of(event, "worker")) < place(&|event| of(event, "web")));

        let processes = compose::ps(engine, &shop).unwrap();
        let table = processes.to_string();
        let services: Vec<&str> = processes.iter().map(|process| process.service.as_str()).collect();
        assert_eq!(services, ["migrate", "worker", "web", "web"], "{table}");
        assert!(table.starts_with("SERVICE  REPLICA"), "{table}");
        for process in processes.iter() {
            let running = matches!(process.state, ContainerState::Running(_));
            assert_eq!(running, process.service != "migrate", "{table}");
            let health = if process.service == "worker" { HealthState::Healthy } else { HealthState::Unchecked };
            assert_eq!(process.health, health, "{table}");
        }
        let mut lines: Vec<String> = compose::logs(engine, &shop, []).map(|line| line.unwrap().to_string()).collect();
        lines.sort();
        let expected = [
            "migrate-1 | migrated",
            "web-1 | version 1",
            "web-1 | web is up",
            "web-2 | version 1",
            "web-2 | web is up",
            "worker-1 | worker",
        ];
        assert_eq!(lines, expected);
        let followed = compose::logs(engine, &shop, ["worker"]).follow().next().unwrap().unwrap();
        assert_eq!(followed.to_string(), "worker-1 | worker");

        // Once more: nothing changes.
        let ids = || -> Vec<String> {
            engine.containers().unwrap().iter().map(|container| container.id().to_string()).collect()
        };
        let before = ids();
        let unchanged = up(engine, &shop);
        let count = unchanged.iter().filter(|event| matches!(event, ProjectEvent::Unchanged { .. })).count();
        assert_eq!((count, ids()), (3, before.clone()), "{unchanged:#?}");

        // One service changes, another one is gone from the file.
        let text = SHOP.replace("NAME: web", "NAME: shop").replace("echo migrated", "echo migrated again");
        let changed = project(&text, directory);
        let worker = |ids: Vec<String>| ids.into_iter().filter(|id| before.contains(id)).count();
        up(engine, &changed);
        assert_eq!(worker(ids()), 1, "only the worker stays");
        let lines: Vec<String> =
            compose::logs(engine, &changed, ["migrate"]).map(|line| line.unwrap().to_string()).collect();
        assert_eq!(lines, ["migrate-1 | migrated again"]);

        let (without, _) = SHOP.split_once("  worker:\n    image").unwrap();
        let without =
            format!("{}volumes: {{data: }}\n", without.replace("      worker: {condition: service_healthy}\n", ""));
        let without = project(&without, directory);
        let events = up(engine, &without);
        assert!(events.iter().any(|event| matches!(event, ProjectEvent::Orphan { name } if name == "shop-worker")));
        assert!(engine.deployment("shop-worker").is_ok());
        compose::up(engine, &without).remove_orphans(true).run().unwrap();
        assert_eq!(engine.deployment("shop-worker").unwrap_err().kind(), ErrorKind::NotFound);
        down(engine, &shop);
    });
}

#[test]
fn what_is_missing_is_said_before_anything_is_changed() {
    on_a_host(|engine, directory| {
        let alone = |rest: &str| project(&format!("name: a\nservices:\n  web:\n    image: test/sh\n{rest}"), directory);
        for (project, expected) in [
            (alone("  api: {image: test/none}\n"), "service api: image test/none is not in the store"),
            (
                alone("    depends_on: {db: {condition: service_healthy}}\n  db: {image: test/sh}\n"),
                "service web: waits for db to be healthy, which has no health check",
            ),
            (
                alone("    volumes: [\"theirs:/data\"]\nvolumes: {theirs: {external: true}}\n"),
                "volume theirs: there is no volume theirs, and it is external",
            ),
        ] {
            let error = compose::up(engine, &project).run().unwrap_err();
            assert!(error.to_string().starts_with(expected), "{error}");
            assert!(engine.containers().unwrap().is_empty() && engine.deployments().unwrap().is_empty());
        }
    });
}

#[test]
fn what_has_to_complete_and_fails_keeps_the_others_from_starting() {
    on_a_host(|engine, directory| {
        let text = "name: b\nservices:\n  web:\n    image: test/sh\n    command: [/bin/sleep, '1000']\n    depends_on: \
                    {job: {condition: service_completed_successfully}}\n  job:\n    image: test/sh\n    command: \
                    [/bin/sh, -c, 'exit 3']\n";
        let project = project(text, directory);
        for _ in 0..2 {
            let error = compose::up(engine, &project).run().unwrap_err();
            let expected = "service web: job, which has to complete first, exited with 3 (hint: its log says why)";
            assert_eq!(error.to_string(), expected);
            assert_eq!(error.kind(), ErrorKind::CommandFailed);
            assert!(engine.deployments().unwrap().is_empty());
        }
        down(engine, &project);
    });
}

#[test]
fn an_image_is_built_where_it_is_missing() {
    on_a_host(|engine, directory| {
        std::fs::create_dir(directory.join("app")).unwrap();
        std::fs::write(directory.join("app/greeting"), "hello\n").unwrap();
        let dockerfile = "ARG BASE\nFROM ${BASE}\nCOPY greeting /greeting\nENTRYPOINT [\"/bin/ls\"]\nCMD [\"/bin/cat\", \"/greeting\"]\n";
        std::fs::write(directory.join("app/Containerfile"), dockerfile).unwrap();
        let text = "name: c\nservices:\n  app:\n    build: {context: ./app, dockerfile: Containerfile, args: [BASE=test/sh]}\n    entrypoint: []\n    restart: 'no'\n";
        let project = project(text, directory);
        let events = up(engine, &project);
        assert!(events.iter().any(|event| matches!(event, ProjectEvent::Build { .. })), "{events:#?}");
        let container = engine.find_container("c-app-1").unwrap();
        container.wait().unwrap();
        let lines: Vec<String> = compose::logs(engine, &project, []).map(|line| line.unwrap().to_string()).collect();
        assert_eq!(lines, ["app-1 | hello"]);
        assert!(!up(engine, &project).iter().any(|event| matches!(event, ProjectEvent::Build { .. })));
        down(engine, &project);
    });
}

/// Two projects with the same file but for its name.
fn with_a_web_server(name: &str, directory: &Path) -> Project {
    let text = format!(
        r#"
name: {name}
services:
  web:
    image: test/busybox
    command: ["/bin/busybox", "sh", "-c", "echo {name} > /index.html; exec /bin/busybox httpd -f -p 8000"]
    expose: [8000]
    networks: [front]
    deploy: {{replicas: 2}}
    healthcheck: {{test: ["CMD", "/bin/busybox", "wget", "-qO", "/dev/null", "http://127.0.0.1:8000/"], interval: 1s}}
  near:
    image: test/busybox
    command: ["/bin/busybox", "wget", "-qO-", "http://web:8000/"]
    networks: [front, back]
    depends_on: {{web: {{condition: service_healthy}}}}
    restart: "no"
  far:
    image: test/busybox
    command: ["/bin/busybox", "sh", "-c", "/bin/busybox wget -T 2 -qO- http://web:8000/ 2>/dev/null || echo unreachable"]
    networks: [back]
    depends_on: [web]
    restart: "no"
networks: {{front: , back: }}
"#
    );
    project(&text, directory)
}

#[test]
fn services_find_each_other_by_name_in_their_own_project_and_networks() {
    on_a_host(|engine, directory| {
        engine.image_builder().from_host(["/bin/busybox"]).unwrap().tag("test/busybox").commit().unwrap();
        let projects = ["one", "two"].map(|name| with_a_web_server(name, directory));
        for project in &projects {
            up(engine, project);
        }
        for project in &projects {
            for (service, expected) in [("near", project.name()), ("far", "unreachable")] {
                engine.find_container(&format!("{}-{service}-1", project.name())).unwrap().wait().unwrap();
                let lines: Vec<String> =
                    compose::logs(engine, project, [service]).map(|line| line.unwrap().to_string()).collect();
                assert_eq!(lines, [format!("{service}-1 | {expected}")]);
            }
        }
        compose::down(engine, &projects[0]).run().unwrap();
        assert!(engine.deployment("one-web").is_err() && engine.deployment("two-web").is_ok());
        down(engine, &projects[1]);
    });
}

/// Says to a copy of this program that it is to bring the shop up, and where.
const HOST: &str = "CORACLE_TEST_COMPOSE_HOST";

/// The body of the host that is killed.
#[test]
fn host_to_be_killed() {
    let Some(directory) = std::env::var_os(HOST) else { return };
    let directory = Path::new(&directory);
    let _ = compose::up(&host::engine(directory), &project(SHOP, directory)).run();
}

#[test]
fn a_host_killed_while_it_brings_a_project_up_is_followed_by_one_that_finishes() {
    on_a_host(|first, directory| {
        for pause in [100, 700, 1500, 2500] {
            let mut host = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "host_to_be_killed"])
                .env(HOST, directory)
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(std::time::Duration::from_millis(pause));
            host.kill().unwrap();
            host.wait().unwrap();
            let (engine, shop) = (host::engine(directory), project(SHOP, directory));
            up(&engine, &shop);
            let processes = compose::ps(&engine, &shop).unwrap();
            let running =
                processes.iter().filter(|process| matches!(process.state, ContainerState::Running(_))).count();
            assert_eq!(running, 3, "killed after {pause} ms:\n{processes}");
            down(first, &shop);
        }
    });
}

#[test]
fn a_version_that_fails_is_an_error_and_the_last_one_goes_on() {
    on_a_host(|engine, directory| {
        let version = |command: &str| {
            let text = format!(
                "name: d\nservices:\n  web:\n    image: test/sh\n    command: [/bin/sh, -c, '{command}']\n    deploy: \
                 {{replicas: 2, update_config: {{order: start-first, failure_action: rollback, monitor: 1s}}}}\n"
            );
            project(&text, directory)
        };
        let good = version("trap \"exit 0\" TERM; while :; do sleep 0.05; done");
        up(engine, &good);
        let error = compose::up(engine, &version("exit 7")).run().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CommandFailed);
        let expected = "service web: back on revision 1: revision 2 failed (a replica crashed: exited with 7)";
        assert_eq!(error.to_string(), expected);
        let status = engine.deployment("d-web").unwrap().status().unwrap();
        assert_eq!((status.revision, status.available()), (1, 2));
        assert_eq!(compose::ps(engine, &good).unwrap().iter().count(), 2);
        down(engine, &good);
    });
}
