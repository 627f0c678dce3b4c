//! What is wrong is named by file, line, service and key, all at once.

use super::*;

/// The lines of the error.
fn problems(text: &str) -> Vec<String> {
    match parse(text) {
        Ok(project) => panic!("taken: {project:?}"),
        Err(error) => {
            assert_eq!(error.kind(), crate::ErrorKind::InvalidInput);
            error
                .to_string()
                .split("; compose.yaml")
                .map(|line| line.trim_start_matches("compose.yaml").to_owned())
                .collect()
        }
    }
}

/// A service with these further keys, the first of which is in line 4.
fn service(keys: &str) -> String {
    let keys: String = keys.lines().map(|line| format!("    {line}\n")).collect();
    format!("services:\n  web:\n    image: a\n{keys}")
}

#[test]
fn every_mistake_in_a_service_has_its_line_and_key() {
    for (keys, expected) in [
        ("privileged: true", "service web: the key privileged is not supported"),
        ("imgae: b", "service web: unknown key \"imgae\""),
        ("ports: [80x]", "service web: ports[0]: port \"80x\": \"80x\" is not a port from 1 to 65535"),
        ("ports: 80", "service web: ports: is text, not a list"),
        (
            "ports: [\"8000-9000:80\"]",
            "service web: ports[0]: port \"8000-9000:80\": the range 8000-9000 has more than 1000 ports",
        ),
        ("ports: [{published: 80}]", "service web: ports[0]: target is missing"),
        ("ports: [{target: 80, app_protocol: http}]", "service web: ports[0]: the key app_protocol is not supported"),
        ("expose: [web]", "service web: expose[0]: \"web\" is not a port from 1 to 65535"),
        (
            "environment: [\"=x\"]",
            "service web: environment[0]: environment variable \"\" has an empty name, a '=' in its name or a NUL byte",
        ),
        ("environment: {A: [b]}", "service web: environment.A: is a list, not text"),
        ("environment: text", "service web: environment: is text, not a map"),
        (
            "env_file: missing.env",
            "service web: env_file: read /srv/My Shop/missing.env: no such file or directory (ENOENT)",
        ),
        (
            "volumes: [/data]",
            "service web: volumes[0]: \"/data\" would be a volume without a name, which is not supported: give it one",
        ),
        ("volumes: [\"db:/data\"]", "service web: volumes[0]: volume db is not among the file's volumes"),
        (
            "volumes: [{type: npipe, target: /a}]",
            "service web: volumes[0].type: \"npipe\" is none of bind, volume and tmpfs",
        ),
        (
            "volumes: [{type: bind, source: /a, target: /b, bind: {propagation: shared}}]",
            "service web: volumes[0].bind: the key propagation is not supported",
        ),
        (
            "tmpfs: \"/run:mode=755\"",
            "service web: tmpfs: the option \"mode=755\" of a tmpfs is not supported: size alone is",
        ),
        ("networks: [other]", "service web: networks[0]: network other is not among the file's networks"),
        ("networks: {default: {aliases: [x]}}", "service web: networks.default: the key aliases is not supported"),
        ("depends_on: [db]", "service web: depends_on[0]: there is no service db"),
        (
            "depends_on: {web: {condition: ready}}",
            "service web: depends_on.web.condition: \"ready\" is none of service_started, service_healthy and service_completed_successfully",
        ),
        ("healthcheck: {interval: 5s}", "service web: healthcheck: test is missing"),
        (
            "healthcheck: {test: [true]}",
            "service web: healthcheck.test: is none of [NONE], [CMD, ...] and [CMD-SHELL, script]",
        ),
        (
            "healthcheck: {test: a, interval: 5}",
            "service web: healthcheck.interval: duration \"5\" is not a sequence of numbers with units h, m, s, ms, us or ns",
        ),
        (
            "healthcheck: {test: a, retries: -1}",
            "service web: healthcheck.retries: \"-1\" is not a number from 0 to 4294967295",
        ),
        (
            "healthcheck: {test: a, start_interval: 5s}",
            "service web: healthcheck: the key start_interval is not supported",
        ),
        ("deploy: {mode: global}", "service web: deploy.mode: only \"replicated\" is supported: there is one machine"),
        ("deploy: {replicas: many}", "service web: deploy.replicas: \"many\" is not a number from 0 to 4294967295"),
        ("deploy: {placement: {}}", "service web: deploy: the key placement is not supported"),
        (
            "deploy: {resources: {limits: {memory: lots}}}",
            "service web: deploy.resources.limits.memory: memory amount \"lots\" is not a number with an optional unit b, k, m, g or t",
        ),
        (
            "deploy: {update_config: {max_failure_ratio: 0.5}}",
            "service web: deploy.update_config.max_failure_ratio: only 0 is supported: the first failure is a failure of the revision",
        ),
        (
            "deploy: {update_config: {failure_action: continue}}",
            "service web: deploy.update_config.failure_action: continue is not supported: a revision that fails is not rolled out further",
        ),
        (
            "deploy: {rollback_config: {order: start-first}}",
            "service web: deploy.rollback_config: order: must be that of update_config, since a rollback goes as an update does",
        ),
        (
            "deploy: {restart_policy: {window: 5s}}",
            "service web: deploy.restart_policy.window: only 10s is supported: a command that has run for 10 s has started",
        ),
        (
            "restart: sometimes",
            "service web: restart: \"sometimes\" is none of no, always, unless-stopped and on-failure[:N]",
        ),
        ("read_only: yes", "service web: read_only: \"yes\" is neither true nor false"),
        (
            "command: a && b",
            "service web: command: '&' is for a shell, and none runs: quote it, or write [\"/bin/sh\", \"-c\", \"...\"]",
        ),
        ("command: [a, [b]]", "service web: command[1]: is a list, not text"),
        ("user: {}", "service web: user: is a map, not text"),
        ("working_dir: srv", "service web: working_dir: \"srv\" is not an absolute path"),
        (
            "stop_grace_period: soon",
            "service web: stop_grace_period: duration \"soon\" is not a sequence of numbers with units h, m, s, ms, us or ns",
        ),
        (
            "labels: {com.docker.compose.project: x}",
            "service web: labels.com.docker.compose.project: the label com.docker.compose.project is Compose's own",
        ),
        ("hostname: $UNSET", "service web: hostname: variable UNSET is not set; set it, or give a default: ${UNSET:-}"),
        (
            "hostname: ${UNSET:?no host name}",
            "service web: hostname: variable UNSET is required and not set: no host name",
        ),
        ("build: {context: ., ssh: default}", "service web: build: the key ssh is not supported"),
        (
            "build: https://example.com/x.git",
            "service web: build: \"https://example.com/x.git\" is not a directory: remote contexts are not supported",
        ),
        ("image: b", "\"image\" is there twice; first in line 3"),
    ] {
        let problems = problems(&service(keys));
        assert_eq!(problems, [format!(":4: {expected}")], "{keys}");
    }
}

