//! Groups with the limits of the library's own containers.

use crate::ground::{Scratch, eventually, scratch, unique};
use coracle::cgroup::{Cgroup, Limits, Policy};
use coracle::{Cpus, ErrorKind, Memory};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

#[test]
fn limits_are_what_the_kernel_shows() {
    let limits = Limits::new().memory(Memory::mib(64)).memory_swap(Memory::mib(80)).cpus(Cpus::of(0.5));
    let scratch = scratch(limits.cpu_weight(200).pids(17));
    let stats = scratch.group.stats().unwrap();
    assert_eq!(stats.memory.limit, Some(Memory::mib(64)));
    assert_eq!(stats.pids.limit, Some(17));
    if scratch.unified() {
        assert_eq!(scratch.file(&["memory.max"]), (64 << 20).to_string());
        assert_eq!(scratch.file(&["memory.swap.max"]), (16 << 20).to_string());
        assert_eq!(scratch.file(&["cpu.max"]), "50000 100000");
        assert_eq!(scratch.file(&["cpu.weight"]), "200");
        assert!(stats.io.is_some() && stats.pressure.is_some(), "{stats:?}");
    } else {
        assert_eq!(scratch.file(&["memory.limit_in_bytes"]), (64 << 20).to_string());
        assert_eq!(scratch.file(&["memory.memsw.limit_in_bytes"]), (80 << 20).to_string());
        assert_eq!(scratch.file(&["cpu.cfs_quota_us"]), "50000");
        assert_eq!(scratch.file(&["cpu.cfs_period_us"]), "100000");
        assert_eq!(scratch.file(&["cpu.shares"]), "2048");
    }
    assert_eq!(scratch.file(&["pids.max"]), "17");
}

#[test]
fn memory_limit_of_version_2_waits_for_arm() {
    let name = unique();
    let (group, _) = Cgroup::create(&name, &Limits::new().memory(Memory::mib(64)), Policy::Strict).unwrap();
    let scratch = Scratch { group, name };
    let before = scratch.group.stats().unwrap().memory.limit;
    assert_eq!(before, if scratch.unified() { None } else { Some(Memory::mib(64)) });
    scratch.group.arm().unwrap();
    assert_eq!(scratch.group.stats().unwrap().memory.limit, Some(Memory::mib(64)));
}

