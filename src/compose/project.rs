//! A Compose file, read as a whole.

use super::cursor::{Cursor, Fields};
use super::interpolate::interpolate;
use super::reading::{Mention, Mentioned, Surroundings, label_map, service};
use super::service::{Condition, Service};
use super::yaml::{self, Node, Problem, Value};
use super::{dotenv, order};
use crate::container::{Restart, RestartCondition};
use crate::error::During;
use crate::value::Name;
use crate::{Error, ErrorKind, Result};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The names under which a Compose file is found in a directory, the preferred one first.
const FILE_NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];

/// The most services of a project.
const MOST_SERVICES: usize = 500;

/// The most problems that one error names.
const MOST_PROBLEMS: usize = 50;

/// How many bytes the values of a file may have with their variables replaced.
const MOST_REPLACED: usize = 16 << 20;

/// The longest name of a deployment: there is room for a revision and a place in its containers' names.
const LONGEST_NAME: usize = 40;

/// A Compose file with its variables replaced, checked as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Project {
    pub(super) name: String,
    pub(super) directory: PathBuf,
    /// Each one after all that it depends on.
    pub(super) services: Vec<Service>,
    /// Names by key.
    pub(super) networks: BTreeMap<String, String>,
    pub(super) volumes: BTreeMap<String, ProjectVolume>,
}

/// A volume of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProjectVolume {
    /// Its name in the engine.
    pub name: String,
    /// Whether it belongs to somebody else: it has to be there, and is never removed.
    pub external: bool,
    /// Labels for a new one.
    pub labels: BTreeMap<String, String>,
}

impl Project {
    /// Reads the file at `path`; in a directory, the first of `compose.yaml`, `compose.yml`, `docker-compose.yaml` and
    /// `docker-compose.yml`. Variables come from this process's environment, then from the file `.env` beside it.
    ///
    /// # Errors
    /// `NotFound` where there is no file; `InvalidInput` with everything that is wrong, each with file, line, service and
    /// key.
    pub fn load(path: impl AsRef<Path>) -> Result<Project> {
        let path = find(path.as_ref())?;
        let absolute = std::path::absolute(&path).during(|| format!("find {}", path.display()))?;
        let directory = absolute.parent().unwrap_or(Path::new("/"));
        let text = read_text(&path, 2 << 20)?;
        let mut environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let beside = directory.join(".env");
        if beside.is_file() {
            let lookup = |name: &str| environment.get(name).cloned();
            let more =
                dotenv::parse(&read_text(&beside, dotenv::MOST_BYTES as u64)?, &lookup).map_err(|malformed| {
                    Error::invalid(format!("{}:{}: {}", beside.display(), malformed.line, malformed.message))
                })?;
            for (name, value) in more {
                environment.entry(name).or_insert(value);
            }
        }
        read(&text, directory, &environment).map_err(|problems| error_of(&path.display().to_string(), problems))
    }

    /// Reads a file's text; paths in it are relative to `directory`, and variables come from
    /// `environment` alone.
    ///
    /// # Errors
    /// As [`load`](Self::load); the file is called `compose.yaml`.
    pub fn parse(text: &str, directory: impl AsRef<Path>, environment: &BTreeMap<String, String>) -> Result<Project> {
        let directory = directory.as_ref();
        let directory = std::path::absolute(directory).during(|| format!("find {}", directory.display()))?;
        read(text, &directory, environment).map_err(|problems| error_of(FILE_NAMES[0], problems))
    }

    /// Its name: `COMPOSE_PROJECT_NAME`, else the file's `name`, else that of its directory.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its relative paths begin.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its services, each one after all that it depends on.
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// The service of this name.
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name == name)
    }

    /// Its networks: names in the engine by key.
    pub fn networks(&self) -> &BTreeMap<String, String> {
        &self.networks
    }

    /// Its volumes by key.
    pub fn volumes(&self) -> &BTreeMap<String, ProjectVolume> {
        &self.volumes
    }
}

