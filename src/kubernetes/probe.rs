//! Health checks as probes.

use super::draft::Draft;
use super::workload::literal;
use crate::container::{Health, HealthTest};
use k8s_openapi::api::core::v1::{ExecAction, HTTPGetAction, Probe, TCPSocketAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The probes of a container.
#[derive(Default)]
pub(super) struct Probes {
    pub(super) readiness: Option<Probe>,
    pub(super) liveness: Option<Probe>,
    pub(super) startup: Option<Probe>,
}

/// A failed health check takes a replica out of the traffic: readiness. Where an unhealthy one is started again as well:
/// liveness, with a startup probe in place of the start period.
pub(super) fn probes(draft: &mut Draft<'_>) -> Probes {
    let (Some(health), restarts) = (&draft.deployment.health, draft.deployment.restart.unhealthy) else {
        draft.differs(
            "health",
            match draft.deployment.image_health {
                true => "without a health check the image's applies; without that, a replica works as soon as it runs",
                false => "without a health check a replica works as soon as its command is executed",
            },
            "a pod is ready as soon as its container runs, and the health check of an image is never used",
            "add a health check, so that no request is lost while it starts",
        );
        return Probes::default();
    };
    if let HealthTest::Http { path, .. } = &health.test
        && !path.starts_with('/')
    {
        draft.problem(format!("health.path: {path:?} does not begin with '/'"));
    }
    let readiness = Probe {
        period_seconds: Some(draft.seconds("health.every", health.interval, 1)),
        timeout_seconds: Some(draft.seconds("health.timeout", health.timeout, 1)),
        failure_threshold: Some(count(health.retries)),
        success_threshold: Some(count(health.healthy_after)),
        ..action(health)
    };
    draft.differs(
        "health.every",
        "until the first verdict it is checked every second, then at intervals that begin with the end of a check",
        "it is checked at intervals from its start on, in between only while it is not ready",
        "choose an interval that suits a start as well",
    );
    if !restarts {
        return Probes { readiness: Some(readiness), ..Probes::default() };
    }
    let liveness = Probe { success_threshold: Some(1), ..readiness.clone() };
    let period = draft.seconds("health.start_period", health.start_period, 0);
    let startup = (period > 0).then(|| Probe {
        // Every second, as here until the first verdict, for as long as failures do not count.
        period_seconds: Some(1),
        failure_threshold: Some(period.saturating_add(count(health.retries))),
        ..liveness.clone()
    });
    draft.differs(
        "restart.when_unhealthy",
        "the replica is asked to stop and started again in its container",
        "the kubelet does the same, with its own pauses between restarts",
        "nothing, where those pauses do",
    );
    Probes { readiness: Some(readiness), liveness: Some(liveness), startup }
}

fn action(health: &Health) -> Probe {
    let number = |port: u16| IntOrString::Int(port.into());
    match &health.test {
        HealthTest::Command(command) => {
            let command = Some(command.iter().map(|word| literal(word)).collect());
            Probe { exec: Some(ExecAction { command }), ..Probe::default() }
        }
        HealthTest::Http { port, path } => {
            let get = HTTPGetAction { path: Some(path.clone()), port: number(*port), ..HTTPGetAction::default() };
            Probe { http_get: Some(get), ..Probe::default() }
        }
        HealthTest::Tcp { port } => {
            let socket = TCPSocketAction { host: None, port: number(*port) };
            Probe { tcp_socket: Some(socket), ..Probe::default() }
        }
    }
}

fn count(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX).max(1)
}
