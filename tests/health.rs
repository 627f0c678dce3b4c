//! Health checks by keepers: what they find, when they judge, and that nothing a container does disturbs them.

#[path = "support/ground.rs"]
mod ground;
#[path = "support/namespace.rs"]
mod namespace;
#[path = "support/program.rs"]
mod program;
#[path = "support/scratch.rs"]
mod scratch;
#[cfg(target_arch = "x86_64")]
#[path = "support/tiny.rs"]
mod tiny;

use coracle::cgroup::Limits;
use coracle::{Container, ErrorKind, Health, HealthState, Memory, Network, Restart};
use ground::{Ground, until, until_health};
use namespace::in_network_namespace;
use std::collections::BTreeMap;
use std::time::Duration;

fn often(health: Health) -> Health {
    health.every(Duration::from_millis(30)).timeout(Duration::from_secs(20)).retries(2)
}

/// What its last failed check found.
fn finding(container: &Container) -> String {
    container.health().unwrap().finding.unwrap_or_default()
}

#[test]
fn an_http_check_follows_what_the_server_says() {
    in_network_namespace(|| {
        let ground = Ground::new("http");
        let up = ground.shared();
        let container = ground
            .container("httpd -f -p 8000 -h /shared")
            .network(Network::Bridge)
            .health(often(Health::http(8000, "/ready")))
            .detach()
            .unwrap();
        assert_eq!(container.health().unwrap().state, HealthState::Starting);
        until_health(&container, HealthState::Unhealthy);
        until("the server answers", || finding(&container) == "status 404");
        assert!(container.health().unwrap().failures >= 2);
        let before = container.health().unwrap().since;
        std::fs::write(up.join("ready"), "").unwrap();
        until_health(&container, HealthState::Healthy);
        let report = container.health().unwrap();
        assert_eq!((report.failures, report.finding.as_deref()), (0, Some("status 404")));
        assert!(report.since > before);
        std::fs::remove_file(up.join("ready")).unwrap();
        until_health(&container, HealthState::Unhealthy);
        assert_eq!(container.restarts().unwrap(), 0);
    });
}

#[test]
fn a_tcp_check_sees_a_port_that_opens_and_closes() {
    in_network_namespace(|| {
        let ground = Ground::new("tcp");
        let script = "while [ ! -e /shared/go ]; do sleep 0.02; done; httpd -f -p 7 & while [ -e /shared/go ]; do sleep 0.02; done;
            kill $!; sleep 1000";
        let container =
            ground.container(script).network(Network::Bridge).health(often(Health::tcp(7))).detach().unwrap();
        until_health(&container, HealthState::Unhealthy);
        assert_eq!(finding(&container), "connection refused");
        let go = ground.shared().join("go");
        std::fs::write(&go, "").unwrap();
        until_health(&container, HealthState::Healthy);
        std::fs::remove_file(&go).unwrap();
        until_health(&container, HealthState::Unhealthy);
    });
}

#[test]
fn a_command_check_says_what_it_found() {
    let ground = Ground::new("command");
    let container = ground
        .container("sleep 1000")
        .health(often(Health::command([
            "sh",
            "-c",
            "[ -e /shared/fine ] || { printf 'no \\033[1mfine\\nnext'; exit 3; }",
        ])))
        .detach()
        .unwrap();
    until_health(&container, HealthState::Unhealthy);
    assert_eq!(finding(&container), "exit status 3: no ?[1mfine");
    std::fs::write(ground.shared().join("fine"), "").unwrap();
    until_health(&container, HealthState::Healthy);
    let other = ground.container("sleep 1000").health(often(Health::command(["/no/such"]))).detach().unwrap();
    until_health(&other, HealthState::Unhealthy);
    assert_eq!(finding(&other), "execute the command: no such file or directory");
    let other = ground.container("sleep 1000").health(often(Health::command(["sh", "-c", "kill -9 $$"]))).detach();
    let other = other.unwrap();
    until_health(&other, HealthState::Unhealthy);
    assert_eq!(finding(&other), "killed by signal 9");
}

