//! Measures what replicas use, and lets their number follow.

use super::autoscale::{Autoscale, Load, Measure, Metric};
use super::controller::model::{Goal, Moment, Stage};
use super::event::RolloutEvent;
use super::runner::Runner;
use super::specification::Deployment;
use super::{clock, ledger};
use crate::Result;
use crate::container::{Container, ContainerStats, HealthState, Services};
use crate::value::{ContainerId, Name, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What was measured last, by deployment: processor time is a difference of two samples.
#[derive(Debug, Default)]
pub(super) struct Samples(BTreeMap<Name, Sample>);

#[derive(Debug)]
struct Sample {
    at: Moment,
    processor: BTreeMap<ContainerId, Duration>,
}

/// A number that a caller has fed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fed {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) time: Timestamp,
}

/// Measures, where it is time to, and changes the number of replicas, where the load asks for another one.
///
/// # Errors
/// `ResourceExhausted` where more are asked for than fit; they stay as many as they are.
pub(super) fn adjust(services: &Arc<Services>, runner: &mut Runner, samples: &mut Samples) -> Result<()> {
    let goal = runner.record().state.goal.clone();
    if runner.record().state.stage != Stage::Steady {
        return Ok(());
    }
    let deployment = runner.revision(goal.revision)?.deployment.clone();
    let Some(autoscale) = &deployment.autoscale else { return Ok(()) };
    let now = clock::now();
    let earlier = samples.0.remove(runner.name());
    if let Some(earlier) = earlier.as_ref().filter(|earlier| now < earlier.at + milliseconds(autoscale.interval)) {
        let earlier = Sample { at: earlier.at, processor: earlier.processor.clone() };
        samples.0.insert(runner.name().clone(), earlier);
        return Ok(());
    }
    runner.find_replicas()?;
    let used = used_by_ready_replicas(runner, &goal);
    let processor = used.iter().map(|(id, stats)| (id.clone(), stats.cpu.usage)).collect();
    samples.0.insert(runner.name().clone(), Sample { at: now, processor });
    let Some(earlier) = earlier else { return Ok(()) };
    let measures = measures(&deployment, autoscale, &used, &earlier, now, &runner.fed(autoscale)?);
    let mut scaler = runner.record().scaler.clone();
    let replicas = scaler.desired(autoscale, goal.replicas, &measures, now);
    let room = (replicas > goal.replicas).then(|| ledger::admit(services, &Deployment { replicas, ..deployment }));
    let _room = room.transpose()?;
    if scaler == runner.record().scaler && replicas == goal.replicas {
        return Ok(());
    }
    runner.change(|record| {
        record.scaler = scaler;
        if replicas != goal.replicas {
            record.note([RolloutEvent::Scaled { from: goal.replicas, to: replicas }.now()]);
            record.state.set_goal(Goal { replicas, ..goal }, now);
        }
    })
}

/// Of the replicas of the goal that run and work; one that has just ended has nothing to say.
fn used_by_ready_replicas(runner: &Runner, goal: &Goal) -> Vec<(ContainerId, ContainerStats)> {
    let ready = |replica: &&Container| {
        replica.replica_of().is_some_and(|of| of.revision == goal.revision)
            && matches!(replica.health().map(|report| report.state), Ok(HealthState::Healthy | HealthState::Unchecked))
    };
    let used = |replica: &Container| Some((replica.id().clone(), replica.stats().ok()?));
    runner.replicas().filter(ready).filter_map(used).collect()
}

fn measures(
    deployment: &Deployment,
    autoscale: &Autoscale,
    used: &[(ContainerId, ContainerStats)],
    earlier: &Sample,
    now: Moment,
    fed: &[Fed],
) -> Vec<Measure> {
    let request = deployment.effective_request();
    let mut measures = Vec::new();
    if let Some(cpus) = request.cpus {
        let available =
            Duration::from_millis(now.saturating_sub(earlier.at)).as_secs_f64() * f64::from(cpus.as_millis());
        let percent = |(id, stats): &(ContainerId, ContainerStats)| {
            let spent = stats.cpu.usage.checked_sub(*earlier.processor.get(id)?)?;
            Some(spent.as_secs_f64() * 1000.0 / available * 100.0)
        };
        measures.push(Measure { metric: Metric::Cpu, load: Load::Each(used.iter().filter_map(percent).collect()) });
    }
    if let Some(memory) = request.memory {
        let percent = |(_, stats): &(ContainerId, ContainerStats)| {
            stats.memory.used.as_bytes() as f64 / memory.as_bytes() as f64 * 100.0
        };
        measures.push(Measure { metric: Metric::Memory, load: Load::Each(used.iter().map(percent).collect()) });
    }
    let oldest = Timestamp::now().seconds.saturating_sub_unsigned(stale_after(autoscale).as_secs());
    for fed in fed.iter().filter(|fed| fed.time.seconds >= oldest) {
        measures.push(Measure { metric: Metric::Fed(fed.name.clone()), load: Load::Total(fed.value) });
    }
    measures
}

/// How long a number that was fed counts.
fn stale_after(autoscale: &Autoscale) -> Duration {
    autoscale.interval.saturating_mul(4).max(Duration::from_secs(60))
}

fn milliseconds(time: Duration) -> Moment {
    Moment::try_from(time.as_millis()).unwrap_or(Moment::MAX)
}
