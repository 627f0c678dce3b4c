//! Whether a deployment makes sense: every problem at once, each with its field.

use super::clock;
use super::controller::model::{Goal, State};
use super::record::Revision;
use super::specification::{Deployment, DeploymentMount};
use super::strategy::Strategy;
use crate::network::Network;
use crate::spec::Descriptor;
use crate::store::StoredImage;
use crate::value::{Name, Reference};
use crate::{Error, Result};
use std::collections::BTreeSet;

/// `<name>-r<revision>-<place>` must be a name too, and a host name.
const LONGEST_NAME: usize = 40;
/// Names that every hosts file has already.
const RESERVED: [&str; 4] = ["localhost", "ip6-localhost", "ip6-loopback", "host.containers.internal"];
/// The addresses of one network are fewer.
const MOST_REPLICAS: u32 = 1000;

/// The deployment's name, where everything about it makes sense.
pub(crate) fn check(deployment: &Deployment) -> Result<Name> {
    let mut problems = Problems::default();
    let name = problems.take("name", deployment.name.parse::<Name>());
    if deployment.name.len() > LONGEST_NAME {
        problems.add("name", format!("{:?} is longer than {LONGEST_NAME} characters", deployment.name));
    }
    for (field, name) in [("name", Some(&deployment.name)), ("alias", deployment.alias.as_ref())] {
        // It becomes a line of every container's hosts file.
        if name.is_some_and(|name| RESERVED.contains(&name.as_str())) {
            problems.add(
                field,
                format!("{name:?} means something else to every container", name = name.map_or("", |name| name)),
            );
        }
    }
    if let Some(alias) = &deployment.alias {
        problems.take("alias", alias.parse::<Name>());
    }
    problems.take("image", deployment.image.parse::<Reference>());
    if deployment.replicas > MOST_REPLICAS {
        problems.add("replicas", format!("{} is more than {MOST_REPLICAS}", deployment.replicas));
    }
    problems.take("limits", deployment.limits.check());
    check_ports(deployment, &mut problems);
    check_mounts(deployment, &mut problems);
    if let Some(health) = &deployment.health {
        problems.take("health", health.check(Network::Bridge));
    }
    problems.take("restart", deployment.restart.check());
    problems.0.extend(deployment.rollout.problems());
    if let Some(autoscale) = &deployment.autoscale {
        problems.0.extend(autoscale.problems());
        let request = deployment.effective_request();
        for (field, wanted, request) in
            [("cpu", autoscale.cpu, request.cpus.is_some()), ("memory", autoscale.memory, request.memory.is_some())]
        {
            if wanted.is_some() && !request {
                let what = "is a share of what a replica requests, and it requests none; name a request or a limit";
                problems.0.push(format!("autoscale.{field}: it {what}"));
            }
        }
    }
    for network in &deployment.networks {
        problems.take("networks", network.parse::<Name>());
    }
    for (index, weight) in deployment.weights.iter().enumerate() {
        if !(1..=1000).contains(weight) {
            problems.add("weights", format!("weight {} is {weight}, not 1 to 1000", index + 1));
        }
    }
    problems.into_result()?;
    name.ok_or_else(|| Error::invalid("name"))
}

/// Whether there is anything to run.
pub(crate) fn check_command(deployment: &Deployment, image: &StoredImage) -> Result<()> {
    let given = deployment.entrypoint.iter().chain(&deployment.command).any(|words| !words.is_empty());
    let config = image.config.config.as_ref();
    let own = config.is_some_and(|it| it.entrypoint.iter().chain(&it.cmd).any(|words| !words.is_empty()));
    if given || own {
        return Ok(());
    }
    Err(Error::invalid(format!("image {} names no command", image.reference)).hint("give one with .command([..])"))
}

/// The first revision of a deployment, and the state in which it begins.
pub(crate) fn first(deployment: Deployment, reference: Reference, manifest: Descriptor) -> Result<(Revision, State)> {
    let revision = Revision::new(1, deployment, reference, manifest);
    let state = State::new(goal(&revision), clock::now());
    Ok((revision, state))
}

/// What the controller is to bring about for `revision`.
pub(crate) fn goal(revision: &Revision) -> Goal {
    let deployment = &revision.deployment;
    Goal {
        revision: revision.number,
        replicas: deployment.replicas,
        strategy: deployment.rollout,
        drain: deployment.drain,
    }
}

/// Whether the two differ in nothing but the number of replicas.
pub(crate) fn same_but_for_replicas(one: &Deployment, other: &Deployment) -> bool {
    let other = Deployment { replicas: one.replicas, ..other.clone() };
    *one == other
}

fn check_ports(deployment: &Deployment, problems: &mut Problems) {
    let mut seen = BTreeSet::new();
    for port in &deployment.ports {
        if port.number == 0 {
            problems.add("ports", "0 is no port".to_owned());
        }
        if !seen.insert(*port) {
            problems.add("ports", format!("{port} is named twice"));
        }
    }
    let mut published = BTreeSet::new();
    for port in &deployment.published {
        if port.container_port.number == 0 {
            problems.add("published", "0 is no port of a replica".to_owned());
        }
        let host = (port.host_address, port.host_port, port.container_port.protocol);
        if port.host_port != 0 && !published.insert(host) {
            problems.add("published", format!("port {} of the host is named twice", port.host_port));
        }
    }
}

fn check_mounts(deployment: &Deployment, problems: &mut Problems) {
    for mount in &deployment.mounts {
        let (DeploymentMount::Bind { target, .. }
        | DeploymentMount::Volume { target, .. }
        | DeploymentMount::Tmpfs { target, .. }) = mount;
        if !target.is_absolute() {
            problems.add("mounts", format!("{} is not absolute", target.display()));
        }
        if let DeploymentMount::Bind { source, .. } = mount
            && let Err(error) = source.symlink_metadata()
        {
            problems.add("mounts", format!("bind {}: {error}", source.display()));
        }
        if let DeploymentMount::Volume { name, snapshot, .. } = mount {
            problems.take("mounts", name.parse::<Name>());
            if *snapshot && !matches!(deployment.rollout, Strategy::Recreate(_)) {
                problems.add(
                    "mounts",
                    format!("volume {name}: a volume with snapshots needs the strategy Recreate: nobody may write to it meanwhile"),
                );
            }
        }
    }
}

/// What is wrong, by field.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, field: &str, what: String) {
        self.0.push(format!("{field}: {what}"));
    }

    fn take<T>(&mut self, field: &str, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.add(field, error.to_string())).ok()
    }

    fn into_result(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::invalid(self.0.join("; "))) }
    }
}
