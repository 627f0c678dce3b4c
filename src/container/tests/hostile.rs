//! Containers that mean harm to the engine itself.

use super::*;
use crate::isolate::{Capability, CapabilitySet};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Runs `work` on a thread with mounts of its own, on a disk of 32 MiB.
fn on_a_small_disk(work: impl FnOnce(&std::path::Path) + Send) {
    let directory = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            let nothing = None::<&str>;
            mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).unwrap();
            let path = directory.path();
            mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some("size=32m,mode=700")).unwrap();
            work(path);
        });
    });
}

#[test]
fn a_container_that_fills_the_disk_is_on_record_and_can_be_removed() {
    on_a_small_disk(|directory| {
        let services = open(directory);
        let image = busybox_image(&services);
        let filler = "dd if=/dev/zero of=/big bs=64k; yes > /rest; yes > /crumbs; exit 3";
        let container = ContainerBuilder::new(services.clone(), image)
            .command(["/bin/sh", "-c", filler])
            .network(Network::None)
            .detach()
            .unwrap();
        assert_eq!(container.wait().unwrap().status, ExitStatus::Exited(3));
        // The next engine opens, and can make room.
        let again = Services::open(&directory.join("root"), &directory.join("run")).unwrap();
        recover(&again).unwrap();
        container.remove().unwrap();
        assert!(list(&again).unwrap().is_empty());
    });
}

#[test]
fn a_container_that_fills_the_disk_is_started_again_once_there_is_room_and_can_be_stopped() {
    on_a_small_disk(|directory| {
        let services = open(directory);
        let image = busybox_image(&services);
        let filler = "[ -e /tried ] && sleep 1000; touch /tried; dd if=/dev/zero of=/big bs=64k; yes > /rest;
            yes > /crumbs; exit 3";
        let start = |script: &str| {
            ContainerBuilder::new(services.clone(), image.clone())
                .command(["/bin/sh", "-c", script])
                .network(Network::None)
                .restart(Restart::always().delay(Duration::ZERO, Duration::ZERO))
                .detach()
                .unwrap()
        };
        let container = start(filler);
        let upper = directory.join("root/containers").join(container.id().as_str()).join("upper");
        // No room for a record of the run's end: it is neither over nor followed by another.
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(container.restarts().unwrap(), 0);
        let begin = std::time::Instant::now();
        while container.restarts().unwrap() == 0 {
            assert!(begin.elapsed() < Duration::from_secs(60));
            for name in ["crumbs", "rest", "big"] {
                let _ = std::fs::remove_file(upper.join(name));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let exit = container.stop(Duration::from_secs(60)).unwrap();
        assert_ne!(exit.status, ExitStatus::Unknown);
        container.remove().unwrap();
        // One that leaves no room can be stopped all the same.
        let container = start("yes > /rest; yes > /crumbs; exit 3");
        std::thread::sleep(Duration::from_secs(2));
        let exit = container.stop(Duration::ZERO).unwrap();
        assert_ne!(exit.status, ExitStatus::Unknown);
        container.remove().unwrap();
    });
}

#[test]
fn a_container_whose_end_cannot_be_recorded_has_ended_all_the_same() {
    let ground = Ground::new();
    let container = ground.container("exit 0").detach().unwrap();
    container.wait().unwrap();
    // As a keeper leaves it that could not write; a directory in the way of the record keeps the engine from it as well.
    let directory = ground.services.containers().join(container.id().as_str());
    std::fs::remove_file(directory.join("exit")).unwrap();
    std::fs::create_dir_all(directory.join("exit.lost/in-the-way")).unwrap();
    assert_eq!(container.wait().unwrap().status, ExitStatus::Unknown);
    ground.reopen();
    container.remove().unwrap();
}

#[test]
fn a_container_that_writes_into_its_init_leads_the_keeper_to_no_other_process() {
    let ground = Ground::new();
    // The word at offset 20 of the shared page says which process the container is: 1 is the host's first.
    let script = "address=$(cat /proc/1/maps | head -n 40 | while read range mode rest; do case \"$rest\" in *coracle-plan*) \
         echo ${range%%-*}; break;; esac; done); \
         printf '\\001\\000\\000\\000' | dd of=/proc/1/mem bs=1 seek=$((0x$address + 20)) conv=notrunc; \
         echo written $?; sleep 100";
    let container = ground
        .container(script)
        .capabilities(CapabilitySet::DEFAULT.with(Capability::SYS_PTRACE))
        .seccomp(false)
        .detach()
        .unwrap();
    let ContainerState::Running(process) = container.state().unwrap() else { panic!("it has ended") };
    let said = container.logs().follow().map(|line| line.unwrap().to_string()).find(|line| line.starts_with("written"));
    assert_eq!(said.as_deref(), Some("written 0"));
    assert_eq!(container.state().unwrap(), ContainerState::Running(process));
    container.kill(libc::SIGKILL).unwrap();
    assert_eq!(container.wait().unwrap().status, ExitStatus::Signaled(9));
    container.remove().unwrap();
}

#[test]
fn an_init_has_one_capability_and_its_memory_is_closed() {
    let ground = Ground::new();
    let script = "while read key value; do case $key in CapEff:|CapPrm:) echo $value;; esac; done < /proc/1/status; \
         head -c 1 /proc/1/mem; echo $?";
    let output = ground.container(script).output().unwrap();
    // CAP_KILL.
    assert_eq!(text(&output.stdout), "0000000000000020\n0000000000000020\n1\n", "{}", text(&output.stderr));
}
