//! A detached container, from any process.

use super::assembly::Holdings;
use super::attached::read_holdings;
use super::detach::pin_name;
use super::directory::{Directory, find_name};
use super::exit::ContainerExit;
use super::health::{HealthReport, HealthState};
use super::log::Logs;
use super::published::Published;
use super::services::Services;
use super::specification::{ReplicaOf, Specification};
use crate::cgroup::{Cgroup, CpuStats, IoStats, Limits, MemoryStats, PidsStats, Pressure, ProcessorWait};
use crate::error::{Context, During};
use crate::kernel::PidFd;
use crate::network::{NetworkStats, PublishedPort};
use crate::value::{ContainerId, Name, Timestamp};
use crate::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A detached container: it lives on when this value is dropped and when this process ends.
#[derive(Debug, Clone)]
pub struct Container {
    services: Arc<Services>,
    directory: Directory,
    specification: Arc<Specification>,
}

/// What a container is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContainerState {
    /// It runs; this is the number of its first process on the host.
    Running(i32),
    /// It has ended and is about to be started again by its keeper; it may also be in the middle of that.
    Restarting {
        /// How it ended last.
        last: ContainerExit,
    },
    /// It has ended.
    Exited(ContainerExit),
}

/// What a container uses.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ContainerStats {
    /// Memory.
    pub memory: MemoryStats,
    /// Processor time.
    pub cpu: CpuStats,
    /// Processes and threads.
    pub pids: PidsStats,
    /// Block devices, where the kernel counts them.
    pub io: Option<IoStats>,
    /// Pressure, where the kernel counts it.
    pub pressure: Option<Pressure>,
    /// The bridge network; `None` without one.
    pub network: Option<NetworkStats>,
}

/// How often a stop that should have happened is asked for again.
const STOP_TICK: Duration = Duration::from_secs(5);

/// Tells a keeper to look whether its container is to be stopped.
const KEEPER_SIGNAL: i32 = libc::SIGUSR1;

impl Container {
    /// The container with this id.
    pub(crate) fn open(services: &Arc<Services>, id: &ContainerId) -> Result<Container> {
        let directory = Directory::of(services, id);
        if !directory.path().exists() {
            return Err(Error::new(ErrorKind::NotFound, format!("there is no container {id}")));
        }
        let specification = Arc::new(directory.specification()?);
        Ok(Container { services: services.clone(), directory, specification })
    }

    /// The container of this name, or with this id.
    pub(crate) fn find(services: &Arc<Services>, text: &str) -> Result<Container> {
        let named = text.parse::<Name>().ok().and_then(|name| find_name(services, &name));
        let id = named.or_else(|| text.parse().ok());
        id.map_or_else(
            || Err(Error::new(ErrorKind::NotFound, format!("there is no container {text}"))),
            |id| Container::open(services, &id),
        )
    }

    /// Its identifier.
    pub fn id(&self) -> &ContainerId {
        &self.specification.id
    }

    /// Its name, where it was given one.
    pub fn name(&self) -> Option<&Name> {
        self.specification.name.as_ref()
    }

    /// The reference of its image.
    pub fn image(&self) -> &str {
        &self.specification.image
    }

