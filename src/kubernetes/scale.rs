//! The number of replicas: a HorizontalPodAutoscaler and a PodDisruptionBudget.

use super::draft::Draft;
use crate::deploy::{Autoscale, Strategy};
use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HPAScalingRules, HorizontalPodAutoscaler, HorizontalPodAutoscalerBehavior,
    HorizontalPodAutoscalerSpec, MetricIdentifier, MetricSpec, MetricTarget, PodsMetricSource, ResourceMetricSource,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The longest stabilisation that Kubernetes takes, in seconds.
const LONGEST_STABILISATION: i32 = 3600;

/// The tolerance of a cluster whose controller is not told otherwise.
const DEFAULT_TOLERANCE: f64 = 0.1;

pub(super) fn autoscaler(draft: &mut Draft<'_>) -> Option<HorizontalPodAutoscaler> {
    let deployment = draft.deployment;
    let autoscale = deployment.autoscale.as_ref()?;
    check(draft, autoscale);
    note_differences(draft, autoscale);
    let name = deployment.name.clone();
    Some(HorizontalPodAutoscaler {
        metadata: draft.metadata(name.clone()),
        spec: HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some("apps/v1".to_owned()),
                kind: "Deployment".to_owned(),
                name,
            },
            min_replicas: Some(count(autoscale.minimum).max(1)),
            max_replicas: count(autoscale.maximum),
            metrics: Some(metrics(autoscale)),
            behavior: Some(behaviour(draft, autoscale)),
        }
        // Optional in some versions.
        .into(),
        ..HorizontalPodAutoscaler::default()
    })
}

