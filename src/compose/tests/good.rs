//! Files that are read, beside what the specification says of them.

use super::*;
use crate::cgroup::Limits;
use crate::compose::{Condition, Service, ServiceHealth, ServiceMount};
use crate::container::{Health, Restart};
use crate::deploy::{Guard, OnFailure, Request, Rolling};
use crate::value::{Cpus, Memory, Port};
use std::time::Duration;

/// The one service of a file.
fn service(keys: &str) -> Service {
    let keys: String = keys.lines().map(|line| format!("    {line}\n")).collect();
    let text = format!("services:\n  web:\n    image: a\n{keys}volumes: {{data: }}\n");
    parse(&text).unwrap_or_else(|error| panic!("{error}")).services()[0].clone()
}

#[test]
fn a_whole_file_is_read() {
    let text = r#"
name: shop
x-common: &common
  environment: &env
    LEVEL: info
    UNTOUCHED: ${NOT_LOOKED_AT}
  restart: unless-stopped
services:
  web:
    <<: *common
    build:
      context: ./web
      dockerfile: Dockerfile.prod
      args: {VERSION: 2, FROM_ENV: }
      target: final
    image: shop/web:${TAG:-1}
    environment:
      LEVEL: debug
      SET:
      UNSET:
    depends_on:
      db: {condition: service_healthy}
      migrate: {condition: service_completed_successfully}
    networks: [front, back]
    ports: ["${PORT}:80", {target: 443, published: "8443", host_ip: 127.0.0.1, mode: host}]
    expose: [9000, "9001/udp"]
    labels: [a=b, c]
    x-note: {anything: [goes]}
  migrate:
    image: shop/web
    command: migrate --all
  db:
    image: shop/db
    volumes: ["data:/var/lib/db", "./init:/init:ro", {type: tmpfs, target: /tmp, tmpfs: {size: 16m}}]
    healthcheck: {test: ready, interval: 2s}
volumes:
  data: {labels: {keep: "yes"}}
  theirs: {external: true}
networks:
  front:
  back: {name: backbone, driver: bridge}
"#;
    let project = parse(text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(project.name(), "shop");
    let names: Vec<&str> = project.services().iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["migrate", "db", "web"]);
    let web = project.service("web").unwrap();
    let build = web.build.as_ref().unwrap();
    assert_eq!(build.context, Path::new("/srv/My Shop/web"));
    assert_eq!(build.arguments, BTreeMap::from([("VERSION".into(), "2".into())]));
    assert_eq!((web.image.as_str(), web.full_name.as_str()), ("shop/web:1", "shop-web"));
    let environment = BTreeMap::from([("LEVEL".into(), "debug".into()), ("SET".into(), "value".into())]);
    assert_eq!(web.environment, environment);
    assert_eq!(web.depends_on["db"], Condition::Healthy);
    assert_eq!(web.networks, ["front", "back"]);
    let ports: Vec<String> = web.published.iter().map(ToString::to_string).collect();
    assert_eq!(ports, ["8080:80/tcp", "127.0.0.1:8443:443/tcp"]);
    assert_eq!(web.exposed, [Port::tcp(9000), Port::udp(9001)]);
    assert_eq!(web.labels, BTreeMap::from([("a".into(), "b".into()), ("c".into(), String::new())]));
    assert_eq!((web.restart, web.once), (Restart::always(), false));
    let migrate = project.service("migrate").unwrap();
    assert_eq!((migrate.restart, migrate.once), (Restart::never(), true));
    assert_eq!(migrate.command.as_deref(), Some(&["migrate".to_owned(), "--all".to_owned()][..]));
    let db = project.service("db").unwrap();
    let mounts = [
        ServiceMount::Volume { volume: "data".into(), target: "/var/lib/db".into(), read_only: false },
        ServiceMount::Bind { source: "/srv/My Shop/init".into(), target: "/init".into(), read_only: true },
        ServiceMount::Tmpfs { target: "/tmp".into(), size: Some(Memory::mib(16)) },
    ];
    assert_eq!(db.mounts, mounts);
    let ready = Health::command(["/bin/sh", "-c", "ready"]).every(Duration::from_secs(2));
    assert_eq!(db.health, ServiceHealth::Own(ready));
    assert_eq!(db.networks, ["default"]);
    let volume = &project.volumes()["data"];
    assert_eq!((volume.name.as_str(), volume.external, volume.labels["keep"].as_str()), ("shop_data", false, "yes"));
    assert_eq!((project.volumes()["theirs"].name.as_str(), project.volumes()["theirs"].external), ("theirs", true));
    let networks: Vec<(&str, &str)> =
        project.networks().iter().map(|(key, name)| (key.as_str(), name.as_str())).collect();
    assert_eq!(networks, [("back", "backbone"), ("default", "shop_default"), ("front", "shop_front")]);
}