/// Reads a text file within a budget; a pipe that nobody writes to is not waited for.
pub(super) fn read_text(path: &Path, most: u64) -> Result<String> {
    let operation = || format!("read {}", path.display());
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).during(operation)?;
    if !file.metadata().during(operation)?.is_file() {
        return Err(Error::invalid(format!("{} is not a file", path.display())));
    }
    let mut text = String::new();
    file.take(most + 1).read_to_string(&mut text).during(operation)?;
    match text.len() as u64 > most {
        true => Err(Error::new(ErrorKind::LimitExceeded, format!("{} is larger than {most} bytes", path.display()))),
        false => Ok(text),
    }
}

fn find(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    FILE_NAMES.iter().map(|name| path.join(name)).find(|path| path.is_file()).ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("{} holds no {}", path.display(), FILE_NAMES.join(", ")))
    })
}

fn error_of(file: &str, mut problems: Vec<Problem>) -> Error {
    problems.sort();
    problems.dedup();
    let more = problems.len().saturating_sub(MOST_PROBLEMS);
    let mut lines: Vec<String> = problems
        .iter()
        .take(MOST_PROBLEMS)
        .map(|problem| format!("{file}:{}: {}", problem.line, problem.message))
        .collect();
    if more > 0 {
        lines.push(format!("and {more} more problems"));
    }
    Error::invalid(lines.join("; "))
}

/// Reads everything; all problems, or a project without one.
pub(super) fn read(
    text: &str,
    directory: &Path,
    environment: &BTreeMap<String, String>,
) -> Result<Project, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut root = match yaml::parse(text, &mut problems) {
        Ok(root) => root,
        Err(problem) => {
            problems.push(problem);
            return Err(problems);
        }
    };
    let name = project_name(&root, directory, environment);
    let lookup = |variable: &str| match variable {
        "COMPOSE_PROJECT_NAME" => Some(name.clone()),
        variable => environment.get(variable).cloned(),
    };
    let mut replacement = Replacement { lookup: &lookup, problems: &mut problems, path: Vec::new(), length: 0 };
    replacement.replace(&mut root);
    let problems = RefCell::new(problems);
    let around = Surroundings { project: &name, directory, lookup: &lookup };
    let project = read_tree(&Cursor::new(&root, &problems), &around);
    match problems.into_inner() {
        problems if problems.is_empty() => Ok(project),
        problems => Err(problems),
    }
}

fn read_tree(root: &Cursor<'_>, around: &Surroundings<'_>) -> Project {
    let fields = root
        .fields(&["name", "version", "services", "networks", "volumes"], &["configs", "secrets", "include", "models"]);
    let name = fields.get("name").unwrap_or_else(|| root.clone());
    if !is_project_name(around.project) {
        name.wrong(format!(
            "the project name {:?} is not lower-case letters, digits, '-' and '_', beginning with a letter or digit",
            around.project
        ));
    }
    // What it means was given up; any text will do.
    fields.get("version").map(|version| version.text().is_some());
    let mut networks: BTreeMap<String, String> = named(&fields, "network", "networks")
        .into_iter()
        .map(|(key, network)| (key.clone(), read_network(&key, &network, around)))
        .collect();
    networks.entry("default".to_owned()).or_insert_with(|| format!("{}_default", around.project));
    let volumes = named(&fields, "volume", "volumes")
        .into_iter()
        .map(|(key, volume)| (key.clone(), read_volume(&key, &volume, around)))
        .collect();
    let mut services = named(&fields, "service", "services");
    if services.len() > MOST_SERVICES {
        root.wrong(format!("more than {MOST_SERVICES} services"));
        services.truncate(MOST_SERVICES);
    }
    if services.is_empty() {
        root.wrong("there is no service");
    }
    let mut mentions = Vec::new();
    let mut read: Vec<(Service, Cursor<'_>)> = Vec::new();
    for (name, cursor) in services {
        let (service, more) = service(&name, &cursor, around);
        mentions.extend(more);
        read.push((service, cursor));
    }
    let project = Project {
        name: around.project.to_owned(),
        directory: around.directory.to_owned(),
        services: Vec::new(),
        networks,
        volumes,
    };
    decide_what_runs_once(&mut read);
    for (service, _) in read.iter_mut().filter(|(service, _)| service.full_name.is_empty()) {
        let number = if service.once { "-1" } else { "" };
        service.full_name = format!("{}-{}{number}", around.project, service.name);
    }
    check_names(&read, around.project);
    check_mentions(&mentions, &read, &project);
    let services = order::sort(read);
    Project { services, ..project }
}

/// The entries of one of the file's maps, each called `service NAME` and the like.
fn named<'file>(fields: &Fields<'file>, kind: &str, key: &str) -> Vec<(String, Cursor<'file>)> {
    let Some(map) = fields.get(key).filter(|map| !map.is_null()) else { return Vec::new() };
    map.entries().into_iter().map(|(name, cursor)| (name.to_owned(), cursor.named(format!("{kind} {name}")))).collect()
}

