//! The reference application, end to end: a real base image through a real registry, a real `pip install`, a published
//! port, logs, statistics, a graceful stop, and nothing left.

#[path = "support/mod.rs"]
mod support;

use coracle::cgroup::Limits;
use coracle::{BuildEvent, Cpus, Engine, EngineOptions, Image, Memory, Network};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn flask_is_built_run_watched_and_removed() {
    support::require_root();
    let registry = support::Registry::start_on(5000);
    let base = format!("{}/library/python:3.7", registry.host());
    publish_base(&base);

    // Another engine, which knows nothing of the base but where it is.
    let scratch = support::Scratch::new("flask");
    let engine = open(&scratch);
    engine.image(&base).unwrap().pull().unwrap();
    let context = scratch.path().join("context");
    copy_application(&context);

    let (first, events) = build(&engine, &context, &base);
    assert!(steps(&events).iter().all(|(_, cached)| !cached), "{events:?}");
    assert_eq!(first.config().config.as_ref().unwrap().cmd.as_deref().unwrap(), ["python", "app.py"]);

    // A second build is fully cached and makes no new layer.
    let (second, events) = build(&engine, &context, &base);
    assert!(steps(&events).iter().all(|(_, cached)| *cached), "{events:?}");
    assert_eq!(first.digest(), second.digest());

    // Touching app.py reruns only the last COPY.
    let text = std::fs::read_to_string(context.join("app.py")).unwrap();
    std::fs::write(context.join("app.py"), format!("{text}\n# changed\n")).unwrap();
    let (third, events) = build(&engine, &context, &base);
    let rerun: Vec<String> = steps(&events).into_iter().filter(|(_, cached)| !cached).map(|(text, _)| text).collect();
    assert_eq!(rerun, ["COPY . ."]);
    assert_no_trace_of_pip_access(&third);

    // The published port is one of this host: a network namespace of the test's own plays it.
    support::in_network_namespace(|| {
        run(&open(&scratch), &third);
        run_example(&scratch, &base);
    });
}

/// The example builds from the cache here: this network reaches no package registry.
fn run_example(scratch: &support::Scratch, base: &str) {
    let tests = std::env::current_exe().unwrap();
    let program = tests.ancestors().nth(2).unwrap().join("examples/flask");
    let mut example = Command::new(&program)
        .args([base.into(), scratch.root().into_os_string(), scratch.run().into_os_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{} (cargo build --examples): {error}", program.display()));
    let address = SocketAddr::from(([127, 0, 0, 1], 8000));
    let answer = support::http_get_until(address, "/", Duration::from_secs(60)).map(|answer| answer.text());
    drop(example.stdin.take());
    let output = example.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(answer.unwrap(), "Hello, World!", "{text}");
    assert!(output.status.success() && text.contains("GET / HTTP"), "{text}");
}

fn open(scratch: &support::Scratch) -> Engine {
    EngineOptions::new(scratch.root()).run_directory(scratch.run()).open().unwrap()
}

/// The base: Debian with Python and pip, put into an image by the typed builder and pushed.
fn publish_base(base: &str) {
    let scratch = support::Scratch::new("flask-base");
    let engine = open(&scratch);
    let builder = engine.image_builder().add(support::debian_python_base(), "/");
    builder.env("LANG", "C.UTF-8").command(["python3"]).tag("base/python:3.7").commit().unwrap();
    engine.image("base/python:3.7").unwrap().push(base).unwrap();
}

fn copy_application(context: &Path) {
    std::fs::create_dir(context).unwrap();
    for entry in std::fs::read_dir(support::repository_root().join("examples/flask/app")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, context.join(path.file_name().unwrap())).unwrap();
    }
}

fn build(engine: &Engine, context: &Path, base: &str) -> (Image, Vec<BuildEvent>) {
    let pip = support::pip_access();
    let mut events = Vec::new();
    let mut builder = engine.build(context).build_arg("BASE", base).tag("test/flask:1.0");
    for (source, target) in &pip.binds {
        builder = builder.bind(source, target);
    }
    let image = builder.on_progress(|event| events.push(event.clone())).run().unwrap();
    (image, events)
}

/// The steps that make layers, and whether each was found in the cache.
fn steps(events: &[BuildEvent]) -> Vec<(String, bool)> {
    let step = |event: &BuildEvent| match event {
        BuildEvent::Step { text, cached, .. }
            if ["WORKDIR", "COPY", "RUN"].iter().any(|word| text.starts_with(word)) =>
        {
            Some((text.clone(), *cached))
        }
        _ => None,
    };
    events.iter().filter_map(step).collect()
}

/// What reached pip by a mount is in no layer.
fn assert_no_trace_of_pip_access(image: &Image) {
    let history: Vec<String> =
        image.config().history.iter().flatten().filter_map(|entry| entry.created_by.clone()).collect();
    assert!(!history.iter().any(|line| line.contains("pip.conf")), "{history:?}");
}

fn run(engine: &Engine, image: &Image) {
    let web = engine
        .container(image)
        .name("flask")
        .network(Network::Bridge)
        .publish(8000, 8000)
        .limits(Limits::new().memory(Memory::mib(256)).cpus(Cpus::of(1.0)).pids(64))
        .detach()
        .unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], 8000));
    let answer = support::http_get_until(address, "/", Duration::from_secs(60)).unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "Hello, World!"));

    let stats = web.stats().unwrap();
    assert!(stats.memory.used > Memory::mib(1) && stats.memory.used < Memory::mib(256), "{stats:?}");
    assert!(stats.cpu.usage > Duration::ZERO && stats.pids.current >= 2, "{stats:?}");
    assert!(stats.network.is_some_and(|network| network.received_bytes > 0), "{stats:?}");
    let lines: Vec<String> = web.logs().map(|line| line.unwrap().to_string()).collect();
    assert!(lines.iter().any(|line| line.contains("GET / HTTP")), "{lines:?}");
    // What the container holds is empty where pip's files were: nothing of this machine came along.
    let probe = ["python", "-c", "import os; print(os.path.exists('/etc/pip.conf'))"];
    let output = engine.container(image).network(Network::None).command(probe).output().unwrap();
    assert_eq!(output.stdout, b"False\n", "{output:?}");

    let exit = web.stop(Duration::from_secs(20)).unwrap();
    assert!(!exit.oom_killed, "{exit:?}");
    assert!(exit.status != coracle::ExitStatus::Signaled(9), "it was killed, not stopped: {exit:?}");
    assert!(support::http_get(address, "/").is_err());
    web.remove().unwrap();
    assert!(engine.containers().unwrap().is_empty());
    assert!(engine.find_container("flask").is_err());
}
