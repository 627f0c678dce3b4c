//! What one start costs, from the call to the reaped process, beside the least it can cost and beside others.
//!
//! `cargo bench --bench start` prints a table of medians. The contestants take turns, so that whatever the machine does
//! besides hits all of them alike; once back to back and once with idle gaps, which is how programs start containers and
//! which back-to-back figures flatter (the kernel's RCU grace periods are short on a busy machine). `ROUNDS` sets the
//! number of starts of each (default 100).

#![allow(unsafe_code)]

#[path = "../support/bundle.rs"]
mod bundle;
#[path = "../support/floor.rs"]
mod floor;
#[path = "../support/machine.rs"]
mod machine;
#[path = "../support/peer.rs"]
mod peer;
#[path = "../support/profile.rs"]
mod profile;
#[path = "../../tests/support/tiny.rs"]
mod tiny;
#[path = "../support/turns.rs"]
mod turns;

use bundle::Bundle;
use coracle::cgroup::{Cgroup, Limits, Policy};
use coracle::seccomp::{Architecture, Profile};
use coracle::{CapabilitySet, Cpus, Memory, NetworkMode, Root, Sandbox, Seccomp};
use criterion::Criterion;
use floor::Floor;
use peer::Peer;
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;
use turns::{Contestant, take_turns, timed};

/// One configuration.
#[derive(Clone, Copy)]
struct Case {
    full: bool,
    network: bool,
}

const CASES: [Case; 4] = [
    Case { full: false, network: false },
    Case { full: false, network: true },
    Case { full: true, network: false },
    Case { full: true, network: true },
];

impl Case {
    fn name(self) -> String {
        let kind = if self.full { "docker-like" } else { "minimal" };
        format!("{kind}{}", if self.network { " + network" } else { "" })
    }
}

fn main() {
    machine::leave_hybrid_mode();
    let scratch = tempfile::Builder::new().prefix("coracle-bench-").tempdir().unwrap();
    let root = machine::root(scratch.path());
    if std::env::args().any(|argument| argument == "--test") {
        CASES
            .into_iter()
            .flat_map(|case| contestants(&root, scratch.path(), case, true))
            .for_each(|one| _ = (one.run)());
        return;
    }
    // With a filter for the plain measurements there is no table.
    if std::env::args().skip(1).all(|argument| argument.starts_with("--")) {
        table(&root, scratch.path());
    }
    single(&root);
}

/// The library's own start.
fn ours(root: &Path, case: Case, group: Option<&Cgroup>) {
    let network = if case.network { NetworkMode::None } else { NetworkMode::Host };
    let mut sandbox = Sandbox::new(Root::Directory(root.to_owned()), ["/bin/exit"]).network(network);
    if !case.full {
        sandbox = sandbox.system_mounts(false).seccomp(Seccomp::Unconfined);
    }
    if let Some(group) = group {
        sandbox = sandbox.cgroup(group);
    }
    let exit = sandbox.spawn().unwrap().wait().unwrap();
    assert!(exit.status.success(), "{}", exit.status);
}

fn ours_limited(root: &Path, case: Case, number: u32) {
    if !case.full {
        return ours(root, case, None);
    }
    let limits = Limits::new().memory(Memory::mib(256)).pids(64).cpus(Cpus::of(0.5));
    let name = format!("coracle-bench-{}-{number}", std::process::id());
    let (group, _) = Cgroup::create(&name, &limits, Policy::Strict).unwrap();
    ours(root, case, Some(&group));
    group.remove().unwrap();
}

/// The case as a bundle for the contestant `name`.
fn bundle<'a>(root: &'a Path, case: Case, name: &str) -> Bundle<'a> {
    Bundle {
        root,
        full: case.full,
        network: case.network,
        joins: None,
        // runc itself cannot do without a /proc.
        proc: name == "runc",
        command: "/bin/exit",
        group: "/coracle-bench-peer".to_owned(),
        files: &[],
    }
}

fn theirs(peer: &Peer, directory: &Path) {
    let name = format!("coracle-bench-{}", std::process::id());
    let status = peer.command(&["run", "--bundle", directory.to_str().unwrap(), &name]).status().unwrap();
    assert!(status.success(), "{status}");
}

