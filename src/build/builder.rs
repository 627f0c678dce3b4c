//! Builds from a Dockerfile and a directory.

use super::dockerfile::{Dockerfile, FILE_BUDGET, Instruction};
use super::event::BuildEvent;
use super::frontend::{Frontend, one_line};
use super::ignore::Ignore;
use super::image::{Image, publish};
use super::solver::{BaseResolver, Options, Solver};
use super::step::Base;
use super::tree::Tree;
use super::variable::{Arguments, PREDEFINED};
use crate::container::Services;
use crate::error::{Context, During};
use crate::network::Network;
use crate::{Error, Platform, Reference, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

/// A build in the making. Setters never fail; [`run`](Self::run) reports what is wrong.
pub struct BuildBuilder<'progress> {
    services: Arc<Services>,
    resolver: Arc<dyn BaseResolver>,
    context: PathBuf,
    dockerfile: PathBuf,
    tag: Option<String>,
    arguments: BTreeMap<String, String>,
    target: Option<String>,
    platform: Option<Platform>,
    options: Options,
    progress: Box<dyn FnMut(&BuildEvent) + 'progress>,
}

impl fmt::Debug for BuildBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuildBuilder")
            .field("context", &self.context)
            .field("dockerfile", &self.dockerfile)
            .field("tag", &self.tag)
            .finish_non_exhaustive()
    }
}

impl<'progress> BuildBuilder<'progress> {
    pub(crate) fn new(services: Arc<Services>, resolver: Arc<dyn BaseResolver>, context: impl Into<PathBuf>) -> Self {
        BuildBuilder {
            services,
            resolver,
            context: context.into(),
            dockerfile: "Dockerfile".into(),
            tag: None,
            arguments: BTreeMap::new(),
            target: None,
            platform: None,
            options: Options::default(),
            progress: Box::new(|_| {}),
        }
    }

    /// The Dockerfile: absolute, or relative to the context; `Dockerfile` by default.
    #[must_use]
    pub fn dockerfile(mut self, path: impl Into<PathBuf>) -> Self {
        self.dockerfile = path.into();
        self
    }

    /// The name of the image; see [`Reference`].
    #[must_use]
    pub fn tag(mut self, reference: impl Into<String>) -> Self {
        self.tag = Some(reference.into());
        self
    }

    /// The value of an `ARG`. It can be read from the image's history: see [`secret`](Self::secret).
    #[must_use]
    pub fn build_arg(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.arguments.insert(name.into(), value.into());
        self
    }

    /// The stage to build, by name or number from 0; the last by default.
    #[must_use]
    pub fn target(mut self, stage: impl Into<String>) -> Self {
        self.target = Some(stage.into());
        self
    }

    /// The platform of the base images; this machine's by default. `RUN` needs one that this machine runs.
    #[must_use]
    pub fn platform(mut self, platform: Platform) -> Self {
        self.platform = Some(platform);
        self
    }

    /// Carries out every step although its result may be there from an earlier build.
    #[must_use]
    pub fn no_cache(mut self, on: bool) -> Self {
        self.options.no_cache = on;
        self
    }

    /// The network of `RUN`; [`Network::Host`] by default.
    #[must_use]
    pub fn network(mut self, network: Network) -> Self {
        self.options.network = Some(network);
        self
    }

    /// The file behind `RUN --mount=type=secret,id=...`: it is seen by that command and gets into no layer.
    #[must_use]
    pub fn secret(mut self, id: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        self.options.secrets.insert(id.into(), path.into());
        self
    }

