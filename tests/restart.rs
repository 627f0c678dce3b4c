//! Restarts by keepers: after which ends, when, with what kept, and never against a stop.

#[path = "support/ground.rs"]
mod ground;
#[path = "support/http.rs"]
mod http;
#[path = "support/namespace.rs"]
mod namespace;
#[path = "support/program.rs"]
mod program;
#[path = "support/scratch.rs"]
mod scratch;

use coracle::cgroup::Limits;
use coracle::{Container, ContainerState, ErrorKind, ExitStatus, Health, HealthState, Memory, Network, Restart};
use ground::{Ground, PATIENCE, open, until, until_health};
use http::http_get_until;
use namespace::in_network_namespace;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_millis(5);

fn soon(restart: Restart) -> Restart {
    restart.delay(SOON, SOON)
}

fn lines(container: &Container) -> Vec<String> {
    container.logs().map(|line| line.unwrap().to_string()).collect()
}

/// Waits until its keeper has started it again `count` times, and it runs; its first process.
fn until_restarted(container: &Container, count: u32) -> i32 {
    let begin = Instant::now();
    loop {
        let (restarts, state) = (container.restarts().unwrap(), container.state().unwrap());
        if let (true, ContainerState::Running(process)) = (restarts >= count, &state) {
            return *process;
        }
        assert!(begin.elapsed() < PATIENCE, "{restarts} restarts instead of {count}, {state:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn each_rule_covers_its_ends() {
    let ground = Ground::new("matrix");
    let script = |end: &str| format!("echo run; {end}");
    let (fine, bad, killed) = (script("exit 0"), script("exit 3"), script("kill -9 $$"));
    let killed_status = ExitStatus::Signaled(9);
    for (restart, script, runs, status) in [
        (Restart::never(), &bad, 1, ExitStatus::Exited(3)),
        (Restart::on_failure().most(2), &fine, 1, ExitStatus::Exited(0)),
        (Restart::on_failure().most(2), &bad, 3, ExitStatus::Exited(3)),
        (Restart::on_failure().most(1), &killed, 2, killed_status),
        (Restart::always().most(3), &fine, 4, ExitStatus::Exited(0)),
        (Restart::always().most(0), &bad, 1, ExitStatus::Exited(3)),
    ] {
        for init in [true, false] {
            // Without an init the command cannot kill itself.
            let builder = ground.container(script).init(init || *script == killed);
            let container = builder.restart(soon(restart)).detach().unwrap();
            let exit = container.wait().unwrap();
            assert_eq!((exit.status, exit.failed_to_start), (status, false), "{restart:?}");
            assert_eq!(lines(&container), vec!["run"; runs], "{restart:?}");
            assert_eq!(container.restarts().unwrap() as usize, runs - 1, "{restart:?}");
            assert_eq!(container.health().unwrap().state, HealthState::Unchecked);
            container.remove().unwrap();
        }
    }
}

#[test]
fn pauses_double_up_to_the_longest() {
    let ground = Ground::new("pauses");
    let restart = Restart::always().most(4).delay(Duration::from_millis(100), Duration::from_millis(400));
    let container = ground.container("echo run").restart(restart).detach().unwrap();
    container.wait().unwrap();
    let times: Vec<_> = container.logs().map(|line| line.unwrap().time).collect();
    assert_eq!(times.len(), 5);
    let since = |pair: &[coracle::Timestamp]| {
        let nanoseconds =
            |time: coracle::Timestamp| i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanoseconds);
        (nanoseconds(pair[1]) - nanoseconds(pair[0])) / 1_000_000
    };
    for (pair, least) in times.windows(2).zip([100, 200, 400, 400]) {
        assert!(since(pair) >= least - 2 && since(pair) < least + 20_000, "{} ms instead of {least}", since(pair));
    }
}

#[test]
fn a_stop_between_two_runs_ends_it_as_it_was() {
    let ground = Ground::new("between");
    let hour = Duration::from_secs(3600);
    let container = ground.container("exit 7").restart(Restart::always().delay(hour, hour)).detach().unwrap();
    until("it rests", || matches!(container.state().unwrap(), ContainerState::Restarting { .. }));
    let ContainerState::Restarting { last } = container.state().unwrap() else { panic!("it does not rest") };
    assert_eq!(last.status, ExitStatus::Exited(7));
    assert!(!container.is_running().unwrap());
    assert_eq!(container.clone().remove().unwrap_err().kind(), ErrorKind::InUse);
    container.kill(9).unwrap();
    assert_eq!(container.wait_for(Duration::from_millis(50)).unwrap(), None);
    let begin = Instant::now();
    let exit = container.stop(hour).unwrap();
    assert!(begin.elapsed() < PATIENCE);
    assert_eq!((exit.status, exit.finished), (ExitStatus::Exited(7), last.finished));
    container.remove().unwrap();
}

#[test]
fn a_stop_is_never_followed_by_a_restart() {
    let ground = Ground::new("race");
    for round in 0..60u64 {
        let (script, restart) = match round % 3 {
            0 => ("exit 1", Restart::always().delay(Duration::ZERO, Duration::ZERO)),
            1 => ("sleep 0.01; exit 1", Restart::on_failure().delay(SOON, SOON)),
            _ => ("trap 'exit 5' TERM; echo up; while :; do sleep 0.005; done", soon(Restart::always())),
        };
        let container = ground.container(script).restart(restart).detach().unwrap();
        std::thread::sleep(Duration::from_micros(round * 977 % 30_000));
        let grace = if round % 2 == 0 { Duration::from_secs(30) } else { Duration::ZERO };
        let begin = Instant::now();
        let exit = container.stop(grace).unwrap();
        assert!(begin.elapsed() < Duration::from_secs(20), "round {round}: {:?}", begin.elapsed());
        let fits = match exit.status {
            ExitStatus::Exited(code) => [1, 5].contains(&code),
            ExitStatus::Signaled(signal) => [9, 15].contains(&i32::from(signal)),
            _ => false,
        };
        assert!(fits && !exit.failed_to_start, "round {round}: {exit:?}");
        assert_eq!(container.state().unwrap(), ContainerState::Exited(exit), "round {round}");
        container.remove().unwrap();
    }
}

#[test]
fn a_container_that_will_not_stop_is_killed_and_stays_so() {
    let ground = Ground::new("stubborn");
    let script = "trap '' TERM; echo up; while :; do sleep 0.01; done";
    let container = ground.container(script).restart(soon(Restart::always())).detach().unwrap();
    assert_eq!(container.logs().follow().next().unwrap().unwrap().to_string(), "up");
    let exit = container.stop(Duration::from_millis(100)).unwrap();
    assert_eq!(exit.status, ExitStatus::Signaled(9));
    assert_eq!((lines(&container).len(), container.restarts().unwrap()), (1, 0));
}

#[test]
fn a_restart_keeps_address_port_group_files_and_log() {
    in_network_namespace(|| {
        let ground = Ground::new("kept");
        let script = "echo $(cat /count 2>/dev/null)x > /count; cat /count; cp /count /index.html; httpd -f -p 80 -h /";
        let container = ground
            .container(&script.replace("cp /count", "cat /count >"))
            .limits(Limits::new().memory(Memory::mib(64)).pids(16))
            .network(Network::Bridge)
            .publish(0, 80)
            .restart(soon(Restart::always()))
            .detach()
            .unwrap();
        let port = container.ports()[0].host_port;
        let here = format!("127.0.0.1:{port}").parse().unwrap();
        let there = format!("{}:80", container.address().unwrap()).parse().unwrap();
        let mut processes = vec![until_restarted(&container, 0)];
        for runs in 1..=5 {
            let expected = "x".repeat(runs) + "\n";
            for address in [here, there] {
                let answer = http_get_until(address, "/index.html", PATIENCE).unwrap();
                assert_eq!((answer.status, answer.text()), (200, expected.clone()), "{}", answer.head);
            }
            assert!(container.stats().unwrap().pids.current >= 2);
            if runs < 5 {
                container.kill(9).unwrap();
                processes.push(until_restarted(&container, runs as u32));
            }
        }
        processes.sort();
        processes.dedup();
        assert_eq!(processes.len(), 5);
        container.stop(Duration::ZERO).unwrap();
        assert_eq!(lines(&container), ["x", "xx", "xxx", "xxxx", "xxxxx"]);
    });
}

#[test]
fn a_keeper_holds_no_more_after_a_hundred_restarts() {
    let ground = Ground::new("hundred");
    let health = Health::command(["true"]).every(Duration::from_millis(1)).timeout(PATIENCE);
    let restart = Restart::always().delay(Duration::ZERO, Duration::ZERO);
    let container = ground.container("sleep 0.01").restart(restart).health(health).detach().unwrap();
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", ground.keeper(&container))).unwrap().count();
    // All that comes and goes: a connection to the start, a check's pipe and target.
    until_restarted(&container, 3);
    let most = (0..200).map(|_| descriptors()).max().unwrap();
    until_restarted(&container, 100);
    let after = (0..200).map(|_| descriptors()).max().unwrap();
    assert!(after <= most + 3, "{after} descriptors, {most} at first");
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", ground.keeper(&container))).unwrap();
    assert!(children.split_whitespace().count() <= 3, "{children}");
    container.stop(Duration::ZERO).unwrap();
}

#[test]
fn a_command_that_is_gone_at_a_restart_is_a_failed_start() {
    let ground = Ground::new("gone");
    let start = ground.shared().join("start");
    std::fs::write(&start, "#!/bin/sh\nrm /shared/start\n").unwrap();
    std::fs::set_permissions(&start, std::fs::Permissions::from_mode(0o755)).unwrap();
    let builder = ground.container("").command(["/shared/start"]);
    let container = builder.restart(soon(Restart::always().most(2))).detach().unwrap();
    let exit = container.wait().unwrap();
    assert!(exit.failed_to_start && exit.status == ExitStatus::Exited(127), "{exit:?}");
    assert_eq!(container.restarts().unwrap(), 2);
    // At first it is an error of the start, and nothing is tried again.
    let builder = ground.container("").command(["/shared/start"]).restart(soon(Restart::always()));
    let error = builder.detach().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exec, "{error}");
}