#[test]
fn a_check_that_takes_too_long_is_killed_with_what_it_started() {
    let ground = Ground::new("timeout");
    let health = often(Health::command(["sh", "-c", "echo > /shared/begun; yes & sleep 1000"]));
    let limits = Limits::new().pids(20);
    let container = ground
        .container("sleep 1000")
        .limits(limits)
        .health(health.timeout(Duration::from_millis(200)).retries(1))
        .detach()
        .unwrap();
    until_health(&container, HealthState::Unhealthy);
    assert_eq!(finding(&container), "timed out");
    // A dozen of them one after the other leave no process behind.
    let begun = ground.shared().join("begun");
    for _ in 0..12 {
        std::fs::remove_file(&begun).unwrap();
        until("the next check begins", || begun.exists());
    }
    let running = container.stats().unwrap().pids.current;
    assert!(running <= 6, "{running} processes");
    assert_eq!(finding(&container), "timed out");
}

#[test]
fn failures_in_the_start_period_do_not_count() {
    let ground = Ground::new("period");
    let health = often(Health::command(["sh", "-c", "echo x >> /shared/asked; [ -e /shared/fine ]"])).retries(1);
    let container =
        ground.container("sleep 1000").health(health.start_period(Duration::from_secs(1000))).detach().unwrap();
    let upper = ground.shared();
    until("ten checks", || std::fs::read(upper.join("asked")).is_ok_and(|asked| asked.len() >= 20));
    let report = container.health().unwrap();
    assert_eq!((report.state, report.failures), (HealthState::Starting, 0));
    std::fs::write(upper.join("fine"), "").unwrap();
    until_health(&container, HealthState::Healthy);
    // One success ends the period.
    std::fs::remove_file(upper.join("fine")).unwrap();
    until_health(&container, HealthState::Unhealthy);
}

/// Of all that bounds a process: one line each.
const CONFINEMENT: &str = "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp:|Sig(Pnd|Blk|Ign|Cgt))' /proc/self/status
    cat /proc/self/cgroup /proc/self/limits /proc/self/oom_score_adj /proc/self/uid_map; umask; readlink /proc/self/cwd
    for ns in mnt pid net ipc uts cgroup user; do readlink /proc/self/ns/$ns; done; readlink /proc/self/root; env | grep -v SHLVL
    ls /proc/self/fd | grep -v -x -E '0|1|2|3' | head; readlink /proc/self/fd/0 | grep -o '/null$'";

/// The confinement that the container's command and that its check have found.
fn confinements(ground: &Ground, container: &Container) -> [String; 2] {
    until_health(container, HealthState::Healthy);
    let upper = ground.directory(container).join("upper/srv");
    ["payload", "check"].map(|name| std::fs::read_to_string(upper.join(name)).unwrap())
}

fn confined(builder: coracle::ContainerBuilder) -> coracle::ContainerBuilder {
    let check = format!("[ -e /srv/payload ] && ({CONFINEMENT}) > /srv/aside && mv /srv/aside /srv/check");
    builder
        .command([
            "/bin/sh",
            "-c",
            &format!("mkdir -p /srv; ({CONFINEMENT}) > /srv/first; mv /srv/first /srv/payload; sleep 1000"),
        ])
        .env("SOME", "thing")
        .health(often(Health::command(["/bin/sh", "-c", &check])))
}

#[test]
fn a_command_check_is_confined_as_the_container_is() {
    in_network_namespace(|| {
        let ground = Ground::new("confined");
        let limits = Limits::new().memory(Memory::mib(64)).pids(32);
        let start = |builder: coracle::ContainerBuilder| {
            let builder = confined(builder.network(Network::Bridge).workdir("/srv"));
            confinements(&ground, &builder.detach().unwrap())
        };
        let with_init = start(ground.container("").limits(limits));
        let alone = start(ground.container("").init(false));
        let open = start(ground.container("").seccomp(false).capabilities(coracle::CapabilitySet::EMPTY));
        for [payload, check] in [with_init, alone, open] {
            assert!(payload.contains("NoNewPrivs:\t1") && payload.contains("SOME=thing"), "{payload}");
            assert_same(&payload, &check);
        }
    });
}

