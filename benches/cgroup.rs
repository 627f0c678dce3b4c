//! What a control group costs from its creation to its removal, beside the least it can cost: bare mkdir and rmdir in the
//! same hierarchies.
//!
//! Joining is measured by a thread that moves itself, as the stage does, and by `cgroup.procs`, as other runtimes do; on
//! an idle machine the latter waits for the kernel's grace periods, which a benchmark that runs back to back flatters:
//! `cargo bench --bench start` compares whole starts with idle gaps, and with crun and runc.

use coracle::cgroup::{Cgroup, CgroupsPath, Limits, Policy, Resources};
use coracle::{Cpus, Memory};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use std::io::Write;
use std::path::PathBuf;

/// What an engine writes into `linux.resources` for a container with usual limits.
fn resources() -> Resources {
    let spec = serde_json::json!({
        "memory": {"limit": 256 << 20, "swap": 256 << 20},
        "cpu": {"shares": 512, "quota": 50000, "period": 100_000},
        "pids": {"limit": 64},
        "devices": [{"allow": false, "access": "rwm"}]
    });
    let spec = serde_json::from_value(spec).expect("resources of the runtime-spec");
    Resources::from_runtime_spec(&spec).expect("resources that make sense")
}

fn path() -> CgroupsPath {
    let path = format!("/coracle-bench-{}", std::process::id());
    CgroupsPath::parse(path.as_ref()).expect("a path")
}

fn make(resources: &Resources) -> Cgroup {
    Cgroup::at(&path(), resources, Policy::Strict).expect("this bench needs root").0
}

fn creation(criterion: &mut Criterion) {
    let (nothing, everything) = (Resources::new(), resources());
    let group = make(&nothing);
    let directories = group.directories();
    group.remove().expect("an empty group can be removed");
    println!("{} hierarchies", directories.len());
    criterion.bench_function("cgroup/floor: mkdir and rmdir in every hierarchy", |bencher| {
        bencher.iter(|| floor(&directories));
    });
    for (name, resources) in [("nothing limited", &nothing), ("limits and devices", &everything)] {
        criterion.bench_function(&format!("cgroup/at a cgroupsPath and removal, {name}"), |bencher| {
            bencher.iter(|| make(resources).remove().expect("an empty group can be removed"));
        });
    }
    let limits = Limits::new().memory(Memory::mib(256)).cpus(Cpus::of(0.5)).cpu_weight(50).pids(64);
    let name = format!("coracle-bench-{}", std::process::id());
    criterion.bench_function("cgroup/with limits and removal", |bencher| {
        bencher.iter(|| {
            let (group, _) = Cgroup::create(&name, &limits, Policy::Strict).expect("a group");
            group.remove().expect("an empty group can be removed");
        });
    });
}

fn floor(directories: &[PathBuf]) {
    for directory in directories {
        std::fs::create_dir(directory).expect("a group can be made");
    }
    for directory in directories {
        std::fs::remove_dir(directory).expect("a group can be removed");
    }
}

/// Only version 1 is joined by writing; version 2 is joined by clone3 itself.
fn joining(criterion: &mut Criterion) {
    let group = make(&resources());
    criterion.bench_function("cgroup/join by a thread that moves itself", |bencher| {
        bencher.iter_batched(
            || group.join().expect("a group that is there").tasks,
            |tasks| std::thread::spawn(move || tasks.into_iter().for_each(move_self)).join(),
            BatchSize::SmallInput,
        );
    });
    criterion.bench_function("cgroup/floor: a thread that does nothing", |bencher| {
        bencher.iter(|| std::thread::spawn(|| {}).join());
    });
    criterion.bench_function("cgroup/join by cgroup.procs", |bencher| {
        bencher.iter_batched_ref(
            || std::process::Command::new("sleep").arg("100").spawn().expect("sleep"),
            |child| group.attach(child.id() as i32).expect("a process can be moved"),
            BatchSize::PerIteration,
        );
        group.kill().expect("sleeping processes can be killed");
    });
    criterion.bench_function("cgroup/usage", |bencher| bencher.iter(|| group.usage().expect("a group that is there")));
    group.remove().expect("an empty group can be removed");
}

fn move_self(tasks: std::os::fd::OwnedFd) {
    std::fs::File::from(tasks).write_all(b"0").expect("a thread can move itself");
}

criterion_group!(benches, creation, joining);
criterion_main!(benches);
