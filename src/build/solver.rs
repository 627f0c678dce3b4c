//! Carries out steps, or finds that they were carried out before.

use super::cache::{Cache, Made};
use super::configuration::{absolute, shell_of, workdir_of};
use super::copy::{Overrides, Writer};
use super::event::BuildEvent;
use super::host::{self, HostEntry};
use super::run::{self, TMPFS_SIZE, host_path};
use super::state::State;
use super::step::{Action, Base, Copy, Origin, Run, Step, StepMount};
use super::transfer::Transfer;
use super::tree::Tree;
use crate::container::{Mount, Services, user};
use crate::error::Context;
use crate::network::Network;
use crate::store::{Lease, Snapshot, Store, StoredImage};
use crate::value::User;
use crate::{Digest, Error, ErrorKind, Platform, Reference, Result, Timestamp};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Finds the images that builds begin with: those of the store, else from their registry.
pub(crate) trait BaseResolver: Send + Sync {
    /// The image `reference` for `platform`. Errors: `NotFound` where it does not exist.
    fn resolve(&self, reference: &Reference, platform: &Platform) -> Result<StoredImage>;
}

/// What the caller of a build chooses.
#[derive(Debug, Clone, Default)]
pub(super) struct Options {
    /// Whether steps are carried out again although they were before.
    pub(super) no_cache: bool,
    /// The network of `RUN`.
    pub(super) network: Option<Network>,
    /// Files of the host by secret id.
    pub(super) secrets: BTreeMap<String, PathBuf>,
    /// Directories or files of the host that every `RUN` sees, read-only.
    pub(super) binds: Vec<(PathBuf, PathBuf)>,
    /// In the environment of every `RUN`, and no part of the image or of the cache's keys.
    pub(super) environment: BTreeMap<String, String>,
}

/// One build.
pub(super) struct Solver<'build> {
    services: &'build Arc<Services>,
    resolver: &'build dyn BaseResolver,
    options: &'build Options,
    context: Option<&'build Tree>,
    progress: &'build mut dyn FnMut(&BuildEvent),
    stages: BTreeMap<usize, State>,
    platform: Platform,
    number: usize,
    pub(super) total: usize,
    /// What is found in the cache is not collected meanwhile.
    _lease: Lease,
}

