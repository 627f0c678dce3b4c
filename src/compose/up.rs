//! Bringing a project up.

use super::event::ProjectEvent;
use super::images;
use super::lower::{PROJECT_LABEL, SERVICE_LABEL};
use super::project::Project;
use super::service::{Condition, Service, ServiceHealth};
use crate::build::Image;
use crate::container::{Container, ContainerState, HealthState};
use crate::deploy::{Deployed, Outcome, RolloutEvent};
use crate::engine::Engine;
use crate::error::Context;
use crate::launch::ExitStatus;
use crate::value::Port;
use crate::{Digest, Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The label that tells whether the container of a service that runs once is still what the file wants.
const CONFIGURATION_LABEL: &str = "com.docker.compose.config-hash";

/// How often a health check's verdict is looked at.
const TICK: Duration = Duration::from_millis(100);

/// How long the start of a container by somebody else may take.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// A project that is to be brought up; see [`up`].
pub struct Up<'run> {
    engine: &'run Engine,
    project: &'run Project,
    build: bool,
    remove_orphans: bool,
    progress: Box<dyn FnMut(&ProjectEvent) + 'run>,
}

/// Brings `project` up: what is there already and as the file wants it stays as it is.
pub fn up<'run>(engine: &'run Engine, project: &'run Project) -> Up<'run> {
    Up { engine, project, build: false, remove_orphans: false, progress: Box::new(|_| ()) }
}

