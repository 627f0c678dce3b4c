//! From nothing to a confined, measured container: no registry, no network, no other program.
//!
//! `cargo run --release --example quickstart`, as root or, where the host allows user namespaces, as an ordinary user.

mod scratch;
mod show;

use coracle::cgroup::{Limits, Policy};
use coracle::{ContainerBuilder, Cpus, Engine, EngineOptions, Error, Image, Memory, Network, Result};
use scratch::ScratchDirectory;
use show::{report, say, time, title};
use std::path::Path;
use std::time::Instant;

/// The image that is built on top of the programs of this machine.
const DOCKERFILE: &str = "\
FROM host/base:latest
WORKDIR /srv
COPY greeting.txt .
RUN cat greeting.txt > /greeting && id -u > /built-by
CMD [\"/bin/sh\", \"-c\", \"cat /greeting; echo \\\"I am user $(id -u) on $(cat /etc/hostname), my root holds:\\\"; ls -x /\"]
";

/// Doubles a text until there is no room for it; ends by itself where nothing limits it.
const EATER: &str = "text=0123456789abcdef; while [ ${#text} -lt 100000000 ]; do text=$text$text; done";

/// What a process sees of the network.
const LOOK_AROUND: &str = "echo \"interfaces: $(ls /sys/class/net)\"; echo \"routes: $(tail -n +2 /proc/net/route)\"";

fn main() {
    if let Err(error) = run() {
        eprintln!("quickstart: {error}");
        std::process::exit(1);
    }
}

fn run() -> Result<()> {
    let directory = ScratchDirectory::make("quickstart")?;
    // By default what a reboot ends is kept in the system's place for it; here everything goes with the directory.
    let engine = EngineOptions::new(directory.0.join("engine")).run_directory(directory.0.join("run")).open()?;

    title("1. An image from the programs of this machine");
    let begin = Instant::now();
    let base = engine
        .image_builder()
        .from_host(["/bin/sh", "/bin/cat", "/bin/ls", "/usr/bin/id", "/usr/bin/tail"])?
        .env("LANG", "C.UTF-8")
        .command(["/bin/sh"])
        .tag("host/base:latest")
        .commit()?;
    say("image", format!("{} ({}, made in {})", base.reference(), Memory::bytes(base.size()), time(begin.elapsed())));

    title("2. A Dockerfile on top of it, built twice");
    let context = directory.0.join("context");
    write(&context.join("Dockerfile"), DOCKERFILE)?;
    write(&context.join("greeting.txt"), "Hello from a coracle, a boat for one.\n")?;
    build(&engine, &context)?;
    let image = build(&engine, &context)?;

    title("3. A command under limits: 64 MiB of memory, 1 processor, 32 processes");
    let limits = Limits::new().memory(Memory::mib(64)).cpus(Cpus::of(1.0)).pids(32);
    report(&container(&engine, &image).limits(limits).output()?);

    title("4. A command that exceeds its memory limit of 24 MiB");
    let limits = Limits::new().memory(Memory::mib(24));
    let eater = container(&engine, &image).limits(limits).command(["/bin/sh", "-c", EATER]);
    let output = eater.timeout(std::time::Duration::from_secs(20)).output();
    match &output {
        Ok(output) => {
            report(output);
            let verdict =
                if output.oom_killed { "killed by the kernel for exceeding its memory limit" } else { "not killed" };
            say("verdict", verdict);
        }
        Err(error) => say("verdict", error.to_string()),
    }

    title("5. A command whose network is cut off");
    report(&container(&engine, &image).command(["/bin/sh", "-c", LOOK_AROUND]).output()?);
    Ok(())
}

/// A container without network. Where this host lets this user set no limits, that is said in the report, not fatal.
fn container(engine: &Engine, image: &Image) -> ContainerBuilder {
    engine.container(image).hostname("coracle").network(Network::None).policy(Policy::BestEffort)
}

fn build(engine: &Engine, context: &Path) -> Result<Image> {
    let begin = Instant::now();
    let image = engine
        .build(context)
        .tag("host/greeting:1.0")
        .network(Network::None)
        .on_progress(|event| println!("  {event}"))
        .run()?;
    say(
        "image",
        format!("{} ({}, built in {})", image.reference(), Memory::bytes(image.size()), time(begin.elapsed())),
    );
    Ok(image)
}

fn write(path: &Path, text: &str) -> Result<()> {
    let made = path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(path, text));
    made.map_err(|error| Error::invalid(format!("write {}", path.display())).source_error(error))
}
