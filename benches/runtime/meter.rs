//! Wall time, CPU time and memory of a command and of this process.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Instant;

/// What one verb cost.
#[derive(Clone, Copy, Default)]
pub struct Sample {
    /// Milliseconds.
    pub wall: f64,
    /// Milliseconds of user and system time, children included.
    pub cpu: f64,
    /// Peak resident memory of the command in kilobytes, where it was asked for.
    pub memory: u64,
}

/// Runs a command to its end.
pub type Meter = fn(&mut Command) -> (ExitStatus, Sample);

/// Wall and CPU time.
pub fn timed(command: &mut Command) -> (ExitStatus, Sample) {
    let begin = Instant::now();
    let pid = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")).id() as i32;
    let mut status = 0;
    // SAFETY: rusage is plain data, and both are live.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::wait4(pid, &mut status, 0, &mut usage), pid);
        usage
    };
    let wall = begin.elapsed().as_secs_f64() * 1e3;
    (ExitStatus::from_raw(status), Sample { wall, cpu: milliseconds(&usage), memory: 0 })
}

/// Peak memory alone: the command is traced, which makes it slow. `ru_maxrss` would not do: a process begins with the
/// peak of the one that spawned it.
pub fn weighed(command: &mut Command) -> (ExitStatus, Sample) {
    // SAFETY: one system call, of which nothing is expected but its effect.
    unsafe {
        command.pre_exec(|| {
            libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
            Ok(())
        });
    }
    let pid = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")).id() as i32;
    let mut memory = 0;
    let mut first = true;
    loop {
        let status = wait(pid);
        if !libc::WIFSTOPPED(status) {
            return (ExitStatus::from_raw(status), Sample { memory, ..Sample::default() });
        }
        let mut signal = libc::WSTOPSIG(status);
        if first {
            // Stopped by its exec. Some exec themselves once more, which without the option would be a signal.
            let options = libc::PTRACE_O_TRACEEXIT | libc::PTRACE_O_TRACEEXEC;
            // SAFETY: the process is a stopped tracee.
            unsafe { libc::ptrace(libc::PTRACE_SETOPTIONS, pid, 0, options) };
            (first, signal) = (false, 0);
        } else if status >> 16 != 0 {
            if status >> 16 == libc::PTRACE_EVENT_EXIT {
                memory = peak(pid);
            }
            signal = 0;
        }
        // SAFETY: as above.
        unsafe { libc::ptrace(libc::PTRACE_CONT, pid, 0, signal) };
    }
}

/// What a step of this process costs, its threads and reaped children included.
pub fn inside<T>(step: impl FnOnce() -> T) -> (T, Sample) {
    let (cpu, begin) = (own(), Instant::now());
    let value = step();
    let wall = begin.elapsed().as_secs_f64() * 1e3;
    (value, Sample { wall, cpu: own() - cpu, memory: 0 })
}

/// Waits for the process to end or stop; the status.
pub fn wait(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: the status is live.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    status
}

/// CPU time in milliseconds that all threads of a living process have used, ended ones included.
pub fn cpu_of(pid: i32) -> f64 {
    // The kernel's number for the clock of a process (clock_getcpuclockid(3)).
    let clock = (!pid << 3) | 2;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time is live.
    match unsafe { libc::clock_gettime(clock, &mut time) } {
        0 => time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6,
        _ => 0.0,
    }
}

/// Makes this process the parent of orphans among its descendants.
pub fn adopt_orphans() {
    // SAFETY: no memory is involved.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
}

fn own() -> f64 {
    [libc::RUSAGE_SELF, libc::RUSAGE_CHILDREN]
        .map(|who| {
            // SAFETY: rusage is plain data, and live.
            let usage = unsafe {
                let mut usage: libc::rusage = std::mem::zeroed();
                libc::getrusage(who, &mut usage);
                usage
            };
            milliseconds(&usage)
        })
        .iter()
        .sum()
}

fn milliseconds(usage: &libc::rusage) -> f64 {
    let one = |time: libc::timeval| time.tv_sec as f64 * 1e3 + time.tv_usec as f64 / 1e3;
    one(usage.ru_utime) + one(usage.ru_stime)
}

/// VmHWM in kilobytes.
fn peak(pid: i32) -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