    /// A file or directory of the host that every `RUN` sees, read-only, at the absolute path `target`. Its content is not
    /// looked at: steps in the cache stay there when it changes.
    #[must_use]
    pub fn bind(mut self, source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        self.options.binds.push((source.into(), target.into()));
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
    /// Those of the Dockerfile name file and line: `InvalidInput` for what it says, `NotFound` for a base image or source
    /// that is not there, `CommandFailed` for a `RUN` that fails. Nothing is tagged then; the steps before stay in the
    /// cache.
    pub fn run(mut self) -> Result<Image> {
        let tag = self.tag.as_deref().map(str::parse::<Reference>).transpose()?;
        let file = self.read()?;
        let warnings = file.warnings.clone();
        for name in PREDEFINED {
            self.options.environment.extend(self.arguments.get(name).map(|value| (name.to_owned(), value.clone())));
        }
        let platform = self.platform.clone().unwrap_or_else(Platform::host);
        let mut frontend = Frontend::new(file, Arguments::new(self.arguments.clone(), &platform))?;
        let target = frontend.target(self.target.as_deref())?;
        let context = self.open_context()?;
        let (services, resolver) = (self.services.clone(), self.resolver.clone());
        let mut solver = Solver::new(&services, &*resolver, &self.options, Some(&context), &mut self.progress)?;
        warnings.into_iter().for_each(|warning| solver.warn(warning));
        let needed = frontend.needed(target)?;
        look_ahead(&frontend, &needed, &context, &mut |base, of_stage| {
            resolver.resolve(base, of_stage.unwrap_or(&platform)).map(drop)
        })?;
        solver.total = needed.iter().map(|&index| count(&frontend.file, index)).sum();
        for index in needed {
            let (base, of_stage) = frontend.base(index)?;
            let (line, text) = (frontend.file.stages[index].line, frontend.file.stages[index].text.clone());
            let mut state = solver
                .begin(&base, of_stage.as_ref().or(Some(&platform)), &text)
                .context(|| format!("{}:{line}: {text}", frontend.file.name))?;
            let triggers = state.take_triggers();
            let steps = frontend.steps(index, state.environment(), &triggers)?;
            solver.total += triggers.len();
            for step in &steps {
                solver.step(&mut state, step)?;
            }
            solver.keep(index, state);
        }
        for name in frontend.arguments.unused() {
            solver.warn(format!("build argument {name} was given, but no ARG declares it"));
        }
        let state = solver.take(target)?;
        publish(&services.store, state, tag.as_ref())
    }

    fn open_context(&self) -> Result<Tree> {
        let path = &self.context;
        let metadata = std::fs::metadata(path).during(|| format!("open build context {}", path.display()))?;
        if !metadata.is_dir() {
            return Err(Error::invalid(format!("build context {} is not a directory", path.display())));
        }
        Ok(Tree::context(path, Ignore::load(path, &path.join(&self.dockerfile))?))
    }

    fn read(&self) -> Result<Dockerfile> {
        let path = self.context.join(&self.dockerfile);
        let name = self.dockerfile.display().to_string();
        let operation = || format!("read {}", path.display());
        let file = File::open(&path).during(operation).map_err(|error| match error.errno() {
            Some(libc::ENOENT) => error.hint("name it with .dockerfile(path), relative to the context"),
            _ => error,
        })?;
        if !file.metadata().during(operation)?.is_file() {
            return Err(Error::invalid(format!("{} is not a file", path.display())));
        }
        let mut bytes = Vec::new();
        file.take(FILE_BUDGET as u64 + 1).read_to_end(&mut bytes).during(operation)?;
        Dockerfile::parse(&name, &bytes)
    }
}

/// Finds early what would fail late: sources that are not in the context, then base images that do not exist. Sources
/// with variables are left to their step.
fn look_ahead(
    frontend: &Frontend,
    needed: &[usize],
    context: &Tree,
    resolve: &mut dyn FnMut(&Reference, Option<&Platform>) -> Result<()>,
) -> Result<()> {
    let file = &frontend.file;
    for located in needed.iter().flat_map(|&index| &file.stages[index].instructions) {
        let Instruction::Copy(copy) = &located.instruction else { continue };
        let plain = |source: &&String| !source.contains(['$', '"', '\'', file.escape]);
        for source in copy.sources.iter().filter(|_| copy.from.is_none()).filter(plain) {
            context
                .select(source)
                .context(|| format!("{}:{}: {}", file.name, located.line, one_line(&located.text)))?;
        }
    }
    for &index in needed {
        if let (Base::Image(reference), of_stage) = frontend.base(index)? {
            let stage = &file.stages[index];
            resolve(&reference, of_stage.as_ref())
                .context(|| format!("{}:{}: {}", file.name, stage.line, one_line(&stage.text)))?;
        }
    }
    Ok(())
}

/// How many steps a stage has, its `FROM` included.
fn count(file: &Dockerfile, index: usize) -> usize {
    let instructions = &file.stages[index].instructions;
    1 + instructions.iter().filter(|located| !matches!(located.instruction, Instruction::Arg(_))).count()
}
