//! What of a project runs.

use super::down::{Part, parts};
use super::project::Project;
use crate::container::{ContainerState, HealthState};
use crate::engine::Engine;
use crate::network::PublishedPort;
use crate::{ErrorKind, Result};
use std::fmt;

/// The replicas of a project's services, in the order of the services; its display is a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Processes(Vec<ServiceProcess>);

/// One replica of a service, or the container of one that runs once.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ServiceProcess {
    /// The service.
    pub service: String,
    /// The name of the container.
    pub container: String,
    /// What it is doing.
    pub state: ContainerState,
    /// What its health check says.
    pub health: HealthState,
    /// The ports of the host that lead to the service.
    pub ports: Vec<PublishedPort>,
}

/// What of `project` there is in the engine, ended containers too.
///
/// # Errors
/// What reading the root reports.
pub fn ps(engine: &Engine, project: &Project) -> Result<Processes> {
    let parts = parts(engine, project)?;
    let mut processes = Vec::new();
    for service in &project.services {
        for part in parts.iter().filter(|part| part.service() == Some(&service.name)) {
            match of_part(&service.name, part) {
                // Removed since the list was read, or being started.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InUse) => {}
                found => processes.extend(found?),
            }
        }
    }
    Ok(Processes(processes))
}

fn of_part(service: &str, part: &Part) -> Result<Vec<ServiceProcess>> {
    let service = service.to_owned();
    match part {
        Part::Deployment(deployed, _) => {
            let status = deployed.status()?;
            let ports = status.published;
            let one = |replica: crate::deploy::ReplicaStatus| ServiceProcess {
                service: service.clone(),
                container: replica.name,
                state: replica.state,
                health: replica.health,
                ports: ports.clone(),
            };
            Ok(status.replicas.into_iter().map(one).collect())
        }
        Part::Container(container) => Ok(vec![ServiceProcess {
            service,
            container: part.name(),
            state: container.state()?,
            health: container.health().map_or(HealthState::Unchecked, |report| report.state),
            ports: container.ports(),
        }]),
    }
}

impl Processes {
    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = &ServiceProcess> {
        self.0.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl IntoIterator for Processes {
    type Item = ServiceProcess;
    type IntoIter = std::vec::IntoIter<ServiceProcess>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// A table with a heading: service, replica, state, health, ports.
impl fmt::Display for Processes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heading = ["SERVICE", "REPLICA", "STATE", "HEALTH", "PORTS"].map(str::to_owned);
        let rows: Vec<[String; 5]> = std::iter::once(heading).chain(self.0.iter().map(row)).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..4).map(width).collect();
        for row in &rows {
            let line: String = widths
                .iter()
                .zip(row)
                .map(|(width, cell)| format!("{cell:<width$}  "))
                .chain([row[4].clone()])
                .collect();
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

fn row(process: &ServiceProcess) -> [String; 5] {
    let state = match &process.state {
        ContainerState::Running(_) => "running".to_owned(),
        ContainerState::Restarting { .. } => "restarting".to_owned(),
        ContainerState::Exited(exit) => exit.status.to_string(),
    };
    let health = match process.health {
        HealthState::Unchecked => "-",
        HealthState::Starting => "starting",
        HealthState::Healthy => "healthy",
        HealthState::Unhealthy => "unhealthy",
    };
    let ports: Vec<String> = process.ports.iter().map(ToString::to_string).collect();
    [process.service.clone(), process.container.clone(), state, health.to_owned(), ports.join(" ")]
}
