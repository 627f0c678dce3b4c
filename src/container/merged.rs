//! The logs of several containers as one, in the order of time.

use super::handle::Container;
use super::log::{LogLine, Logs, Progress, log_events};
use crate::error::During;
use crate::kernel::PidFd;
use crate::value::{ContainerId, Name, Timestamp};
use crate::{Error, ErrorKind, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use std::collections::BTreeSet;
use std::fmt;
use std::fs::DirBuilder;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How many times in a row events are fetched before it is taken for granted that every log has grown.
const EVENT_ROUNDS: usize = 16;

/// How often a container is looked at whose keeper is not known yet because its start is under way.
const TICK: Duration = Duration::from_millis(100);

/// A line of one of several containers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MergedLine {
    /// Who wrote it.
    pub container: ContainerId,
    /// The name of the container, where it has one.
    pub name: Option<Name>,
    /// What it wrote.
    pub line: LogLine,
}

/// `name: text`, with the id in place of a missing name.
impl fmt::Display for MergedLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.as_ref().map_or(self.container.as_str(), |name| name.as_str());
        write!(f, "{name}: {}", self.line)
    }
}

/// The lines of several containers' logs, oldest first.
///
/// The lines of one container keep the order in which it wrote them. Lines of different containers are ordered by their
/// times, in nanoseconds, and where these are equal by the order in which the containers were added. One line of each
/// container is in memory at a time, whatever their logs hold.
///
/// While containers are [followed](Self::follow), one that is silent now may still get an earlier line into its log; so
/// a line is held back until it is [`HOLD`](Self::HOLD) old. Nothing else is waited for: one descriptor watches all logs,
/// without a thread and without asking again and again. All containers must be of one engine's root.
pub struct MergedLogs {
    sources: Vec<Source>,
    known: BTreeSet<ContainerId>,
    follow: bool,
    watch: Option<Inotify>,
    discovery: Option<Discovery>,
}

/// The log of one container.
struct Source {
    container: Container,
    logs: Logs,
    /// The next line, and since when it has been known.
    head: Option<(LogLine, Instant)>,
    watch: Option<WatchDescriptor>,
    keeper: Keeper,
    /// Whether there may be something that has not been read.
    changed: bool,
}

/// The process whose end is the end of a log.
enum Keeper {
    /// Its number is not written down yet.
    Unknown,
    Known(PidFd),
    /// It has ended, and somebody else may hold its lock for a moment.
    Ended,
}

/// Asks for the containers that there are.
type Ask = dyn FnMut() -> Result<Option<Vec<Container>>> + Send;

/// Where further containers come from.
struct Discovery {
    /// The directory of all containers: something in it changes whenever one comes or goes.
    directory: PathBuf,
    watch: Option<WatchDescriptor>,
    changed: bool,
    ask: Box<Ask>,
}

/// Which line is next.
enum Choice {
    /// The head of this source.
    Take(usize),
    /// There is one, but it may not be the oldest before this time has passed.
    Hold(Duration),
    /// None is known.
    Nothing,
    /// No more will come.
    Ended,
}

impl MergedLogs {
    /// How long a line is held back at most, so that an earlier one of another container can come before it.
    pub const HOLD: Duration = Duration::from_millis(200);

    /// The logs of these containers.
    pub fn new(containers: impl IntoIterator<Item = Container>) -> MergedLogs {
        let mut logs =
            MergedLogs { sources: Vec::new(), known: BTreeSet::new(), follow: false, watch: None, discovery: None };
        containers.into_iter().for_each(|container| logs.add(container));
        logs
    }

    /// At the end waits for more, until all containers have ended.
    #[must_use]
    pub fn follow(mut self) -> MergedLogs {
        self.follow = true;
        self.sources.iter_mut().for_each(|source| source.logs = source.container.logs().follow());
        self
    }

    /// Adds a container, unless it is there already.
    pub fn add(&mut self, container: Container) {
        if self.known.insert(container.id().clone()) {
            let logs = container.logs();
            let logs = if self.follow { logs.follow() } else { logs };
            self.sources.push(Source {
                container,
                logs,
                head: None,
                watch: None,
                keeper: Keeper::Unknown,
                changed: true,
            });
        }
    }

    /// Takes in the containers that `ask` names: now, and while the logs are followed whenever a container of `engine`
    /// was made or removed, until it answers `None`. Those that it no longer names stay until their own end.
    #[must_use]
    pub(crate) fn discover(
        mut self,
        directory: PathBuf,
        ask: impl FnMut() -> Result<Option<Vec<Container>>> + Send + 'static,
    ) -> MergedLogs {
        self.discovery = Some(Discovery { directory, watch: None, changed: true, ask: Box::new(ask) });
        self
    }