#[test]
fn running_out_of_memory_is_that_of_its_run() {
    let ground = Ground::new("oom");
    let script = "[ -e /tried ] && exit 0; touch /tried; dd if=/dev/zero of=/dev/shm/big bs=1M count=60; exit 1";
    let container = ground
        .container(script)
        .limits(Limits::new().memory(Memory::mib(24)))
        .restart(Restart::on_failure().delay(Duration::from_secs(1), Duration::from_secs(1)))
        .detach()
        .unwrap();
    let mut last = None;
    until("it rests", || {
        if let ContainerState::Restarting { last: end } = container.state().unwrap() {
            last = Some(end);
        }
        last.is_some()
    });
    assert!(last.unwrap().oom_killed);
    let exit = container.wait().unwrap();
    assert_eq!((exit.status, exit.oom_killed), (ExitStatus::Exited(0), false));
    assert_eq!(container.restarts().unwrap(), 1);
}

/// Hundredths of a second of processor time.
fn processor_ticks(process: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn an_unhealthy_container_is_started_again() {
    let ground = Ground::new("unhealthy");
    let health = Health::command(["sh", "-c", "[ ! -e /shared/sick ]"]).every(Duration::from_millis(20)).retries(2);
    for (name, script, most) in [
        ("ends by itself", "trap 'rm /shared/sick; exit 0' TERM; echo up; while :; do sleep 0.01; done", 1),
        ("is killed", "trap 'rm /shared/sick' TERM; echo up; while :; do sleep 0.01; done", 1),
    ] {
        let restart = soon(Restart::never()).when_unhealthy(true).most(most);
        let container = ground.container(script).health(health.clone()).restart(restart).detach().unwrap();
        until_health(&container, HealthState::Healthy);
        std::fs::write(ground.shared().join("sick"), "").unwrap();
        until_restarted(&container, 1);
        // In all the time that it waited for the end it slept.
        assert!(processor_ticks(ground.keeper(&container)) < 200, "{name}");
        until_health(&container, HealthState::Healthy);
        assert_eq!(lines(&container), ["up", "up"], "{name}");
        // There is no restart left: it stays, and is unhealthy.
        std::fs::write(ground.shared().join("sick"), "").unwrap();
        until_health(&container, HealthState::Unhealthy);
        assert!(container.is_running().unwrap(), "{name}");
        std::fs::remove_file(ground.shared().join("sick")).unwrap();
        container.stop(Duration::ZERO).unwrap();
    }
}

#[test]
fn rootless_containers_are_started_again() {
    let ground = Ground::new("user");
    for init in [true, false] {
        let container = ground
            .container("id -u; cat /proc/self/uid_map; exit 1")
            .init(init)
            .restart(soon(Restart::on_failure().most(2)))
            .detach()
            .unwrap();
        let exit = container.wait().unwrap();
        assert_eq!((exit.status, exit.failed_to_start), (ExitStatus::Exited(1), false), "{init} {exit:?}");
        let lines = lines(&container);
        assert_eq!(lines.iter().filter(|line| *line == "0").count(), 3, "{lines:?}");
        assert_eq!((lines[0].as_str(), &lines[..2], &lines[..2]), ("0", &lines[2..4], &lines[4..]));
    }
}

#[test]
fn a_container_dies_with_its_keeper_also_after_a_restart() {
    let ground = Ground::new("keeper");
    let health = Health::command(["sleep", "1000"]).every(Duration::from_millis(10));
    let container = ground.container("sleep 1000").restart(soon(Restart::always())).health(health).detach().unwrap();
    container.kill(9).unwrap();
    let process = until_restarted(&container, 1);
    let stat = move || std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let began = stat().rsplit(' ').nth(30).map(str::to_owned);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(ground.keeper(&container)), nix::sys::signal::SIGKILL).unwrap();
    assert_eq!(container.wait().unwrap().status, ExitStatus::Unknown);
    until("its process is gone", || stat().is_empty() || stat().rsplit(' ').nth(30).map(str::to_owned) != began);
    container.remove().unwrap();
}

