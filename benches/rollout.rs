//! How long it takes to roll over 20 replicas, and what it costs the program that drives it.
//!
//! `cargo bench --bench rollout` prints a table: for several numbers of replicas at a time the time from `deploy` to the
//! end of `finish`, and the processor time of this process meanwhile. The replicas are HTTP servers with a health check
//! twenty times a second, and count as available after 50 ms; connections are drained, and the old ones stop at once when
//! asked. The floor is what no implementation can avoid with these rules: one health check and the minimum healthy time
//! for each step.

#[path = "../tests/support/namespace.rs"]
mod namespace;
#[path = "../examples/rollout/serve.rs"]
mod serve;

use coracle::{Deployment, Engine, EngineOptions, Health, Outcome, Rolling};
use namespace::in_network_namespace;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::time::{Duration, Instant};

const REPLICAS: u32 = 20;
const PORT: u16 = 8000;
const HEALTHY: Duration = Duration::from_millis(50);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [serve, version, behaviour] = arguments.as_slice()
        && serve == "serve"
    {
        serve::serve(PORT, version, behaviour).expect("the server serves");
        return;
    }
    let quick = arguments.iter().any(|argument| argument == "--test");
    in_network_namespace(|| measure(if quick { 2 } else { REPLICAS }, if quick { 1 } else { 3 }));
}

fn measure(replicas: u32, rounds: u32) {
    let scratch = tempfile::Builder::new().prefix("coracle-bench-").tempdir().expect("a temporary directory");
    let options = EngineOptions::new(scratch.path().join("root")).run_directory(scratch.path().join("run"));
    let engine = options.open().expect("an engine");
    let program = std::env::current_exe().expect("this program");
    engine.image_builder().from_host([&program]).expect("a program").tag("bench/web").commit().expect("an image");
    let mut version = 0;
    let mut roll = |surge: u32| {
        version += 1;
        let deployment = Deployment::new("web", "bench/web")
            .replicas(replicas)
            .command([program.to_str().expect("a path of text"), "serve", &version.to_string(), "well"])
            .port(PORT)
            .health(Health::http(PORT, "/healthy").every(Duration::from_millis(50)))
            .rollout(Rolling::new().surge(surge).minimum_healthy_time(HEALTHY));
        roll_over(&engine, deployment)
    };
    let (first, _) = roll(1);
    println!("{replicas} replicas, first deployment: {:.2} s", first.as_secs_f64());
    println!("{:>6} {:>10} {:>10} {:>10} {:>12}", "surge", "time", "floor", "ratio", "CPU time");
    for surge in [1, 5, 20] {
        let mut results: Vec<(Duration, Duration)> = (0..rounds).map(|_| roll(surge)).collect();
        results.sort();
        let (time, cpu) = results[results.len() / 2];
        let floor = HEALTHY * replicas.div_ceil(surge);
        println!(
            "{surge:>6} {:>8.2} s {:>8.2} s {:>10.2} {:>9.0} ms",
            time.as_secs_f64(),
            floor.as_secs_f64(),
            time.as_secs_f64() / floor.as_secs_f64(),
            cpu.as_secs_f64() * 1e3
        );
    }
    engine.deployment("web").expect("the deployment").remove().expect("a removal");
}

fn roll_over(engine: &Engine, deployment: Deployment) -> (Duration, Duration) {
    let (begin, cpu) = (Instant::now(), processor_time());
    let outcome = engine.deploy(deployment).and_then(coracle::Rollout::finish).expect("a rollout");
    assert!(matches!(outcome, Outcome::Complete(_)), "{outcome}");
    (begin.elapsed(), processor_time() - cpu)
}

fn processor_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("getrusage");
    let microseconds = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(microseconds.unsigned_abs())
}
