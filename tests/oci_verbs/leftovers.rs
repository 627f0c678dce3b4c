//! State directories that are not whole, and several processes at one container.

use crate::bundle::Bundle;
use crate::started;
use coracle::ErrorKind;
use coracle::runtime::Status;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

fn home(bundle: &Bundle) -> PathBuf {
    bundle.scratch().join("state").join(bundle.id())
}

/// What is wrong with a record, how it gets so, and what reading it gives.
type Damage = (&'static str, fn(&mut Value), ErrorKind);

#[test]
fn an_unreadable_state_is_said_and_removed_by_force() {
    let damages: [Damage; 3] = [
        ("version", |state| state["version"] = json!(77), ErrorKind::Unsupported),
        ("field", |state| state["bundle"] = json!(1), ErrorKind::Corrupt),
        ("none", |state| *state = json!("x"), ErrorKind::Corrupt),
    ];
    for (name, damage, kind) in damages {
        let bundle = Bundle::new(&format!("damaged-{name}"), "sleep 1000 & exec sleep 1000");
        let container = started(&bundle);
        let pid = container.state().unwrap().pid;
        let path = home(&bundle).join("state.json");
        let mut state: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        damage(&mut state);
        fs::write(&path, state.to_string()).unwrap();
        for error in [container.state().unwrap_err(), container.delete(false).unwrap_err()] {
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains("delete --force"), "{error}");
        }
        container.delete(true).unwrap();
        assert!(!home(&bundle).exists());
        // It was found by the control group of its configuration.
        crate::wait_until("the end of its process", || {
            fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
        });
    }
}

#[test]
fn the_root_that_a_killed_restore_left_mounted_keeps_its_files() {
    let bundle = Bundle::new("restored", "exec true");
    let container = started(&bundle);
    let (rootfs, place) = (bundle.within(""), home(&bundle).join("criu-root"));
    fs::create_dir(&place).unwrap();
    nix::mount::mount(Some(&rootfs), &place, None::<&str>, nix::mount::MsFlags::MS_BIND, None::<&str>).unwrap();
    let deleted = container.delete(true);
    // Where it failed nothing may stay mounted.
    let _ = nix::mount::umount2(&place, nix::mount::MntFlags::MNT_DETACH);
    deleted.unwrap();
    assert!(bundle.within("bin/busybox").exists() && !home(&bundle).exists());
}

#[test]
fn a_process_number_of_another_process_is_no_process_of_the_container() {
    let bundle = Bundle::new("reused", "exec sleep 1000");
    let container = started(&bundle);
    let path = home(&bundle).join("state.json");
    let whole = fs::read(&path).unwrap();
    for (field, value) in [("start_time", json!(1)), ("boot", json!("another"))] {
        let mut state: Value = serde_json::from_slice(&whole).unwrap();
        state["process"][field] = value;
        fs::write(&path, state.to_string()).unwrap();
        assert_eq!(container.state().unwrap().status, Status::Stopped, "{field}");
        assert_eq!(container.kill(9, false).unwrap_err().kind(), ErrorKind::InvalidInput, "{field}");
    }
    fs::write(&path, whole).unwrap();
    assert_eq!(container.state().unwrap().status, Status::Running);
}

#[test]
fn a_creation_that_was_cut_off_is_deleted() {
    let bundle = Bundle::new("cut", "true");
    fs::create_dir_all(home(&bundle)).unwrap();
    let container = bundle.runtime().container(bundle.id()).unwrap();
    assert_eq!(container.state().unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(bundle.create().unwrap_err().kind(), ErrorKind::AlreadyExists);
    container.delete(true).unwrap();
    started(&bundle).delete(true).unwrap();
}

#[test]
fn of_many_that_create_one_id_one_does() {
    let bundle = Bundle::new("many", "exec sleep 1000");
    let directory = bundle.written();
    let runtime = bundle.runtime();
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..8).map(|_| scope.spawn(|| runtime.create(bundle.id(), &directory).create())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (made, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), refused.len()), (1, 7));
    for error in refused.into_iter().filter_map(Result::err) {
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    }
    let container = runtime.container(bundle.id()).unwrap();
    assert_eq!(container.state().unwrap().status, Status::Created);
}

#[test]
fn starts_and_deletes_at_once_end_in_nothing() {
    for round in 0..10 {
        let bundle = Bundle::new(&format!("race-{round}"), "exec sleep 1000");
        let container = bundle.create().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // It may be gone, or going.
                let _ = container.start();
            });
            let deletes = [scope.spawn(|| container.delete(true)), scope.spawn(|| container.delete(true))];
            let done = deletes.map(|thread| thread.join().unwrap());
            for outcome in done {
                assert!(
                    outcome.as_ref().map_or_else(|error| error.kind() == ErrorKind::NotFound, |()| true),
                    "{outcome:?}"
                );
            }
        });
        assert!(bundle.runtime().list().unwrap().is_empty());
    }
}