fn read_network(key: &str, network: &Cursor<'_>, around: &Surroundings<'_>) -> String {
    let default = format!("{}_{key}", around.project);
    if network.is_null() {
        return checked_name(network, default);
    }
    let unsupported =
        ["attachable", "driver_opts", "enable_ipv4", "enable_ipv6", "external", "internal", "ipam", "labels"];
    let fields = network.fields(&["name", "driver"], &unsupported);
    only(&fields.get("driver"), "bridge");
    checked_name(network, fields.text("name").unwrap_or(default))
}

fn read_volume(key: &str, volume: &Cursor<'_>, around: &Surroundings<'_>) -> ProjectVolume {
    let default = format!("{}_{key}", around.project);
    if volume.is_null() {
        return ProjectVolume { name: checked_name(volume, default), external: false, labels: BTreeMap::new() };
    }
    let fields = volume.fields(&["name", "driver", "external", "labels"], &["driver_opts"]);
    only(&fields.get("driver"), "local");
    let external = fields.get("external").and_then(|external| external.boolean()).unwrap_or(false);
    let labels = fields.get("labels").map(|labels| label_map(&labels)).unwrap_or_default();
    let name = fields.text("name").unwrap_or(if external { key.to_owned() } else { default });
    ProjectVolume { name: checked_name(volume, name), external, labels }
}

fn only(driver: &Option<Cursor<'_>>, name: &str) {
    if let Some(driver) = driver
        && driver.text().is_some_and(|text| text != name)
    {
        driver.wrong(format!("only {name:?} is supported"));
    }
}

fn checked_name(cursor: &Cursor<'_>, name: String) -> String {
    if let Err(error) = name.parse::<Name>() {
        cursor.wrong(error.to_string());
    }
    name
}