#[test]
fn limits_of_a_live_group_change_in_both_directions() {
    let scratch = scratch(Limits::new().memory(Memory::mib(64)).pids(10));
    let mut child = scratch.shell("exec sleep 1000");
    for (mib, pids) in [(32, 5), (256, 20), (512, 6)] {
        let limits = Limits::new().memory(Memory::mib(mib)).pids(pids);
        assert_eq!(scratch.group.update(&limits, Policy::Strict).unwrap(), []);
        let stats = scratch.group.stats().unwrap();
        assert_eq!((stats.memory.limit, stats.pids.limit), (Some(Memory::mib(mib)), Some(u64::from(pids))));
    }
    assert_eq!(
        scratch.group.update(&Limits::new().pids(0), Policy::Strict).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    scratch.group.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

#[test]
fn kill_for_lack_of_memory_is_counted_and_explained() {
    let scratch = scratch(Limits::new().memory(Memory::mib(12)).memory_swap(Memory::mib(12)));
    assert_eq!(scratch.group.oom_kills().unwrap(), 0);
    assert!(scratch.group.out_of_memory().is_none());
    let mut child = scratch.shell("exec tail /dev/zero");
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert_eq!(scratch.group.oom_kills().unwrap(), 1);
    let explained = scratch.group.out_of_memory().unwrap().to_string();
    assert_eq!(explained, "killed: memory limit of 12.0 MiB exceeded (hint: raise the memory limit)");
    let text = std::fs::read_to_string(scratch.group.oom_file().unwrap()).unwrap();
    assert!(text.lines().any(|line| line == "oom_kill 1"), "{text}");
    let memory = scratch.group.stats().unwrap().memory;
    let peak = memory.peak.expect("this kernel counts the peak");
    assert!(peak > Memory::mib(8) && peak <= Memory::mib(13), "{memory}");
}

#[test]
fn a_kill_of_the_whole_group_needs_version_2() {
    let limits = Limits::new().memory(Memory::mib(12)).memory_swap(Memory::mib(12)).oom_group(true);
    let name = unique();
    let (group, unenforced) = Cgroup::create(&name, &limits, Policy::BestEffort).unwrap();
    let scratch = Scratch { group, name };
    scratch.group.arm().unwrap();
    if !scratch.unified() {
        assert_eq!(unenforced.len(), 1);
        assert_eq!(unenforced[0].limit, "oom_group");
        let error = Cgroup::create(&unique(), &limits, Policy::Strict).unwrap_err();
        assert_eq!((error.kind(), error.remedy()), (ErrorKind::Unsupported, Some("boot with cgroup version 2")));
        return;
    }
    assert_eq!(unenforced, []);
    let mut child = scratch.shell("sleep 1000 & tail /dev/zero; exec sleep 1000");
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    eventually("the neighbour is killed as well", || scratch.group.processes().unwrap().is_empty());
    assert!(scratch.group.oom_kills().unwrap() >= 2);
}

#[test]
fn no_more_processes_than_the_limit() {
    let scratch = scratch(Limits::new().pids(3));
    let mut child = scratch.shell("sleep 1000 & sleep 1000 & sleep 1000 & sleep 1000 & wait");
    assert!(!child.wait().unwrap().success());
    // Those that were started hold the pipe: it ends with them.
    scratch.group.kill().unwrap();
    let errors = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
    assert!(errors.contains("ork"), "{errors}");
}

#[test]
fn processes_are_counted_and_listed() {
    let scratch = scratch(Limits::new());
    let mut child = scratch.shell("sleep 1000 & exec sleep 1000");
    eventually("two processes", || scratch.group.stats().unwrap().pids.current == 2);
    let processes = scratch.group.processes().unwrap();
    assert!(processes.len() == 2 && processes.contains(&(child.id() as i32)), "{processes:?}");
    scratch.group.kill().unwrap();
    assert!(scratch.group.processes().unwrap().is_empty());
    child.wait().unwrap();
}

#[test]
fn processor_time_is_counted_and_throttled() {
    // So little that it is used up in every period, also by one of many on a busy machine.
    let scratch = scratch(Limits::new().cpus(Cpus::of(0.01)));
    let mut child = scratch.shell("while :; do :; done");
    eventually("throttled", || scratch.group.stats().unwrap().cpu.throttled > Duration::from_millis(200));
    let cpu = scratch.group.stats().unwrap().cpu;
    assert!(cpu.usage > Duration::from_millis(2), "{cpu}");
    assert!(cpu.user + cpu.system > Duration::ZERO, "{cpu}");
    scratch.group.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn paused_processes_stand_still_and_can_be_killed() {
    let scratch = scratch(Limits::new());
    let mut child = scratch.shell("while :; do :; done");
    let usage = || scratch.group.stats().unwrap().cpu.usage;
    eventually("running", || usage() > Duration::from_millis(5));
    scratch.group.pause().unwrap();
    let paused = usage();
    std::thread::sleep(Duration::from_millis(100));
    assert!(usage() - paused < Duration::from_millis(5), "{paused:?} {:?}", usage());
    scratch.group.resume().unwrap();
    eventually("running again", || usage() > paused + Duration::from_millis(20));
    scratch.group.pause().unwrap();
    scratch.group.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

#[test]
fn a_fork_bomb_is_killed_and_its_group_removed() {
    let scratch = scratch(Limits::new().pids(150));
    let mut child = scratch.shell("bomb() { bomb & bomb & wait; }; bomb 2>/dev/null");
    eventually("it spreads", || scratch.group.stats().unwrap().pids.current > 50);
    let begun = Instant::now();
    scratch.group.kill().unwrap();
    assert!(scratch.group.processes().unwrap().is_empty());
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    assert_eq!(scratch.group.stats().unwrap().pids.limit, Some(150), "the limit is back");
    child.wait().unwrap();
}

#[test]
fn removal_ends_what_runs_and_takes_nested_groups_along() {
    let scratch = scratch(Limits::new());
    for directory in scratch.group.directories() {
        let mut deep = directory;
        for _ in 0..100 {
            deep.push("n");
            std::fs::create_dir(&deep).unwrap();
        }
        std::fs::create_dir_all(deep.parent().unwrap().join("sibling/below")).unwrap();
    }
    let mut child = scratch.shell("exec sleep 1000");
    let inner = scratch.group.directories()[0].join("n/n/n");
    std::fs::write(inner.join("cgroup.procs"), child.id().to_string()).unwrap();
    assert_eq!(scratch.group.processes().unwrap(), [child.id() as i32]);
    scratch.group.remove().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    for directory in scratch.group.directories() {
        assert!(!directory.parent().unwrap().exists(), "the empty parent goes as well");
    }
    scratch.group.remove().unwrap();
    let gone = scratch.group.stats().unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound, "{gone}");
    assert!(scratch.name.ends_with("/job"));
}

#[test]
fn a_group_of_any_name_is_seen_and_ended() {
    use std::os::unix::ffi::OsStrExt;
    let scratch = scratch(Limits::new());
    let name = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    let directories = scratch.group.directories();
    directories.iter().for_each(|directory| std::fs::create_dir(directory.join(name)).unwrap());
    let mut child = scratch.shell("exec sleep 1000");
    for directory in &directories {
        std::fs::write(directory.join(name).join("cgroup.procs"), child.id().to_string()).unwrap();
    }
    assert_eq!(scratch.group.processes().unwrap(), [child.id() as i32]);
    scratch.group.remove().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert!(directories.iter().all(|directory| !directory.exists()));
}

#[test]
fn joining_is_complete() {
    let scratch = scratch(Limits::new());
    let join = scratch.group.join().unwrap();
    let directories = scratch.group.directories();
    assert_eq!(join.tasks.len() + usize::from(join.directory.is_some()), directories.len());
    if let Some(directory) = &join.directory {
        use std::os::fd::AsRawFd;
        let path = std::fs::read_link(format!("/proc/self/fd/{}", directory.as_raw_fd())).unwrap();
        assert!(directories.contains(&path), "{path:?}");
    }
    let mut child = scratch.shell("exec sleep 1000");
    let text = std::fs::read_to_string(format!("/proc/{}/cgroup", child.id())).unwrap();
    let joined = text.lines().filter(|line| line.ends_with(&scratch.name)).count();
    assert_eq!(joined, directories.len(), "{text}");
    child.kill().unwrap();
    child.wait().unwrap();
    // A thread that writes 0 to each moves itself, as the stage does; it leaves the groups by ending.
    let name = scratch.name.clone();
    let moved = std::thread::spawn(move || {
        for file in join.tasks {
            std::fs::File::from(file).write_all(b"0").unwrap();
        }
        let text = std::fs::read_to_string("/proc/thread-self/cgroup").unwrap();
        text.lines().filter(|line| line.ends_with(&name)).count()
    });
    let versions_1 = directories.iter().filter(|directory| directory.join("tasks").exists()).count();
    assert_eq!(moved.join().unwrap(), versions_1);
    eventually("the thread is gone", || scratch.group.stats().unwrap().pids.current == 0);
}

#[test]
fn another_process_takes_it_up_by_its_record() {
    let scratch = scratch(Limits::new().memory(Memory::mib(32)));
    let json = serde_json::to_string(&scratch.group.record()).unwrap();
    let other = Cgroup::open(&serde_json::from_str(&json).unwrap());
    assert_eq!(other.directories(), scratch.group.directories());
    assert_eq!(other.stats().unwrap().memory.limit, Some(Memory::mib(32)));
    let mut child = scratch.shell("exec sleep 1000");
    other.remove().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

#[test]
fn a_name_is_taken_once_and_never_leads_out() {
    let scratch = scratch(Limits::new());
    let error = Cgroup::create(&scratch.name, &Limits::new(), Policy::BestEffort).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    assert!(scratch.group.stats().is_ok(), "the failure left the group alone");
    for name in ["../escape", "/coracle", "coracle//x", "a/../../b", "", "cgroup.procs"] {
        let error = Cgroup::create(name, &Limits::new(), Policy::BestEffort).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}");
    }
}

#[test]
fn many_threads_share_a_parent_that_comes_and_goes() {
    let parent = unique().replace("/job", "");
    let groups: Vec<Cgroup> = std::thread::scope(|scope| {
        let work = |thread: usize| {
            let parent = &parent;
            move || {
                let mut last = None;
                for round in 0..12 {
                    let name = format!("{parent}/{thread}-{round}");
                    let (group, _) = Cgroup::create(&name, &Limits::new().pids(9), Policy::Strict).unwrap();
                    assert_eq!(group.stats().unwrap().pids.limit, Some(9));
                    group.remove().unwrap();
                    last = Some(group);
                }
                last.unwrap()
            }
        };
        let threads: Vec<_> = (0..64).map(|thread| scope.spawn(work(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for directory in groups.iter().flat_map(Cgroup::directories) {
        assert!(!directory.parent().unwrap().exists(), "{} is left", directory.display());
    }
}

#[test]
fn io_weight_is_written_or_named() {
    let name = unique();
    let limits = Limits::new().io_weight(1090);
    let (group, unenforced) = Cgroup::create(&name, &limits, Policy::BestEffort).unwrap();
    let scratch = Scratch { group, name };
    assert!(scratch.group.stats().unwrap().io.is_some());
    let directories = scratch.group.directories();
    let has = |file: &str| directories.iter().any(|directory| directory.join(file).exists());
    if has("io.weight") {
        assert_eq!(scratch.file(&["io.weight"]), "default 1090");
    } else if has("blkio.bfq.weight") || has("io.bfq.weight") {
        assert_eq!(scratch.file(&["blkio.bfq.weight", "io.bfq.weight"]).trim_start_matches("default "), "190");
    } else {
        let named: Vec<&str> = unenforced.iter().map(|limit| limit.limit.as_str()).collect();
        assert_eq!(named, ["io_weight"]);
        let error = Cgroup::create(&unique(), &limits, Policy::Strict).unwrap_err();
        assert_eq!(
            (error.kind(), error.remedy()),
            (ErrorKind::Unsupported, Some("load the bfq scheduler: modprobe bfq"))
        );
        return;
    }
    assert_eq!(unenforced, []);
}
