//! The verbs that print.

use crate::Session;
use crate::arguments::Arguments;
use crate::verbs::container;
use coracle::runtime::{self, Event, State, parse_duration, spec};
use coracle::{Error, Result};
use serde::Serialize;
use std::io::Write;
use std::path::Path;
use std::process::Command;

pub(crate) fn state(session: &Session, arguments: &Arguments) -> Result<()> {
    print(&pretty(&container(session, arguments)?.state()?, "  ")?)
}

pub(crate) fn features() -> Result<()> {
    print(&pretty(&runtime::features(), "    ")?)
}

pub(crate) fn list(session: &Session, arguments: &Arguments) -> Result<()> {
    let containers = session.runtime.list()?;
    if arguments.on("quiet") {
        let ids: Vec<&str> = containers.iter().map(|container| container.id()).collect();
        return if ids.is_empty() { Ok(()) } else { print(&ids.join("\n")) };
    }
    let mut states = Vec::new();
    for container in containers {
        match container.state() {
            Ok(state) => states.push(state),
            Err(error) => session.log.error(&format!("load container {}: {error}", container.id())),
        }
    }
    if is_json(arguments)? { print(&json(&states)?) } else { print(&table(&states)) }
}

/// In columns as wide as Go's tabwriter makes them for runc.
fn table(states: &[State]) -> String {
    let head = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let row = |state: &State| {
        let bundle = state.bundle.display().to_string();
        let (pid, status, created) = (state.pid.to_string(), state.status.to_string(), state.created.to_string());
        [state.id.clone(), pid, status, bundle, created, state.owner.clone()]
    };
    let rows: Vec<[String; 6]> = std::iter::once(head).chain(states.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len() + 3).max().unwrap_or(0).max(12);
    let widths: [usize; 5] = std::array::from_fn(width);
    let line = |row: &[String; 6]| {
        let padded = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<String>() + &row[5]
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The lines of ps(1) about the container's processes.
pub(crate) fn processes(session: &Session, arguments: &Arguments) -> Result<()> {
    let processes = container(session, arguments)?.processes()?;
    if is_json(arguments)? {
        return print(&json(&processes)?);
    }
    let options = match &arguments.positions[1..] {
        [] => &["-ef".to_owned()],
        options => options,
    };
    let output = Command::new("ps").args(options).output();
    let output = output.map_err(|error| Error::invalid("run ps").source_error(error))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::invalid(format!("ps: {}: {text}{said}", output.status)));
    }
    let mut lines = text.lines();
    let head = lines.next().unwrap_or_default();
    let column = head.split_whitespace().position(|title| title == "PID");
    let column = column.ok_or_else(|| Error::invalid("couldn't find PID field in ps output"))?;
    let listed = |line: &&str| {
        let pid = line.split_whitespace().nth(column).and_then(|pid| pid.parse().ok());
        pid.is_some_and(|pid| processes.contains(&pid))
    };
    print(&std::iter::once(head).chain(lines.filter(listed)).collect::<Vec<_>>().join("\n"))
}

/// Prints events, one JSON object a line, until the container ends.
pub(crate) fn events(session: &Session, arguments: &Arguments) -> Result<()> {
    let container = container(session, arguments)?;
    if arguments.on("stats") {
        return print(&json(&Event::stats(container.id(), container.stats()?))?);
    }
    let interval = parse_duration(arguments.text("interval").unwrap_or("5s"))?;
    for event in container.events(interval)? {
        match event {
            Ok(event) => print(&json(&event)?)?,
            Err(error) => session.log.error(&error.to_string()),
        }
    }
    Ok(())
}

/// Writes a configuration to begin with.
pub(crate) fn spec(arguments: &Arguments) -> Result<()> {
    let path =
        Path::new(arguments.text("bundle").filter(|bundle| !bundle.is_empty()).unwrap_or(".")).join("config.json");
    let document = if arguments.on("rootless") { spec::rootless() } else { spec::default() };
    let text = pretty(&document, "\t")?;
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Error::invalid("File config.json exists. Remove it first"),
        _ => Error::invalid(format!("write {}", path.display())).source_error(error),
    };
    let mut file = std::fs::File::create_new(&path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

fn is_json(arguments: &Arguments) -> Result<bool> {
    match arguments.text("format") {
        None | Some("" | "table") => Ok(false),
        Some("json") => Ok(true),
        Some(_) => Err(Error::invalid("invalid format option")),
    }
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::invalid("write JSON").source_error(error))
}

fn pretty(value: &impl Serialize, indent: &str) -> Result<String> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    value.serialize(&mut serializer).map_err(|error| Error::invalid("write JSON").source_error(error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A reader that has gone away is an error, not a panic.
fn print(text: &str) -> Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{text}").map_err(|error| Error::invalid("write to the standard output").source_error(error))
}
