//! What a new connection through a balanced deployment costs, beside haproxy with the same replicas as its servers.
//!
//! `cargo bench --bench balance` prints a table. All happens in private network namespaces: a client on a wire (veth) of
//! its own, a host, and the host's containers. Every deployment runs this very program as its server; haproxy's servers
//! are the replicas of the first one.
//!
//! - *this crate*: three replicas behind a published port, by three rules. By client, one client meets one replica.
//! - *one replica*: the same with nothing to choose from. What the first rows cost more is the choice, and that three
//!   servers are woken in place of one; by client shows them apart.
//! - *no container*: the server on the host itself, with no translation and no bridge: what the client can do at most.
//! - *haproxy*: in TCP and in HTTP mode. In HTTP mode it keeps its connections to the servers, so there the servers see
//!   few of them. The kernel tracks the connections of a host with containers, haproxy's as well; the rows *untracked* are
//!   without that, as on a host for haproxy alone.
//!
//! Each connection is for one small request; with every contestant it is the client that closes it first and keeps the
//! port (TIME_WAIT). Each turn has a client of its own, so that nobody pays for the ports that another one's turn used.
//! `CONNECTIONS` (default 64) are open at any time, from one thread for each processor. The contestants take turns for
//! `ROUNDS` (default 12) of half a second each, so that whatever the machine does besides hits all of them alike; in each
//! round another one begins. The rates are medians of the rounds, the latencies quantiles of all
//! connections from the first packet to the whole answer. A connection that fails makes the bench fail.
//!
//! Client, servers, kernel and haproxy share the processors. Where *idle* (the machine's processors, of the time) is near
//! zero, a rate is the inverse of what a connection costs altogether, client and server included; *client* is how much of
//! the time each of the client's threads had a processor, with the kernel's work on its packets. On a machine that is
//! busy with other things haproxy, a process more than this crate needs, also gets a process's share more of them.

mod haproxy;
#[path = "../../tests/support/host.rs"]
mod host;
mod load;
#[path = "../../tests/support/namespace.rs"]
mod namespace;
mod serve;
mod table;
mod wire;

use coracle::{Balance, Deployment, Engine, Outcome, Rolling, Rollout};
use haproxy::Haproxy;
use host::on_a_host;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use table::{Processors, Results};
use wire::{Client, HOST, UNTRACKED};

const PORT: u16 = 8000;
const REPLICAS: u32 = 3;

/// How it is measured.
struct Plan {
    rounds: usize,
    period: Duration,
    connections: usize,
}

type Contestant = (&'static str, SocketAddrV4);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [serve, port] = arguments.as_slice()
        && serve == "serve"
    {
        serve::serve(port.parse().expect("a port")).expect("the server serves");
        return;
    }
    let number = |name: &str, usual| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let connections = number("CONNECTIONS", 64);
    let plan = if arguments.iter().any(|argument| argument == "--test") {
        Plan { rounds: 1, period: Duration::from_millis(100), connections }
    } else {
        Plan { rounds: number("ROUNDS", 12), period: Duration::from_millis(500), connections }
    };
    let mut failed = 0;
    on_a_host(|engine, directory| failed = measure(engine, directory, &plan));
    if failed > 0 {
        eprintln!("balance: {failed} connections failed");
        std::process::exit(1);
    }
}

/// Prints the tables; how many connections failed.
fn measure(engine: &Engine, directory: &Path, plan: &Plan) -> usize {
    wire::prepare_host();
    let mut contestants = deploy_all(engine);
    let server = Server::start();
    contestants.push(("no container", SocketAddrV4::new(HOST, PORT)));
    let haproxy = Haproxy::start(directory, &addresses(engine, "in-turn"));
    match &haproxy {
        None => println!("haproxy is not installed (Debian: apt-get install haproxy): its rows are missing"),
        Some(_) => contestants.extend(Haproxy::contestants(HOST)),
    }
    if haproxy.is_some() && wire::stop_tracking() {
        contestants.extend(Haproxy::contestants(UNTRACKED));
    }
    let results = take_turns(&contestants, plan);
    println!("{} connections at a time, {} rounds of {:?}", plan.connections, plan.rounds, plan.period);
    table::print(&results);
    drop((haproxy, server));
    scale(engine, if plan.rounds > 1 { 5 } else { 1 });
    results.iter().map(Results::failed).sum()
}

