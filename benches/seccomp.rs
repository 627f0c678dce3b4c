//! Making the default filter: from capabilities to a program, and from a runtime configuration's JSON.

use coracle::CapabilitySet;
use coracle::seccomp::{Architecture, Profile};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

fn compile(criterion: &mut Criterion) {
    let Some(native) = Architecture::native() else { return };
    let default = Profile::default_for(&CapabilitySet::DEFAULT);
    let alone = default.clone().architectures([]);
    for (name, profile) in [("native alone", &alone), ("native and 32 bits", &default)] {
        let filter = profile.compile(native).expect("the default profile compiles");
        println!("{native}, {name}: {} instructions", filter.instructions().len());
        criterion.bench_function(&format!("seccomp/compile/{name}"), |bencher| {
            bencher.iter(|| black_box(profile).compile(native));
        });
    }
    criterion.bench_function("seccomp/default profile and compile", |bencher| {
        bencher.iter(|| Profile::default_for(black_box(&CapabilitySet::DEFAULT)).compile(native));
    });
    let json = br#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["read", "write", "close", "exit_group", "openat", "mmap", "brk"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["personality"], "action": "SCMP_ACT_ALLOW",
         "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]}]}"#;
    criterion.bench_function("seccomp/read a small profile", |bencher| {
        bencher.iter(|| Profile::from_json(black_box(json)));
    });
}

criterion_group!(benches, compile);
criterion_main!(benches);
