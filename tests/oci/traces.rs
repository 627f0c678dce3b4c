//! What a container may leave behind: processes, cgroups, mounts, state.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Everything that still bears the container's name, once what ends by itself has ended.
pub fn of(id: &str, scratch: &Path, state: &Path) -> Vec<String> {
    let begin = Instant::now();
    loop {
        let found = now(id, scratch, state);
        if found.is_empty() || begin.elapsed() > Duration::from_secs(5) {
            return found;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Kills and removes what a broken runtime left, so that the machine is as before.
pub fn remove(id: &str) {
    for (pid, _) in processes(id) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    }
    for cgroup in cgroups(id) {
        let begin = Instant::now();
        while fs::remove_dir(&cgroup).is_err() && cgroup.exists() && begin.elapsed() < Duration::from_secs(2) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn now(id: &str, scratch: &Path, state: &Path) -> Vec<String> {
    let mut found: Vec<String> =
        processes(id).into_iter().map(|(pid, what)| format!("process {pid}: {what}")).collect();
    found.extend(cgroups(id).iter().map(|path| format!("cgroup {}", path.display())));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let scratch = scratch.to_string_lossy();
    found.extend(mounts.lines().filter(|line| line.contains(&*scratch)).map(|line| format!("mount {line}")));
    if state.join(id).exists() {
        found.push(format!("state {}", state.join(id).display()));
    }
    found
}

/// Processes that hold the id in their environment, arguments or cgroup; not this one.
fn processes(id: &str) -> Vec<(i32, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let file = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
        let named = ["environ", "cmdline", "cgroup"].iter().any(|name| holds(&file(name), id));
        // A process that has ended and waits for its parent holds nothing.
        let ended =
            String::from_utf8_lossy(&file("stat")).rsplit(") ").next().is_some_and(|rest| rest.starts_with(['Z', 'X']));
        if named && !ended && pid != std::process::id().cast_signed() {
            let line = String::from_utf8_lossy(&file("cmdline")).replace('\0', " ");
            found.push((pid, line));
        }
    }
    found
}

/// Whether the text names this id and no longer one.
fn holds(text: &[u8], id: &str) -> bool {
    let text = String::from_utf8_lossy(text);
    text.match_indices(id).any(|(at, _)| !text[at + id.len()..].starts_with(|next: char| next.is_ascii_digit()))
}

fn cgroups(id: &str) -> Vec<PathBuf> {
    let top = Path::new("/sys/fs/cgroup");
    let mut tops = vec![top.to_owned()];
    tops.extend(fs::read_dir(top).into_iter().flatten().flatten().map(|entry| entry.path()));
    tops.iter().map(|directory| directory.join(id)).filter(|path| path.is_dir()).collect()
}
