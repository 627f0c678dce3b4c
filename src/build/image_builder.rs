//! The typed twin of a Dockerfile.

use super::dockerfile::{Command, Healthcheck};
use super::event::BuildEvent;
use super::host;
use super::image::{Image, publish};
use super::solver::{BaseResolver, Options, Solver};
use super::step::{Action, Base, Change, Copy, Origin, Run, Step};
use super::tree::text_of;
use super::wildcard;
use crate::container::Services;
use crate::error::Context;
use crate::network::Network;
use crate::{Error, Reference, Result};
use std::ffi::OsStr;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// An image in the making, as a Dockerfile of one stage would: each call is one instruction, in their order, with the same
/// cache. Without [`from`](Self::from) it begins with an empty file system. Setters never fail; [`commit`](Self::commit)
/// reports what is wrong.
pub struct ImageBuilder<'progress> {
    services: Arc<Services>,
    resolver: Arc<dyn BaseResolver>,
    base: Option<String>,
    steps: Vec<Action>,
    /// The first wrong argument.
    wrong: Option<Error>,
    tag: Option<String>,
    options: Options,
    progress: Box<dyn FnMut(&BuildEvent) + 'progress>,
}

impl fmt::Debug for ImageBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageBuilder")
            .field("base", &self.base)
            .field("steps", &self.steps)
            .field("tag", &self.tag)
            .finish_non_exhaustive()
    }
}

impl<'progress> ImageBuilder<'progress> {
    pub(crate) fn new(services: Arc<Services>, resolver: Arc<dyn BaseResolver>) -> Self {
        ImageBuilder {
            services,
            resolver,
            base: None,
            steps: Vec::new(),
            wrong: None,
            tag: None,
            options: Options::default(),
            progress: Box::new(|_| {}),
        }
    }

    /// The image to begin with.
    #[must_use]
    pub fn from(mut self, reference: impl Into<String>) -> Self {
        self.base = Some(reference.into());
        self
    }

    /// Programs of this machine with everything they need to run: the dynamic loader, the libraries their dynamic
    /// sections name, the interpreters of scripts, and the symbolic links and directories on the way. A program without
    /// a slash is looked up in `PATH`. What a program loads by itself while it runs (plug-ins, name service modules,
    /// locales) is not seen; name it as well: a file that is no program is taken as it is.
    ///
    /// # Errors
    /// `NotFound` naming a missing program or library, `Unsupported` for a program of another kind of machine.
    pub fn from_host<P: AsRef<OsStr>>(mut self, programs: impl IntoIterator<Item = P>) -> Result<Self> {
        let programs: Vec<P> = programs.into_iter().collect();
        let entries = host::closure(&programs)?;
        let names = programs.iter().map(|program| program.as_ref().to_string_lossy().into_owned()).collect();
        self.steps.push(Action::Host(names, entries));
        Ok(self)
    }

    /// Copies a file or the contents of a directory of the host, as `COPY` does: owned by root; into `target` where that is
    /// a directory or ends with `/`.
    #[must_use]
    pub fn copy(self, source: impl AsRef<Path>, target: impl Into<String>) -> Self {
        self.copy_or_add(source.as_ref(), target.into(), false)
    }

    /// As [`copy`](Self::copy), and extracts a file that is a tar archive, compressed or not, as `ADD` does; owners and
    /// modes are those of the archive.
    #[must_use]
    pub fn add(self, source: impl AsRef<Path>, target: impl Into<String>) -> Self {
        self.copy_or_add(source.as_ref(), target.into(), true)
    }

    fn copy_or_add(self, source: &Path, target: String, extract: bool) -> Self {
        let (directory, name) = match (source.parent(), source.file_name()) {
            (Some(parent), Some(name)) => (if parent.as_os_str().is_empty() { Path::new(".") } else { parent }, name),
            _ => (source, OsStr::new(".")),
        };
        match text_of(name) {
            Ok(name) => self.copied(Origin::Directory(directory.to_owned()), wildcard::escape(name), target, extract),
            Err(error) => self.refuse(error),
        }
    }

    /// Copies from an image, as `COPY --from` does; files keep their owners.
    #[must_use]
    pub fn copy_from(self, image: &str, source: impl Into<String>, target: impl Into<String>) -> Self {
        match image.parse::<Reference>() {
            Ok(reference) => self.copied(Origin::Image(reference), source.into(), target.into(), false),
            Err(error) => self.refuse(error),
        }
    }

    /// Runs a program in the image.
    #[must_use]
    pub fn run<A: Into<String>>(self, command: impl IntoIterator<Item = A>) -> Self {
        self.ran(Command::Exec(words(command)))
    }

    /// Runs a line in the image's shell.
    #[must_use]
    pub fn run_shell(self, line: impl Into<String>) -> Self {
        self.ran(Command::Shell(line.into()))
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.change(Change::Env(vec![(name.into(), value.into())]))
    }

    /// Sets the working directory, relative to the one before, and makes it where it is missing.
    #[must_use]
    pub fn workdir(mut self, directory: impl Into<String>) -> Self {
        self.steps.push(Action::Workdir(directory.into()));
        self
    }

