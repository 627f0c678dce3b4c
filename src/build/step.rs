//! The steps of a build: what Dockerfiles and the typed builder both become.

use super::dockerfile::{Command, Healthcheck};
use super::host::HostEntry;
use crate::Reference;
use crate::network::Network;
use std::path::PathBuf;

/// Where a stage begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Base {
    /// An empty file system.
    Scratch,
    /// The result of an earlier stage.
    Stage(usize),
    Image(Reference),
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    /// Where it was written, for errors: `Dockerfile:5`.
    pub(super) place: String,
    /// As written, on one line.
    pub(super) text: String,
    pub(super) action: Action,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    Copy(Copy),
    /// Programs of this machine, by what was asked for, with all they need.
    Host(Vec<String>, Vec<HostEntry>),
    Run(Run),
    /// Changes the working directory, and makes it where it is missing.
    Workdir(String),
    Change(Change),
}

/// Files from somewhere into the image.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Copy {
    pub(super) origin: Origin,
    /// Paths in the origin, with wildcards.
    pub(super) sources: Vec<String>,
    /// Files given by name and content.
    pub(super) inline: Vec<(String, String)>,
    pub(super) target: String,
    /// `user[:group]`, names looked up in the image.
    pub(super) owner: Option<String>,
    pub(super) mode: Option<u32>,
    /// Whether archives among the sources are extracted (`ADD`).
    pub(super) extract: bool,
}

/// Where files come from.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Origin {
    /// The context of the build.
    Context,
    /// A directory of the host.
    Directory(PathBuf),
    /// An earlier stage.
    Stage(usize),
    Image(Reference),
}

/// A command in the image.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Run {
    pub(super) command: Command,
    /// Build arguments in its environment, in the order of their declaration.
    pub(super) arguments: Vec<(String, String)>,
    pub(super) mounts: Vec<StepMount>,
    /// In place of the build's network.
    pub(super) network: Option<Network>,
}

/// What a command sees beside the image.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum StepMount {
    Bind { origin: Origin, source: String, target: String },
    Secret { id: String, target: Option<String>, required: bool },
    Tmpfs { target: String },
}

/// A change of the configuration alone.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    Env(Vec<(String, String)>),
    Label(Vec<(String, String)>),
    User(String),
    Expose(Vec<String>),
    Volume(Vec<String>),
    Entrypoint(Command),
    Cmd(Command),
    Shell(Vec<String>),
    StopSignal(String),
    Healthcheck(Healthcheck),
    Onbuild(String),
    Maintainer(String),
}

impl Action {
    /// What the history of the image says, in Docker's manner; `shell` is the one in force.
    pub(super) fn created_by(&self, shell: &[String]) -> String {
        match self {
            Action::Copy(copy) => copy.created_by(),
            Action::Host(programs, _) => format!("HOST {}", programs.join(" ")),
            Action::Run(run) => {
                let arguments: Vec<String> =
                    run.arguments.iter().map(|(name, value)| format!("{name}={value}")).collect();
                let count = match arguments.len() {
                    0 => String::new(),
                    count => format!("|{count} {} ", arguments.join(" ")),
                };
                format!("RUN {count}{}", argv(&run.command, shell).join(" "))
            }
            Action::Workdir(path) => format!("WORKDIR {path}"),
            Action::Change(change) => change.created_by(shell),
        }
    }
}

impl Copy {
    fn created_by(&self) -> String {
        let keyword = if self.extract { "ADD" } else { "COPY" };
        let mut words = vec![keyword.to_owned()];
        words.extend(self.owner.as_ref().map(|owner| format!("--chown={owner}")));
        words.extend(self.mode.map(|mode| format!("--chmod={mode:o}")));
        words.extend(self.sources.iter().cloned());
        words.extend(self.inline.iter().map(|(name, _)| name.clone()));
        words.push(self.target.clone());
        words.join(" ")
    }
}

impl Change {
    fn created_by(&self, shell: &[String]) -> String {
        let pairs = |pairs: &[(String, String)]| {
            let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
            pairs.join(" ")
        };
        match self {
            Change::Env(list) => format!("ENV {}", pairs(list)),
            Change::Label(list) => format!("LABEL {}", pairs(list)),
            Change::User(user) => format!("USER {user}"),
            Change::Expose(ports) => format!("EXPOSE [{}]", ports.join(" ")),
            Change::Volume(paths) => format!("VOLUME [{}]", paths.join(" ")),
            Change::Entrypoint(command) => format!("ENTRYPOINT {}", quoted(&argv(command, shell))),
            Change::Cmd(command) => format!("CMD {}", quoted(&argv(command, shell))),
            Change::Shell(shell) => format!("SHELL {}", quoted(shell)),
            Change::StopSignal(signal) => format!("STOPSIGNAL {signal}"),
            Change::Healthcheck(Healthcheck::None) => "HEALTHCHECK NONE".to_owned(),
            Change::Healthcheck(Healthcheck::Check { command, .. }) => {
                format!("HEALTHCHECK CMD {}", quoted(&argv(command, shell)))
            }
            Change::Onbuild(text) => format!("ONBUILD {text}"),
            Change::Maintainer(name) => format!("MAINTAINER {name}"),
        }
    }
}

/// The program and its arguments; a line goes to `shell`.
pub(super) fn argv(command: &Command, shell: &[String]) -> Vec<String> {
    match command {
        Command::Exec(words) => words.clone(),
        Command::Shell(line) => shell.iter().cloned().chain([line.clone()]).collect(),
    }
}

fn quoted(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    format!("[{}]", words.join(" "))
}
