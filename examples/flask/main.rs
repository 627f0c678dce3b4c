//! Builds, runs and watches a real web application: the Flask application in `app/`.
//!
//! ```text
//! cargo run --release --example flask -- 127.0.0.1:5000/python:3.7 [ROOT RUN]
//! ```
//!
//! The first argument is a base image with Python and pip, in the store or in a registry; the others are the
//! engine's root and run directories. Needs root, for the bridge network.

use coracle::cgroup::Limits;
use coracle::{Cpus, Engine, EngineOptions, Memory, Result};
use std::path::Path;
use std::time::Duration;

/// What pip on this machine needs to reach its registry: bound into the step, never in a layer.
const PIP_FILES: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf"];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let Some(base) = arguments.next() else {
        eprintln!("usage: flask BASE-IMAGE [ROOT RUN]");
        std::process::exit(2);
    };
    if let Err(error) = run(&base, arguments.next().zip(arguments.next())) {
        eprintln!("flask: {error}");
        std::process::exit(1);
    }
}

fn run(base: &str, directories: Option<(String, String)>) -> Result<()> {
    let engine = match directories {
        Some((root, run)) => EngineOptions::new(root).run_directory(run).open()?,
        None => Engine::open(Engine::default_root()?)?,
    };
    let context = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/flask/app");
    let mut build = engine.build(context).build_arg("BASE", base).tag("example/flask:1.0");
    for file in PIP_FILES.iter().filter(|file| Path::new(file).exists()) {
        build = build.bind(*file, *file);
    }
    let image = build.on_progress(|event| println!("{event}")).run()?;

    let web = engine
        .container(&image)
        .name("flask")
        .publish(8000, 8000)
        .limits(Limits::new().memory(Memory::mib(256)).cpus(Cpus::of(1.0)).pids(64))
        .detach()?;
    println!("http://127.0.0.1:8000/ until Enter is pressed");
    // An end of the input is as good as a line of it.
    let _ = std::io::stdin().read_line(&mut String::new());

    let stats = web.stats()?;
    println!("memory {}, processor {:?}, {} processes", stats.memory.used, stats.cpu.usage, stats.pids.current);
    for line in web.logs() {
        println!("| {}", line?);
    }
    let exit = web.stop(Duration::from_secs(10))?;
    println!("{}", exit.status);
    web.remove()
}
