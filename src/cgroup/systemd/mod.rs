//! Groups that systemd makes: transient scopes, over the D-Bus of the machine or of the user.
//!
//! On a machine whose groups systemd manages, another program that makes groups beside it would be in its way
//! (systemd's "Control Group APIs and Delegation"): it is asked for a scope that is delegated to us.

mod bus;
mod property;
mod wire;

pub use bus::SystemdBus;

use super::group::Cgroup;
use super::make::{self, adopt};
use super::path::CgroupsPath;
use super::resources::Resources;
use super::{Policy, Unenforced};
use crate::{Error, ErrorKind, Result};
use bus::Bus;
use property::{of_resources, parse_property};
use serde::{Deserialize, Serialize};
use std::path::Path;
use wire::{Call, Encoder, Message, Value};

const SERVICE: &str = "org.freedesktop.systemd1";
const ROOT: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// A scope to be made: `linux.cgroupsPath` in the form `slice:prefix:name`, which runc has established.
#[derive(Debug, Clone, PartialEq)]
pub struct ScopeUnit {
    slice: String,
    unit: String,
    description: String,
    properties: Vec<(String, Value)>,
}

/// A scope that has been made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Scope {
    unit: String,
    bus: SystemdBus,
}

impl ScopeUnit {
    /// `slice:prefix:name`; without a slice `default_slice` (`system.slice` for root, `user.slice` for others). The unit
    /// is `prefix-name.scope`, or `name.scope` without a prefix.
    ///
    /// # Errors
    /// `InvalidInput`: not three parts, or what systemd would not take as the name of a unit.
    pub fn parse(path: &str, default_slice: &str) -> Result<ScopeUnit> {
        let wrong = |what: String| {
            Error::invalid(format!("linux.cgroupsPath {path:?}: {what}"))
                .hint("with systemd it is SLICE:PREFIX:NAME, such as system.slice:runc:web-1")
        };
        let parts: Vec<&str> = path.split(':').collect();
        let [slice, prefix, name] = parts[..] else { return Err(wrong("it has not three parts".to_owned())) };
        let slice = if slice.is_empty() { default_slice } else { slice };
        if !is_slice(slice) {
            return Err(wrong(format!("{slice:?} is no name of a slice")));
        }
        let unit = if prefix.is_empty() { format!("{name}.scope") } else { format!("{prefix}-{name}.scope") };
        if name.is_empty() || !is_unit(&unit) {
            return Err(wrong(format!("{unit:?} is no name of a unit")));
        }
        let description = format!("container {name}");
        Ok(ScopeUnit { slice: slice.to_owned(), unit, description, properties: Vec::new() })
    }

    /// What `systemctl status` shows.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> ScopeUnit {
        self.description = description.into();
        self
    }

    /// A property of the unit, as the annotation `org.systemd.property.<name>` has it: `true`, `'text'`, `uint64 5`,
    /// `['a', 'b']`, a number; a name that ends in `Sec` may have seconds, which become microseconds.
    ///
    /// # Errors
    /// `InvalidInput`: no such value, or one that the runtime decides itself.
    pub fn property(mut self, name: &str, value: &str) -> Result<ScopeUnit> {
        self.properties.push(parse_property(name, value)?);
        Ok(self)
    }

    /// The name of the unit.
    pub fn unit(&self) -> &str {
        &self.unit
    }
}

impl Cgroup {
    /// Has systemd make a scope with the process `pid` in it, delegated to us, and writes the resources: also into the
    /// hierarchies that systemd leaves alone, which the process joins too.
    ///
    /// # Errors
    /// `NotFound`, `Unavailable`: there is no bus, or no systemd on it. `AlreadyExists`: there is such a unit.
    /// `TimedOut`: systemd did not make it within 30 s. As [`at`](Cgroup::at) otherwise.
    pub fn in_scope(
        scope: &ScopeUnit,
        bus: &SystemdBus,
        pid: i32,
        resources: &Resources,
        policy: Policy,
    ) -> Result<(Cgroup, Vec<Unenforced>)> {
        let (group, unenforced) = Cgroup::around(scope, bus, pid, resources, policy)?;
        match group.attach(pid) {
            Ok(()) => Ok((group, unenforced)),
            Err(error) => {
                // The reason why it failed is reported; nothing better could be done about a second one.
                let _ = group.remove();
                Err(error)
            }
        }
    }

