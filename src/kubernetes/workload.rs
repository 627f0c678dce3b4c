//! The Deployment itself: its pods and how they are replaced.

use super::configuration::Environment;
use super::draft::{Draft, ObjectMeta};
use super::probe::{Probes, probes};
use super::resources::resources;
use super::{names, service, volume};
use crate::container::RestartCondition;
use crate::deploy::{OnFailure, Strategy};
use crate::value::{Port, Reference};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, Lifecycle, LifecycleHandler, PodSpec, PodTemplateSpec, SeccompProfile, SecurityContext,
    SleepAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeSet;

pub(super) fn deployment(draft: &mut Draft<'_>, environment: &Environment) -> Deployment {
    let deployment = draft.deployment;
    let guard = *deployment.rollout.guard();
    let minimum = draft.seconds("rollout.minimum_healthy_time", guard.minimum_healthy_time, 0);
    let deadline = draft.seconds("rollout.progress_deadline", guard.progress_deadline, 1);
    if deadline <= minimum {
        draft.problem("rollout.progress_deadline: it is not longer than the minimum healthy time");
    }
    note_guard(draft);
    let template = template(draft, environment);
    Deployment {
        metadata: draft.metadata(deployment.name.clone()),
        spec: DeploymentSpec {
            // The autoscaler's where there is one.
            replicas: deployment.autoscale.is_none().then(|| count(deployment.replicas)),
            selector: draft.label_selector(),
            strategy: Some(strategy(draft)),
            min_ready_seconds: (minimum > 0).then_some(minimum),
            progress_deadline_seconds: Some(deadline),
            template,
            ..DeploymentSpec::default()
        }
        // Optional in some versions.
        .into(),
        ..Deployment::default()
    }
}

/// Text in which Kubernetes expands nothing: it takes `$(NAME)` for a variable and `$$` for `$`
/// (`third_party/forked/golang/expansion` of Kubernetes).
pub(super) fn literal(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        written.push(character);
        if character == '$' && matches!(characters.peek(), Some('$' | '(')) {
            written.push('$');
        }
    }
    written
}

fn strategy(draft: &mut Draft<'_>) -> DeploymentStrategy {
    match &draft.deployment.rollout {
        Strategy::Recreate(_) => {
            DeploymentStrategy { type_: Some("Recreate".to_owned()), ..DeploymentStrategy::default() }
        }
        Strategy::Rolling(rolling) => {
            if rolling.surge == 0 && rolling.unavailable == 0 {
                draft.problem("rollout: with surge 0 and unavailable 0 nothing can be replaced");
            }
            DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(count(rolling.surge))),
                    max_unavailable: Some(IntOrString::Int(count(rolling.unavailable))),
                }),
            }
        }
    }
}

fn template(draft: &mut Draft<'_>, environment: &Environment) -> PodTemplateSpec {
    let (labels, annotations) = draft.pod_labels();
    let (volumes, volume_mounts) = volume::mounts(draft);
    let (lifecycle, grace) = stopping(draft);
    let container = Container { volume_mounts, lifecycle, ..container(draft, environment) };
    if let Some(hostname) = draft.deployment.hostname.as_ref().filter(|hostname| !names::is_label(hostname)) {
        draft.problem(format!("hostname: {hostname:?} is not a label of RFC 1123"));
    }
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: (!annotations.is_empty()).then_some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            containers: vec![container],
            volumes,
            hostname: draft.deployment.hostname.clone(),
            termination_grace_period_seconds: Some(grace),
            // Then the pod's own process is PID 1: it reaps, and the command is none that ignores signals.
            share_process_namespace: draft.deployment.init.then_some(true),
            // Neither a way into the cluster's own interface nor variables that nobody asked for, as here.
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            ..PodSpec::default()
        }),
    }
}

fn container(draft: &mut Draft<'_>, environment: &Environment) -> Container {
    let deployment = draft.deployment;
    note_restart(draft);
    let Probes { readiness, liveness, startup } = probes(draft);
    let published = deployment.published.iter().map(|port| port.container_port);
    let ports: BTreeSet<Port> = deployment.ports.iter().copied().chain(published).collect();
    let ports: Vec<ContainerPort> = ports
        .into_iter()
        .map(|port| ContainerPort {
            name: Some(service::port_name(port)),
            container_port: port.number.into(),
            protocol: Some(service::protocol(port)),
            ..ContainerPort::default()
        })
        .collect();
    let words = |words: &Option<Vec<String>>| words.as_ref().map(|words| words.iter().map(|w| literal(w)).collect());
    let directory = deployment.working_directory.as_ref().map(|directory| directory.to_string_lossy().into_owned());
    Container {
        name: deployment.name.clone(),
        image: Some(image(draft)),
        command: words(&deployment.entrypoint),
        args: words(&deployment.command),
        working_dir: directory,
        env_from: environment.sources(),
        ports: (!ports.is_empty()).then_some(ports),
        resources: resources(draft),
        readiness_probe: readiness,
        liveness_probe: liveness,
        startup_probe: startup,
        security_context: Some(security(draft)),
        ..Container::default()
    }
}

