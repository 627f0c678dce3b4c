//! Contestants that take turns.

use crate::meter::Sample;
use std::collections::BTreeMap;
use std::time::Duration;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Verb {
    Run,
    Create,
    Start,
    Exec,
    Delete,
}

impl Verb {
    pub const ALL: [Verb; 5] = [Verb::Run, Verb::Create, Verb::Start, Verb::Exec, Verb::Delete];

    pub fn name(self) -> &'static str {
        ["run", "create", "start", "exec", "delete"][self as usize]
    }
}

/// A way to run containers.
pub trait Contestant {
    fn name(&self) -> String;

    /// A container whose payload ends at once, from the call until it has ended and nothing of it is left.
    fn run(&mut self) -> Result<Sample, String>;

    /// A container whose payload waits, through all its life; `gap` goes before each verb.
    fn live(&mut self, gap: &dyn Fn()) -> Result<Vec<(Verb, Sample)>, String>;
}

/// What a contestant's turns came to.
#[derive(Clone, Copy)]
pub struct Figures {
    pub median: f64,
    pub ninetieth: f64,
    pub cpu: f64,
    pub memory: u64,
}

/// The figures by verb and contestant.
pub type Outcome = BTreeMap<(Verb, String), Figures>;

/// Turns of all, A B C A B C, so that whatever the machine does besides hits all of them alike.
pub struct Contest<'a> {
    pub contestants: Vec<Box<dyn Contestant + 'a>>,
    pub rounds: usize,
    /// Slept before each verb.
    pub gap: Duration,
    pub verbs: &'a [Verb],
}

/// Those of which one turn takes this many times the first contestant's, sit out three of four rounds.
const SLOW: &[&str] = &["runc", "youki"];

impl Contest<'_> {
    /// A tenth of the rounds go before, to warm up. A contestant that fails says so and is out.
    pub fn hold(&mut self) -> Outcome {
        let mut samples: BTreeMap<(Verb, String), Vec<Sample>> = BTreeMap::new();
        let warm = self.rounds.div_ceil(10);
        for round in 0..warm + self.rounds {
            self.contestants.retain_mut(|contestant| {
                let name = contestant.name();
                if SLOW.contains(&name.as_str()) && round % 4 != 0 {
                    return true;
                }
                match turn(contestant.as_mut(), self.verbs, self.gap) {
                    Ok(turn) if round >= warm => {
                        turn.into_iter()
                            .filter(|(verb, _)| self.verbs.contains(verb))
                            .for_each(|(verb, one)| samples.entry((verb, name.clone())).or_default().push(one));
                    }
                    Ok(_) => {}
                    Err(error) => {
                        println!("out: {error}");
                        return false;
                    }
                }
                true
            });
        }
        samples.into_iter().map(|(key, samples)| (key, figures(&samples))).collect()
    }
}

fn turn(contestant: &mut dyn Contestant, verbs: &[Verb], gap: Duration) -> Result<Vec<(Verb, Sample)>, String> {
    let gap = || std::thread::sleep(gap);
    let mut turn = Vec::new();
    if verbs.contains(&Verb::Run) {
        gap();
        turn.push((Verb::Run, contestant.run()?));
    }
    if verbs.iter().any(|verb| *verb != Verb::Run) {
        turn.extend(contestant.live(&gap)?);
    }
    Ok(turn)
}

fn figures(samples: &[Sample]) -> Figures {
    let at = |part: f64, of: fn(&Sample) -> f64| {
        let mut values: Vec<f64> = samples.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[((values.len() as f64 * part) as usize).min(values.len() - 1)]
    };
    // Mean, not median: the kernel counts the time of the short-lived in ticks on some machines.
    let cpu = samples.iter().map(|sample| sample.cpu).sum::<f64>() / samples.len() as f64;
    Figures {
        median: at(0.5, |sample| sample.wall),
        ninetieth: at(0.9, |sample| sample.wall),
        cpu,
        memory: at(0.5, |sample| sample.memory as f64) as u64,
    }
}
