//! The text that Prometheus reads: version 0.0.4 of its exposition format, with its rules for names
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>, <https://prometheus.io/docs/practices/naming/>).

use super::{DeploymentStats, ReplicaStats};
use crate::container::{ContainerStats, HealthState};
use std::collections::BTreeSet;
use std::fmt::{self, Write};
use std::time::Duration;

/// What Prometheus is told about these deployments. To be served with the content type
/// `text/plain; version=0.0.4; charset=utf-8`.
///
/// Every replica is a series of its own, with the labels `deployment`, `replica` and `revision`. There are no counters
/// of whole deployments: such a sum would go down with each replica that goes, which Prometheus takes for a new
/// beginning. Ask for `sum by (deployment) (rate(coracle_replica_cpu_seconds_total[1m]))` instead. What is not measured
/// has no series. Of two replicas with the same labels the first counts.
pub fn metrics(deployments: &[DeploymentStats]) -> String {
    let mut text = Text::default();
    for family in DEPLOYMENT_FAMILIES {
        let samples = deployments.iter().map(|stats| (labels(&[("deployment", &stats.deployment)]), (family.2)(stats)));
        text.family(family.0, "gauge", family.1, samples);
    }
    let replicas: Vec<(String, &ReplicaStats)> = deployments
        .iter()
        .flat_map(|stats| stats.replicas.iter().map(|replica| (replica_labels(stats, replica), replica)))
        .collect();
    for (name, help, value) in REPLICA_FAMILIES {
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        let samples = replicas.iter().filter_map(|(labels, replica)| Some((labels.clone(), value(replica)?)));
        text.family(name, kind, help, samples);
    }
    for (name, help, value) in USAGE_FAMILIES {
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        let used = replicas.iter().filter_map(|(labels, replica)| Some((labels, replica.usage.as_ref()?)));
        let samples = used.filter_map(|(labels, usage)| Some((labels.clone(), value(usage)?)));
        text.family(name, kind, help, samples);
    }
    text.family("coracle_replica_health", "gauge", "1 for what the health check says, 0 for the other states.", {
        replicas.iter().flat_map(|(labels, replica)| {
            HEALTH_STATES.iter().map(move |(state, name)| {
                (format!("{labels},{}", labelled("state", name)), Value::flag(replica.health == *state))
            })
        })
    });
    text.0
}

type DeploymentFamily = (&'static str, &'static str, fn(&DeploymentStats) -> Value);
type ReplicaFamily = (&'static str, &'static str, fn(&ReplicaStats) -> Option<Value>);
type UsageFamily = (&'static str, &'static str, fn(&ContainerStats) -> Option<Value>);

const DEPLOYMENT_FAMILIES: [DeploymentFamily; 4] = [
    ("coracle_deployment_revision", "The revision that is wanted.", |stats| Value::Count(stats.revision.into())),
    ("coracle_deployment_replicas_wanted", "Replicas that are wanted.", |stats| Value::Count(stats.wanted.into())),
    ("coracle_deployment_replicas_running", "Replicas that run, of all revisions.", |stats| {
        Value::Count(stats.totals().running.into())
    }),
    ("coracle_deployment_replicas_ready", "Replicas that run and work, of all revisions.", |stats| {
        Value::Count(stats.totals().ready.into())
    }),
];

const REPLICA_FAMILIES: [ReplicaFamily; 4] = [
    ("coracle_replica_ready", "1 if it runs and works.", |replica| Some(Value::flag(replica.is_ready()))),
    ("coracle_replica_in_traffic", "1 if it gets new connections.", |replica| Some(Value::flag(replica.in_traffic))),
    ("coracle_replica_restarts_total", "How often it was started again.", |replica| {
        Some(Value::Count(replica.restarts.into()))
    }),
    ("coracle_replica_connections", "Connections to it.", |replica| {
        replica.connections.map(|n| Value::Count(n.into()))
    }),
];