    /// The labels it was given.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.specification.labels
    }

    /// When it was made.
    pub fn created(&self) -> Timestamp {
        self.specification.created
    }

    /// Its published ports, with the numbers the kernel chose for 0.
    pub fn ports(&self) -> Vec<PublishedPort> {
        self.attachment().map_or_else(Vec::new, |record| record.ports)
    }

    /// Its address on the bridge network.
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.attachment().map(|record| record.address)
    }

    /// What it is doing.
    ///
    /// # Errors
    /// `NotFound` once it has been removed.
    pub fn state(&self) -> Result<ContainerState> {
        if !self.directory.path().exists() {
            return Err(self.not_found());
        }
        if let Some(exit) = self.directory.exit()? {
            return Ok(ContainerState::Exited(exit));
        }
        if self.directory.is_alive()
            && let Some((process, _)) = self.directory.processes()
        {
            match process {
                0 => return Ok(ContainerState::Restarting { last: self.directory.last()? }),
                _ => return Ok(ContainerState::Running(process)),
            }
        }
        // The keeper may have recorded the end between the two looks; if not, it died without a word.
        match self.directory.exit()? {
            Some(exit) => Ok(ContainerState::Exited(exit)),
            None if self.directory.is_alive() => {
                Err(Error::new(ErrorKind::InUse, format!("container {} is being started", self.shown())))
            }
            None => {
                let adopted = super::recovery::adopt_lost(&self.services, &self.directory);
                match self.directory.exit()? {
                    Some(exit) => Ok(ContainerState::Exited(exit)),
                    // Its end could not be recorded, on a full disk for example; that it has ended is certain.
                    None if self.directory.path().exists() => Ok(ContainerState::Exited(ContainerExit::lost())),
                    None => adopted.and_then(|()| Err(self.not_found())),
                }
            }
        }
    }

    /// What its health checks say; [`HealthState::Unchecked`] without one. After its end: what they said last.
    ///
    /// # Errors
    /// `NotFound` once it has been removed.
    pub fn health(&self) -> Result<HealthReport> {
        let unchecked =
            || HealthReport { state: HealthState::Unchecked, since: self.created(), failures: 0, finding: None };
        Ok(self.published()?.map_or_else(unchecked, |published| published.health))
    }

    /// How many times its keeper has started it again.
    ///
    /// # Errors
    /// `NotFound` once it has been removed.
    pub fn restarts(&self) -> Result<u32> {
        Ok(self.published()?.map_or(0, |published| published.restarts))
    }

    fn published(&self) -> Result<Option<Published>> {
        match Published::read(self.directory.path())? {
            None if !self.directory.path().exists() => Err(self.not_found()),
            published => Ok(published),
        }
    }

    /// Whether it runs.
    ///
    /// # Errors
    /// As [`state`](Self::state).
    pub fn is_running(&self) -> Result<bool> {
        Ok(matches!(self.state()?, ContainerState::Running(_)))
    }

    /// Sends a signal to its command; SIGKILL ends all its processes. That it has ended is no error. One with a
    /// [`Restart`](crate::Restart) is started again when that ends it: [`stop`](Self::stop) is what ends it for good.
    ///
    /// # Errors
    /// As [`state`](Self::state).
    pub fn kill(&self, signal: i32) -> Result<()> {
        match self.state()? {
            ContainerState::Running(process) => self.signal(process, process, signal),
            _ => Ok(()),
        }
    }

    /// Asks it to stop, by its stop signal; kills it where it has not ended within `grace`. It is not started again,
    /// whatever its [`Restart`](crate::Restart) says; one that waits for a restart stays as it ended last.
    ///
    /// # Errors
    /// As [`state`](Self::state).
    pub fn stop(&self, grace: Duration) -> Result<ContainerExit> {
        self.ask_to_stop(self.specification.stop_signal)?;
        if let Some(exit) = self.wait_for(grace)? {
            return Ok(exit);
        }
        loop {
            self.ask_to_stop(libc::SIGKILL)?;
            if let Some(exit) = self.wait_for(STOP_TICK)? {
                return Ok(exit);
            }
        }
    }

    /// Sends a signal to the command, or, between two runs, word to the keeper not to start another.
    fn ask_to_stop(&self, signal: i32) -> Result<()> {
        if self.specification.restart.is_possible() {
            // First of all: the keeper looks for it after each end, so it restarts nothing that is signalled below.
            self.directory.mark_as_stopped()?;
        }
        match self.state() {
            Ok(ContainerState::Running(process)) => self.signal(process, process, signal),
            // A keeper that is starting the next run ends that, or, once it runs, sends it the stop signal itself.
            Ok(ContainerState::Restarting { .. }) => match self.directory.processes() {
                Some((0, keeper)) => self.signal(0, keeper, KEEPER_SIGNAL),
                // It has just been started.
                Some((process, _)) => self.signal(process, process, signal),
                None => Ok(()),
            },
            other => other.map(drop),
        }
    }

    /// Sends a signal to `target`, which is the container's as long as `first` is on record as its first process.
    fn signal(&self, first: i32, target: i32, signal: i32) -> Result<()> {
        let operation = || format!("send signal {signal} to container {}", self.shown());
        let pidfd = match PidFd::open(target) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(()),
            opened => opened.during(operation)?,
        };
        // The keeper gives a number free only after it has recorded the end, or that there is no process for now, or by
        // its own death: it lives and the record is as it was, so what was opened above is the container's.
        let same = self.directory.processes().is_some_and(|(now, keeper)| now == first || keeper == target);
        if !same || !self.directory.is_alive() || self.directory.exit()?.is_some() {
            return Ok(());
        }
        match pidfd.send_signal(signal) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            sent => sent.during(operation),
        }
    }

    /// Waits for its end, and before that for its start where that is under way.
    ///
    /// # Errors
    /// `NotFound` once it has been removed, which one whose start was cut off is.
    pub fn wait(&self) -> Result<ContainerExit> {
        loop {
            if let Some(exit) = self.ended()? {
                // What it held is given back by the time its keeper is gone.
                self.directory.wait_until_dead()?;
                return Ok(exit);
            }
            self.directory.wait_until_dead()?;
        }
    }

    /// How it ended, if it has. One that is being started, by a host that may be dead by now, has not.
    fn ended(&self) -> Result<Option<ContainerExit>> {
        match self.state() {
            Ok(ContainerState::Exited(exit)) => Ok(Some(exit)),
            Err(error) if error.kind() != ErrorKind::InUse => Err(error),
            _ => Ok(None),
        }
    }

    /// Waits for its end, at most `limit`; `None` where it still runs then.
    ///
    /// # Errors
    /// As [`state`](Self::state).
    pub fn wait_for(&self, limit: Duration) -> Result<Option<ContainerExit>> {
        let deadline = Instant::now() + limit;
        loop {
            if self.ended()?.is_some() {
                return self.wait().map(Some);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let keeper = self.directory.processes().and_then(|(_, keeper)| PidFd::open(keeper).ok());
            match keeper {
                // Locked still, so the number opened above is the keeper's.
                Some(keeper) if self.directory.is_alive() => {
                    keeper.wait_readable(left);
                }
                _ => std::thread::sleep(left.min(Duration::from_millis(5))),
            }
        }
    }

    /// What it uses now.
    ///
    /// # Errors
    /// `NotFound` once it has ended, `Unsupported` where it has no control group.
    pub fn stats(&self) -> Result<ContainerStats> {
        let holdings = read_holdings(self.directory.path()).unwrap_or_default();
        let group = self.group(&holdings)?;
        let stats = group.stats().context(|| format!("statistics of container {}", self.shown()))?;
        let network = match &holdings.attachment {
            Some(record) => self.services.networks.stats(record)?,
            None => None,
        };
        Ok(ContainerStats {
            memory: stats.memory,
            cpu: stats.cpu,
            pids: stats.pids,
            io: stats.io,
            pressure: stats.pressure,
            network,
        })
    }

    /// How long its threads have waited for a processor; see [`Cgroup::processor_wait`].
    ///
    /// # Errors
    /// As [`stats`](Self::stats).
    pub fn processor_wait(&self) -> Result<Option<ProcessorWait>> {
        let holdings = read_holdings(self.directory.path()).unwrap_or_default();
        let waits = self.group(&holdings)?.processor_wait();
        waits.context(|| format!("statistics of container {}", self.shown()))
    }

    fn group(&self, holdings: &Holdings) -> Result<Cgroup> {
        holdings.cgroup.as_ref().map(Cgroup::open).ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, format!("container {} has no control group", self.shown()))
        })
    }

    /// What it has written, line by line; see [`Logs::follow`].
    pub fn logs(&self) -> Logs {
        Logs::new(self.directory.clone())
    }

    /// Removes it and all its files.
    ///
    /// # Errors
    /// `InUse` while it runs.
    pub fn remove(self) -> Result<()> {
        if self.directory.path().exists() && !matches!(self.state()?, ContainerState::Exited(_)) {
            return Err(Error::new(ErrorKind::InUse, format!("container {} runs", self.shown())).hint("stop it first"));
        }
        self.remove_ended()
    }

    pub(crate) fn remove_ended(&self) -> Result<()> {
        self.directory.wait_until_dead()?;
        if let Some(holdings) = read_holdings(self.directory.path()) {
            holdings.undo(&self.services)?;
        }
        self.directory.remove(&self.services, self.name())?;
        self.services.store.pins().release(&pin_name(&self.specification)?)?;
        Ok(())
    }

    fn attachment(&self) -> Option<crate::network::AttachmentRecord> {
        read_holdings(self.directory.path()).and_then(|holdings| holdings.attachment)
    }

    fn not_found(&self) -> Error {
        Error::new(ErrorKind::NotFound, format!("there is no container {}", self.shown()))
    }

    /// What it is a replica of.
    pub(crate) fn replica_of(&self) -> Option<&ReplicaOf> {
        self.specification.replica.as_ref()
    }

    /// What it may use.
    pub(crate) fn limits(&self) -> &Limits {
        &self.specification.limits
    }

    /// Where it is on disk.
    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Its name, else its id.
    pub(crate) fn shown(&self) -> &str {
        self.name().map_or(self.id().as_str(), |name| name.as_str())
    }
}