    /// As [`in_scope`](Cgroup::in_scope), with the process in systemd's hierarchies alone: for one that only holds the
    /// scope until another joins.
    pub(crate) fn around(
        scope: &ScopeUnit,
        bus: &SystemdBus,
        pid: i32,
        resources: &Resources,
        policy: Policy,
    ) -> Result<(Cgroup, Vec<Unenforced>)> {
        let Some(process) = u32::try_from(pid).ok().filter(|&process| process > 0) else {
            return Err(Error::invalid(format!("process id {pid} is not positive")));
        };
        let step = |error: Error| error.context(format!("create scope {}", scope.unit));
        let path = start(&mut bus.connect().map_err(step)?, scope, process, resources).map_err(step)?;
        let made = Scope { unit: scope.unit.clone(), bus: bus.clone() };
        let adopted = adopt(&path, made.clone(), resources, policy);
        if adopted.is_err() {
            // The reason why it failed is reported; nothing better could be done about a second one.
            let _ = made.stop();
        }
        adopted
    }
}

/// Starts the unit, waits for it, and asks where it is.
fn start(bus: &mut Bus, scope: &ScopeUnit, process: u32, resources: &Resources) -> Result<CgroupsPath> {
    manager(bus, "Subscribe", "", Encoder::default())?;
    bus.call(watch_jobs())?;
    let mut body = Encoder::default();
    body.text(&scope.unit);
    body.text("replace");
    body.properties(&properties(scope, process, resources));
    // No units beside it: a(sa(sv)).
    body.array(8, |_| {});
    let started = manager(bus, "StartTransientUnit", "ssa(sv)a(sa(sv))", body)?;
    let job = started.arguments().text().ok_or_else(nonsense)?;
    let result = bus.signal(|signal| job_removed(signal, &job))?;
    if result != "done" {
        return Err(Error::new(ErrorKind::Os, format!("the job of systemd ended with {result:?}"))
            .hint("journalctl -b says why"));
    }
    control_group(bus, &scope.unit)
}

