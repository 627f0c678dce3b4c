//! How many replicas the load asks for: the arithmetic of Kubernetes' HorizontalPodAutoscaler (Kubernetes documentation,
//! "Horizontal Pod Autoscaling", algorithm details; `autoscaling/v2` with its default behaviour).

use super::controller::model::Moment;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// Lets the number of replicas follow the load:
/// `desired = ceil(replicas * value / target)`, within a tolerance and between two bounds; the largest of all metrics
/// counts, and a decrease only once it has been asked for throughout the stabilisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Autoscale {
    pub(crate) minimum: u32,
    pub(crate) maximum: u32,
    pub(crate) cpu: Option<u32>,
    pub(crate) memory: Option<u32>,
    pub(crate) metrics: Vec<(String, f64)>,
    pub(crate) tolerance: f64,
    pub(crate) stabilisation: Duration,
    pub(crate) interval: Duration,
}

impl Autoscale {
    /// Between `minimum` and `maximum` replicas.
    pub fn between(minimum: u32, maximum: u32) -> Autoscale {
        Autoscale {
            minimum,
            maximum,
            cpu: None,
            memory: None,
            metrics: Vec::new(),
            tolerance: 0.1,
            stabilisation: Duration::from_secs(300),
            interval: Duration::from_secs(15),
        }
    }

    /// The processor time that the replicas should use, in percent of what they request.
    #[must_use]
    pub fn cpu(mut self, percent: u32) -> Autoscale {
        self.cpu = Some(percent);
        self
    }

    /// The memory that the replicas should use, in percent of what they request.
    #[must_use]
    pub fn memory(mut self, percent: u32) -> Autoscale {
        self.memory = Some(percent);
        self
    }

    /// A number that the caller feeds, and its target for each replica: requests in flight, for example.
    #[must_use]
    pub fn metric(mut self, name: impl Into<String>, target: f64) -> Autoscale {
        self.metrics.push((name.into(), target));
        self
    }

    /// How far the ratio of value and target may be from 1 without a change; 0.1 by default.
    #[must_use]
    pub fn tolerance(mut self, tolerance: f64) -> Autoscale {
        self.tolerance = tolerance;
        self
    }

    /// How often the load is measured; every 15 s by default. Processor time is averaged over it.
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Autoscale {
        self.interval = interval;
        self
    }

    /// How long a decrease must have been asked for; 300 s by default.
    #[must_use]
    pub fn stabilisation(mut self, time: Duration) -> Autoscale {
        self.stabilisation = time;
        self
    }
}

impl Autoscale {
    /// Everything that is wrong with it, each a line that begins with the field; nothing if it can be followed.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut wrong = |field: &str, what: String| problems.push(format!("autoscale.{field}: {what}"));
        if self.minimum == 0 {
            wrong("minimum", "0 replicas have no load from which to see that one is needed; at least 1".to_owned());
        }
        if self.maximum < self.minimum {
            wrong("maximum", format!("{} is smaller than the minimum of {}", self.maximum, self.minimum));
        }
        if self.cpu.is_none() && self.memory.is_none() && self.metrics.is_empty() {
            wrong("cpu", "nothing says when to scale; name a target for cpu, memory or a metric".to_owned());
        }
        for (field, target) in [("cpu", self.cpu), ("memory", self.memory)] {
            if target == Some(0) {
                wrong(field, "a target of 0 percent can never be met".to_owned());
            }
        }
        let mut names = BTreeSet::new();
        for (name, target) in &self.metrics {
            if name.is_empty() || !names.insert(name) {
                wrong("metric", format!("the name {name:?} is empty or stands there twice"));
            }
            if !target.is_finite() || *target <= 0.0 {
                wrong("metric", format!("the target {target} of {name:?} is not a positive number"));
            }
        }
        if self.interval < Duration::from_millis(100) {
            wrong("every", format!("{:?} is too short to measure a load; at least 100 ms", self.interval));
        }
        if !self.tolerance.is_finite() || !(0.0..1.0).contains(&self.tolerance) {
            wrong("tolerance", format!("{} is not between 0 and 1", self.tolerance));
        }
        problems
    }

    /// What is asked for, and the target for each replica.
    fn targets(&self) -> impl Iterator<Item = (Metric, f64)> {
        let cpu = self.cpu.map(|percent| (Metric::Cpu, f64::from(percent)));
        let memory = self.memory.map(|percent| (Metric::Memory, f64::from(percent)));
        let fed = self.metrics.iter().map(|(name, target)| (Metric::Fed(name.clone()), *target));
        cpu.into_iter().chain(memory).chain(fed)
    }
}

