//! What is left when the creator is killed with SIGKILL: nothing that a deletion does not find.

use crate::bundle::{Bundle, wait_until};
use crate::command::runtime;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

#[test]
fn a_creator_killed_at_any_moment_leaves_nothing_that_a_deletion_does_not_find() {
    let mut survivors = 0;
    for round in 0..40u64 {
        let bundle = Bundle::new(&format!("killed-{round}"), "exec sleep 1000");
        let directory = bundle.written();
        let mut creator = runtime(&bundle);
        creator.arg("create").arg("--bundle").arg(&directory).arg(bundle.id());
        let mut creator = creator.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(round * 700));
        creator.kill().unwrap();
        survivors += usize::from(creator.wait().unwrap().success());
        let deleted = runtime(&bundle).args(["delete", "--force", bundle.id()]).output().unwrap();
        assert!(deleted.status.success(), "round {round}: {deleted:?}");
        assert!(bundle.runtime().list().unwrap().is_empty(), "round {round}");
        // A stage without its creator ends by itself.
        wait_until("the end of every process of it", || processes_in(&directory) == 0);
        assert_eq!(groups(bundle.id()), Vec::<String>::new(), "round {round}");
    }
    assert!(survivors < 40, "no creator was killed in time");
}

/// Those that see the bundle's root as theirs.
fn processes_in(bundle: &Path) -> usize {
    let root = bundle.join("rootfs").display().to_string();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let mounts = |name: &str| std::fs::read_to_string(format!("/proc/{name}/mountinfo")).unwrap_or_default();
    entries.filter(|entry| mounts(&entry.file_name().to_string_lossy()).contains(&root)).count()
}

fn groups(id: &str) -> Vec<String> {
    let hierarchies = std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
    let hierarchies = hierarchies.map(|entry| entry.path()).chain(["/sys/fs/cgroup".into()]);
    hierarchies
        .map(|hierarchy| hierarchy.join("coracle").join(id))
        .filter(|group| group.exists())
        .map(|group| group.display().to_string())
        .collect()
}
