//! Contestants that take turns, A B C A B C, so that whatever the machine does besides hits all of them alike.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// One way to do it.
pub struct Contestant<'a> {
    pub name: &'static str,
    /// The slow do only every so many rounds.
    pub every: usize,
    /// Does it once; the milliseconds that count.
    pub run: Box<dyn Fn() -> f64 + 'a>,
}

/// How many milliseconds it takes.
pub fn timed(step: impl FnOnce()) -> f64 {
    let begin = Instant::now();
    step();
    begin.elapsed().as_secs_f64() * 1e3
}

/// Medians in milliseconds, by name. The first tenth warms up.
pub fn take_turns(contestants: &[Contestant<'_>], rounds: usize, gap: Duration) -> BTreeMap<&'static str, f64> {
    let mut times = vec![Vec::new(); contestants.len()];
    for round in 0..rounds + rounds / 10 {
        for (contestant, times) in contestants.iter().zip(&mut times) {
            if round % contestant.every == 0 {
                std::thread::sleep(gap);
                let time = (contestant.run)();
                if round >= rounds / 10 {
                    times.push(time);
                }
            }
        }
    }
    contestants.iter().map(|contestant| contestant.name).zip(times.into_iter().map(median)).collect()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}