/// What is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Metric {
    /// Processor time in percent of what a replica requests.
    Cpu,
    /// Memory in percent of what a replica requests.
    Memory,
    /// A number that the caller feeds.
    Fed(String),
}

/// A metric as it was measured.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Measure {
    pub(crate) metric: Metric,
    pub(crate) load: Load,
}

/// How much there is of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Load {
    /// One value for each replica that is ready and has one.
    Each(Vec<f64>),
    /// Of all replicas together.
    Total(f64),
}

/// What was recommended lately; durable. Only what could still hold a decrease back is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scaler {
    recommendations: Vec<(Moment, u32)>,
}

impl Scaler {
    /// How many replicas there should be from now on, where there are `current`. Between the bounds; at most doubled at
    /// once, or 4; fewer only down to the most that was recommended within the stabilisation.
    pub(crate) fn desired(&mut self, spec: &Autoscale, current: u32, measures: &[Measure], now: Moment) -> u32 {
        let recommended = recommend(spec, current, measures);
        let window = Moment::try_from(spec.stabilisation.as_millis()).unwrap_or(Moment::MAX);
        if self.recommendations.is_empty() {
            self.recommendations.push((now, current));
        }
        for (moment, _) in &mut self.recommendations {
            // Of a clock that has begun anew: how long ago is not known.
            *moment = (*moment).min(now);
        }
        // An older recommendation that is not larger would never be the largest again.
        self.recommendations.retain(|(moment, of)| now - moment < window && *of > recommended);
        self.recommendations.push((now, recommended));
        let largest = self.recommendations.iter().map(|(_, of)| *of).max().unwrap_or(recommended);
        let stable = if recommended < current { largest.min(current) } else { recommended };
        let limit = current.saturating_mul(2).max(4);
        stable.min(limit).min(spec.maximum).max(spec.minimum)
    }
}

/// What the metrics ask for, without bounds and history: the largest of all. Where one of them is missing the others
/// cannot ask for fewer.
pub(crate) fn recommend(spec: &Autoscale, current: u32, measures: &[Measure]) -> u32 {
    let wanted: Vec<Option<u32>> = spec
        .targets()
        .map(|(metric, target)| {
            let measure = measures.iter().find(|measure| measure.metric == metric)?;
            proposal(current, target, spec.tolerance, &measure.load)
        })
        .collect();
    let largest = wanted.iter().flatten().max().copied().unwrap_or(current);
    if wanted.contains(&None) { largest.max(current) } else { largest }
}

/// What one metric asks for; `None` where nothing was measured.
fn proposal(current: u32, target: f64, tolerance: f64, load: &Load) -> Option<u32> {
    let within = |ratio: f64| (ratio - 1.0).abs() <= tolerance + 1e-9;
    let usable = |value: &f64| value.is_finite() && *value >= 0.0;
    match load {
        Load::Total(value) => {
            let ratio = Some(value).filter(|value| usable(value))? / target;
            let each = ratio / f64::from(current.max(1));
            Some(if within(each) && current > 0 { current } else { whole(ratio) })
        }
        Load::Each(values) => {
            let values: Vec<f64> = values.iter().copied().filter(usable).collect();
            if values.is_empty() {
                return None;
            }
            let sum: f64 = values.iter().map(|value| value / target).sum();
            let ratio = sum / values.len() as f64;
            // A replica without a value is not ready yet: it is taken for one that does nothing where more are asked for,
            // and for one that does exactly its share where fewer are.
            let silent = f64::from(current) - values.len() as f64;
            let all = f64::from(current).max(values.len() as f64);
            let sum = if ratio < 1.0 { sum + silent.max(0.0) } else { sum };
            let damped = sum / all;
            let turned = (ratio - 1.0) * (damped - 1.0) < 0.0;
            if within(damped) || turned {
                return Some(current);
            }
            let wanted = whole(sum);
            Some(if damped > 1.0 { wanted.max(current) } else { wanted.min(current) })
        }
    }
}

