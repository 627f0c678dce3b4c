//! The images of a project: found, built or brought.

use super::event::ProjectEvent;
use super::project::Project;
use super::service::{Service, ServiceBuild};
use crate::build::Image;
use crate::engine::Engine;
use crate::error::Context;
use crate::{Error, ErrorKind, Result};
use std::collections::BTreeMap;

/// Every service's image, built or brought where it is missing; with `build`, built wherever there is a build.
pub(super) fn gather(
    engine: &Engine,
    project: &Project,
    build: bool,
    progress: &mut dyn FnMut(&ProjectEvent),
) -> Result<BTreeMap<String, Image>> {
    let mut images = BTreeMap::new();
    for service in &project.services {
        let image = image(engine, service, build, progress).context(|| format!("service {}", service.name))?;
        images.insert(service.name.clone(), image);
    }
    Ok(images)
}

fn image(engine: &Engine, service: &Service, build: bool, progress: &mut dyn FnMut(&ProjectEvent)) -> Result<Image> {
    let name = engine.image(&service.image)?;
    if !(build && service.build.is_some()) {
        match name.get() {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            found => return found,
        }
    }
    match &service.build {
        Some(how) => run_build(engine, service, how, progress),
        None => pull(engine, service, progress),
    }
}

fn run_build(
    engine: &Engine,
    service: &Service,
    how: &ServiceBuild,
    progress: &mut dyn FnMut(&ProjectEvent),
) -> Result<Image> {
    let mut build = engine.build(&how.context).tag(&service.image);
    if let Some(dockerfile) = &how.dockerfile {
        build = build.dockerfile(dockerfile);
    }
    if let Some(target) = &how.target {
        build = build.target(target);
    }
    for (name, value) in &how.arguments {
        build = build.build_arg(name, value);
    }
    let event = |event: &crate::build::BuildEvent| {
        progress(&ProjectEvent::Build { service: service.name.clone(), event: event.clone() });
    };
    build.on_progress(event).run()
}

#[cfg(feature = "registry")]
fn pull(engine: &Engine, service: &Service, progress: &mut dyn FnMut(&ProjectEvent)) -> Result<Image> {
    let name = engine.image(&service.image)?;
    if name.reference().registry().is_none() {
        return Err(missing(service));
    }
    progress(&ProjectEvent::Pulling { service: service.name.clone(), image: service.image.clone() });
    name.pull()
}

#[cfg(not(feature = "registry"))]
fn pull(_: &Engine, service: &Service, _: &mut dyn FnMut(&ProjectEvent)) -> Result<Image> {
    Err(missing(service))
}

fn missing(service: &Service) -> Error {
    Error::new(ErrorKind::NotFound, format!("image {} is not in the store", service.image))
        .hint("build or pull it first, give the service a build, or name the image's registry: registry/repository:tag")
}