#[test]
fn no_process_with_more_rights_than_theirs_is_seen_within() {
    let ground = Ground::new("rights");
    // Every process that it can see, over and over, without making one.
    let script = "while :; do for place in /proc/[0-9]*; do
        while read key value; do case $key$value in CapEff:0000000000000000 | CapPrm:0000000000000000) ;;
            CapEff:* | CapPrm:*) echo $place $value >> /shared/seen;; esac; done < $place/status; done; done 2> /dev/null";
    let check = "echo x >> /shared/asked; [ $(ls -l /shared/asked | { read a b c d size e; echo $size; }) -gt 600 ]";
    let container = ground
        .container(script)
        .capabilities(coracle::CapabilitySet::EMPTY)
        .health(often(Health::command(["sh", "-c", check])).every(Duration::from_millis(1)))
        .detach()
        .unwrap();
    until_health(&container, HealthState::Healthy);
    assert_eq!(std::fs::read_to_string(ground.shared().join("seen")).unwrap_or_default(), "");
}

#[test]
fn rootless_command_checks_are_confined_as_the_container_is() {
    let ground = Ground::new("rootless");
    for init in [true, false] {
        let container = confined(ground.container("").init(init)).detach().unwrap();
        let [payload, check] = confinements(&ground, &container);
        assert!(payload.contains("NoNewPrivs:\t1"), "{payload}");
        assert_same(&payload, &check);
    }
}

fn assert_same(payload: &str, check: &str) {
    let different: Vec<_> = payload.lines().zip(check.lines()).filter(|(one, other)| one != other).collect();
    assert!(
        different.is_empty() && payload.lines().count() == check.lines().count(),
        "{different:?}\n{payload}\n{check}"
    );
}

#[test]
fn rootless_containers_on_the_hosts_network_are_asked_at_its_loopback() {
    let ground = Ground::new("loopback");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let builder = ground.container("sleep 1000").network(Network::Host);
    let container = builder.health(often(Health::tcp(port))).detach().unwrap();
    until_health(&container, HealthState::Healthy);
    drop(listener);
    until_health(&container, HealthState::Unhealthy);
    assert_eq!(finding(&container), "connection refused");
}

#[test]
fn a_hostile_server_fails_its_check_and_disturbs_nothing() {
    in_network_namespace(|| {
        let ground = Ground::new("hostile");
        for (name, server, expected) in [
            ("garbage", "nc -l -p 80 -e /bin/echo SSH-2.0", "the answer is not HTTP/1"),
            ("flood", "nc -l -p 80 -e /bin/yes", "the answer is not HTTP/1"),
            ("hang", "nc -l -p 80 -e /bin/sleep 1000", "timed out"),
            ("endless", "nc -l -p 80 -e /bin/sh -c 'printf HTTP/1.1; sleep 1000'", "timed out"),
            ("close", "nc -l -p 80 -e /bin/echo -n", "closed without an answer"),
            ("error", "nc -l -p 80 -e /bin/echo HTTP/1.1 500 no", "status 500"),
        ] {
            let container = ground
                .container(&format!("echo up; while :; do {server} < /dev/null; done"))
                .network(Network::Bridge)
                .health(often(Health::http(80, "/")).timeout(Duration::from_millis(300)).retries(1))
                .detach()
                .unwrap();
            // Between two servers nobody listens for a moment.
            until(name, || finding(&container) == expected);
            assert_ne!(container.health().unwrap().state, HealthState::Healthy, "{name}");
            let exit = container.stop(Duration::ZERO).unwrap();
            assert!(!exit.failed_to_start && exit.status != coracle::ExitStatus::Unknown, "{name}: {exit:?}");
        }
    });
}