    /// Sets the user, `user[:group]` by name or number, of what runs from here on.
    #[must_use]
    pub fn user(self, user: impl Into<String>) -> Self {
        self.change(Change::User(user.into()))
    }

    /// Sets a label: free text by key, inert.
    #[must_use]
    pub fn label(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.change(Change::Label(vec![(key.into(), value.into())]))
    }

    /// Says that the image listens on a port: `8000` or `53/udp`. It is not published by that.
    #[must_use]
    pub fn expose(self, port: impl ToString) -> Self {
        self.change(Change::Expose(vec![port.to_string()]))
    }

    /// Says that a directory holds data of its own.
    #[must_use]
    pub fn volume(self, path: impl Into<String>) -> Self {
        self.change(Change::Volume(vec![path.into()]))
    }

    /// Sets the entry point; a command that the base image has no longer applies.
    #[must_use]
    pub fn entrypoint<A: Into<String>>(self, entrypoint: impl IntoIterator<Item = A>) -> Self {
        self.change(Change::Entrypoint(Command::Exec(words(entrypoint))))
    }

    /// Sets the default command.
    #[must_use]
    pub fn command<A: Into<String>>(self, command: impl IntoIterator<Item = A>) -> Self {
        self.change(Change::Cmd(Command::Exec(words(command))))
    }

    /// Sets the shell of [`run_shell`](Self::run_shell).
    #[must_use]
    pub fn shell<A: Into<String>>(self, shell: impl IntoIterator<Item = A>) -> Self {
        self.change(Change::Shell(words(shell)))
    }

    /// Sets the signal that stops the image's containers, by name or number.
    #[must_use]
    pub fn stop_signal(self, signal: impl Into<String>) -> Self {
        self.change(Change::StopSignal(signal.into()))
    }

    /// Sets the program that finds out whether a container is well, how often it runs, and how many failures in a row mean
    /// that it is not; zeros for the defaults.
    #[must_use]
    pub fn health<A: Into<String>>(
        self,
        command: impl IntoIterator<Item = A>,
        interval: Duration,
        retries: u64,
    ) -> Self {
        self.change(Change::Healthcheck(Healthcheck::Check {
            command: Command::Exec(words(command)),
            interval,
            timeout: Duration::ZERO,
            start_period: Duration::ZERO,
            start_interval: Duration::ZERO,
            retries,
        }))
    }

    /// The name of the image; see [`Reference`].
    #[must_use]
    pub fn tag(mut self, reference: impl Into<String>) -> Self {
        self.tag = Some(reference.into());
        self
    }

    /// The network of [`run`](Self::run); [`Network::Host`] by default.
    #[must_use]
    pub fn network(mut self, network: Network) -> Self {
        self.options.network = Some(network);
        self
    }

    /// Carries out every step although its result may be there from an earlier build.
    #[must_use]
    pub fn no_cache(mut self, on: bool) -> Self {
        self.options.no_cache = on;
        self
    }

    /// Is called with what goes on.
    #[must_use]
    pub fn on_progress(mut self, progress: impl FnMut(&BuildEvent) + 'progress) -> Self {
        self.progress = Box::new(progress);
        self
    }

    /// Builds the image.
    ///
    /// # Errors
    /// As [`BuildBuilder::run`](super::BuildBuilder::run), with the number of the step in place of file and line.
    pub fn commit(mut self) -> Result<Image> {
        if let Some(error) = self.wrong {
            return Err(error);
        }
        let tag = self.tag.as_deref().map(str::parse::<Reference>).transpose()?;
        let base = match self.base.as_deref() {
            None | Some("scratch") => Base::Scratch,
            Some(reference) => Base::Image(reference.parse()?),
        };
        let text = format!("FROM {}", self.base.as_deref().unwrap_or("scratch"));
        let (services, resolver) = (self.services.clone(), self.resolver.clone());
        let mut solver = Solver::new(&services, &*resolver, &self.options, None, &mut self.progress)?;
        solver.total = self.steps.len() + 1;
        let mut state = solver.begin(&base, None, &text).context(|| text.clone())?;
        for (index, action) in self.steps.into_iter().enumerate() {
            let text = action.created_by(&state.shell());
            solver.step(&mut state, &Step { place: format!("step {}", index + 2), text, action })?;
        }
        publish(&services.store, state, tag.as_ref())
    }

    fn change(mut self, change: Change) -> Self {
        self.steps.push(Action::Change(change));
        self
    }

    fn ran(mut self, command: Command) -> Self {
        let run = Run { command, arguments: Vec::new(), mounts: Vec::new(), network: None };
        self.steps.push(Action::Run(run));
        self
    }

    fn copied(mut self, origin: Origin, source: String, target: String, extract: bool) -> Self {
        let (sources, inline) = (vec![source], Vec::new());
        self.steps.push(Action::Copy(Copy { origin, sources, inline, target, owner: None, mode: None, extract }));
        self
    }

    fn refuse(mut self, error: Error) -> Self {
        self.wrong.get_or_insert(error);
        self
    }
}

fn words<A: Into<String>>(words: impl IntoIterator<Item = A>) -> Vec<String> {
    words.into_iter().map(Into::into).collect()
}
