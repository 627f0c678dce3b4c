//! Three replicas of a small web server under load: a good version, two bad ones that roll back, more and fewer replicas,
//! and not one request lost.
//!
//! `cargo run --release --example rollout`, as root. The server is this very program: its image is made from this machine.

mod load;
mod request;
#[path = "../quickstart/scratch.rs"]
mod scratch;
mod serve;
mod table;

use coracle::cgroup::Limits;
use coracle::{
    Deployed, Deployment, DeploymentStatus, Engine, EngineOptions, Error, Health, Memory, Outcome, Result, Rolling,
    Rollout,
};
use load::Load;
use scratch::ScratchDirectory;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

const PORT: u16 = 8000;
/// Requests a second.
const RATE: u32 = 1000;
/// The load ends by itself: at most so many requests.
const MOST_REQUESTS: u64 = 120_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", version, behaviour] => {
            serve::serve(PORT, version, behaviour).map_err(|error| Error::invalid("serve").source_error(error))
        }
        [] => run(),
        _ => Err(Error::invalid("usage: rollout")),
    };
    if let Err(error) = result {
        eprintln!("rollout: {error}");
        std::process::exit(1);
    }
}

fn run() -> Result<()> {
    let directory = ScratchDirectory::make("rollout")?;
    let engine = EngineOptions::new(directory.0.join("engine")).run_directory(directory.0.join("run")).open()?;
    let program = std::env::current_exe().map_err(|error| Error::invalid("find this program").source_error(error))?;
    engine.image_builder().from_host([&program])?.tag("shop/web:1").commit()?;
    let web = |version: &str, behaviour: &str| {
        Deployment::new("web", "shop/web:1")
            .replicas(3)
            .command([&program.to_string_lossy(), "serve", version, behaviour])
            .port(PORT)
            .publish(0, PORT)
            .limits(Limits::new().memory(Memory::mib(64)).pids(64))
            .health(Health::http(PORT, "/healthy").every(Duration::from_millis(200)).timeout(Duration::from_secs(2)))
            .rollout(Rolling::new().minimum_healthy_time(Duration::from_millis(300)).deadline(Duration::from_secs(5)))
    };
    let outcome = show(&engine, &web("1", "well"));
    let result = outcome.and_then(|_| under_load(&engine, &web));
    // Also after a failure: nothing of this stays on the machine.
    let removed = engine.deployment("web").and_then(|web| web.remove());
    result.and(removed)
}

fn under_load(engine: &Engine, web: &dyn Fn(&str, &str) -> Deployment) -> Result<()> {
    let deployed = engine.deployment("web")?;
    let address = address(&deployed.status()?)?;
    println!("\n{RATE} requests a second to http://{address}/ from now on");
    let load = Load::start(address, RATE, MOST_REQUESTS);
    for (what, deployment) in [
        ("version 2, a good one", web("2", "well")),
        ("version 3, which never gets healthy", web("3", "sick")),
        ("version 4, which crashes after its start", web("4", "crash")),
    ] {
        println!("\n{what}");
        show(engine, &deployment)?;
    }
    for replicas in [5, 2] {
        println!("\n{replicas} replicas");
        drive(&deployed, deployed.scale(replicas)?)?;
    }
    let report = load.stop();
    println!("\n{report}");
    if report.lost > 0 {
        return Err(Error::invalid(format!("{} requests were lost: {:?}", report.lost, report.errors)));
    }
    Ok(())
}

/// Rolls it out, and shows how that goes.
fn show(engine: &Engine, deployment: &Deployment) -> Result<Outcome> {
    let rollout = engine.deploy(deployment.clone())?;
    drive(&engine.deployment(deployment.name())?, rollout)
}

fn drive(deployed: &Deployed, mut rollout: Rollout) -> Result<Outcome> {
    let mut table = table::Table::new();
    loop {
        let ended = rollout.advance(Duration::from_millis(250), |event| table.event(&event))?;
        table.show(&deployed.status()?, ended);
        if ended {
            break;
        }
    }
    let outcome = rollout.outcome();
    println!("  => {outcome}");
    Ok(outcome)
}

/// The published port, on this machine's loopback.
fn address(status: &DeploymentStatus) -> Result<SocketAddr> {
    let port = status.published.first().ok_or_else(|| Error::invalid("no port is published"))?;
    Ok((Ipv4Addr::LOCALHOST, port.host_port).into())
}
