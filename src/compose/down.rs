//! Taking a project down.

use super::event::ProjectEvent;
use super::lower::PROJECT_LABEL;
use super::project::Project;
use super::up::service_of;
use crate::container::Container;
use crate::deploy::Deployed;
use crate::engine::Engine;
use crate::error::Context;
use crate::{ErrorKind, Result};
use std::time::Duration;

/// A project that is to be taken down; see [`down`].
pub struct Down<'run> {
    engine: &'run Engine,
    project: &'run Project,
    volumes: bool,
    remove_orphans: bool,
    progress: Box<dyn FnMut(&ProjectEvent) + 'run>,
}

/// Takes `project` down; its volumes and images stay.
pub fn down<'run>(engine: &'run Engine, project: &'run Project) -> Down<'run> {
    Down { engine, project, volumes: false, remove_orphans: false, progress: Box::new(|_| ()) }
}

impl<'run> Down<'run> {
    /// Removes its volumes as well, with all they hold; not those of others.
    #[must_use]
    pub fn volumes(mut self, on: bool) -> Down<'run> {
        self.volumes = on;
        self
    }

    /// Removes what belongs to no service of the file any more.
    #[must_use]
    pub fn remove_orphans(mut self, on: bool) -> Down<'run> {
        self.remove_orphans = on;
        self
    }

    /// Calls `progress` for everything that happens.
    #[must_use]
    pub fn on_event(mut self, progress: impl FnMut(&ProjectEvent) + 'run) -> Down<'run> {
        self.progress = Box::new(progress);
        self
    }

    /// Removes every service before what it depends on. What is not there is no error; its networks go with the last
    /// container on them.
    ///
    /// # Errors
    /// `InUse` where somebody else changes a service at the moment, or uses a volume; what the kernel refuses. May be
    /// called again.
    pub fn run(mut self) -> Result<()> {
        let parts = parts(self.engine, self.project)?;
        for service in self.project.services.iter().rev() {
            for part in parts.iter().filter(|part| part.service() == Some(&service.name)) {
                self.remove(part).context(|| format!("service {}", service.name))?;
            }
        }
        if self.remove_orphans {
            for orphan in orphans(self.engine, self.project)? {
                self.remove(&orphan)?;
            }
        }
        if self.volumes {
            self.remove_volumes()?;
        }
        Ok(())
    }

    fn remove(&mut self, part: &Part) -> Result<()> {
        part.remove(self.project)?;
        (self.progress)(&ProjectEvent::Removed { name: part.name() });
        Ok(())
    }

    fn remove_volumes(&mut self) -> Result<()> {
        for volume in self.project.volumes.values().filter(|volume| !volume.external) {
            match self.engine.volume(&volume.name)?.remove() {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                removed => {
                    removed?;
                    (self.progress)(&ProjectEvent::Removed { name: volume.name.clone() });
                }
            }
        }
        Ok(())
    }
}

/// A deployment or a container of a project.
pub(super) enum Part {
    Deployment(Deployed, Option<String>),
    Container(Container),
}

impl Part {
    /// The name of the service, which may not be in the file any more.
    pub(super) fn service(&self) -> Option<&String> {
        match self {
            Part::Deployment(_, service) => service.as_ref(),
            Part::Container(container) => container.labels().get(super::lower::SERVICE_LABEL),
        }
    }

    pub(super) fn name(&self) -> String {
        match self {
            Part::Deployment(deployed, _) => deployed.name().to_string(),
            Part::Container(container) => {
                container.name().map_or_else(|| container.id().to_string(), ToString::to_string)
            }
        }
    }

    pub(super) fn remove(&self, project: &Project) -> Result<()> {
        match self {
            Part::Deployment(deployed, _) => deployed.remove(),
            Part::Container(container) => stop_and_remove(project, container),
        }
    }
}

/// Everything in the engine that carries the project's label.
pub(super) fn parts(engine: &Engine, project: &Project) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    for deployed in engine.deployments()? {
        let deployment = match deployed.deployment() {
            // Removed since the list was read.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            deployment => deployment?,
        };
        if deployment.labels.get(PROJECT_LABEL) == Some(&project.name) {
            let service = deployment.labels.get(super::lower::SERVICE_LABEL).cloned();
            parts.push(Part::Deployment(deployed, service));
        }
    }
    let containers = engine.containers()?.into_iter().filter(|container| {
        container.replica_of().is_none() && container.labels().get(PROJECT_LABEL) == Some(&project.name)
    });
    parts.extend(containers.map(Part::Container));
    Ok(parts)
}

/// What belongs to no service of the file.
pub(super) fn orphans(engine: &Engine, project: &Project) -> Result<Vec<Part>> {
    let parts = parts(engine, project)?.into_iter();
    Ok(parts.filter(|part| part.service().is_none_or(|service| project.service(service).is_none())).collect())
}

/// Removes a container that runs once, with the grace of its service.
pub(super) fn stop_and_remove(project: &Project, container: &Container) -> Result<()> {
    let service = service_of(container).and_then(|name| project.service(name));
    let grace = service.map_or(Duration::from_secs(10), |service| service.stop_grace);
    container.stop(grace)?;
    container.clone().remove()
}