/// A check is a child of the keeper, and so can make more children of the keeper than there are of its own.
#[test]
#[cfg(target_arch = "x86_64")]
fn a_check_that_makes_children_of_its_keeper_disturbs_nothing() {
    // clone(CLONE_PARENT | SIGCHLD) for ever; each child exits at once.
    const CODE: &[u8] = &[
        0xb8, 56, 0, 0, 0, 0xbf, 0x11, 0x80, 0, 0, 0x31, 0xf6, 0x31, 0xd2, 0x4d, 0x31, 0xd2, 0x4d, 0x31, 0xc0, 0x0f,
        0x05, 0x85, 0xc0, 0x75, 0xe6, 0xb8, 231, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05,
    ];
    let ground = Ground::new("children");
    let program = ground.shared().join("children");
    tiny::tiny_program(&program);
    // The header says twice how long the file is (elf(5): p_filesz, p_memsz).
    let mut elf = std::fs::read(&program).unwrap()[..120].to_vec();
    elf.extend_from_slice(CODE);
    let size = (elf.len() as u64).to_le_bytes();
    [96, 104].into_iter().for_each(|at: usize| elf[at..at + 8].copy_from_slice(&size));
    std::fs::write(&program, elf).unwrap();
    // Nothing of what the payload does needs a process: those that are left over take all that it may have.
    nix::unistd::mkfifo(&ground.shared().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let health = often(Health::command(["/shared/children"])).timeout(Duration::from_millis(500)).retries(1);
    let script = "i=0; while [ $i -lt 50000 ]; do echo $i; i=$((i+1)); done; read x < /shared/fifo";
    let container = ground.container(script).limits(Limits::new().pids(30)).health(health).detach().unwrap();
    let mut follow = container.logs().follow();
    for number in 0..50_000 {
        assert_eq!(follow.next().unwrap().unwrap().to_string(), number.to_string());
    }
    until_health(&container, HealthState::Unhealthy);
    assert_eq!(finding(&container), "timed out");
    container.kill(9).unwrap();
    assert_eq!(container.wait().unwrap().status, coracle::ExitStatus::Signaled(9));
}

#[test]
fn what_makes_no_sense_is_refused_with_all_reasons() {
    let ground = Ground::new("refused");
    let health = Health::http(0, "ready\r\nHost: other").every(Duration::ZERO).retries(0);
    let error = ground.container("sleep 1").health(health).detach().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    for part in ["interval is 0", "retries is 0", "port is 0", "does not begin with /", "without a network"] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    assert!(error.remedy().unwrap().contains("command"), "{error}");
    let restart = Restart::always().delay(Duration::from_secs(2), Duration::from_secs(1));
    let error = ground.container("sleep 1").restart(restart).detach().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(ground.engine.containers().unwrap().is_empty());
}

#[test]
fn the_check_of_an_image_applies_unless_it_is_switched_off() {
    let ground = Ground::new("image");
    let second = Duration::from_secs(1);
    let builder = ground.engine.image_builder().from("test/busybox");
    let builder = builder.health(["sh", "-c", "exit 4"], second / 20, 1);
    let image = builder.tag("test/checked").commit().unwrap();
    let start = || ground.engine.container(&image).command(["sleep", "1000"]).network(Network::None);
    let container = start().detach().unwrap();
    until_health(&container, HealthState::Unhealthy);
    assert_eq!(finding(&container), "exit status 4");
    let container = start().no_health().detach().unwrap();
    assert_eq!(container.health().unwrap().state, HealthState::Unchecked);
    assert!(!ground.directory(&container).join("health").exists());
    let container = start().health(often(Health::command(["true"]))).command(["sh", "-c", "sleep 1000"]);
    let report = container.detach().unwrap().health().unwrap();
    assert_eq!(report.state, HealthState::Starting);
}

/// What a keeper maps, in KiB: private and the rest.
fn memory_of(pid: i32) -> BTreeMap<String, u64> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let number = |line: &str| Some((line.split_once(':')?.0.to_owned(), line.split_whitespace().nth(1)?.parse().ok()?));
    rollup.lines().filter_map(number).collect()
}

#[test]
fn a_keeper_that_checks_is_small() {
    in_network_namespace(|| {
        let ground = Ground::new("small");
        for health in [Health::http(8000, "/"), Health::command(["true"])] {
            let container = ground
                .container("echo > /index.html; httpd -f -p 8000 -h /")
                .network(Network::Bridge)
                .health(often(health))
                .restart(Restart::always())
                .detach()
                .unwrap();
            until_health(&container, HealthState::Healthy);
            let memory = memory_of(ground.keeper(&container));
            let private: u64 = memory.iter().filter(|(name, _)| name.starts_with("Private_")).map(|(_, kib)| kib).sum();
            eprintln!("a keeper with a health check: {private} KiB private, {} KiB in all", memory["Rss"]);
            assert!(private <= 150, "{private} KiB");
        }
    });
}
