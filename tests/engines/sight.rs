//! How a container shows, from the inside, what was set for it.

use crate::ground::say_held;
use std::process::Command;

/// A script that prints the memory limit in bytes.
pub const MEMORY: &str = "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes";
/// A script that prints the CPU time in microseconds per 100 ms.
pub const CPUS: &str =
    "q=$(cat /sys/fs/cgroup/cpu.max 2>/dev/null) || q=$(cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us); echo ${q% *}";
/// A script that prints how many processes there may be.
pub const PIDS: &str = "cat /sys/fs/cgroup/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids/pids.max";

/// A seccomp profile that refuses to make directories, and nothing else.
pub const NO_MKDIR: &str = r#"{
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "args": []}]
}"#;

/// A set of capabilities out of `/proc/<pid>/status`.
pub fn capabilities(status: &str, set: &str) -> u64 {
    let value = status.lines().find_map(|line| line.strip_prefix(set)?.strip_prefix(":\t"));
    u64::from_str_radix(value.unwrap_or_else(|| panic!("no {set} in {status}")), 16).unwrap()
}

/// What the command prints in a terminal of 33 rows and 44 columns.
pub fn in_terminal(command: Command) -> String {
    let words: Vec<_> = [command.get_program()].into_iter().chain(command.get_args()).map(quoted).collect();
    let line = format!("stty rows 33 cols 44; {}", words.join(" "));
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]);
    for (name, value) in command.get_envs() {
        script.env(name, value.unwrap_or_default());
    }
    let said = say_held(&mut script);
    assert_eq!(said.code, 0, "{line}: {said:?}");
    said.out
}

/// One word of the shell.
fn quoted(word: &std::ffi::OsStr) -> String {
    format!("'{}'", word.to_str().unwrap().replace('\'', r"'\''"))
}