#[test]
fn what_a_file_does_not_say_is_what_the_specification_says() {
    let web = service("{}".trim_matches(['{', '}']));
    assert_eq!((web.replicas, web.once, web.restart), (1, false, Restart::always()));
    assert_eq!((web.full_name.as_str(), web.networks.as_slice()), ("myshop-web", &["default".to_owned()][..]));
    assert_eq!((web.command, web.entrypoint, web.init), (None, None, None));
    assert_eq!((web.stop_grace, web.health), (Duration::from_secs(10), ServiceHealth::Image));
    let guard = Guard::default().on_failure(OnFailure::Pause);
    assert_eq!(web.rollout, Rolling { surge: 0, unavailable: 1, guard }.into());
}

#[test]
fn commands_are_lists_or_strings_and_empty_ones_clear_the_images() {
    for (keys, expected) in [
        ("command: a 'b c' d", Some(vec!["a", "b c", "d"])),
        ("command: [a, b c]", Some(vec!["a", "b c"])),
        ("command: []", Some(vec![])),
        ("command: ''", Some(vec![])),
        ("command:", None),
        ("command: [\"echo\", \"$$HOME\"]", Some(vec!["echo", "$HOME"])),
        ("command: >\n  a\n  b", Some(vec!["a", "b"])),
    ] {
        let expected = expected.map(|words| words.into_iter().map(str::to_owned).collect());
        assert_eq!(service(keys).command, expected, "{keys}");
    }
}

#[test]
fn deploy_becomes_limits_requests_rollouts_and_restarts() {
    let web = service(
        "deploy:
  mode: replicated
  endpoint_mode: vip
  replicas: ${COUNT}
  resources:
    limits: {cpus: '0.50', memory: 50M, pids: 10}
    reservations: {cpus: 0.25, memory: 20M}
  update_config: {parallelism: 2, delay: 10s, failure_action: rollback, monitor: 5s, max_failure_ratio: 0, order: start-first}
  rollback_config: {parallelism: 2, delay: 10s, order: start-first}
  restart_policy: {condition: on-failure, delay: 5s, max_attempts: 3, window: 10s}",
    );
    assert_eq!(web.replicas, 3);
    assert_eq!(web.limits, Limits::new().cpus(Cpus::millis(500)).memory(Memory::mib(50)).pids(10));
    assert_eq!(web.request, Request::new().cpus(Cpus::millis(250)).memory(Memory::mib(20)));
    let guard = Guard::default().crashes(1).minimum_healthy_time(Duration::from_secs(10));
    assert_eq!(web.rollout, Rolling { surge: 2, unavailable: 0, guard }.into());
    let five = Duration::from_secs(5);
    assert_eq!(web.restart, Restart::on_failure().delay(five, five).most(3));
    let all = service("deploy: {replicas: 4, update_config: {parallelism: 0}}");
    let guard = Guard::default().crashes(1).on_failure(OnFailure::Pause);
    assert_eq!(all.rollout, Rolling { surge: 0, unavailable: 4, guard }.into());
    let old = service("cpus: 1.5\nmem_limit: 1gb\npids_limit: 5\nrestart: on-failure:4");
    assert_eq!(old.limits, Limits::new().cpus(Cpus::millis(1500)).memory(Memory::gib(1)).pids(5));
    assert_eq!(old.restart, Restart::on_failure().most(4));
}

