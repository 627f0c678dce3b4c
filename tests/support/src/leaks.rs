//! What the machine holds, before and after.

use std::collections::BTreeSet;
use std::path::Path;

/// What was on the machine at one moment: mounts, cgroups, interfaces of this network namespace, and processes whose
/// program is a memory file (which every stage of ours is).
pub struct Leaks {
    before: BTreeSet<String>,
}

impl Leaks {
    /// Remembers what is there now. Tests that run beside others pass a `mark` (an id, a directory of theirs) to
    /// [`Leaks::since`], so that they see their own things only.
    pub fn watch() -> Leaks {
        Leaks { before: everything() }
    }

    /// What is there now, was not before, and contains `mark`.
    pub fn since(&self, mark: &str) -> Vec<String> {
        everything().difference(&self.before).filter(|thing| thing.contains(mark)).cloned().collect()
    }

    /// Panics with the list where anything with `mark` is left, after waiting a second for what the kernel ends lazily.
    pub fn assert_none(&self, mark: &str) {
        for _ in 0..20 {
            if self.since(mark).is_empty() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("left behind: {:#?}", self.since(mark));
    }
}

fn everything() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // The first two fields are ids, which change without a leak.
    found.extend(mounts.lines().map(|line| format!("mount {}", line.splitn(3, ' ').last().unwrap_or_default())));
    cgroups(Path::new("/sys/fs/cgroup"), &mut found);
    let interfaces = std::fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    let names = interfaces.lines().skip(2).filter_map(|line| line.split(':').next());
    found.extend(names.map(|name| format!("interface {}", name.trim())));
    processes(&mut found);
    found
}

fn cgroups(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.insert(format!("cgroup {}", entry.path().display()));
            cgroups(&entry.path(), found);
        }
    }
}

fn processes(found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(program) = std::fs::read_link(entry.path().join("exe")) else { continue };
        if program.to_string_lossy().starts_with("/memfd:") {
            let cgroup = std::fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
            let pid = entry.file_name();
            found.insert(format!("process {} {} {}", pid.display(), program.display(), cgroup.replace('\n', " ")));
        }
    }
}
