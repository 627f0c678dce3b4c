//! The logs of several containers as one. Where the order matters the logs are written by the test, beside containers
//! that are silent, so that no clock decides.

use super::*;
use std::io::Write;
use std::sync::mpsc;

/// Writes to a container's log what its keeper could have written.
fn write(ground: &Ground, container: &Container, file: &str, lines: &[(&str, &str)]) {
    let log = ground.services.containers().join(container.id().as_str()).join("log");
    let mut file = std::fs::File::options().create(true).append(true).open(log.join(file)).unwrap();
    let text: String = lines.iter().map(|(time, text)| format!("{time} stdout F {text}\n")).collect();
    file.write_all(text.as_bytes()).unwrap();
}

fn at(second: u32) -> String {
    format!("2026-11-21T06:30:{second:02}.5Z")
}

fn ended(ground: &Ground) -> Container {
    let container = ground.container("true").detach().unwrap();
    container.wait().unwrap();
    container
}

fn texts(logs: MergedLogs) -> Vec<String> {
    logs.map(|line| line.unwrap().line.to_string()).collect()
}

fn within(logs: &mut MergedLogs, limit: Duration) -> Option<String> {
    logs.next_within(limit).unwrap().map(|line| line.line.to_string())
}

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn lines_come_in_the_order_of_time_over_rotated_files() {
    let ground = Ground::new();
    let [first, second, silent] = [(); 3].map(|()| ended(&ground));
    write(&ground, &first, "log.1", &[(&at(1), "a1"), (&at(4), "a4")]);
    write(&ground, &first, "log", &[(&at(5), "a5"), (&at(7), "a7")]);
    // A clock that was set back does not change the order within a container.
    write(&ground, &second, "log", &[(&at(2), "b2"), (&at(5), "b5"), (&at(3), "b3"), (&at(9), "b9")]);
    let expected = ["a1", "b2", "a4", "a5", "b5", "b3", "a7", "b9"];
    let all = [first.clone(), second.clone(), silent.clone(), first.clone()];
    assert_eq!(texts(MergedLogs::new(all.clone())), expected);
    assert_eq!(texts(MergedLogs::new(all).follow()), expected, "ended containers are not waited for");
    let line = MergedLogs::new([first.clone()]).next().unwrap().unwrap();
    assert_eq!(
        (&line.container, line.name.as_ref(), line.to_string()),
        (first.id(), None, format!("{}: a1", first.id()))
    );
    for container in [first, second, silent] {
        container.remove().unwrap();
    }
}

#[test]
fn a_malformed_line_is_reported_and_nothing_else_is_lost() {
    let ground = Ground::new();
    let [first, second] = [(); 2].map(|()| ended(&ground));
    write(&ground, &first, "log", &[(&at(1), "a1"), ("yesterday", "?"), (&at(3), "a3")]);
    write(&ground, &second, "log", &[(&at(2), "b2")]);
    let lines: Vec<_> = MergedLogs::new([first.clone(), second]).collect();
    let error = lines.iter().find_map(|line| line.as_ref().err()).unwrap().to_string();
    let expected = format!("log of container {}: the log has a line that its keeper did not write", first.id());
    assert_eq!(error, expected);
    let rest: Vec<String> = lines.into_iter().flatten().map(|line| line.line.to_string()).collect();
    assert_eq!(rest, ["a1", "b2", "a3"]);
}

#[test]
fn a_line_is_held_back_for_an_earlier_one_of_a_silent_container_but_not_for_long() {
    let ground = Ground::new();
    let [first, second] = [(); 2].map(|()| ground.container("sleep 1000").detach().unwrap());
    let mut logs = MergedLogs::new([first.clone(), second.clone()]).follow();
    assert_eq!(within(&mut logs, Duration::ZERO), None);
    // Times to come have no age, whatever the machine is busy with.
    let times = [1, 2, 3, 4].map(|second| format!("2999-01-01T00:00:0{second}Z"));
    write(&ground, &first, "log", &[(&times[1], "a2")]);
    assert_eq!(within(&mut logs, Duration::ZERO), None, "the other one may have an earlier line");
    write(&ground, &second, "log", &[(&times[0], "b1"), (&times[2], "b3")]);
    assert_eq!(within(&mut logs, PATIENCE).unwrap(), "b1");
    assert_eq!(within(&mut logs, Duration::ZERO).unwrap(), "a2", "both have a line");
    assert_eq!(within(&mut logs, PATIENCE).unwrap(), "b3", "held back, then given out");
    // An old line is not held back: nothing earlier can come.
    write(&ground, &second, "log", &[(&at(1), "old")]);
    assert_eq!(within(&mut logs, Duration::ZERO).unwrap(), "old");
    for container in [first, second] {
        assert!(!logs.has_ended());
        container.kill(libc::SIGKILL).unwrap();
        container.wait().unwrap();
        container.remove().unwrap();
    }
    assert_eq!(within(&mut logs, PATIENCE), None);
    assert!(logs.has_ended());
}