/// Several rounds in which each contestant has its turn, after one to warm up.
fn take_turns(contestants: &[Contestant], plan: &Plan) -> Vec<Results> {
    let mut results: Vec<Results> = contestants.iter().map(|(name, _)| Results::new(name)).collect();
    for round in 0..=plan.rounds {
        for turn in 0..contestants.len() {
            let index = (round + turn) % contestants.len();
            let (_, target) = contestants[index];
            let client = Client::new();
            let processors = Processors::now();
            let sample = client.inside(|| load::run(target, plan.connections, plan.period));
            let idle = processors.idle_since();
            if round > 0 {
                results[index].add(sample, idle);
            }
            // The last connections close before their client goes.
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    results
}

/// A deployment for each rule, and one with a single replica.
fn deploy_all(engine: &Engine) -> Vec<Contestant> {
    let program = std::env::current_exe().expect("this program");
    engine.image_builder().from_host([&program]).expect("a program").tag("bench/web").commit().expect("an image");
    let mut contestants = Vec::new();
    for (name, shown, replicas, balance) in [
        ("in-turn", "this crate, in turn", REPLICAS, Balance::RoundRobin),
        ("by-chance", "this crate, by chance", REPLICAS, Balance::Random),
        ("by-client", "this crate, by client", REPLICAS, Balance::SourceHash),
        ("alone", "one replica", 1, Balance::RoundRobin),
    ] {
        let deployment = Deployment::new(name, "bench/web")
            .replicas(replicas)
            .command([program.to_str().expect("a path of text"), "serve", &PORT.to_string()])
            .port(PORT)
            .publish(0, PORT)
            .balance(balance)
            .rollout(Rolling::new().surge(replicas).minimum_healthy_time(Duration::from_millis(100)))
            .drain(Duration::from_secs(1));
        complete(engine.deploy(deployment).expect("a deployment is accepted"));
        let status = engine.deployment(name).and_then(|deployed| deployed.status()).expect("a status");
        let port = status.published.first().expect("a published port").host_port;
        contestants.push((shown, SocketAddrV4::new(HOST, port)));
    }
    contestants
}

/// The addresses of a deployment's replicas.
fn addresses(engine: &Engine, name: &str) -> Vec<SocketAddrV4> {
    let status = engine.deployment(name).and_then(|deployed| deployed.status()).expect("a status");
    let addresses = status.replicas.iter().filter_map(|replica| replica.address);
    addresses.map(|address| SocketAddrV4::new(address, PORT)).collect()
}

/// Prints how long it takes to bring one replica more into traffic, and to take one out.
fn scale(engine: &Engine, times: usize) {
    let deployed = engine.deployment("in-turn").expect("the deployment");
    let median = |to: u32, back: u32| {
        let time = |replicas| {
            let begin = Instant::now();
            complete(deployed.scale(replicas).expect("a change is accepted"));
            begin.elapsed()
        };
        let mut all: Vec<Duration> = (0..times)
            .map(|_| {
                let taken = time(to);
                time(back);
                taken
            })
            .collect();
        all.sort_unstable();
        all[all.len() / 2]
    };
    let (more, fewer) = (median(REPLICAS + 1, REPLICAS), median(REPLICAS - 1, REPLICAS));
    println!("one replica more: {more:.0?}, one fewer: {fewer:.0?} (each proven for 100 ms)");
}

fn complete(rollout: Rollout) {
    rollout.finish().and_then(Outcome::complete).expect("a complete rollout");
}

/// The server on the host itself, which runs until it is dropped.
struct Server(Child);

impl Server {
    fn start() -> Server {
        let program = std::env::current_exe().expect("this program");
        let child = Command::new(program).arg("serve").arg(PORT.to_string()).stdin(Stdio::null()).spawn();
        let server = Server(child.expect("the server starts"));
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)).is_err() {
            assert!(Instant::now() < deadline, "the server does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