/// As many replicas at a time as a rollout may lack. At least one, for otherwise no node could ever be emptied.
pub(super) fn disruption_budget(draft: &mut Draft<'_>) -> Option<PodDisruptionBudget> {
    let deployment = draft.deployment;
    let fewest = deployment.autoscale.as_ref().map_or(deployment.replicas, |autoscale| autoscale.minimum);
    if fewest < 2 {
        draft.differs(
            "replicas",
            "a single replica stays where it is",
            "it is taken down when its node is emptied, and comes back on another one after a gap",
            "ask for two replicas or more",
        );
        return None;
    }
    let unavailable = match &deployment.rollout {
        Strategy::Rolling(rolling) => rolling.unavailable,
        Strategy::Recreate(_) => 0,
    };
    if unavailable == 0 {
        draft.differs(
            "rollout.unavailable",
            "there are never fewer replicas than wanted",
            "rollouts keep to that, but one replica at a time is taken down when a node is emptied",
            "ask for one replica more than the load needs",
        );
    }
    Some(PodDisruptionBudget {
        metadata: draft.metadata(deployment.name.clone()),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(count(unavailable).max(1))),
            selector: Some(draft.label_selector()),
            // One that does not work is no loss.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    })
}

fn check(draft: &mut Draft<'_>, autoscale: &Autoscale) {
    let deployment = draft.deployment;
    if autoscale.maximum < autoscale.minimum.max(1) {
        draft.problem(format!("autoscale: at most {} but at least {}", autoscale.maximum, autoscale.minimum));
    }
    let (limits, request) = (&deployment.limits, &deployment.request);
    if autoscale.cpu.is_some() && limits.cpus.or(request.cpus).is_none() {
        draft.problem("autoscale.cpu: without a request or limit of processors there is nothing to take percent of");
    }
    if autoscale.memory.is_some() && limits.memory.or(request.memory).is_none() {
        draft.problem("autoscale.memory: without a request or limit of memory there is nothing to take percent of");
    }
    if autoscale.cpu.is_none() && autoscale.memory.is_none() && autoscale.metrics.is_empty() {
        draft.problem("autoscale: without a target it would become one of 80 percent of the processors");
    }
    if [autoscale.cpu, autoscale.memory].contains(&Some(0)) {
        draft.problem("autoscale: a target of 0 percent cannot be met");
    }
    for (name, target) in &autoscale.metrics {
        let plain = !name.is_empty() && !name.contains(['/', '%']) && name != "." && name != "..";
        if !plain || !target.is_finite() || *target <= 0.0 {
            draft.problem(format!("autoscale.metric: {name:?} with target {target} is no metric and a target above 0"));
        }
    }
    if !autoscale.tolerance.is_finite() || autoscale.tolerance < 0.0 {
        draft.problem(format!("autoscale.tolerance: {} is not 0 or more", autoscale.tolerance));
    }
}

fn note_differences(draft: &mut Draft<'_>, autoscale: &Autoscale) {
    draft.differs(
        "autoscale",
        "an increase is carried out as a whole",
        "within 15 s at most 4 replicas are added, or as many as there are, and the cluster needs a metrics server",
        "set spec.behavior.scaleUp.policies where that is too slow",
    );
    if draft.deployment.replicas > autoscale.minimum {
        draft.differs(
            "replicas",
            format!("it begins with {}", draft.deployment.replicas),
            format!("it begins with {}: a number in the manifest would undo the autoscaler at each apply", {
                autoscale.minimum.max(1)
            }),
            "raise the minimum where that is too few",
        );
    }
    if autoscale.minimum == 0 {
        draft.differs("autoscale", "at least 0 replicas", "at least 1 replica", "nothing, or scale it down by hand");
    }
    for (name, _) in &autoscale.metrics {
        draft.differs(
            format!("autoscale.metric {name:?}"),
            "the host program feeds the metric",
            "it is asked of the custom metrics API",
            "install an adapter that serves it for the pods, for example that of Prometheus",
        );
    }
    if autoscale.tolerance != DEFAULT_TOLERANCE {
        draft.differs(
            "autoscale.tolerance",
            format!("it is {}", autoscale.tolerance),
            "the manifest says the same, but clusters before 1.35 ignore it and take 0.1",
            "switch HPAConfigurableTolerance on there",
        );
    }
}

fn metrics(autoscale: &Autoscale) -> Vec<MetricSpec> {
    let resource = |name: &str, percent: Option<u32>| {
        percent.map(|percent| MetricSpec {
            type_: "Resource".to_owned(),
            resource: Some(ResourceMetricSource {
                name: name.to_owned(),
                target: MetricTarget {
                    type_: "Utilization".to_owned(),
                    average_utilization: Some(count(percent)),
                    ..MetricTarget::default()
                },
            }),
            ..MetricSpec::default()
        })
    };
    let fed = autoscale.metrics.iter().map(|(name, target)| MetricSpec {
        type_: "Pods".to_owned(),
        pods: Some(PodsMetricSource {
            metric: MetricIdentifier { name: name.clone(), selector: None },
            target: MetricTarget {
                type_: "AverageValue".to_owned(),
                average_value: Some(Quantity(quantity(*target))),
                ..MetricTarget::default()
            },
        }),
        ..MetricSpec::default()
    });
    [resource("cpu", autoscale.cpu), resource("memory", autoscale.memory)].into_iter().flatten().chain(fed).collect()
}

fn behaviour(draft: &mut Draft<'_>, autoscale: &Autoscale) -> HorizontalPodAutoscalerBehavior {
    let mut seconds = draft.seconds("autoscale.stabilisation", autoscale.stabilisation, 0);
    if seconds > LONGEST_STABILISATION {
        draft.differs("autoscale.stabilisation", format!("{seconds} s"), "3600 s at most", "choose a shorter one");
        seconds = LONGEST_STABILISATION;
    }
    let tolerance = || {
        let other = autoscale.tolerance != DEFAULT_TOLERANCE;
        other.then(|| Quantity(quantity(autoscale.tolerance)))
    };
    let down = HPAScalingRules {
        stabilization_window_seconds: Some(seconds),
        tolerance: tolerance(),
        ..HPAScalingRules::default()
    };
    let up = tolerance().map(|tolerance| HPAScalingRules { tolerance: Some(tolerance), ..HPAScalingRules::default() });
    HorizontalPodAutoscalerBehavior { scale_down: Some(down), scale_up: up }
}

/// Whole or in thousandths, rounded up, as quantities are.
fn quantity(value: f64) -> String {
    let thousandths = (value * 1000.0 - 1e-6).ceil().max(0.0) as u64;
    if thousandths.is_multiple_of(1000) { (thousandths / 1000).to_string() } else { format!("{thousandths}m") }
}

fn count(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