#[test]
fn restart_and_health_have_their_words() {
    for (keys, restart, once) in [
        ("restart: \"no\"", Restart::never(), true),
        ("restart: no", Restart::never(), true),
        ("restart: always", Restart::always(), false),
        ("restart: on-failure", Restart::on_failure(), false),
        ("deploy: {restart_policy: {condition: none}}", Restart::never(), true),
        ("deploy: {restart_policy: {}}", Restart::always(), false),
    ] {
        let web = service(keys);
        assert_eq!((web.restart, web.once), (restart, once), "{keys}");
    }
    let shell = |script: &str| ServiceHealth::Own(Health::command(["/bin/sh", "-c", script]));
    for (check, expected) in [
        ("test: curl -f localhost", shell("curl -f localhost")),
        ("test: [CMD-SHELL, a || b]", shell("a || b")),
        ("test: [CMD, a, b]", ServiceHealth::Own(Health::command(["a", "b"]))),
        ("test: [NONE]", ServiceHealth::Disabled),
        ("disable: true", ServiceHealth::Disabled),
    ] {
        assert_eq!(service(&format!("healthcheck:\n  {check}")).health, expected, "{check}");
    }
    let web = service("healthcheck: {test: a, interval: 1m30s, timeout: 10s, retries: 5, start_period: 40s}");
    let seconds = Duration::from_secs;
    let health = Health::command(["/bin/sh", "-c", "a"]).every(seconds(90)).timeout(seconds(10)).retries(5);
    assert_eq!(web.health, ServiceHealth::Own(health.start_period(seconds(40))));
}

#[test]
fn files_of_variables_come_before_the_environment() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(".env"), "TAG=7\nSET=from-file\n").unwrap();
    std::fs::write(directory.path().join("one.env"), "A=1\nB=1\nSET\n").unwrap();
    std::fs::write(directory.path().join("two.env"), "B=2 # comment\nC='$SET'\nD=$TAG\n").unwrap();
    let text = "name: x\nservices:\n  web:\n    image: a:$TAG\n    env_file: [one.env, {path: two.env}, \
                {path: none.env, required: false}]\n    environment: [C=3]\n";
    std::fs::write(directory.path().join("compose.yaml"), text).unwrap();
    let project = Project::load(directory.path()).unwrap();
    let web = &project.services()[0];
    assert_eq!(web.image, "a:7");
    let pairs = [("A", "1"), ("B", "2"), ("C", "3"), ("D", "7"), ("SET", "from-file")];
    assert_eq!(web.environment, pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    std::fs::write(directory.path().join("two.env"), "B=2\nC='x\n").unwrap();
    let error = Project::load(directory.path().join("compose.yaml")).unwrap_err().to_string();
    let expected = "compose.yaml:5: service web: env_file[1].path: two.env:2: the quote ' is not closed";
    assert!(error.ends_with(expected), "{error}");
    assert_eq!(Project::load(directory.path().join("none")).unwrap_err().kind(), crate::ErrorKind::NotFound);
}

#[test]
fn the_name_comes_from_the_environment_the_file_or_the_directory() {
    let name = |text: &str, directory: &str, environment: &[(&str, &str)]| {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Project::parse(text, directory, &environment).unwrap().name().to_owned()
    };
    let text = "name: ${N:-file}\nservices: {web: {image: 'a:${COMPOSE_PROJECT_NAME}'}}\n";
    assert_eq!(name(text, "/a/b", &[]), "file");
    assert_eq!(name(text, "/a/b", &[("N", "n")]), "n");
    assert_eq!(name(text, "/a/b", &[("COMPOSE_PROJECT_NAME", "e")]), "e");
    assert_eq!(name("services: {web: {image: a}}", "/a/_My.Shop-2", &[]), "myshop-2");
}