#[test]
fn rotated_logs_are_followed_without_a_gap() {
    let ground = Ground::new();
    let script = |count: u32| format!("i=0; while [ $i -lt {count} ]; do echo line $i; i=$((i+1)); done");
    let counts = [2000, 1000, 500];
    let containers = counts
        .map(|count| ground.container(&script(count)).log(LogOptions { limit: 16 << 10, files: 16 }).detach().unwrap());
    let mut seen = counts.map(|_| 0);
    for line in MergedLogs::new(containers.clone()).follow() {
        let line = line.unwrap();
        let index = containers.iter().position(|container| *container.id() == line.container).unwrap();
        assert_eq!(line.line.to_string(), format!("line {}", seen[index]));
        seen[index] += 1;
    }
    assert_eq!(seen, counts);
    let times: Vec<_> = MergedLogs::new(containers.clone()).map(|line| line.unwrap().line.time).collect();
    assert!(times.is_sorted(), "all was there before it was read");
    for container in containers {
        container.remove().unwrap();
    }
}

#[test]
fn containers_join_while_the_logs_are_followed_and_leave() {
    let ground = Ground::new();
    let services = ground.services.clone();
    let (goes_on, asked) = mpsc::channel::<()>();
    let ask = move || {
        let open = |id| Container::open(&services, id).ok();
        // Ended by the one who asks: its sender is gone.
        match asked.try_recv() {
            Err(mpsc::TryRecvError::Disconnected) => Ok(None),
            _ => Ok(Some(list(&services)?.iter().filter_map(open).collect())),
        }
    };
    let mut logs = MergedLogs::new([]).discover(ground.services.containers(), ask).follow();
    assert_eq!(within(&mut logs, Duration::ZERO), None);
    let (said, heard) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in logs.by_ref() {
            said.send(line.unwrap().to_string()).unwrap();
        }
        assert!(logs.has_ended());
    });
    let start = |name: &str| ground.container(&format!("echo {name} is here")).name(name).detach().unwrap();
    let first = start("first");
    first.wait().unwrap();
    first.remove().unwrap();
    let second = start("second");
    second.wait().unwrap();
    let last = ground.container("echo third is here; sleep 1000").name("third").detach().unwrap();
    let mut lines: Vec<String> = std::iter::from_fn(|| heard.recv_timeout(PATIENCE).ok())
        .take_while(|line| line != "third: third is here")
        .collect();
    drop(goes_on);
    last.kill(libc::SIGKILL).unwrap();
    last.wait().unwrap();
    last.remove().unwrap();
    reader.join().unwrap();
    // The first one was removed as soon as it had ended: its line may be gone before anybody could read it.
    lines.retain(|line| line != "first: first is here");
    assert_eq!(lines, ["second: second is here"]);
    second.remove().unwrap();
}

#[test]
fn silent_containers_cost_nothing() {
    let ground = Ground::new();
    let containers: Vec<Container> = (0..8).map(|_| ground.container("sleep 1000").detach().unwrap()).collect();
    let mut logs = MergedLogs::new(containers.clone()).follow();
    assert_eq!(within(&mut logs, Duration::ZERO), None);
    let used = || {
        let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_THREAD).unwrap();
        let time = |value: nix::sys::time::TimeVal| value.tv_sec() * 1_000_000 + value.tv_usec();
        time(usage.user_time()) + time(usage.system_time())
    };
    let before = used();
    assert_eq!(within(&mut logs, Duration::from_secs(1)), None);
    assert!(used() - before < 250_000, "{} us of processor time in a second of silence", used() - before);
    for container in containers {
        container.kill(libc::SIGKILL).unwrap();
        container.wait().unwrap();
        container.remove().unwrap();
    }
}
