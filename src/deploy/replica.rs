//! One replica: a container made from a revision.

use super::balancing;
use super::record::Revision;
use super::specification::{Deployment, DeploymentMount};
use crate::Result;
use crate::container::{Container, ContainerBuilder, ReplicaOf, Services};
use crate::value::Memory;
use std::sync::Arc;

/// Starts a replica; it is named after its deployment, its revision and its place.
pub(crate) fn start(services: &Arc<Services>, of: ReplicaOf, revision: &Revision) -> Result<Container> {
    let image = services.store.images().load(&revision.reference, revision.manifest.clone())?;
    let mut builder = ContainerBuilder::new(services.clone(), image).name(container_name(&of));
    if balancing::service(services, &of.deployment)?.is_some() {
        builder = builder.member_of(of.deployment.clone());
    }
    builder = builder.replica_of(of);
    described(builder, &revision.deployment).detach()
}

/// The name of a replica's container: `api-r3-0`.
pub(crate) fn container_name(of: &ReplicaOf) -> String {
    format!("{}-r{}-{}", of.deployment, of.revision, of.place)
}

fn described(mut builder: ContainerBuilder, deployment: &Deployment) -> ContainerBuilder {
    builder = builder
        .limits(deployment.limits.clone())
        .restart(deployment.restart)
        .read_only(deployment.read_only)
        .init(deployment.init);
    if let Some(entrypoint) = &deployment.entrypoint {
        builder = builder.entrypoint(entrypoint.iter().cloned());
    }
    if let Some(command) = &deployment.command {
        builder = builder.command(command.iter().cloned());
    }
    for (name, value) in &deployment.environment {
        builder = builder.env(name, value);
    }
    if let Some(directory) = &deployment.working_directory {
        builder = builder.workdir(directory);
    }
    if let Some(user) = &deployment.user {
        builder = builder.user(user);
    }
    if let Some(hostname) = &deployment.hostname {
        builder = builder.hostname(hostname);
    }
    if let Some(signal) = &deployment.stop_signal {
        builder = builder.stop_signal(signal);
    }
    builder = match &deployment.health {
        Some(health) => builder.health(health.clone()),
        None if deployment.image_health => builder,
        None => builder.no_health(),
    };
    for network in &deployment.networks {
        builder = builder.join(network);
    }
    for (key, value) in &deployment.labels {
        builder = builder.label(key, value);
    }
    deployment.mounts.iter().fold(builder, mounted)
}

fn mounted(builder: ContainerBuilder, mount: &DeploymentMount) -> ContainerBuilder {
    match mount {
        DeploymentMount::Bind { source, target, read_only: false } => builder.bind(source, target),
        DeploymentMount::Bind { source, target, read_only: true } => builder.bind_read_only(source, target),
        DeploymentMount::Volume { name, target, read_only: false, .. } => builder.volume(name, target),
        DeploymentMount::Volume { name, target, read_only: true, .. } => builder.volume_read_only(name, target),
        DeploymentMount::Tmpfs { target, size } => builder.tmpfs(target, Memory::bytes(*size)),
    }
}