impl<'run> Up<'run> {
    /// Builds every image that has a `build`, not only those that are missing.
    #[must_use]
    pub fn build(mut self, on: bool) -> Up<'run> {
        self.build = on;
        self
    }

    /// Removes what belongs to no service of the file any more.
    #[must_use]
    pub fn remove_orphans(mut self, on: bool) -> Up<'run> {
        self.remove_orphans = on;
        self
    }

    /// Calls `progress` for everything that happens.
    #[must_use]
    pub fn on_event(mut self, progress: impl FnMut(&ProjectEvent) + 'run) -> Up<'run> {
        self.progress = Box::new(progress);
        self
    }

    /// Builds and pulls what is missing, makes volumes, then rolls the services out one after the other, each once all
    /// that it depends on is as far as it says.
    ///
    /// Images, health checks that are waited for and volumes of others are looked after before anything is changed.
    ///
    /// # Errors
    /// `NotFound` where an image or a volume of somebody else is missing; `CommandFailed` where a service fails, which is
    /// as its rollout left it then: an earlier revision is back, or it stays for somebody to look at. And what
    /// [`Engine::deploy`], [`Engine::build`] and [`ContainerBuilder::detach`](crate::ContainerBuilder::detach) report,
    /// with the service.
    pub fn run(mut self) -> Result<()> {
        let images = images::gather(self.engine, self.project, self.build, &mut *self.progress)?;
        self.check_health(&images)?;
        self.ensure_volumes()?;
        for service in &self.project.services {
            let image = images.get(&service.name).ok_or_else(|| Error::invalid("an image was lost"))?;
            let service = completed(service, image);
            self.service(&service, image).context(|| format!("service {}", service.name))?;
        }
        self.orphans()
    }

    /// Whoever waits for health needs a check to wait for.
    fn check_health(&self, images: &BTreeMap<String, Image>) -> Result<()> {
        for service in &self.project.services {
            let awaited = service.depends_on.iter().filter(|(_, condition)| **condition == Condition::Healthy);
            for dependency in awaited.filter_map(|(name, _)| self.project.service(name)) {
                let of_image = || {
                    let config = images.get(&dependency.name)?.config().config.as_ref()?;
                    config.healthcheck.as_ref()
                };
                let has_check = match dependency.health {
                    ServiceHealth::Own(_) => true,
                    ServiceHealth::Disabled => false,
                    ServiceHealth::Image => of_image().is_some(),
                };
                if !has_check {
                    let (name, other) = (&service.name, &dependency.name);
                    let message = format!("service {name}: waits for {other} to be healthy, which has no health check");
                    return Err(Error::invalid(message).hint(format!("give {other} a healthcheck")));
                }
            }
        }
        Ok(())
    }

    fn ensure_volumes(&mut self) -> Result<()> {
        let volumes = || self.project.volumes.iter();
        for (key, volume) in volumes().filter(|(_, volume)| volume.external) {
            if !self.engine.volume(&volume.name)?.exists()? {
                let message = format!("volume {key}: there is no volume {}, and it is external", volume.name);
                return Err(Error::new(ErrorKind::NotFound, message).hint("make it first"));
            }
        }
        for (key, volume) in volumes().filter(|(_, volume)| !volume.external) {
            let handle = self.engine.volume(&volume.name)?;
            if handle.exists()? {
                continue;
            }
            let labels = [(PROJECT_LABEL, self.project.name.as_str()), ("com.docker.compose.volume", key)];
            let handle = labels.iter().fold(handle, |handle, (key, value)| handle.label(*key, *value));
            volume.labels.iter().fold(handle, |handle, (key, value)| handle.label(key, value)).create()?;
            (self.progress)(&ProjectEvent::VolumeMade { volume: volume.name.clone() });
        }
        Ok(())
    }

    fn service(&mut self, service: &Service, image: &Image) -> Result<()> {
        for (dependency, condition) in &service.depends_on {
            self.wait_for(service, dependency, *condition)?;
        }
        if service.once { self.run_once(service, image) } else { self.deploy(service, image) }
    }

    /// A deployment that is complete is started and healthy; what runs once has to be looked at.
    fn wait_for(&mut self, service: &Service, dependency: &str, condition: Condition) -> Result<()> {
        let Some(other) = self.project.service(dependency).filter(|other| other.once) else { return Ok(()) };
        let container = self.engine.find_container(&other.full_name)?;
        let waiting =
            || ProjectEvent::Waiting { service: service.name.clone(), dependency: dependency.to_owned(), condition };
        match condition {
            Condition::Started => Ok(()),
            Condition::Completed => {
                if container.is_running()? {
                    (self.progress)(&waiting());
                }
                let exit = container.wait()?;
                if exit.status != ExitStatus::Exited(0) {
                    let message = format!("{dependency}, which has to complete first, {}", exit.status);
                    return Err(Error::new(ErrorKind::CommandFailed, message).hint("its log says why"));
                }
                (self.progress)(&ProjectEvent::Completed { service: dependency.to_owned() });
                Ok(())
            }
            Condition::Healthy => {
                (self.progress)(&waiting());
                wait_until_healthy(&container, dependency)
            }
        }
    }

    fn deploy(&mut self, service: &Service, image: &Image) -> Result<()> {
        self.refuse_foreign(service)?;
        // It may have been one that runs once.
        for name in [service.full_name.clone(), format!("{}-1", service.full_name)] {
            self.remove_container(&name)?;
        }
        let deployment = service.deployment(self.project, &exposed(image));
        let mut rollout = self.engine.deploy(deployment)?;
        let mut changed = false;
        let mut outcome = None;
        for event in &mut rollout {
            let event = event?;
            changed |= matches!(event, RolloutEvent::Accepted { .. } | RolloutEvent::Scaled { .. });
            outcome = event.outcome().or(outcome);
            (self.progress)(&ProjectEvent::Rollout { service: service.name.clone(), event });
        }
        match outcome {
            None | Some(Outcome::Complete(_)) if !changed => {
                (self.progress)(&ProjectEvent::Unchanged { service: service.name.clone() });
                Ok(())
            }
            None | Some(Outcome::Complete(_)) => Ok(()),
            // Its log went with the replicas: the outcome says what there is to say.
            Some(failed) => failed.complete().map(drop),
        }
    }

    fn run_once(&mut self, service: &Service, image: &Image) -> Result<()> {
        // It may have been one that was kept running.
        for name in [service.full_name.clone(), format!("{}-{}", self.project.name, service.name)] {
            if let Some(deployed) = self.deployed(&name)?
                && self.belongs(&deployed)?
            {
                deployed.remove()?;
                (self.progress)(&ProjectEvent::Removed { name });
            }
        }
        let wanted = self.configuration(service, image)?;
        if self.is_there(service, &wanted)? {
            (self.progress)(&ProjectEvent::Unchanged { service: service.name.clone() });
            return Ok(());
        }
        let container = service.describe(self.project, self.engine.container(image));
        container.label(CONFIGURATION_LABEL, wanted).detach()?;
        let (service, container) = (service.name.clone(), service.full_name.clone());
        (self.progress)(&ProjectEvent::Started { service, container });
        Ok(())
    }

    /// Whether the container of a service that runs once is there, as it is `wanted`, and has not failed. Any other of its
    /// name is removed.
    fn is_there(&mut self, service: &Service, wanted: &str) -> Result<bool> {
        let found = match self.engine.find_container(&service.full_name) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            found => found?,
        };
        if found.labels().get(PROJECT_LABEL) != Some(&self.project.name) {
            return Err(taken("container", &service.full_name));
        }
        let Some(state) = settled(&found)? else { return Ok(false) };
        let failed = matches!(state, ContainerState::Exited(exit) if exit.status != ExitStatus::Exited(0));
        if found.labels().get(CONFIGURATION_LABEL).is_some_and(|label| label == wanted) && !failed {
            return Ok(true);
        }
        self.stop_and_remove(&found)?;
        Ok(false)
    }

    /// What decides whether a container that runs once is what the file wants.
    fn configuration(&self, service: &Service, image: &Image) -> Result<String> {
        let deployment = service.deployment(self.project, &[]);
        let text = serde_json::to_string(&(deployment, image.digest()))
            .map_err(|error| Error::new(ErrorKind::Os, "write down the configuration").source_error(error))?;
        Ok(Digest::of(text.as_bytes()).to_string())
    }

    /// A deployment of that name that is not the project's is left alone.
    fn refuse_foreign(&self, service: &Service) -> Result<()> {
        match self.deployed(&service.full_name)? {
            Some(deployed) if !self.belongs(&deployed)? => Err(taken("deployment", &service.full_name)),
            _ => Ok(()),
        }
    }

    fn deployed(&self, name: &str) -> Result<Option<Deployed>> {
        match self.engine.deployment(name) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            found => found.map(Some),
        }
    }

    fn belongs(&self, deployed: &Deployed) -> Result<bool> {
        Ok(deployed.deployment()?.labels.get(PROJECT_LABEL) == Some(&self.project.name))
    }

    fn remove_container(&mut self, name: &str) -> Result<()> {
        match self.engine.find_container(name) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            found => {
                let found = found?;
                let own = found.labels().get(PROJECT_LABEL) == Some(&self.project.name);
                if own && found.replica_of().is_none() { self.stop_and_remove(&found) } else { Ok(()) }
            }
        }
    }

    fn stop_and_remove(&mut self, container: &Container) -> Result<()> {
        super::down::stop_and_remove(self.project, container)?;
        let name = container.name().map_or_else(String::new, ToString::to_string);
        (self.progress)(&ProjectEvent::Removed { name });
        Ok(())
    }

    fn orphans(mut self) -> Result<()> {
        let orphans = super::down::orphans(self.engine, self.project)?;
        for orphan in orphans {
            let name = orphan.name();
            if !self.remove_orphans {
                (self.progress)(&ProjectEvent::Orphan { name });
                continue;
            }
            orphan.remove(self.project)?;
            (self.progress)(&ProjectEvent::Removed { name });
        }
        Ok(())
    }
}

