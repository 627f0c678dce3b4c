//! Signals, counts, and being told that memory has run out.

use crate::ground::{Placed, eventually, unique_path};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::json;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;

#[test]
fn signals_reach_every_process_and_no_other() {
    let group = Placed::at(&unique_path(), json!({}));
    let mut child = group.shell("sleep 1000 & exec sleep 1000");
    eventually("two processes", || group.0.processes().unwrap().len() == 2);
    assert!(group.0.signal(0).is_err() && group.0.signal(65).is_err());
    group.0.signal(15).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(15));
    eventually("both are gone", || group.0.processes().unwrap().is_empty());
}

#[test]
fn a_suspended_group_says_so_and_is_killed_all_the_same() {
    let group = Placed::at(&unique_path(), json!({}));
    let mut child = group.shell("sleep 1000 & exec sleep 1000");
    eventually("two processes", || group.0.processes().unwrap().len() == 2);
    assert!(!group.0.is_paused().unwrap());
    group.0.pause().unwrap();
    assert!(group.0.is_paused().unwrap());
    group.0.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

#[test]
fn usage_is_counted_in_the_words_of_runc() {
    let spec = json!({"memory": {"limit": 64 << 20}, "pids": {"limit": 20}, "cpu": {"quota": 1000, "period": 100_000}});
    let group = Placed::at(&unique_path(), spec);
    let mut child = group.shell("while :; do :; done");
    eventually("throttled", || group.0.usage().unwrap().cpu.throttling.throttled_time > 0);
    let usage = group.0.usage().unwrap();
    assert!(usage.cpu.usage.total > 0 && usage.cpu.usage.user + usage.cpu.usage.kernel > 0, "{usage:?}");
    assert!(usage.cpu.throttling.periods > 0 && usage.cpu.throttling.throttled_periods > 0, "{usage:?}");
    assert_eq!(usage.memory.usage.limit, 64 << 20);
    assert!(!usage.memory.raw.is_empty(), "{usage:?}");
    assert_eq!((usage.pids.current, usage.pids.limit), (1, 20));
    assert_eq!(usage.cpu.usage.percpu.is_empty(), group.unified());
    if group.unified() {
        assert!(!usage.hugetlb.is_empty(), "{usage:?}");
    }
    let json = serde_json::to_value(&usage).unwrap();
    assert_eq!(json["memory"]["usage"]["limit"], 64 << 20);
    assert_eq!(json["pids"]["current"], 1);
    group.0.kill().unwrap();
    child.wait().unwrap();
    group.0.remove().unwrap();
    assert_eq!(group.0.usage().unwrap_err().kind(), coracle::ErrorKind::NotFound);
}

#[test]
fn lack_of_memory_is_told_by_descriptor() {
    let group = Placed::at(&unique_path(), json!({"memory": {"limit": 12 << 20, "swap": 12 << 20}}));
    let mut watch = group.0.watch_oom().unwrap();
    assert_eq!(watch.read().unwrap().unwrap().oom_kill, 0);
    let mut child = group.shell("exec tail /dev/zero");
    let mut polled = [PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut polled, PollTimeout::from(30_000u16)).unwrap(), 1, "the descriptor never became readable");
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    eventually("the kill is counted", || watch.read().unwrap().unwrap().oom_kill == 1);
    assert_eq!(group.0.memory_events().unwrap().oom_kill, 1);
    group.0.remove().unwrap();
    assert_eq!(watch.read().unwrap(), None);
}
