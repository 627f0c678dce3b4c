//! Compose files: whole applications of several services, brought up, shown and taken down.
//!
//! The everyday part of the Compose specification is read, and strictly: whatever is not carried out is an error that
//! names file, line, service and key, and all errors are reported at once. [`manual::compose`](crate::manual::compose)
//! lists every key.
//!
//! ```no_run
//! use coracle::{Engine, compose};
//!
//! let engine = Engine::open("/var/lib/coracle")?;
//! let project = compose::Project::load("./shop")?;
//! compose::up(&engine, &project).on_event(|event| println!("{event}")).run()?;
//! println!("{}", compose::ps(&engine, &project)?);
//! for line in compose::logs(&engine, &project, ["web"]) {
//!     println!("{}", line?);
//! }
//! compose::down(&engine, &project).volumes(true).run()?;
//! # Ok::<(), coracle::Error>(())
//! ```
//!
//! A service becomes a [`Deployment`](crate::Deployment): replaced without a gap, rolled back where the file says so,
//! found by the others of its networks under its plain name. One with `restart: "no"`, or whose end another one waits for,
//! becomes a container that runs once.

mod cursor;
mod dotenv;
mod down;
mod event;
mod images;
mod interpolate;
mod logs;
mod lower;
mod mount;
mod order;
mod policy;
mod port;
mod project;
mod ps;
mod reading;
mod service;
#[cfg(test)]
mod tests;
mod up;
mod words;
mod yaml;

pub use down::{Down, down};
pub use event::ProjectEvent;
pub use logs::{ProjectLine, ProjectLogs, logs};
pub use project::{Project, ProjectVolume};
pub use ps::{Processes, ServiceProcess, ps};
pub use service::{Condition, Service, ServiceBuild, ServiceHealth, ServiceMount};
pub use up::{Up, up};

/// Compose files, split words and environment files: any text is read or refused, within the budgets.
#[cfg(fuzzing)]
pub(crate) fn fuzz(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let environment = [("SET", "value"), ("EMPTY", "")].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    match project::read(text, std::path::Path::new("/nonexistent"), &environment) {
        Ok(project) => {
            for service in project.services() {
                assert!(service.depends_on.keys().all(|name| project.service(name).is_some()));
                let deployment = service.deployment(&project, &[]);
                assert!(deployment.name().parse::<crate::Name>().is_ok());
            }
        }
        Err(problems) => assert!(problems.iter().all(|problem| problem.line > 0)),
    }
}

/// Variables in a value, an environment file, a command: any text is read or refused, within the budgets.
#[cfg(fuzzing)]
pub(crate) fn fuzz_text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let lookup = |name: &str| (name.len() % 2 == 0).then(|| "$value".to_owned());
    if let Ok(replaced) = interpolate::interpolate(text, &lookup) {
        assert!(replaced.len() <= (1 << 20) + text.len());
    }
    let _ = words::split(text);
    if let Ok(variables) = dotenv::parse(text, &lookup) {
        assert!(variables.keys().all(|name| !name.is_empty() && !name.contains(['=', '\0'])));
    }
}
