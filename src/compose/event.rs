//! What happens while a project comes up or goes down.

use super::service::Condition;
use crate::build::BuildEvent;
use crate::deploy::RolloutEvent;
use std::fmt;

/// A piece of news of [`up`](super::up) and [`down`](super::down); its display is one line for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProjectEvent {
    /// News of the build of a service's image.
    Build {
        /// The service.
        service: String,
        /// What happens.
        event: BuildEvent,
    },
    /// A service's image is brought from its registry.
    Pulling {
        /// The service.
        service: String,
        /// The reference.
        image: String,
    },
    /// A volume was made.
    VolumeMade {
        /// Its name in the engine.
        volume: String,
    },
    /// News of the rollout of a service.
    Rollout {
        /// The service.
        service: String,
        /// What happens.
        event: RolloutEvent,
    },
    /// A service is as the file wants it already.
    Unchanged {
        /// The service.
        service: String,
    },
    /// A service that runs once was started.
    Started {
        /// The service.
        service: String,
        /// The name of its container.
        container: String,
    },
    /// A service waits for another one.
    Waiting {
        /// The service.
        service: String,
        /// The other one.
        dependency: String,
        /// For what.
        condition: Condition,
    },
    /// A service that runs once has ended with status 0.
    Completed {
        /// The service.
        service: String,
    },
    /// Something of the project's belongs to no service of the file any more; it is left alone.
    Orphan {
        /// The name of the deployment or container.
        name: String,
    },
    /// A deployment, container or volume was removed.
    Removed {
        /// Its name.
        name: String,
    },
}

impl fmt::Display for ProjectEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProjectEvent::Build { service, event } => write!(f, "{service}: build: {event}"),
            ProjectEvent::Pulling { service, image } => write!(f, "{service}: pull {image}"),
            ProjectEvent::VolumeMade { volume } => write!(f, "volume {volume} made"),
            ProjectEvent::Rollout { service, event } => write!(f, "{service}: {event}"),
            ProjectEvent::Unchanged { service } => write!(f, "{service}: unchanged"),
            ProjectEvent::Started { service, container } => write!(f, "{service}: {container} started"),
            ProjectEvent::Waiting { service, dependency, condition } => {
                let state = match condition {
                    Condition::Started => "has started",
                    Condition::Healthy => "is healthy",
                    Condition::Completed => "has completed",
                };
                write!(f, "{service}: waits until {dependency} {state}")
            }
            ProjectEvent::Completed { service } => write!(f, "{service}: completed"),
            ProjectEvent::Orphan { name } => write!(f, "{name} belongs to no service of the file; it is left alone"),
            ProjectEvent::Removed { name } => write!(f, "{name} removed"),
        }
    }
}
