//! `RUN`: a command in a container above the layers so far.

use super::configuration::{DEFAULT_PATH, environment_of, shell_of, workdir_of};
use super::event::BuildEvent;
use super::state::State;
use super::step::{Run, argv};
use super::stub::Stubs;
use super::tree::text_of;
use crate::cgroup::{Limits, Policy};
use crate::container::{Chunk, LogOptions, Mount, Restart, Services, Specification, run_in, user};
use crate::launch::ExitStatus;
use crate::network::Network;
use crate::store::Snapshot;
use crate::value::{ContainerId, EnvVar, User};
use crate::{Error, ErrorKind, Result, Timestamp};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

/// How many of the last lines of a failed command its error repeats.
const LINES_REPEATED: usize = 10;

/// The longest line that is kept in one piece, in bytes.
const LINE_BUDGET: usize = 4096;

/// The size of a tmpfs that a step asks for: as much as the kernel gives by default would depend on the machine.
pub(super) const TMPFS_SIZE: u64 = 1 << 30;

/// Runs the command in the snapshot, which takes its changes, and leaves nothing of the engine's own in it.
pub(super) fn run(
    services: &Arc<Services>,
    state: &State,
    step: &Run,
    environment: &BTreeMap<String, String>,
    (mounts, network): (Vec<Mount>, Network),
    snapshot: &Snapshot,
    progress: &mut dyn FnMut(&BuildEvent),
) -> Result<()> {
    let specification = specification(state, step, environment, mounts, network, snapshot)?;
    let mut targets: Vec<PathBuf> = specification.mounts.iter().map(|mount| target_of(mount).clone()).collect();
    targets.push(specification.working_directory.clone());
    let stubs = Stubs::find(&snapshot.view(), &targets)?;
    let mut lines = Lines::default();
    let mut on_output = |chunk: Chunk<'_>| lines.take(chunk, progress);
    let output = run_in(services, &specification, snapshot, None, Some(&mut on_output))?;
    lines.finish(progress);
    match output.status {
        ExitStatus::Exited(0) => stubs.remove(snapshot),
        status => {
            let error = Error::new(ErrorKind::CommandFailed, status.to_string());
            Err(match lines.last.is_empty() {
                true => error,
                false => error.hint(format!("it wrote last: {}", lines.last.make_contiguous().join(" | "))),
            })
        }
    }
}

fn specification(
    state: &State,
    step: &Run,
    environment: &BTreeMap<String, String>,
    mounts: Vec<Mount>,
    network: Network,
    snapshot: &Snapshot,
) -> Result<Specification> {
    let config = &state.config;
    let user = config.config.as_ref().and_then(|config| config.user.clone()).filter(|user| !user.is_empty());
    let identity = user::resolve(&snapshot.view(), &user.as_deref().unwrap_or("0").parse::<User>()?)?;
    let command = argv(&step.command, &shell_of(config));
    if command.is_empty() {
        return Err(Error::invalid("names no command"));
    }
    let mut variables = BTreeMap::from([("PATH".to_owned(), DEFAULT_PATH.to_owned()), ("HOME".into(), identity.home)]);
    variables.extend(environment.clone());
    variables.extend(step.arguments.iter().cloned());
    variables.extend(environment_of(config));
    Ok(Specification {
        version: 1,
        id: ContainerId::random()?,
        name: None,
        image: String::new(),
        layers: state.diff_ids(),
        command,
        environment: variables.into_iter().map(|(name, value)| EnvVar::new(name, value)).collect::<Result<_>>()?,
        working_directory: workdir_of(config).into(),
        user: identity.user,
        group: identity.group,
        additional_groups: identity.additional_groups,
        hostname: "build".to_owned(),
        limits: Limits::new(),
        policy: Policy::Strict,
        network,
        ports: Vec::new(),
        networks: Vec::new(),
        service: None,
        mounts,
        init: true,
        read_only: false,
        capabilities: None,
        seccomp: true,
        stop_signal: libc::SIGTERM,
        labels: BTreeMap::new(),
        log: LogOptions::default(),
        health: None,
        restart: Restart::never(),
        created: Timestamp::now(),
        replica: None,
    })
}

/// Where a mount goes.
pub(super) fn target_of(mount: &Mount) -> &PathBuf {
    match mount {
        Mount::Bind { target, .. } | Mount::Tmpfs { target, .. } | Mount::Volume { target, .. } => target,
    }
}

/// A file or directory of the host, by its absolute path without links.
pub(super) fn host_path(what: &str, path: &std::path::Path) -> Result<PathBuf> {
    let found = path.canonicalize().map_err(|error| {
        Error::new(ErrorKind::NotFound, format!("{what} {} cannot be found", path.display())).source_error(error)
    })?;
    text_of(found.as_os_str())?;
    Ok(found)
}

/// Output by lines.
#[derive(Default)]
struct Lines {
    partial: [Vec<u8>; 2],
    last: VecDeque<String>,
}

impl Lines {
    fn take(&mut self, chunk: Chunk<'_>, progress: &mut dyn FnMut(&BuildEvent)) {
        let (index, bytes) = match chunk {
            Chunk::Stdout(bytes) => (0, bytes),
            Chunk::Stderr(bytes) => (1, bytes),
        };
        for &byte in bytes {
            if byte == b'\n' || self.partial[index].len() >= LINE_BUDGET {
                self.line(index, progress);
            }
            if byte != b'\n' {
                self.partial[index].push(byte);
            }
        }
    }

    fn finish(&mut self, progress: &mut dyn FnMut(&BuildEvent)) {
        for index in 0..2 {
            if !self.partial[index].is_empty() {
                self.line(index, progress);
            }
        }
    }

    /// Control characters are a terminal's, not a log's: what follows a lone carriage return counts.
    fn line(&mut self, index: usize, progress: &mut dyn FnMut(&BuildEvent)) {
        let bytes = std::mem::take(&mut self.partial[index]);
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end_matches('\r');
        let text = text.rsplit('\r').next().unwrap_or_default();
        let text: String = text.chars().filter(|c| !c.is_control() || *c == '\t').collect();
        progress(&BuildEvent::Output(text.clone()));
        if !text.trim().is_empty() {
            self.last.push_back(text);
        }
        if self.last.len() > LINES_REPEATED {
            self.last.pop_front();
        }
    }
}