    /// The next line, waited for at most `limit`; `None` where none came or all has ended.
    ///
    /// # Errors
    /// What reading a log reports, and `ResourceExhausted` where the user has no inotify watch left.
    pub fn next_within(&mut self, limit: Duration) -> Result<Option<MergedLine>> {
        self.next_before(Some(Instant::now() + limit))
    }

    /// Whether no line will come any more, as far as is known from what has been read.
    pub fn has_ended(&self) -> bool {
        let more = self.discovery.as_ref().is_some_and(|discovery| self.follow || discovery.changed);
        self.sources.is_empty() && !more
    }

    fn next_before(&mut self, deadline: Option<Instant>) -> Result<Option<MergedLine>> {
        loop {
            // Read before the logs are: what is missing from them came later.
            let now = (Timestamp::now(), Instant::now());
            self.look()?;
            let choice = self.choose(now);
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            match choice {
                Choice::Take(index) => return Ok(self.take(index)),
                Choice::Ended => return Ok(None),
                _ if left.is_some_and(|left| left.is_zero()) => return Ok(None),
                // Not woken by each line that is written meanwhile.
                Choice::Hold(time) => std::thread::sleep(left.map_or(time, |left| left.min(time))),
                Choice::Nothing => self.wait(left)?,
            }
        }
    }