fn properties(scope: &ScopeUnit, process: u32, resources: &Resources) -> Vec<(String, Value)> {
    let text = |value: &str| Value::Text(value.to_owned());
    let mut properties: Vec<(String, Value)> = [
        ("Description", text(&scope.description)),
        ("Slice", text(&scope.slice)),
        ("Delegate", Value::Bool(true)),
        ("PIDs", Value::Numbers(vec![process])),
        ("MemoryAccounting", Value::Bool(true)),
        ("CPUAccounting", Value::Bool(true)),
        ("TasksAccounting", Value::Bool(true)),
        ("IOAccounting", Value::Bool(true)),
        ("DefaultDependencies", Value::Bool(false)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    properties.extend(of_resources(resources, make::memory_is_unified()));
    properties.extend(scope.properties.iter().cloned());
    properties
}

fn manager(bus: &mut Bus, member: &str, signature: &str, body: Encoder) -> Result<Message> {
    let body = body.into_bytes();
    bus.call(Call { destination: SERVICE, path: ROOT, interface: MANAGER, member, signature, body })
}

fn watch_jobs() -> Call<'static> {
    let mut body = Encoder::default();
    body.text("type='signal',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'");
    Call {
        destination: "org.freedesktop.DBus",
        path: "/org/freedesktop/DBus",
        interface: "org.freedesktop.DBus",
        member: "AddMatch",
        signature: "s",
        body: body.into_bytes(),
    }
}

/// `JobRemoved(u id, o job, s unit, s result)`.
fn job_removed(signal: &Message, job: &str) -> Option<String> {
    if signal.member != "JobRemoved" || signal.interface != MANAGER || signal.signature != "uoss" {
        return None;
    }
    let mut arguments = signal.arguments();
    arguments.u32()?;
    let removed = arguments.text()?;
    arguments.text()?;
    arguments.text().filter(|_| removed == job)
}

/// Where systemd has put the unit, which it alone knows: slices nest by the dashes in their names.
fn control_group(bus: &mut Bus, unit: &str) -> Result<CgroupsPath> {
    let mut body = Encoder::default();
    body.text(unit);
    let path = manager(bus, "GetUnit", "s", body)?.arguments().text().ok_or_else(nonsense)?;
    let mut body = Encoder::default();
    body.text("org.freedesktop.systemd1.Scope");
    body.text("ControlGroup");
    let answer = bus.call(Call {
        destination: SERVICE,
        path: &path,
        interface: "org.freedesktop.DBus.Properties",
        member: "Get",
        signature: "ss",
        body: body.into_bytes(),
    })?;
    let mut arguments = answer.arguments();
    let group = match arguments.signature().as_deref() {
        Some("s") => arguments.text().ok_or_else(nonsense)?,
        _ => return Err(nonsense()),
    };
    CgroupsPath::parse(Path::new(&group)).map_err(|error| error.context(format!("the control group of {unit}")))
}

fn nonsense() -> Error {
    Error::new(ErrorKind::Corrupt, "systemd's answer is not what it has documented")
}

impl Scope {
    /// Tells systemd of changed resources, so that it does not write back the old ones.
    pub(super) fn change(&self, resources: &Resources) -> Result<()> {
        let properties = of_resources(resources, make::memory_is_unified());
        if properties.is_empty() {
            return Ok(());
        }
        let step = |error: Error| error.context(format!("change scope {}", self.unit));
        let mut body = Encoder::default();
        body.text(&self.unit);
        body.bool(true);
        body.properties(&properties);
        let mut bus = self.bus.connect().map_err(step)?;
        manager(&mut bus, "SetUnitProperties", "sba(sv)", body).map(drop).map_err(step)
    }

    /// Has systemd end the unit; one that is gone is no error.
    pub(super) fn stop(&self) -> Result<()> {
        let mut bus = self.bus.connect()?;
        for (member, signature, mode) in [("StopUnit", "ss", Some("replace")), ("ResetFailedUnit", "s", None)] {
            let mut body = Encoder::default();
            body.text(&self.unit);
            if let Some(mode) = mode {
                body.text(mode);
            }
            match manager(&mut bus, member, signature, body) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error.context(format!("stop scope {}", self.unit)));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// systemd.slice(5): dashes nest, so none may stand at an end or beside another.
fn is_slice(name: &str) -> bool {
    let Some(stem) = name.strip_suffix(".slice") else { return false };
    stem == "-" || (is_unit(name) && !stem.is_empty() && stem.split('-').all(|part| !part.is_empty()))
}

/// systemd.unit(5): up to 255 characters, letters, digits, and `:-_.\`.
fn is_unit(name: &str) -> bool {
    name.len() <= 255 && name.chars().all(|c| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c))
}

/// Any bytes are read as a message or refused; for the fuzz target.
#[cfg(fuzzing)]
pub(crate) fn read_as_everything(data: &[u8]) {
    if let Some(message) = Message::parse(data) {
        let _ = job_removed(&message, "/org/freedesktop/systemd1/job/1");
        let mut arguments = message.arguments();
        while arguments.text().is_some() {}
        assert!(data.len() <= wire::LONGEST && message.path.len() < data.len());
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = ScopeUnit::parse(text, "system.slice");
        if let Some((name, value)) = text.split_once('=') {
            let _ = parse_property(name, value);
        }
    }
}

#[cfg(test)]
mod tests;
