//! Tables of figures, and the targets beside what was measured.

use crate::contest::{Figures, Outcome, Verb};
use crate::setting::Setting;

/// Names of contestants.
pub const FLOOR: &str = "floor";
pub const COMMAND: &str = "coracle";
pub const INSIDE: &str = "coracle in-process";
pub const CRUN: &str = "crun";

/// One line a verb and contestant.
pub fn print(setting: &Setting, rounds: usize, outcome: &Outcome) {
    println!("\n{setting}, {rounds} rounds, milliseconds");
    println!("{:<8} {:<20} {:>8} {:>8} {:>8} {:>8} {:>8}", "verb", "", "median", "p90", "cpu", "crun/", "/floor");
    for ((verb, name), figures) in outcome {
        let ratio = |other: &str, of: fn(f64, f64) -> f64| {
            let other = outcome.get(&(*verb, other.to_owned()));
            other.map_or(String::new(), |other| format!("{:.2}", of(figures.median, other.median)))
        };
        let Figures { median, ninetieth, cpu, .. } = figures;
        println!(
            "{:<8} {name:<20} {median:>8.3} {ninetieth:>8.3} {cpu:>8.3} {:>8} {:>8}",
            verb.name(),
            ratio(CRUN, |own, crun| crun / own),
            ratio(FLOOR, |own, floor| own / floor),
        );
    }
}

/// Peak memory of the commands.
pub fn print_memory(setting: &Setting, outcome: &Outcome) {
    println!("\n{setting}, peak memory of the command in kilobytes");
    for ((verb, name), figures) in outcome {
        println!("{:<8} {name:<20} {:>8}", verb.name(), figures.memory);
    }
}

/// One promise and what became of it.
pub struct Target {
    pub what: String,
    pub wanted: String,
    pub measured: f64,
    pub met: bool,
}

impl Target {
    pub fn at_least(what: String, wanted: f64, measured: f64) -> Target {
        Target { what, wanted: format!(">= {wanted}"), measured, met: measured >= wanted }
    }

    pub fn at_most(what: String, wanted: f64, measured: f64) -> Target {
        Target { what, wanted: format!("<= {wanted}"), measured, met: measured <= wanted }
    }
}

/// The targets of an engine's configuration that this outcome tells something of.
pub fn targets(setting: &Setting, outcome: &Outcome) -> Vec<Target> {
    let median = |verb: Verb, name: &str| outcome.get(&(verb, name.to_owned())).map(|figures: &Figures| figures.median);
    let mut targets = Vec::new();
    for (verb, name, wanted) in
        [(Verb::Run, COMMAND, 3.0), (Verb::Run, INSIDE, 5.0), (Verb::Exec, COMMAND, 2.5), (Verb::Exec, INSIDE, 6.0)]
    {
        if let (Some(own), Some(crun)) = (median(verb, name), median(verb, CRUN)) {
            let what = format!("{} by {name}, times faster than crun; {setting}", verb.name());
            targets.push(Target::at_least(what, wanted, crun / own));
        }
    }
    if let (Some(own), Some(floor)) = (median(Verb::Run, INSIDE), median(Verb::Run, FLOOR)) {
        let what = format!("run by {INSIDE}, times the floor; {setting}");
        targets.push(Target::at_most(what, if setting.joins { 1.15 } else { 1.25 }, own / floor));
    }
    targets
}

/// The target for the command's memory.
pub fn memory_targets(setting: &Setting, outcome: &Outcome) -> Vec<Target> {
    let own = outcome.iter().filter(|((_, name), _)| name == COMMAND);
    own.map(|((verb, _), figures)| {
        let what = format!("{} by {COMMAND}, peak MB; {setting}", verb.name());
        Target::at_most(what, 2.0, figures.memory as f64 / 1024.0)
    })
    .collect()
}

pub fn print_targets(targets: &[Target]) {
    println!("\n{:<78} {:>8} {:>9}", "target", "wanted", "measured");
    for Target { what, wanted, measured, met } in targets {
        println!("{what:<78} {wanted:>8} {measured:>9.2} {}", if *met { "met" } else { "MISSED" });
    }
}
