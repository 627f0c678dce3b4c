//! What the verbs of an OCI runtime cost, beside the least that a start can cost and beside crun, runc and youki.
//!
//! `cargo bench --bench runtime` measures everything, some ten minutes long; `-- run`, `-- create start exec delete`,
//! `-- memory`, `-- crowd` parts of it; `-- --quick` an engine's configuration alone, back to back, with few rounds;
//! `ROUNDS` sets their number (default 100; a quarter for the slow). Build the command first:
//! `cargo build --release --example runtime`; `CORACLE_RUNTIME` names another.
//!
//! The contestants take turns, so that whatever the machine does besides hits all of them alike; once back to back and
//! once with idle gaps, which is how engines start containers and which back-to-back figures flatter (the kernel's RCU
//! grace periods are short on a busy machine). CPU time is that of the command and of what it waited for, and for
//! `create` and `start` that of the container's first process too.

#![allow(unsafe_code)]

#[path = "../support/bundle.rs"]
mod bundle;
mod command;
mod contest;
mod crowd;
#[path = "../support/floor.rs"]
mod floor;
mod inside;
mod least;
#[path = "../support/machine.rs"]
mod machine;
mod meter;
#[path = "../support/network.rs"]
mod network;
#[path = "../support/peer.rs"]
mod peer;
#[path = "../support/profile.rs"]
mod profile;
mod setting;
mod table;
#[path = "../../tests/support/tiny.rs"]
mod tiny;

use command::Commands;
use contest::{Contest, Contestant, Verb};
use crowd::{Crowd, gather};
use inside::Inside;
use least::Least;
use meter::Meter;
use peer::Peer;
use setting::{Ground, Setting};
use std::path::PathBuf;
use std::time::Duration;
use table::Target;

/// The runtimes as commands.
const COMMANDS: [&str; 4] = [table::COMMAND, table::CRUN, "runc", "youki"];

/// What was asked for.
struct Wanted {
    verbs: Vec<Verb>,
    memory: bool,
    crowd: bool,
    quick: bool,
    rounds: usize,
}

impl Wanted {
    fn new(arguments: &[String]) -> Wanted {
        let named = |name: &str| arguments.iter().any(|argument| argument == name);
        let all = arguments.iter().all(|argument| argument.starts_with("--"));
        let once = named("--test");
        let quick = named("--quick") || once;
        let rounds = std::env::var("ROUNDS").ok().and_then(|text| text.parse().ok());
        Wanted {
            verbs: Verb::ALL.into_iter().filter(|verb| all || named(verb.name())).collect(),
            memory: all || named("memory"),
            crowd: all || named("crowd"),
            quick,
            rounds: rounds.unwrap_or(if once {
                1
            } else if quick {
                20
            } else {
                100
            }),
        }
    }
}

fn main() {
    let wanted = Wanted::new(&std::env::args().skip(1).collect::<Vec<_>>());
    machine::leave_hybrid_mode();
    let scratch = tempfile::Builder::new().prefix("coracle-bench-").tempdir().unwrap();
    let ground = Ground::new(scratch.path());
    COMMANDS.iter().filter_map(|name| find(name, &ground, true).err()).for_each(|missing| println!("{missing}"));
    let mut targets = Vec::new();
    if wanted.crowd {
        targets.extend(crowds(&ground, wanted.quick));
    }
    // The first processes of containers become children of this one when their commands have ended: their CPU time can
    // be read and their end be awaited.
    meter::adopt_orphans();
    for setting in Setting::all(wanted.quick) {
        if !wanted.verbs.is_empty() {
            targets.extend(times(&ground, &setting, &wanted));
        }
    }
    if wanted.memory {
        targets.extend(memory(&ground));
    }
    table::print_targets(&targets);
    ground.leave();
}

fn find(name: &str, ground: &Ground, limits: bool) -> Result<Peer, String> {
    Peer::find(name, &ground.scratch.join("state").join(name), limits)
}

fn commands<'a>(ground: &Ground, setting: &Setting, meter: Meter) -> impl Iterator<Item = Box<dyn Contestant + 'a>> {
    COMMANDS.into_iter().filter_map(move |name| {
        let peer = find(name, ground, setting.full).ok()?;
        let commands = Commands::new(name, peer, &ground.bundles(setting, name), meter);
        Some(Box::new(commands) as Box<dyn Contestant>)
    })
}

fn times(ground: &Ground, setting: &Setting, wanted: &Wanted) -> Vec<Target> {
    let mut contestants: Vec<Box<dyn Contestant>> = vec![Box::new(Least::new(ground, setting))];
    contestants.push(Box::new(inside(ground, ground.bundles(setting, table::INSIDE))));
    contestants.extend(commands(ground, setting, meter::timed));
    let outcome = Contest { contestants, rounds: wanted.rounds, gap: setting.gap, verbs: &wanted.verbs }.hold();
    table::print(setting, wanted.rounds, &outcome);
    if setting.full { table::targets(setting, &outcome) } else { Vec::new() }
}

fn memory(ground: &Ground) -> Vec<Target> {
    let setting = Setting { full: true, network: true, joins: false, gap: Duration::ZERO };
    let contestants = commands(ground, &setting, meter::weighed).collect();
    let outcome = Contest { contestants, rounds: 8, gap: Duration::ZERO, verbs: &Verb::ALL }.hold();
    table::print_memory(&setting, &outcome);
    table::memory_targets(&setting, &outcome)
}

fn inside(ground: &Ground, bundles: PathBuf) -> Inside {
    Inside::new(&ground.scratch.join("state/inside"), &bundles)
}

/// Ours in-process, and a smaller number of everybody's commands.
fn crowds(ground: &Ground, quick: bool) -> Vec<Target> {
    let mut targets = Vec::new();
    let (many, few) = if quick { (200, 40) } else { (1000, 200) };
    for network in [false, true] {
        let setting = Setting { full: true, network, joins: false, gap: Duration::ZERO };
        println!("\n{setting}, many alive at once, by two threads");
        println!("{:<20} {:>8} {:>12} {:>12}", "", "alive", "started/s", "deleted/s");
        let own: Box<dyn Crowd> = Box::new(inside(ground, PathBuf::new()));
        let commands = COMMANDS.into_iter().filter_map(|name| {
            let peer: Box<dyn Crowd> = Box::new(find(name, ground, true).ok()?);
            Some((name, peer, few))
        });
        for (name, crowd, count) in std::iter::once((table::INSIDE, own, many)).chain(commands) {
            match gather(name, crowd.as_ref(), ground, &setting, count) {
                Ok(rates) => {
                    println!("{name:<20} {count:>8} {:>12.0} {:>12.0}", rates.started, rates.deleted);
                    if name == table::INSIDE {
                        targets.extend(crowd::targets(&setting, &rates));
                    }
                }
                Err(error) => println!("out: {name}: {error}"),
            }
        }
    }
    targets
}
