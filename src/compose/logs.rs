//! The logs of a project as one.

use super::lower::PROJECT_LABEL;
use super::project::Project;
use super::up::service_of;
use crate::Result;
use crate::container::{Container, LogLine, MergedLine, MergedLogs};
use crate::engine::Engine;
use crate::value::ContainerId;
use std::collections::HashMap;
use std::fmt;

/// The lines of a project's containers, oldest first; see [`logs`].
pub struct ProjectLogs {
    engine: Engine,
    lines: MergedLogs,
    writers: HashMap<ContainerId, (String, u32)>,
}

/// A line that a container of a project has written. Its display is `SERVICE-N | line`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProjectLine {
    /// The service.
    pub service: String,
    /// Which of its replicas, from 1.
    pub replica: u32,
    /// What it wrote.
    pub line: LogLine,
}

/// What the containers of the services named have written, of all services where none is named.
pub fn logs<'a>(engine: &Engine, project: &Project, services: impl IntoIterator<Item = &'a str>) -> ProjectLogs {
    let project = project.name.clone();
    let services: Vec<String> = services.into_iter().map(str::to_owned).collect();
    let wanted = move |container: &Container| {
        let service = service_of(container);
        container.labels().get(PROJECT_LABEL) == Some(&project)
            && (services.is_empty() || services.iter().any(|name| Some(name.as_str()) == service))
    };
    ProjectLogs { engine: engine.clone(), lines: engine.logs_where(wanted), writers: HashMap::new() }
}

impl ProjectLogs {
    /// At the end waits for more, also of containers that are started later.
    #[must_use]
    pub fn follow(mut self) -> ProjectLogs {
        self.lines = self.lines.follow();
        self
    }

    fn named(&mut self, line: MergedLine) -> ProjectLine {
        let MergedLine { container, name, line, .. } = line;
        let engine = &self.engine;
        let (service, replica) = self.writers.entry(container).or_insert_with_key(|id| {
            let writer = engine.find_container(id.as_str()).ok();
            let service = writer.as_ref().and_then(service_of).map(str::to_owned);
            let place = writer.as_ref().and_then(|writer| writer.replica_of()).map_or(0, |of| of.place);
            let fallback = || name.map_or_else(|| id.to_string(), |name| name.to_string());
            (service.unwrap_or_else(fallback), place + 1)
        });
        ProjectLine { service: service.clone(), replica: *replica, line }
    }
}

impl Iterator for ProjectLogs {
    type Item = Result<ProjectLine>;

    fn next(&mut self) -> Option<Result<ProjectLine>> {
        let line = self.lines.next()?;
        Some(line.map(|line| self.named(line)))
    }
}

impl fmt::Debug for ProjectLogs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProjectLogs").finish_non_exhaustive()
    }
}

impl fmt::Display for ProjectLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{} | {}", self.service, self.replica, self.line)
    }
}