/// Rounded up; what is above a whole number only by the rounding of the machine is not.
fn whole(replicas: f64) -> u32 {
    (replicas - 1e-6).ceil().clamp(0.0, f64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cpu(values: &[f64]) -> Vec<Measure> {
        vec![Measure { metric: Metric::Cpu, load: Load::Each(values.to_vec()) }]
    }

    fn fed(total: f64) -> Vec<Measure> {
        vec![Measure { metric: Metric::Fed("requests".into()), load: Load::Total(total) }]
    }

    #[test]
    fn the_examples_of_kubernetes() {
        let spec = Autoscale::between(1, 100).cpu(100);
        // "if the current metric value is 200m, and the desired value is 100m, the number of replicas will be doubled";
        // "if the current value is instead 50m, you'll halve the number of replicas".
        assert_eq!(recommend(&spec, 3, &cpu(&[200.0; 3])), 6);
        assert_eq!(recommend(&spec, 4, &cpu(&[50.0; 4])), 2);
        assert_eq!(recommend(&spec, 3, &cpu(&[50.0; 3])), 2);
        // Configurable tolerance: 50 replicas at 90 % with a target of 75 % become 60.
        assert_eq!(recommend(&Autoscale::between(1, 100).cpu(75), 50, &cpu(&[90.0; 50])), 60);
        // The walkthrough: 305 % of a target of 50 % with one replica asks for 7.
        assert_eq!(recommend(&Autoscale::between(1, 10).cpu(50), 1, &cpu(&[305.0])), 7);
    }

    #[test]
    fn nothing_changes_within_the_tolerance() {
        let spec = Autoscale::between(1, 100).cpu(100).metric("requests", 10.0);
        let at = |value: f64| [cpu(&[value; 10]), fed(100.0)].concat();
        for (value, wanted) in [(90.0, 10), (100.0, 10), (110.0, 10), (111.0, 12)] {
            assert_eq!(recommend(&spec, 10, &at(value)), wanted, "{value}");
        }
        let spec = Autoscale::between(1, 100).cpu(100).tolerance(0.0);
        assert_eq!(recommend(&spec, 10, &cpu(&[101.0; 10])), 11);
    }

    #[test]
    fn replicas_without_a_value_damp_and_never_turn_the_direction() {
        let spec = Autoscale::between(1, 100).cpu(50);
        // Up: the two that say nothing count as idle.
        assert_eq!(recommend(&spec, 4, &cpu(&[150.0, 150.0])), 6);
        assert_eq!(recommend(&spec, 4, &cpu(&[90.0, 90.0])), 4, "it would have turned into a decrease");
        // Down: they count as doing their share.
        assert_eq!(recommend(&spec, 4, &cpu(&[10.0, 10.0])), 3);
        assert_eq!(recommend(&spec, 4, &cpu(&[])), 4);
        assert_eq!(recommend(&spec, 2, &cpu(&[f64::NAN, 100.0])), 2);
    }

    #[test]
    fn the_largest_metric_counts_and_a_missing_one_allows_no_decrease() {
        let spec = Autoscale::between(1, 100).cpu(50).metric("requests", 10.0);
        assert_eq!(recommend(&spec, 4, &[cpu(&[10.0; 4]), fed(75.0)].concat()), 8);
        assert_eq!(recommend(&spec, 4, &cpu(&[10.0; 4])), 4);
        assert_eq!(recommend(&spec, 4, &cpu(&[100.0; 4])), 8);
        assert_eq!(recommend(&spec, 4, &fed(f64::INFINITY)), 4);
    }

    #[test]
    fn an_increase_is_limited_and_at_once() {
        let spec = Autoscale::between(1, 100).cpu(10);
        let mut scaler = Scaler::default();
        assert_eq!(scaler.desired(&spec, 1, &cpu(&[500.0]), 0), 4);
        assert_eq!(scaler.desired(&spec, 4, &cpu(&[500.0; 4]), 15_000), 8);
        assert_eq!(scaler.desired(&spec, 8, &cpu(&[500.0; 8]), 30_000), 16);
    }

    #[test]
    fn a_decrease_waits_for_the_stabilisation() {
        let spec = Autoscale::between(2, 100).cpu(100);
        let mut scaler = Scaler::default();
        assert_eq!(scaler.desired(&spec, 10, &cpu(&[100.0; 10]), 0), 10);
        assert_eq!(scaler.desired(&spec, 10, &cpu(&[70.0; 10]), 60_000), 10);
        assert_eq!(scaler.desired(&spec, 10, &cpu(&[20.0; 10]), 120_000), 10);
        assert_eq!(scaler.desired(&spec, 10, &cpu(&[20.0; 10]), 299_999), 10);
        assert_eq!(scaler.desired(&spec, 10, &cpu(&[20.0; 10]), 300_000), 7);
        assert_eq!(scaler.desired(&spec, 7, &cpu(&[10.0; 7]), 360_000), 2);
    }

    #[test]
    fn after_a_reboot_the_past_is_taken_for_now() {
        let spec = Autoscale::between(1, 100).cpu(100);
        let mut scaler = Scaler::default();
        assert_eq!(scaler.desired(&spec, 10, &cpu(&[100.0; 10]), 5_000_000), 10);
        assert_eq!(scaler.desired(&spec, 10, &cpu(&[20.0; 10]), 1_000), 10);
        assert_eq!(scaler.desired(&spec, 10, &cpu(&[20.0; 10]), 300_999), 10);
        assert_eq!(scaler.desired(&spec, 10, &cpu(&[20.0; 10]), 301_000), 2);
    }

    #[test]
    fn bounds_hold_at_once_whatever_is_asked_for() {
        let mut scaler = Scaler::default();
        assert_eq!(scaler.desired(&Autoscale::between(2, 5).cpu(50), 9, &[], 0), 5);
        assert_eq!(scaler.desired(&Autoscale::between(2, 5).cpu(50), 0, &[], 0), 2);
    }

    #[test]
    fn every_problem_is_named_at_once() {
        assert!(Autoscale::between(1, 4).cpu(50).problems().is_empty());
        let wrong = Autoscale::between(0, 0).cpu(0).metric("a", 0.0).metric("a", 1.0).tolerance(f64::NAN);
        let problems = wrong.problems().join("\n");
        for field in ["minimum: 0 replicas", "cpu: a target of 0", "metric: the target 0", "twice", "tolerance: NaN"] {
            assert!(problems.contains(field), "{problems}");
        }
        assert!(Autoscale::between(5, 4).problems().join("\n").contains("maximum: 4 is smaller than the minimum of 5"));
    }

    proptest! {
        #[test]
        fn the_answer_is_within_the_bounds_and_the_limit(
            (minimum, more) in (1..50_u32, 0..100_u32),
            current in 0..300_u32,
            values in proptest::collection::vec(prop_oneof![0.0..1e6, Just(f64::NAN), Just(f64::INFINITY), Just(-1.0)], 0..20),
            total in -10.0..1e12_f64,
            now in 0..1_000_000_u64,
            past in proptest::collection::vec((0..2_000_000_u64, 0..500_u32), 0..10),
        ) {
            let spec = Autoscale::between(minimum, minimum + more).cpu(50).metric("requests", 3.0);
            let mut scaler = Scaler { recommendations: past };
            let desired = scaler.desired(&spec, current, &[cpu(&values), fed(total)].concat(), now);
            prop_assert!(desired >= spec.minimum && desired <= spec.maximum);
            prop_assert!(desired <= current.saturating_mul(2).max(4).max(spec.minimum));
        }

        #[test]
        fn more_load_never_asks_for_fewer(load in 0.0..1e4_f64, more in 0.0..1e4_f64, current in 1..50_u32) {
            let spec = Autoscale::between(1, 1000).cpu(50);
            let at = |value: f64| recommend(&spec, current, &cpu(&vec![value; current as usize]));
            prop_assert!(at(load) <= at(load + more));
        }
    }
}