/// The filter that the library loads by default.
fn filter() -> Vec<u8> {
    let native = Architecture::native().unwrap();
    Profile::default_for(&CapabilitySet::DEFAULT).compile(native).unwrap().to_bytes()
}

fn contestants<'a>(root: &'a Path, scratch: &Path, case: Case, with_peers: bool) -> Vec<Contestant<'a>> {
    let number = Cell::new(0);
    let floor = Floor::new(&bundle(root, case, "floor"), filter());
    let mut all = vec![
        Contestant { name: "floor", every: 1, run: Box::new(move || timed(|| floor.run())) },
        Contestant {
            name: "coracle",
            every: 1,
            run: Box::new(move || {
                number.set(number.get() + 1);
                timed(|| ours_limited(root, case, number.get()))
            }),
        },
    ];
    if with_peers {
        for name in ["crun", "runc"] {
            let directory: PathBuf = scratch.join(format!("{name}-{}", case.name().replace(' ', "")));
            bundle(root, case, name).write(&directory);
            match Peer::find(name, &directory.join("state"), case.full) {
                Ok(peer) => {
                    all.push(Contestant { name, every: 4, run: Box::new(move || timed(|| theirs(&peer, &directory))) })
                }
                Err(missing) => println!("{missing}"),
            }
        }
    }
    all
}

/// Memory of this process, every page of it touched. Small pages: that is what makes a fork slow.
fn grow(ballast: &mut Vec<(*mut libc::c_void, usize)>, megabytes: usize) {
    let have: usize = ballast.iter().map(|(_, size)| size >> 20).sum();
    let size = (megabytes - have.min(megabytes)) << 20;
    if size == 0 {
        return;
    }
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a fresh mapping, written within its bounds.
    unsafe {
        let start = libc::mmap(std::ptr::null_mut(), size, protection, flags, -1, 0);
        assert_ne!(start, libc::MAP_FAILED);
        libc::madvise(start, size, libc::MADV_NOHUGEPAGE);
        (0..size).step_by(4096).for_each(|at| *start.cast::<u8>().add(at) = 1);
        ballast.push((start, size));
    }
}

fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
}

fn table(root: &Path, scratch: &Path) {
    let rounds = std::env::var("ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
    let mut ballast = Vec::new();
    let mut small = std::collections::BTreeMap::new();
    println!("milliseconds from the call to the reaped process, median of {rounds} ({} for peers)", rounds / 4);
    println!(
        "{:<22} {:>6} {:>8} {:>7} {:>8} {:>8} {:>8}  {:>6} {:>6} {:>8}",
        "configuration", "gap", "host MB", "floor", "coracle", "crun", "runc", "/floor", "crun/", "/10 MB"
    );
    for megabytes in [10, 1024, 4096] {
        grow(&mut ballast, megabytes);
        for gap in [0, 20] {
            for (index, case) in CASES.into_iter().enumerate() {
                let contestants = contestants(root, scratch, case, megabytes == 10);
                let medians = take_turns(&contestants, rounds, Duration::from_millis(gap));
                let of = |name: &str| medians.get(name).copied().unwrap_or(f64::NAN);
                let (floor, coracle, crun, runc) = (of("floor"), of("coracle"), of("crun"), of("runc"));
                let first = *small.entry((index, gap)).or_insert(coracle);
                println!(
                    "{:<22} {gap:>3} ms {:>8.0} {floor:>7.3} {coracle:>8.3} {crun:>8.2} {runc:>8.2}  {:>6.2} {:>6.1} {:>8.2}",
                    case.name(),
                    resident(),
                    coracle / floor,
                    crun / coracle,
                    coracle / first,
                );
            }
        }
    }
    for (start, size) in ballast {
        // SAFETY: mapped by `grow`, used by nobody.
        unsafe { libc::munmap(start, size) };
    }
}

/// Plain measurements of the library alone.
fn single(root: &Path) {
    let mut criterion = Criterion::default().measurement_time(Duration::from_secs(3)).configure_from_args();
    for case in CASES {
        let number = Cell::new(1_000_000);
        criterion.bench_function(&format!("start, {}", case.name()), |bencher| {
            bencher.iter(|| {
                number.set(number.get() + 1);
                ours_limited(root, case, number.get());
            });
        });
    }
    criterion.final_summary();
}