/// What another service waits for to end runs once, whatever `restart` does not say.
fn decide_what_runs_once(services: &mut [(Service, Cursor<'_>)]) {
    let awaited: Vec<String> = services
        .iter()
        .flat_map(|(service, _)| &service.depends_on)
        .filter(|(_, condition)| **condition == Condition::Completed)
        .map(|(name, _)| name.clone())
        .collect();
    for (service, cursor) in services.iter_mut() {
        if awaited.contains(&service.name) && !service.once {
            service.once = true;
            if service.restart == Restart::always() {
                service.restart = Restart::never();
            } else if service.restart.condition == RestartCondition::Always {
                cursor.wrong("another service waits for its end, and its restart_policy lets it never end");
            }
        }
        if service.once && service.replicas != 1 {
            cursor.wrong(format!("runs once, so it cannot have {} replicas", service.replicas));
        }
    }
}

fn check_names(services: &[(Service, Cursor<'_>)], project: &str) {
    for (index, (service, cursor)) in services.iter().enumerate() {
        let name = &service.full_name;
        if is_project_name(project) && (name.parse::<Name>().is_err() || name.len() > LONGEST_NAME) {
            cursor.wrong(format!(
                "the name {name:?} is not a letter or digit followed by at most {} letters, digits, '_', '.' or '-'",
                LONGEST_NAME - 1
            ));
        }
        if services[..index].iter().any(|(other, _)| other.full_name == *name) {
            cursor.wrong(format!("another service is called {name} too"));
        }
    }
}

/// What services name has to be in the file.
fn check_mentions(mentions: &[Mention<'_>], services: &[(Service, Cursor<'_>)], project: &Project) {
    for Mention { of, name, cursor } in mentions {
        match of {
            Mentioned::Network if !project.networks.contains_key(name) => {
                cursor.wrong(format!("network {name} is not among the file's networks"));
            }
            Mentioned::Volume if !project.volumes.contains_key(name) => {
                cursor.wrong(format!("volume {name} is not among the file's volumes"));
            }
            Mentioned::Service if !services.iter().any(|(service, _)| service.name == *name) => {
                cursor.wrong(format!("there is no service {name}"));
            }
            _ => {}
        }
    }
}

/// `COMPOSE_PROJECT_NAME`, the file's `name`, or what of the directory's name may be in one.
fn project_name(root: &Node, directory: &Path, environment: &BTreeMap<String, String>) -> String {
    if let Some(name) = environment.get("COMPOSE_PROJECT_NAME").filter(|name| !name.is_empty()) {
        return name.clone();
    }
    let lookup = |name: &str| environment.get(name).cloned();
    if let Value::Map(entries) = &root.value
        && let Some((_, node)) = entries.iter().find(|(key, _)| key.text == "name")
        && let Value::Scalar(text) = &node.value
    {
        return interpolate(text, &lookup).unwrap_or_default();
    }
    let base = directory.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let name: String = base.chars().filter(|character| is_name_character(*character)).collect();
    name.trim_start_matches(['-', '_']).to_owned()
}

fn is_project_name(name: &str) -> bool {
    name.starts_with(|first: char| is_name_character(first) && first.is_ascii_alphanumeric())
        && name.chars().all(is_name_character)
}

fn is_name_character(character: char) -> bool {
    character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-' || character == '_'
}

/// Replaces the variables in every value; extensions at the top, which nothing but aliases uses, are left alone.
struct Replacement<'read> {
    lookup: &'read dyn Fn(&str) -> Option<String>,
    problems: &'read mut Vec<Problem>,
    path: Vec<String>,
    /// Of all that was replaced.
    length: usize,
}

impl Replacement<'_> {
    fn replace(&mut self, node: &mut Node) {
        match &mut node.value {
            Value::Null => {}
            Value::Scalar(text) => match self.replaced(text) {
                Ok(replaced) => *text = replaced,
                Err(message) => {
                    let message = format!("{}{message}", place_of(&self.path));
                    self.problems.push(Problem { line: node.line, message });
                    text.clear();
                }
            },
            Value::List(list) => list.iter_mut().for_each(|node| self.replace(node)),
            Value::Map(entries) => {
                for (key, node) in entries {
                    if self.path.is_empty() && key.text.starts_with("x-") {
                        continue;
                    }
                    self.path.push(key.text.clone());
                    self.replace(node);
                    self.path.pop();
                }
            }
        }
    }

    fn replaced(&mut self, text: &str) -> Result<String, String> {
        if self.length > MOST_REPLACED {
            return Err(format!("the file is larger than {MOST_REPLACED} bytes with its variables replaced"));
        }
        let replaced = interpolate(text, self.lookup)?;
        self.length += replaced.len();
        Ok(replaced)
    }
}

fn place_of(path: &[String]) -> String {
    let kind = |key: &str| match key {
        "services" => Some("service"),
        "networks" => Some("network"),
        "volumes" => Some("volume"),
        _ => None,
    };
    match path {
        [] => String::new(),
        [key, name, rest @ ..] if kind(key).is_some() => {
            let rest = if rest.is_empty() { String::new() } else { format!("{}: ", rest.join(".")) };
            format!("{} {name}: {rest}", kind(key).unwrap_or_default())
        }
        path => format!("{}: ", path.join(".")),
    }
}
