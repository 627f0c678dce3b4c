//! The instructions of a Dockerfile, parsed but not expanded: variables are replaced when the image is known.

use super::line::Heredoc;
use std::time::Duration;

/// An instruction and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Located {
    /// The line it begins on, from 1.
    pub(crate) line: u32,
    /// As written, its lines joined: for progress and errors.
    pub(crate) text: String,
    pub(crate) instruction: Instruction,
}

/// All instructions but `FROM`, which begins a [`Stage`](super::Stage).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Instruction {
    /// Names with their defaults.
    Arg(Vec<(String, Option<String>)>),
    Env(Vec<(String, String)>),
    Label(Vec<(String, String)>),
    Workdir(String),
    User(String),
    Copy(CopyInstruction),
    Run(RunInstruction),
    Expose(Vec<String>),
    Volume(Vec<String>),
    Entrypoint(Command),
    Cmd(Command),
    Shell(Vec<String>),
    StopSignal(String),
    Healthcheck(Healthcheck),
    Maintainer(String),
    /// The instruction to record, unexpanded.
    Onbuild(String),
}

/// `COPY` or `ADD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CopyInstruction {
    /// Whether it is `ADD`: local tar archives are extracted.
    pub(crate) add: bool,
    /// A stage by name or index, or an image; none is the build context.
    pub(crate) from: Option<String>,
    pub(crate) chown: Option<String>,
    pub(crate) chmod: Option<String>,
    pub(crate) sources: Vec<String>,
    /// Files written in the Dockerfile itself.
    pub(crate) inline: Vec<Heredoc>,
    pub(crate) target: String,
}

/// `RUN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunInstruction {
    pub(crate) command: Command,
    pub(crate) mounts: Vec<RunMount>,
    /// Whether `--network=none` was said; none leaves it to the build.
    pub(crate) isolated: Option<bool>,
}

/// `RUN --mount=...`; variables in it are not replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RunMount {
    /// A directory or file of the context, a stage or an image, read-only.
    Bind { from: Option<String>, source: String, target: String },
    /// A secret of the build's caller, by id; at `/run/secrets/<id>` unless said otherwise.
    Secret { id: String, target: Option<String>, required: bool },
    /// An empty directory for the step.
    Tmpfs { target: String },
}

/// The shell form or the exec form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// One line for the image's shell.
    Shell(String),
    /// The program and its arguments.
    Exec(Vec<String>),
}

/// `HEALTHCHECK`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Healthcheck {
    /// Switches off what the base image has.
    None,
    Check {
        command: Command,
        interval: Duration,
        timeout: Duration,
        start_period: Duration,
        start_interval: Duration,
        retries: u64,
    },
}

/// The names, for the nearest to a misspelt one.
pub(super) const NAMES: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];
