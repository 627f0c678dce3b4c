//! How many instructions the pure code of a start takes, counted by callgrind: the same on a busy machine as on an idle one.
//!
//! `cargo bench --bench instructions`, with valgrind (`apt-get install valgrind`) and the runner of the same version as the
//! `gungraun` of Cargo.lock (`cargo install gungraun-runner --version 0.20.0`) in `PATH`. Without them it says so and counts
//! nothing.

#[path = "support/bundle.rs"]
mod bundle;
#[path = "support/profile.rs"]
mod profile;

use std::path::PathBuf;

fn main() {
    let counted = std::env::args().any(|argument| argument == "--gungraun-run");
    if counted || is_equipped() {
        count::begin();
    }
}

/// Whether the programs are there that count. What is missing is said.
fn is_equipped() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let missing = [
        ("valgrind", "apt-get install valgrind"),
        ("gungraun-runner", "cargo install gungraun-runner --version 0.20.0"),
    ]
    .into_iter()
    .filter(|(program, _)| !places.iter().any(|place| place.join(program).exists()));
    missing
        .inspect(|(program, how)| println!("nothing is counted: {program} is not installed, get it by: {how}"))
        .count()
        == 0
}

/// What is counted.
mod count {
    use crate::bundle::Bundle;
    use coracle::runtime::Runtime;
    use coracle::seccomp::{Architecture, Profile};
    use coracle::{CapabilitySet, NetworkMode, Root, Sandbox};
    use gungraun::{library_benchmark, library_benchmark_group};
    use oci_spec::runtime::Spec;
    use serde_json::json;
    use std::hint::black_box;
    use std::path::{Path, PathBuf};

    pub fn begin() {
        main();
    }

    /// What Docker writes.
    fn docker() -> Bundle<'static> {
        Bundle {
            root: Path::new("/"),
            full: true,
            network: true,
            joins: None,
            proc: true,
            command: "/bin/true",
            group: "/coracle-bench".to_owned(),
            files: &[],
        }
    }

    /// The same, with this many further mounts.
    fn config(mounts: usize) -> serde_json::Value {
        let mut config = docker().config();
        let all = config["mounts"].as_array_mut().unwrap();
        all.extend((0..mounts).map(|number| {
            let options = ["nosuid", "nodev", "noexec", "relatime", "ro", "mode=755", "size=64k", "rprivate"];
            let destination = format!("/mnt/{number}");
            json!({ "destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options })
        }));
        config
    }

    fn text(mounts: usize) -> Vec<u8> {
        config(mounts).to_string().into_bytes()
    }

    /// A bundle in the directory for temporary files; it is written anew each time.
    fn bundle(mounts: usize) -> (Runtime, PathBuf) {
        let directory = std::env::temp_dir().join(format!("coracle-bench-instructions-{mounts}"));
        docker().write(&directory);
        if mounts > 0 {
            std::fs::write(directory.join("config.json"), text(mounts)).unwrap();
        }
        (Runtime::open(directory.join("state")).unwrap(), directory)
    }

    fn gone((_, directory): (String, PathBuf)) {
        std::fs::remove_dir_all(directory).unwrap();
    }

    fn profile_text() -> Vec<u8> {
        config(0)["linux"]["seccomp"].to_string().into_bytes()
    }

    #[library_benchmark]
    #[bench::docker_like(text(0))]
    #[bench::hundred_mounts(text(100))]
    fn read_config(json: Vec<u8>) -> Spec {
        serde_json::from_slice(black_box(&json)).unwrap()
    }

    // Reading, checking, lowering, verifying and printing.
    #[library_benchmark(teardown = gone)]
    #[bench::docker_like(bundle(0))]
    #[bench::hundred_mounts(bundle(100))]
    fn list_container((runtime, directory): (Runtime, PathBuf)) -> (String, PathBuf) {
        let listing = runtime.create("one", black_box(&directory)).listing().unwrap();
        (listing, directory)
    }

    #[library_benchmark]
    #[bench::default()]
    fn list_sandbox() -> String {
        let root = Root::Directory(PathBuf::from("/"));
        Sandbox::new(root, ["/bin/true"]).network(NetworkMode::None).listing().unwrap()
    }

    #[library_benchmark]
    #[bench::engines_default(profile_text())]
    fn read_profile(json: Vec<u8>) -> Profile {
        Profile::from_json(black_box(&json)).unwrap()
    }

    #[library_benchmark]
    #[bench::native_alone(Profile::default_for(&CapabilitySet::DEFAULT).architectures([]))]
    #[bench::all_architectures(Profile::default_for(&CapabilitySet::DEFAULT))]
    fn compile_profile(profile: Profile) -> usize {
        black_box(&profile).compile(Architecture::native().unwrap()).unwrap().instructions().len()
    }

    library_benchmark_group!(
        name = start;
        benchmarks = read_config, list_container, list_sandbox, read_profile, compile_profile
    );
    gungraun::main!(library_benchmark_groups = start);
}