const USAGE_FAMILIES: [UsageFamily; 20] = [
    ("coracle_replica_cpu_seconds_total", "Processor time used.", |usage| Some(Value::Time(usage.cpu.usage))),
    ("coracle_replica_cpu_user_seconds_total", "Processor time used in the programs.", |usage| {
        Some(Value::Time(usage.cpu.user))
    }),
    ("coracle_replica_cpu_system_seconds_total", "Processor time used in the kernel.", |usage| {
        Some(Value::Time(usage.cpu.system))
    }),
    ("coracle_replica_cpu_throttled_seconds_total", "Time kept from running by the processors' limit.", |usage| {
        Some(Value::Time(usage.cpu.throttled))
    }),
    ("coracle_replica_memory_used_bytes", "Memory held, less page cache not used for a while.", |usage| {
        Some(Value::Count(usage.memory.used.as_bytes()))
    }),
    ("coracle_replica_memory_peak_bytes", "The most memory held at a time, page cache included.", |usage| {
        usage.memory.peak.map(|peak| Value::Count(peak.as_bytes()))
    }),
    ("coracle_replica_memory_limit_bytes", "The memory limit; without one there is no series.", |usage| {
        usage.memory.limit.map(|limit| Value::Count(limit.as_bytes()))
    }),
    ("coracle_replica_pids", "Processes and threads.", |usage| Some(Value::Count(usage.pids.current))),
    ("coracle_replica_pids_limit", "The limit of processes and threads; without one there is no series.", |usage| {
        usage.pids.limit.map(Value::Count)
    }),
    ("coracle_replica_io_read_bytes_total", "Bytes read from block devices.", |usage| {
        usage.io.map(|io| Value::Count(io.read))
    }),
    ("coracle_replica_io_written_bytes_total", "Bytes written to block devices.", |usage| {
        usage.io.map(|io| Value::Count(io.written))
    }),
    ("coracle_replica_network_received_bytes_total", "Bytes received, with Ethernet headers.", |usage| {
        usage.network.map(|network| Value::Count(network.received_bytes))
    }),
    ("coracle_replica_network_sent_bytes_total", "Bytes sent, with Ethernet headers.", |usage| {
        usage.network.map(|network| Value::Count(network.sent_bytes))
    }),
    ("coracle_replica_network_received_packets_total", "Packets received.", |usage| {
        usage.network.map(|network| Value::Count(network.received_packets))
    }),
    ("coracle_replica_network_sent_packets_total", "Packets sent.", |usage| {
        usage.network.map(|network| Value::Count(network.sent_packets))
    }),
    ("coracle_replica_network_dropped_packets_total", "Packets dropped at the virtual cable.", |usage| {
        usage.network.map(|network| Value::Count(network.dropped_packets))
    }),
    ("coracle_replica_cpu_stalled_seconds_total", "Time in which something waited for a processor.", |usage| {
        usage.pressure.map(|pressure| Value::Time(pressure.cpu.some.total))
    }),
    ("coracle_replica_memory_stalled_seconds_total", "Time in which something waited for memory.", |usage| {
        usage.pressure.map(|pressure| Value::Time(pressure.memory.some.total))
    }),
    ("coracle_replica_io_stalled_seconds_total", "Time in which something waited for block devices.", |usage| {
        usage.pressure.map(|pressure| Value::Time(pressure.io.some.total))
    }),
    ("coracle_replica_io_stalled_fully_seconds_total", "Time in which all waited for block devices.", |usage| {
        usage.pressure.map(|pressure| Value::Time(pressure.io.full.total))
    }),
];

const HEALTH_STATES: [(HealthState, &str); 4] = [
    (HealthState::Unchecked, "unchecked"),
    (HealthState::Starting, "starting"),
    (HealthState::Healthy, "healthy"),
    (HealthState::Unhealthy, "unhealthy"),
];

#[derive(Clone, Copy)]
enum Value {
    Count(u64),
    Time(Duration),
}

impl Value {
    fn flag(on: bool) -> Value {
        Value::Count(on.into())
    }
}

/// Times in seconds.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Count(count) => write!(f, "{count}"),
            Value::Time(time) => write!(f, "{}", time.as_secs_f64()),
        }
    }
}

#[derive(Default)]
struct Text(String);

impl Text {
    /// All samples of one metric, which must stand together; nothing where there is none.
    fn family(&mut self, name: &str, kind: &str, help: &str, samples: impl Iterator<Item = (String, Value)>) {
        let mut seen = BTreeSet::new();
        for (labels, value) in samples {
            if seen.is_empty() {
                // A string takes whatever is written.
                let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
            }
            if !seen.contains(&labels) {
                let _ = writeln!(self.0, "{name}{{{labels}}} {value}");
                seen.insert(labels);
            }
        }
    }
}

fn replica_labels(stats: &DeploymentStats, replica: &ReplicaStats) -> String {
    let revision = replica.revision.to_string();
    labels(&[("deployment", &stats.deployment), ("replica", replica.shown()), ("revision", &revision)])
}

fn labels(pairs: &[(&str, &str)]) -> String {
    pairs.iter().map(|(name, value)| labelled(name, value)).collect::<Vec<_>>().join(",")
}

fn labelled(name: &str, value: &str) -> String {
    format!("{name}=\"{}\"", value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n"))
}
