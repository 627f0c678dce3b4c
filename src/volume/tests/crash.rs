//! Ends the process at every step of a volume's life, and looks at what is left.

use super::{Result, VolumeDetails, volume};
use crate::ErrorKind;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, posix_spawn};
use nix::sys::wait::{WaitStatus, waitpid};
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Steps left until the process ends; 0 for never.
static REMAINING: AtomicU64 = AtomicU64::new(0);

/// Called at every step.
pub(in crate::volume) fn reached(_name: &'static str) {
    if REMAINING.load(Ordering::Relaxed) > 0 && REMAINING.fetch_sub(1, Ordering::Relaxed) == 1 {
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    }
}

const ROOT: &str = "CORACLE_VOLUME_CRASH_ROOT";
const STEP: &str = "CORACLE_VOLUME_CRASH_STEP";

/// Everything that changes a volume, once. Each content is three files with one text.
fn live(root: &Path) -> Result<()> {
    let volume = volume(root).create()?;
    let VolumeDetails { path, .. } = volume.inspect()?;
    fs::create_dir(path.join("sub")).unwrap();
    write(&path, "old");
    volume.snapshot("old")?;
    fs::remove_file(path.join("sub/two")).unwrap();
    write(&path, "new");
    volume.restore("old")?;
    volume.remove_snapshot("old")?;
    volume.remove()
}

fn write(data: &Path, text: &str) {
    for name in ["one", "sub/two", "three"] {
        fs::write(data.join(name), text).unwrap();
    }
    fs::write(data.ancestors().nth(3).unwrap().join(".done"), text).unwrap();
}

fn whole(data: &Path, text: &str) -> bool {
    ["one", "sub/two", "three"].iter().all(|name| fs::read_to_string(data.join(name)).is_ok_and(|is| is == text))
}

/// Whatever happened before: the volume is not there, or it has one content, and nothing half-made is left.
fn check(root: &Path) {
    let volume = volume(root);
    assert_eq!(fs::read_dir(root.join("root/tmp")).unwrap().count(), 0);
    let details = match volume.inspect() {
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert!(!root.join("root/volumes/data").exists());
            return;
        }
        Ok(details) => details,
    };
    let done = fs::read_to_string(root.join("root/volumes/.done")).unwrap_or_default();
    let expected: &[&str] = match done.as_str() {
        "new" => &["old", "new"],
        "old" => &["old"],
        _ => return,
    };
    assert!(expected.iter().any(|text| whole(&details.path, text)), "neither the old nor the new content");
    for snapshot in volume.snapshots().unwrap() {
        assert!(whole(&root.join("root/volumes/data/snapshots").join(snapshot.label.as_str()).join("data"), "old"));
        volume.restore("old").unwrap();
        assert!(whole(&details.path, "old"));
    }
    volume.remove().unwrap();
}

/// Runs this very test in another process, to be ended at `step`; whether it came to its end.
fn run_until(root: &Path, step: u64) -> bool {
    let program = CString::new(std::env::current_exe().unwrap().as_os_str().as_bytes()).unwrap();
    let name = c"volume::tests::crash::every_step_may_be_the_last";
    let arguments = [program.as_c_str(), c"--exact", name, c"--test-threads=1"];
    let environment =
        [CString::new(format!("{ROOT}={}", root.display())).unwrap(), CString::new(format!("{STEP}={step}")).unwrap()];
    let mut actions = PosixSpawnFileActions::init().unwrap();
    for fd in [1, 2] {
        let flags = nix::fcntl::OFlag::O_WRONLY;
        actions.add_open(fd, c"/dev/null", flags, nix::sys::stat::Mode::empty()).unwrap();
    }
    let attributes = PosixSpawnAttr::init().unwrap();
    let pid = posix_spawn(program.as_c_str(), &actions, &attributes, &arguments, &environment).unwrap();
    match waitpid(pid, None).unwrap() {
        WaitStatus::Exited(_, 0) => true,
        WaitStatus::Signaled(_, nix::sys::signal::Signal::SIGKILL, _) => false,
        other => panic!("step {step}: {other:?}"),
    }
}

#[test]
fn every_step_may_be_the_last() {
    if let (Some(root), Ok(step)) = (std::env::var_os(ROOT), std::env::var(STEP)) {
        REMAINING.store(step.parse().unwrap(), Ordering::Relaxed);
        live(Path::new(&root)).unwrap();
        return;
    }
    // In memory: it is the process that dies, not the machine.
    let scratch = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut step = 1;
    loop {
        let root = scratch.path().join(step.to_string());
        fs::create_dir(&root).unwrap();
        let finished = run_until(&root, step);
        check(&root);
        live(&root).unwrap();
        check(&root);
        fs::remove_dir_all(&root).unwrap();
        if finished {
            break;
        }
        step += 1;
    }
    assert!(step > 15, "only {step} steps were seen");
}