/// Says to a copy of this program that it is the host to be killed, and where.
const HOST: &str = "CORACLE_TEST_RESTART_HOST";

/// The body of the host.
#[test]
fn host_to_be_killed() {
    let Ok(directory) = std::env::var(HOST) else { return };
    let directory = std::path::Path::new(&directory);
    let engine = open(&directory.join("root"), &directory.join("run"));
    let image = engine.image("test/busybox").unwrap().get().unwrap();
    let health = Health::http(80, "/fine").every(Duration::from_millis(20)).retries(2);
    engine
        .container(&image)
        .command(["/bin/sh", "-c", "echo up; httpd -f -p 80 -h /shared"])
        .bind(directory.join("shared"), "/shared")
        .name("orphan")
        .health(health)
        .restart(soon(Restart::on_failure()))
        .detach()
        .unwrap();
    println!("\nstarted");
    std::thread::sleep(Duration::from_secs(3600));
}

fn start_host(ground: &Ground) -> Child {
    let mut host = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "host_to_be_killed", "--nocapture"])
        .env(HOST, ground.scratch.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = std::io::BufReader::new(host.stdout.take().unwrap());
    let mut line = String::new();
    while line.trim() != "started" {
        line.clear();
        let read = std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        assert!(read > 0, "the host ended by itself");
    }
    host
}

#[test]
fn checks_and_restarts_go_on_without_the_host() {
    in_network_namespace(|| {
        let ground = Ground::new("orphan");
        let mut host = start_host(&ground);
        host.kill().unwrap();
        host.wait().unwrap();
        let container = ground.engine.find_container("orphan").unwrap();
        until_health(&container, HealthState::Unhealthy);
        // At first nobody may have listened yet.
        until("the check finds the answer", || container.health().unwrap().finding.as_deref() == Some("status 404"));
        std::fs::write(ground.shared().join("fine"), "").unwrap();
        until_health(&container, HealthState::Healthy);
        for count in 1..=3 {
            container.kill(9).unwrap();
            until_restarted(&container, count);
            until_health(&container, HealthState::Healthy);
        }
        assert_eq!(lines(&container), vec!["up"; 4]);
        let exit = container.stop(Duration::from_secs(30)).unwrap();
        assert!(!exit.failed_to_start && exit.status != ExitStatus::Unknown, "{exit:?}");
    });
}
