//! How many replicas the load asks for: the arithmetic of Kubernetes' HorizontalPodAutoscaler.

use serde::{Deserialize, Serialize};
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

    /// How long a decrease must have been asked for; 300 s by default.
    #[must_use]
    pub fn stabilisation(mut self, time: Duration) -> Autoscale {
        self.stabilisation = time;
        self
    }
}
