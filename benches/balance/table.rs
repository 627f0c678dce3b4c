//! What is printed.

use super::load::Sample;

/// What came of one contestant.
pub struct Results {
    name: &'static str,
    samples: Vec<Sample>,
    idle: Vec<f64>,
}

impl Results {
    /// Nothing yet.
    pub fn new(name: &'static str) -> Results {
        Results { name, samples: Vec::new(), idle: Vec::new() }
    }

    /// One more round, in which the machine's processors were idle for this share of the time.
    pub fn add(&mut self, sample: Sample, idle: f64) {
        self.samples.push(sample);
        self.idle.push(idle);
    }

    /// How many connections failed.
    pub fn failed(&self) -> usize {
        self.samples.iter().map(|sample| sample.failed).sum()
    }

    fn rate(&self) -> f64 {
        median(self.samples.iter().map(|sample| sample.rate).collect())
    }
}

/// Prints a line for each; ratios are those of the first one's rate to each one's.
pub fn print(all: &[Results]) {
    println!(
        "{:26}{:>14}{:>7}{:>11}{:>9}{:>8}{:>8}{:>7}",
        "", "connections/s", "ratio", "median us", "99 % us", "failed", "client", "idle"
    );
    let first = all.first().map_or(0.0, Results::rate);
    for results in all {
        let mut latencies: Vec<u32> =
            results.samples.iter().flat_map(|sample| sample.latencies.iter().copied()).collect();
        latencies.sort_unstable();
        let quantile = |share: f64| latencies.get((latencies.len() as f64 * share) as usize).copied().unwrap_or(0);
        let client = median(results.samples.iter().map(|sample| sample.client).collect());
        println!(
            "{:26}{:>14.0}{:>7.2}{:>11}{:>9}{:>8}{:>6.0} %{:>5.0} %",
            results.name,
            results.rate(),
            first / results.rate(),
            quantile(0.5),
            quantile(0.99),
            results.failed(),
            client * 100.0,
            median(results.idle.clone()) * 100.0
        );
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// How much time the processors of the machine were idle, and how much there was altogether (proc_stat(5)).
#[derive(Clone, Copy)]
pub struct Processors {
    idle: u64,
    all: u64,
}

impl Processors {
    /// Up to now.
    pub fn now() -> Processors {
        let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        let times: Vec<u64> = line.split_whitespace().skip(1).take(8).flat_map(str::parse).collect();
        Processors { idle: times.get(3).copied().unwrap_or(0), all: times.iter().sum() }
    }

    /// The share of idle time since then, from 0 to 1.
    pub fn idle_since(self) -> f64 {
        let now = Processors::now();
        (now.idle - self.idle) as f64 / (now.all - self.all).max(1) as f64
    }
}