    /// Fills every head that can be filled.
    fn look(&mut self) -> Result<()> {
        self.read_events()?;
        self.ask_for_containers()?;
        self.watch_sources()?;
        let mut index = 0;
        while let Some(source) = self.sources.get_mut(index) {
            let idle = source.head.is_some() || !source.changed;
            match if idle { Ok(true) } else { source.read() } {
                Ok(true) => index += 1,
                Ok(false) => self.remove(index),
                Err(error) => {
                    let error = error.context(format!("log of container {}", source.shown()));
                    // A malformed line is passed over; what cannot be read is given up, for the sake of the others.
                    if error.kind() != ErrorKind::Corrupt {
                        self.remove(index);
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn remove(&mut self, index: usize) {
        let source = self.sources.remove(index);
        if let (Some(watch), Some(descriptor)) = (&self.watch, source.watch) {
            // That of a removed directory is gone already.
            let _ = watch.rm_watch(descriptor);
        }
    }

    fn choose(&self, now: (Timestamp, Instant)) -> Choice {
        let heads = self.sources.iter().enumerate();
        let heads = heads.filter_map(|(index, source)| source.head.as_ref().map(|(line, seen)| (index, line, seen)));
        let Some((index, line, seen)) = heads.min_by_key(|(index, line, _)| (line.time, *index)) else {
            return if self.has_ended() { Choice::Ended } else { Choice::Nothing };
        };
        // The age by the clock spares the lines of long ago the wait; the time since it was seen bounds the wait where
        // the clock was set back.
        let age = age(line.time, now.0).max(now.1.saturating_duration_since(*seen));
        match self.sources.iter().all(|source| source.head.is_some()) || age >= MergedLogs::HOLD {
            true => Choice::Take(index),
            false => Choice::Hold(MergedLogs::HOLD - age),
        }
    }

    fn take(&mut self, index: usize) -> Option<MergedLine> {
        let source = &mut self.sources[index];
        let (line, _) = source.head.take()?;
        Some(MergedLine { container: source.container.id().clone(), name: source.container.name().cloned(), line })
    }

    fn ask_for_containers(&mut self) -> Result<()> {
        let Some(mut discovery) = self.discovery.take() else { return Ok(()) };
        let answer = match discovery.changed {
            true => self.watch_containers(&mut discovery).and_then(|()| (discovery.ask)()),
            false => Ok(Some(Vec::new())),
        };
        match answer {
            Ok(Some(containers)) => {
                if std::mem::take(&mut discovery.changed) {
                    // Ended ones are remembered only as long as they are named.
                    let named = containers.iter().chain(self.sources.iter().map(|source| &source.container));
                    let named: BTreeSet<&ContainerId> = named.map(Container::id).collect();
                    self.known.retain(|id| named.contains(id));
                }
                containers.into_iter().for_each(|container| self.add(container));
                self.discovery = Some(discovery);
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(error) => {
                self.discovery = Some(discovery);
                Err(error)
            }
        }
    }

    fn watch_containers(&mut self, discovery: &mut Discovery) -> Result<()> {
        if self.follow && discovery.watch.is_none() {
            let events = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_MOVED_FROM | AddWatchFlags::IN_DELETE;
            let path = &discovery.directory;
            // Where no container was ever made there is none.
            DirBuilder::new().mode(0o700).recursive(true).create(path).during(|| "watch for containers")?;
            discovery.watch = Some(self.watch()?.add_watch(path, events).during(|| "watch for containers")?);
        }
        Ok(())
    }

    /// Watches the logs that are not watched yet: before they are read, so that nothing is missed.
    fn watch_sources(&mut self) -> Result<()> {
        if !self.follow {
            return Ok(());
        }
        for index in 0..self.sources.len() {
            if self.sources[index].watch.is_none() {
                let path = self.sources[index].logs.directory().log();
                let watch = match self.watch()?.add_watch(&path, log_events()) {
                    Ok(watch) => Some(watch),
                    // Removed; its reader finds nothing and ends.
                    Err(Errno::ENOENT) => None,
                    Err(errno) => {
                        return Err(Error::os("watch the log", errno as i32)
                            .hint("raise fs.inotify.max_user_watches or follow fewer containers"));
                    }
                };
                self.sources[index].watch = watch;
            }
        }
        Ok(())
    }

    fn watch(&mut self) -> Result<&Inotify> {
        if self.watch.is_none() {
            let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).during(|| "watch the logs")?;
            self.watch = Some(watch);
        }
        self.watch.as_ref().ok_or_else(|| Error::os("watch the logs", Errno::EBADF as i32))
    }

    /// Marks what has changed since the last time.
    fn read_events(&mut self) -> Result<()> {
        let Some(watch) = &self.watch else { return Ok(()) };
        for _ in 0..EVENT_ROUNDS {
            let events = match watch.read_events() {
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => continue,
                events => events.during(|| "watch the logs")?,
            };
            for event in events {
                let all = event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
                for source in &mut self.sources {
                    source.changed |= all || source.watch == Some(event.wd);
                }
                if let Some(discovery) = &mut self.discovery {
                    discovery.changed |= all || discovery.watch == Some(event.wd);
                }
            }
        }
        self.sources.iter_mut().for_each(|source| source.changed = true);
        Ok(())
    }

    /// Waits until a log grows, a container ends or comes, or `limit` has passed. No head is known.
    fn wait(&mut self, limit: Option<Duration>) -> Result<()> {
        let Some(watch) = &self.watch else { return Ok(()) };
        let known = |source: &Source| matches!(source.keeper, Keeper::Known(_));
        let tick = (!self.sources.iter().all(known)).then_some(TICK);
        // Rounded up: a wait that is too short would be waited again.
        let limit = [limit, tick].into_iter().flatten().min().map(|limit| limit + Duration::from_millis(1));
        let limit = limit.map_or(PollTimeout::NONE, |limit| PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX));
        let keepers = self.sources.iter().filter_map(|source| match &source.keeper {
            Keeper::Known(keeper) => Some(keeper.as_fd()),
            _ => None,
        });
        let descriptors = std::iter::once(watch.as_fd()).chain(keepers);
        let mut polled: Vec<PollFd<'_>> = descriptors.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut polled, limit) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::os("watch the logs", errno as i32)),
        }
        let ready: Vec<bool> = polled.iter().skip(1).map(|fd| fd.any().unwrap_or(true)).collect();
        let mut ready = ready.into_iter();
        for source in &mut self.sources {
            match source.keeper {
                Keeper::Known(_) if ready.next() != Some(true) => continue,
                Keeper::Known(_) => source.keeper = Keeper::Ended,
                Keeper::Unknown | Keeper::Ended => {}
            }
            source.changed = true;
        }
        Ok(())
    }
}

impl Source {
    /// Looks for the next line; whether there is or may come one.
    fn read(&mut self) -> Result<bool> {
        match self.logs.advance()? {
            Progress::Line(line) => self.head = Some((line, Instant::now())),
            Progress::Later => {
                self.changed = false;
                self.find_keeper();
            }
            Progress::Ended => return Ok(false),
        }
        Ok(true)
    }

    fn find_keeper(&mut self) {
        let directory = self.logs.directory();
        if matches!(self.keeper, Keeper::Unknown)
            && let Some((_, keeper)) = directory.processes()
            && let Ok(keeper) = PidFd::open(keeper)
        {
            // Locked still, so the number opened above is the keeper's.
            match directory.is_alive() {
                true => self.keeper = Keeper::Known(keeper),
                false => self.changed = true,
            }
        }
    }

    fn shown(&self) -> &str {
        self.container.name().map_or(self.container.id().as_str(), |name| name.as_str())
    }
}

/// How old something of `time` is; 0 where the clock was set back since.
fn age(time: Timestamp, now: Timestamp) -> Duration {
    let nanoseconds = |time: Timestamp| i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanoseconds);
    let age = (nanoseconds(now) - nanoseconds(time)).max(0);
    Duration::from_nanos(u64::try_from(age).unwrap_or(u64::MAX))
}

impl Iterator for MergedLogs {
    type Item = Result<MergedLine>;

    fn next(&mut self) -> Option<Result<MergedLine>> {
        self.next_before(None).transpose()
    }
}

impl fmt::Debug for MergedLogs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MergedLogs")
            .field("containers", &self.known)
            .field("follow", &self.follow)
            .finish_non_exhaustive()
    }
}