#[test]
fn every_mistake_about_the_whole_has_its_line() {
    for (text, expected) in [
        ("", ":1: is empty, not a map; compose.yaml:1: there is no service"),
        ("services:\n", ":1: there is no service"),
        ("services: {}\n", ":1: there is no service"),
        ("services:\n  web:\n    command: a\n", ":3: service web: has neither image nor build"),
        (
            "services:\n  web:\n",
            ":2: service web: has neither image nor build; compose.yaml:2: service web: is empty, not a map",
        ),
        ("secrets: {}\nservices: {web: {image: a}}\n", ":1: the key secrets is not supported"),
        ("service: {}\nservices: {web: {image: a}}\n", ":1: unknown key \"service\""),
        (
            "name: My Shop\nservices: {web: {image: a}}\n",
            ":1: name: the project name \"My Shop\" is not lower-case letters, digits, '-' and '_', beginning with a letter or digit",
        ),
        (
            "services: {web: {image: a}}\nvolumes:\n  db: {driver: nfs}\n",
            ":3: volume db: driver: only \"local\" is supported",
        ),
        ("services: {web: {image: a}}\nnetworks:\n  a: {ipam: {}}\n", ":3: network a: the key ipam is not supported"),
        (
            "services:\n  web: {image: a, container_name: x}\n  api: {image: a, container_name: x}\n",
            ":3: service api: another service is called x too",
        ),
        (
            "services:\n  web: {image: a, container_name: x, deploy: {replicas: 2}}\n",
            ":2: service web: container_name: one name cannot be that of 2 replicas",
        ),
        (
            "services:\n  web: {image: a, restart: \"no\", deploy: {replicas: 2}}\n",
            ":2: service web: runs once, so it cannot have 2 replicas",
        ),
        (
            "services:\n  a: {image: a, depends_on: [b]}\n  b: {image: a, depends_on: [c]}\n  c: {image: a, depends_on: [a]}\n  d: {image: a, depends_on: [a]}\n",
            ":2: service a: depends_on: the services wait for each other in a circle: a -> b -> c -> a",
        ),
        (
            "services:\n  a: {image: a, depends_on: [a]}\n",
            ":2: service a: depends_on: the services wait for each other in a circle: a -> a",
        ),
        ("services:\n  web: {image: a}\n---\nservices: {}\n", ":3: there is a second document: a Compose file is one"),
        ("services:\n  web: {image: a\n", ":3: malformed YAML: "),
        ("services:\n\tweb: {}\n", ":2: malformed YAML: "),
    ] {
        let joined = parse(text).unwrap_err().to_string();
        let expected = format!("compose.yaml{expected}");
        assert!(
            joined == expected || (expected.ends_with("YAML: ") && joined.starts_with(&expected)),
            "{text}\n{joined}\n{expected}"
        );
    }
}

#[test]
fn all_problems_are_reported_at_once_in_the_order_of_the_file() {
    let text = "services:
  web:
    image: a
    ports: [nonsense, \"80:0\"]
    privileged: true
    environment:
      A: ${MISSING}
  db:
    user: [x]
networks:
  back: {internal: true}
";
    let expected = [
        ":4: service web: ports[0]: port \"nonsense\": \"nonsense\" is not a port from 1 to 65535",
        ":4: service web: ports[1]: port \"80:0\": \"0\" is not a port from 1 to 65535",
        ":5: service web: the key privileged is not supported",
        ":7: service web: environment.A: variable MISSING is not set",
        ":9: service db: has neither image nor build",
        ":9: service db: user: is a list, not text",
        ":11: network back: the key internal is not supported",
    ];
    let problems = problems(text);
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.starts_with(expected), "{problem}\n{expected}");
    }
}