fn image(draft: &mut Draft<'_>) -> String {
    let text = &draft.deployment.image;
    let reference: Reference = match text.parse() {
        Ok(reference) => reference,
        Err(error) => {
            draft.problem(format!("image: {error}"));
            return text.clone();
        }
    };
    match (reference.registry(), draft.options.registry.as_deref()) {
        (Some(_), _) => reference.to_string(),
        (None, Some(registry)) => {
            let full = format!("{}/{reference}", registry.trim_end_matches('/'));
            if full.parse::<Reference>().is_ok_and(|full| full.registry().is_some()) {
                return full;
            }
            draft.problem(format!("registry: {registry:?} before {reference} is no image of a registry"));
            full
        }
        (None, None) => {
            draft.differs(
                "image",
                format!("{reference} is in the store of this machine"),
                "every node pulls it, from Docker Hub because it names no registry",
                "push it to a registry and name that by Options::registry",
            );
            reference.to_string()
        }
    }
}

/// What is on here by default, said explicitly where the default there is weaker.
fn security(draft: &mut Draft<'_>) -> SecurityContext {
    let deployment = draft.deployment;
    let (mut user, mut group) = (None, None);
    if let Some(text) = &deployment.user {
        let number = |text: &str| text.parse::<u32>().ok().filter(|_| !text.starts_with('+')).map(i64::from);
        let (name, rest) = text.split_once(':').map_or((text.as_str(), None), |(name, rest)| (name, Some(rest)));
        (user, group) = (number(name), rest.and_then(number));
        if user.is_none() || (rest.is_some() && group.is_none()) {
            draft.differs(
                "user",
                format!("{text} is looked up in the image"),
                "users and groups are numbers; what is none is left to the image",
                "give numbers, or set USER in the image",
            );
        }
    }
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: deployment.read_only.then_some(true),
        run_as_user: user,
        run_as_group: group,
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }),
        ..SecurityContext::default()
    }
}

/// What happens before the end of a pod, and how long it may take in all.
fn stopping(draft: &mut Draft<'_>) -> (Option<Lifecycle>, i64) {
    let deployment = draft.deployment;
    let grace = i64::from(draft.seconds("stop_grace", deployment.stop_grace, 0));
    if let Some(signal) = &deployment.stop_signal {
        draft.differs(
            "stop_signal",
            format!("{signal} asks a replica to stop"),
            "the signal of the image does, or SIGTERM",
            format!("write STOPSIGNAL {signal} into the image"),
        );
    }
    let drain = i64::from(draft.seconds("drain", deployment.drain, 0));
    if drain == 0 || (deployment.ports.is_empty() && deployment.published.is_empty()) {
        return (None, grace);
    }
    draft.differs(
        "drain",
        "a replica is stopped as soon as its connections are done, and gets no new ones before",
        format!(
            "nobody counts its connections: it goes on for all of the {drain} s, and the first of them may bring new \
             connections"
        ),
        "choose a shorter time; it must be long enough for all nodes to hear of the end",
    );
    let pre_stop = LifecycleHandler { sleep: Some(SleepAction { seconds: drain }), ..LifecycleHandler::default() };
    (Some(Lifecycle { pre_stop: Some(pre_stop), ..Lifecycle::default() }), drain + grace)
}

fn note_guard(draft: &mut Draft<'_>) {
    let guard = *draft.deployment.rollout.guard();
    if guard.on_failure == OnFailure::RollBack {
        draft.differs(
            "rollout.on_failure",
            "a revision that fails is rolled back by itself",
            "the rollout stops with the condition ProgressDeadlineExceeded, and stays there",
            "run kubectl rollout status, and kubectl rollout undo where it fails",
        );
    }
    draft.differs(
        "rollout.healthy_deadline",
        format!("a replica that is not healthy within {} s fails the rollout", guard.healthy_deadline.as_secs_f64()),
        "only the progress of the whole rollout has a deadline",
        "choose the progress deadline accordingly",
    );
    draft.differs(
        "rollout.crashes",
        format!("{} crashes fail the rollout", guard.crashes),
        "crashes are not counted; the progress deadline ends it",
        "choose the progress deadline accordingly",
    );
}

fn note_restart(draft: &mut Draft<'_>) {
    let restart = draft.deployment.restart;
    if restart.condition != RestartCondition::Always || restart.most.is_some() {
        draft.differs(
            "restart",
            "a replica is not always started again",
            "those of a Deployment always are",
            "make it a Job where it is to end",
        );
    }
    draft.differs(
        "restart.delay",
        format!(
            "the pause before a restart grows from {} s to {} s, and begins anew after 10 s of running",
            restart.delay.as_secs_f64(),
            restart.longest_delay.as_secs_f64()
        ),
        "it grows from 10 s to 5 min, and begins anew after 10 min",
        "nothing, or set the kubelet's crashLoopBackOff",
    );
}

fn count(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Kubernetes makes of a word, after `expansion.Expand`; no variable is known.
    fn expanded(text: &str) -> String {
        let bytes: Vec<char> = text.chars().collect();
        let (mut out, mut at) = (String::new(), 0);
        while at < bytes.len() {
            if bytes[at] == '$' && at + 1 < bytes.len() {
                match bytes[at + 1] {
                    '$' => out.push('$'),
                    '(' => panic!("{text:?} refers to a variable"),
                    other => out.extend(['$', other]),
                }
                at += 2;
            } else {
                out.push(bytes[at]);
                at += 1;
            }
        }
        out
    }

    #[test]
    fn words_are_not_expanded() {
        for word in ["", "$", "$$", "$$$", "$HOME", "$(HOME)", "$$(HOME)", "a$", "$(", "$$HOME$", "100$ (each)", "$$$("]
        {
            assert_eq!(expanded(&literal(word)), word);
        }
        assert_eq!(literal("echo $HOME $(date) $$"), "echo $HOME $$(date) $$$");
    }
}