/// An entry point that is empty takes away the image's and leaves its command, where any other one takes that away too.
fn completed(service: &Service, image: &Image) -> Service {
    let mut service = service.clone();
    if service.entrypoint.as_ref().is_some_and(Vec::is_empty) && service.command.is_none() {
        service.command = image.config().config.as_ref().and_then(|config| config.cmd.clone());
    }
    service
}

/// The ports that an image exposes; what is no port there is of no use here.
fn exposed(image: &Image) -> Vec<Port> {
    let config = image.config().config.as_ref();
    let ports = config.and_then(|config| config.exposed_ports.as_ref());
    ports.map(|ports| ports.keys().filter_map(|port| port.parse().ok()).collect()).unwrap_or_default()
}

/// What a container is doing, once a start that a killed host has left under way has come to something; `None` where that
/// was nothing.
fn settled(container: &Container) -> Result<Option<ContainerState>> {
    let begin = Instant::now();
    loop {
        match container.state() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == ErrorKind::InUse && begin.elapsed() < START_PATIENCE => {
                std::thread::sleep(TICK);
            }
            state => return state.map(Some),
        }
    }
}

fn wait_until_healthy(container: &Container, name: &str) -> Result<()> {
    loop {
        let failed = |what: String| {
            Err(Error::new(ErrorKind::CommandFailed, format!("{name}, which has to be healthy first, {what}")))
        };
        if let ContainerState::Exited(exit) = container.state()? {
            return failed(exit.status.to_string());
        }
        match container.health()?.state {
            HealthState::Healthy => return Ok(()),
            HealthState::Unhealthy => return failed("is unhealthy".to_owned()),
            _ => std::thread::sleep(TICK),
        }
    }
}

fn taken(kind: &str, name: &str) -> Error {
    Error::new(ErrorKind::AlreadyExists, format!("there is a {kind} {name} that is not this project's"))
        .hint("remove it, or give the project another name")
}

/// The service that a container of the project belongs to.
pub(super) fn service_of(container: &Container) -> Option<&str> {
    container.labels().get(SERVICE_LABEL).map(String::as_str)
}