impl<'build> Solver<'build> {
    pub(super) fn new(
        services: &'build Arc<Services>,
        resolver: &'build dyn BaseResolver,
        options: &'build Options,
        context: Option<&'build Tree>,
        progress: &'build mut dyn FnMut(&BuildEvent),
    ) -> Result<Solver<'build>> {
        let lease = services.store.lease()?;
        let (stages, platform) = (BTreeMap::new(), Platform::host());
        Ok(Solver {
            services,
            resolver,
            options,
            context,
            progress,
            stages,
            platform,
            number: 0,
            total: 0,
            _lease: lease,
        })
    }

    /// Begins a stage; `text` is its `FROM`.
    pub(super) fn begin(&mut self, base: &Base, platform: Option<&Platform>, text: &str) -> Result<State> {
        self.number += 1;
        self.tell(text, false);
        let platform = platform.unwrap_or(&self.platform);
        match base {
            Base::Scratch => State::scratch(platform),
            Base::Stage(index) => {
                let state = self.stages.get(index).cloned();
                let state = state.ok_or_else(|| Error::invalid(format!("stage {index} is not built")))?;
                Ok(State { command_set: false, ..state })
            }
            Base::Image(reference) => State::of(self.resolver.resolve(reference, platform)?),
        }
    }

    /// Carries out one step.
    pub(super) fn step(&mut self, state: &mut State, step: &Step) -> Result<()> {
        self.number += 1;
        let created_by = step.action.created_by(&shell_of(&state.config));
        match &step.action {
            Action::Change(change) => {
                self.tell(&step.text, false);
                state.change(change, created_by)
            }
            Action::Copy(copy) => self.copy(state, step, copy).map(|made| state.add(made, created_by)),
            Action::Host(_, entries) => self.host(state, step, entries).map(|made| state.add(made, created_by)),
            Action::Run(run) => self.run(state, step, run).map(|made| state.add(made, created_by)),
            Action::Workdir(path) => self.workdir(state, step, path).map(|made| state.add(made, created_by)),
        }
        .context(|| format!("{}: {}", step.place, step.text))
    }

    /// Keeps the result of a stage for those that refer to it.
    pub(super) fn keep(&mut self, index: usize, state: State) {
        self.stages.insert(index, state);
    }

    /// Gives the result of a stage back.
    pub(super) fn take(&mut self, index: usize) -> Result<State> {
        self.stages.remove(&index).ok_or_else(|| Error::invalid(format!("stage {index} is not built")))
    }

    /// Tells about something odd.
    pub(super) fn warn(&mut self, text: String) {
        (self.progress)(&BuildEvent::Warning(text));
    }

    fn copy(&mut self, state: &State, step: &Step, copy: &Copy) -> Result<Made> {
        let made_tree = self.tree(&copy.origin, state)?;
        let tree = made_tree.as_ref().or(self.context.filter(|_| copy.origin == Origin::Context));
        let transfer = Transfer::find(copy, tree, state)?;
        let digest = transfer.digest()?;
        let key = self.key("copy", state, &[&digest.to_string()]);
        let mut skipped = 0;
        let store = self.store();
        let made = self.cached(step, &key, |_| {
            let snapshot = state.snapshot(&store)?;
            skipped = transfer.write(&store, &snapshot)?;
            // Else the cache would keep what was copied under the key of what was looked at.
            if transfer.digest()? != digest {
                return Err(Error::new(ErrorKind::InUse, "a source changed while it was copied")
                    .hint("build again when nothing writes to the sources"));
            }
            Ok(Some(snapshot))
        })?;
        if skipped > 0 {
            self.warn(format!("{}: {skipped} devices, pipes or sockets were not copied", step.place));
        }
        Ok(made)
    }

    fn host(&mut self, state: &State, step: &Step, entries: &[HostEntry]) -> Result<Made> {
        let key = self.key("host", state, &[&host::digest(entries)?.to_string()]);
        let store = self.store();
        self.cached(step, &key, |_| {
            let snapshot = state.snapshot(&store)?;
            host::install(entries, &snapshot)?;
            Ok(Some(snapshot))
        })
    }

    fn run(&mut self, state: &State, step: &Step, run: &Run) -> Result<Made> {
        let network = run.network.or(self.options.network).unwrap_or(Network::Host);
        let (mounts, sources, _held) = self.mounts(state, run)?;
        let config = state.config.config.clone().unwrap_or_default();
        // Where they come from on the host is no matter of the image.
        let binds: Vec<&PathBuf> = self.options.binds.iter().map(|(_, target)| target).collect();
        let depends = format!("{:?}", (&run.command, &run.arguments, &run.mounts, sources, network, binds));
        let surroundings = format!("{:?}", (config.env, config.user, config.working_dir, config.shell));
        let key = self.key("run", state, &[&depends, &surroundings]);
        let store = self.store();
        self.cached(step, &key, |solver| {
            let snapshot = state.snapshot(&store)?;
            let mounts = (mounts, network);
            run::run(solver.services, state, run, &solver.options.environment, mounts, &snapshot, solver.progress)?;
            Ok(Some(snapshot))
        })
    }

    fn workdir(&mut self, state: &mut State, step: &Step, path: &str) -> Result<Made> {
        let path = absolute(&workdir_of(&state.config), path);
        let path = if path == "/" { "/" } else { path.trim_end_matches('/') };
        let config = state.config.config.get_or_insert_default();
        config.working_dir = Some(path.to_owned());
        let user = config.user.clone().filter(|user| !user.is_empty()).unwrap_or_else(|| "0:0".to_owned());
        let key = self.key("workdir", state, &[path, &user]);
        let store = self.store();
        self.cached(step, &key, |_| {
            let snapshot = state.snapshot(&store)?;
            let mut writer = Writer::new(&snapshot)?;
            if writer.is_directory(Path::new(path))? {
                return Ok(None);
            }
            let identity = user::resolve(&snapshot.view(), &user.parse::<User>()?)?;
            let overrides = Overrides { owner: Some((identity.user, identity.group)), mode: None };
            writer.directory(Path::new(path), &overrides.implied())?;
            writer.finish()?;
            Ok(Some(snapshot))
        })
    }

    /// The result from the cache, else from `make`, whose snapshot becomes a layer.
    fn cached(
        &mut self,
        step: &Step,
        key: &Digest,
        make: impl FnOnce(&mut Self) -> Result<Option<Snapshot>>,
    ) -> Result<Made> {
        let store = self.store();
        let cache = Cache::new(&store);
        let found = if self.options.no_cache { None } else { cache.find(key) };
        self.tell(&step.text, found.is_some());
        if let Some(made) = found {
            return Ok(made);
        }
        let layer = match make(self)? {
            Some(snapshot) => store.layers().commit(snapshot)?,
            None => None,
        };
        let made = Made { layer, created: Timestamp::now() };
        cache.record(key, &made)?;
        Ok(made)
    }

    /// The key of a step above `state`.
    fn key(&self, kind: &str, state: &State, parts: &[&str]) -> Digest {
        let layers: Vec<String> = state.diff_ids().iter().map(Digest::to_string).collect();
        // Without root there are no owners.
        let privilege = if nix::unistd::geteuid().is_root() { "root" } else { "user" };
        let platform = state.config.platform().to_string();
        Cache::key(&[&[kind, privilege, &platform, &layers.join(" ")], parts].concat())
    }

    /// The files of an origin other than the context.
    fn tree(&self, origin: &Origin, state: &State) -> Result<Option<Tree>> {
        let store = &self.services.store;
        Ok(match origin {
            Origin::Context => None,
            Origin::Directory(path) => {
                let name = path.display().to_string();
                Some(Tree::directory(&host_path("the source", path)?, name))
            }
            Origin::Stage(index) => {
                let state = self.stages.get(index);
                let state = state.ok_or_else(|| Error::invalid(format!("stage {index} is not built")))?;
                Some(Tree::image(state.view(store)?, "the stage".to_owned()))
            }
            Origin::Image(reference) => {
                let image = self.resolver.resolve(reference, &state.config.platform())?;
                let view = State::of(image)?.view(store)?;
                Some(Tree::image(view, format!("image {reference}")))
            }
        })
    }

    /// The mounts of a `RUN`, the digests of what comes from trees, and what must outlive the run.
    fn mounts(&self, state: &State, run: &Run) -> Result<(Vec<Mount>, Vec<Digest>, Vec<Snapshot>)> {
        let (mut mounts, mut digests, mut held) = (Vec::new(), Vec::new(), Vec::new());
        for (source, target) in &self.options.binds {
            let source = host_path("the bound path", source)?;
            mounts.push(Mount::Bind { source, target: target.clone(), read_only: true });
        }
        let workdir = workdir_of(&state.config);
        let target = |path: &str| PathBuf::from(absolute(&workdir, path.trim_end_matches('/')));
        for mount in &run.mounts {
            match mount {
                StepMount::Tmpfs { target: path } => {
                    mounts.push(Mount::Tmpfs { target: target(path), size: TMPFS_SIZE });
                }
                StepMount::Secret { id, target: path, required } => {
                    let path = path.clone().unwrap_or_else(|| format!("/run/secrets/{id}"));
                    match self.options.secrets.get(id) {
                        Some(file) => {
                            let source = host_path(&format!("the file of secret {id}"), file)?;
                            mounts.push(Mount::Bind { source, target: target(&path), read_only: true });
                        }
                        None if *required => {
                            let message = format!("the secret {id} is required");
                            return Err(Error::new(ErrorKind::NotFound, message).hint("give it with .secret(id, path)"));
                        }
                        None => {}
                    }
                }
                StepMount::Bind { origin, source, target: path } => {
                    let (snapshot, inside, digest) = self.bound(state, origin, source)?;
                    let source = snapshot.upper().join(inside);
                    mounts.push(Mount::Bind { source, target: target(path), read_only: true });
                    digests.push(digest);
                    held.push(snapshot);
                }
            }
        }
        Ok((mounts, digests, held))
    }

    /// A copy of `source`, to be bound: what is left out of the context is left out here, too, and no link leads out.
    fn bound(&self, state: &State, origin: &Origin, source: &str) -> Result<(Snapshot, PathBuf, Digest)> {
        let made = self.tree(origin, state)?;
        let tree = made.as_ref().or(self.context.filter(|_| *origin == Origin::Context));
        let tree = tree.ok_or_else(|| Error::invalid("there is no build context to bind"))?;
        let selected = tree.select(source)?;
        let digest = tree.digest(&selected, true)?;
        let [only] = selected.as_slice() else {
            return Err(Error::invalid(format!("the bind source {source} stands for {} files", selected.len())));
        };
        let snapshot = self.services.store.layers().stage_tree()?;
        let mut writer = Writer::new(&snapshot)?;
        writer.copy(tree, only, "/bound", false, &Overrides::default())?;
        writer.finish()?;
        Ok((snapshot, PathBuf::from("bound"), digest))
    }

    fn tell(&mut self, text: &str, cached: bool) {
        let (number, total) = (self.number, self.total.max(self.number));
        (self.progress)(&BuildEvent::Step { number, total, text: text.to_owned(), cached });
    }

    fn store(&self) -> Store {
        self.services.store.clone()
    }
}
