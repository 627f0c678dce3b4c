//! What a service is in the engine: a deployment, or a container that runs once.

use super::project::Project;
use super::service::{Service, ServiceHealth, ServiceMount};
use crate::container::ContainerBuilder;
use crate::deploy::Deployment;
use crate::network::PublishedPort;
use crate::value::{Memory, Port};

/// The label with the project's name.
pub(super) const PROJECT_LABEL: &str = "com.docker.compose.project";
/// The label with the service's name.
pub(super) const SERVICE_LABEL: &str = "com.docker.compose.service";

impl Service {
    /// The deployment that this service of `project` is: under [`full_name`](Self::full_name), found by the others as
    /// [`name`](Self::name).
    ///
    /// `image_ports` are those that the image exposes: other services reach them as they reach those of the file.
    pub fn deployment(&self, project: &Project, image_ports: &[Port]) -> Deployment {
        let mut deployment = Deployment::new(&self.full_name, &self.image)
            .alias(&self.name)
            .replicas(self.replicas)
            .read_only(self.read_only)
            .limits(self.limits.clone())
            .request(self.request)
            .restart(self.restart)
            .rollout(self.rollout)
            .stop_grace(self.stop_grace);
        deployment.entrypoint.clone_from(&self.entrypoint);
        deployment.command.clone_from(&self.command);
        deployment.environment.clone_from(&self.environment);
        deployment.working_directory.clone_from(&self.working_directory);
        deployment.user.clone_from(&self.user);
        deployment.hostname.clone_from(&self.hostname);
        deployment.stop_signal.clone_from(&self.stop_signal);
        deployment.published.clone_from(&self.published);
        deployment.labels = self.all_labels(project);
        if let Some(on) = self.init {
            deployment = deployment.init(on);
        }
        deployment = match &self.health {
            ServiceHealth::Image => deployment,
            ServiceHealth::Disabled => deployment.no_health(),
            ServiceHealth::Own(health) => deployment.health(health.clone()),
        };
        deployment = self.networks_in(project).fold(deployment, |deployment, network| deployment.network(network));
        deployment = self.ports(image_ports).into_iter().fold(deployment, Deployment::port);
        self.mounts.iter().fold(deployment, |deployment, mount| match mount {
            ServiceMount::Bind { source, target, read_only } => deployment.bind(source, target, *read_only),
            ServiceMount::Volume { volume, target, read_only } => {
                mount_volume(deployment, &volume_name(project, volume), target, *read_only)
            }
            ServiceMount::Tmpfs { target, size } => deployment.tmpfs(target, size.unwrap_or_else(half_of_the_memory)),
        })
    }

    /// Describes the container of a service that runs once.
    pub(super) fn describe(&self, project: &Project, container: ContainerBuilder) -> ContainerBuilder {
        let mut container =
            container.name(&self.full_name).read_only(self.read_only).limits(self.limits.clone()).restart(self.restart);
        if let Some(entrypoint) = &self.entrypoint {
            container = container.entrypoint(entrypoint.iter().cloned());
        }
        if let Some(command) = &self.command {
            container = container.command(command.iter().cloned());
        }
        for (name, value) in &self.environment {
            container = container.env(name, value);
        }
        if let Some(directory) = &self.working_directory {
            container = container.workdir(directory);
        }
        if let Some(user) = &self.user {
            container = container.user(user);
        }
        if let Some(hostname) = &self.hostname {
            container = container.hostname(hostname);
        }
        if let Some(signal) = &self.stop_signal {
            container = container.stop_signal(signal);
        }
        if let Some(on) = self.init {
            container = container.init(on);
        }
        container = match &self.health {
            ServiceHealth::Image => container,
            ServiceHealth::Disabled => container.no_health(),
            ServiceHealth::Own(health) => container.health(health.clone()),
        };
        container = self.networks_in(project).fold(container, |container, network| container.join(network));
        container =
            self.published.iter().fold(container, |container, port: &PublishedPort| container.publish_on(*port));
        for (key, value) in self.all_labels(project) {
            container = container.label(key, value);
        }
        self.mounts.iter().fold(container, |container, mount| match mount {
            ServiceMount::Bind { source, target, read_only: false } => container.bind(source, target),
            ServiceMount::Bind { source, target, read_only: true } => container.bind_read_only(source, target),
            ServiceMount::Volume { volume, target, read_only: false } => {
                container.volume(volume_name(project, volume), target)
            }
            ServiceMount::Volume { volume, target, read_only: true } => {
                container.volume_read_only(volume_name(project, volume), target)
            }
            ServiceMount::Tmpfs { target, size } => container.tmpfs(target, size.unwrap_or_else(half_of_the_memory)),
        })
    }

    /// The ports that others of the project reach: those exposed, those published, those of the image.
    fn ports(&self, image_ports: &[Port]) -> Vec<Port> {
        let published = self.published.iter().map(|port| port.container_port);
        let mut ports: Vec<Port> =
            self.exposed.iter().copied().chain(published).chain(image_ports.iter().copied()).collect();
        ports.sort();
        ports.dedup();
        ports
    }

    fn networks_in<'project>(&'project self, project: &'project Project) -> impl Iterator<Item = &'project str> {
        self.networks.iter().filter_map(|key| project.networks.get(key)).map(String::as_str)
    }

    fn all_labels(&self, project: &Project) -> std::collections::BTreeMap<String, String> {
        let mut labels = self.labels.clone();
        labels.insert(PROJECT_LABEL.to_owned(), project.name.clone());
        labels.insert(SERVICE_LABEL.to_owned(), self.name.clone());
        labels
    }
}

fn mount_volume(mut deployment: Deployment, name: &str, target: &std::path::Path, read_only: bool) -> Deployment {
    use crate::deploy::specification::DeploymentMount;
    deployment.mounts.push(DeploymentMount::Volume {
        name: name.to_owned(),
        target: target.to_owned(),
        read_only,
        snapshot: false,
    });
    deployment
}

/// The name in the engine of the volume with this key.
fn volume_name(project: &Project, key: &str) -> String {
    project.volumes.get(key).map_or_else(|| key.to_owned(), |volume| volume.name.clone())
}

/// What the kernel gives a memory file system that is not told its size (tmpfs(5)).
fn half_of_the_memory() -> Memory {
    let information = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = information.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    let kibibytes: u64 = total.and_then(|total| total.trim().parse().ok()).unwrap_or(1 << 20);
    Memory::bytes(kibibytes.saturating_mul(512))
}
