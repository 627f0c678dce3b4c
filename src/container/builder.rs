//! The container builder: what the caller wants, checked and completed from the image by one terminal verb.

use super::handle::Container;
use super::health::{self, Health};
use super::output::{Chunk, Output};
use super::restart::Restart;
use super::services::Services;
use super::specification::{LogOptions, Mount, ReplicaOf, Specification};
use super::user;
use super::{detach, output};
use crate::cgroup::{Limits, Policy};
use crate::error::Context;
use crate::isolate::CapabilitySet;
use crate::network::{Network, PublishedPort};
use crate::spec::RunConfig;
use crate::store::{Snapshot, StoredImage};
use crate::value::{ContainerId, EnvVar, Memory, Name, Port, Timestamp, User, parse_signal};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A container in the making. Setters never fail; the terminal verb ([`output`](Self::output),
/// [`stream`](Self::stream), [`detach`](Self::detach)) reports what is wrong.
///
/// By default it has its image's command, environment, user and working directory, a network of its own on the bridge,
/// no limits, an init as PID 1, Docker's default capabilities, masked paths and seccomp profile, and `no_new_privs`.
#[derive(Debug)]
pub struct ContainerBuilder {
    services: Arc<Services>,
    image: StoredImage,
    name: Option<String>,
    entrypoint: Option<Vec<String>>,
    command: Option<Vec<String>>,
    environment: Vec<(String, String)>,
    working_directory: Option<PathBuf>,
    user: Option<String>,
    hostname: Option<String>,
    limits: Limits,
    policy: Policy,
    network: Network,
    ports: Vec<PublishedPort>,
    networks: Vec<String>,
    service: Option<Name>,
    mounts: Vec<Mount>,
    init: bool,
    read_only: bool,
    capabilities: Option<CapabilitySet>,
    seccomp: bool,
    stop_signal: Option<String>,
    labels: BTreeMap<String, String>,
    log: LogOptions,
    timeout: Option<Duration>,
    replica: Option<ReplicaOf>,
    health: HealthChoice,
    restart: Restart,
}

/// Whose health check applies.
#[derive(Debug, Clone, Default)]
enum HealthChoice {
    #[default]
    Image,
    None,
    Own(Health),
}

impl ContainerBuilder {
    pub(crate) fn new(services: Arc<Services>, image: StoredImage) -> ContainerBuilder {
        ContainerBuilder {
            services,
            image,
            name: None,
            entrypoint: None,
            command: None,
            environment: Vec::new(),
            working_directory: None,
            user: None,
            hostname: None,
            limits: Limits::new(),
            policy: Policy::Strict,
            network: Network::default(),
            ports: Vec::new(),
            networks: Vec::new(),
            service: None,
            mounts: Vec::new(),
            init: true,
            read_only: false,
            capabilities: None,
            seccomp: true,
            stop_signal: None,
            labels: BTreeMap::new(),
            log: LogOptions::default(),
            timeout: None,
            replica: None,
            health: HealthChoice::Image,
            restart: Restart::never(),
        }
    }

    /// A name, unique among the engine's containers: see [`Name`] for its form.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The command, in place of the image's `CMD`; an entry point of the image stays in front of it.
    #[must_use]
    pub fn command<A: Into<String>>(mut self, command: impl IntoIterator<Item = A>) -> Self {
        self.command = Some(command.into_iter().map(Into::into).collect());
        self
    }

    /// The entry point, in place of the image's, whose `CMD` then no longer applies.
    #[must_use]
    pub fn entrypoint<A: Into<String>>(mut self, entrypoint: impl IntoIterator<Item = A>) -> Self {
        self.entrypoint = Some(entrypoint.into_iter().map(Into::into).collect());
        self
    }

    /// Adds a variable to the environment, in place of the image's of that name.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// The working directory, absolute, in place of the image's; made where it is missing.
    #[must_use]
    pub fn workdir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.working_directory = Some(directory.into());
        self
    }

    /// `user[:group]` by name or number, in place of the image's; see [`User`].
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// The host name; its name, else its id, by default.
    #[must_use]
    pub fn hostname(mut self, hostname: impl Into<String>) -> Self {
        self.hostname = Some(hostname.into());
        self
    }

    /// Limits of memory, processors, processes and I/O; none by default.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// What to do with a limit that this host cannot enforce: an error by default.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// The network, [`Network::Bridge`] by default.
    #[must_use]
    pub fn network(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// Puts it into a network of this name on the bridge, in place of `default`; may be called again for further ones.
    /// Containers reach each other, and services, if they have a network in common. See [`Name`] for the form.
    #[must_use]
    pub fn join(mut self, network: impl Into<String>) -> Self {
        self.networks.push(network.into());
        self
    }

    /// Makes it a member of `service`, whose ports of the host it holds while it lives.
    #[must_use]
    pub(crate) fn member_of(mut self, service: Name) -> Self {
        self.service = Some(service);
        self
    }

    /// Publishes a port of the container on every address of the host; host port 0 is the kernel's choice.
    #[must_use]
    pub fn publish(mut self, host_port: u16, container_port: impl Into<Port>) -> Self {
        self.ports.push(PublishedPort::new(host_port, container_port));
        self
    }

    /// Publishes a port of the container on one address of the host.
    #[must_use]
    pub fn publish_on(mut self, port: PublishedPort) -> Self {
        self.ports.push(port);
        self
    }

    /// Binds a file or directory of the host into the container; both paths are absolute.
    #[must_use]
    pub fn bind(mut self, source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        self.mounts.push(Mount::Bind { source: source.into(), target: target.into(), read_only: false });
        self
    }

    /// Binds a file or directory of the host into the container, read-only; both paths are absolute.
    #[must_use]
    pub fn bind_read_only(mut self, source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        self.mounts.push(Mount::Bind { source: source.into(), target: target.into(), read_only: true });
        self
    }

    /// Mounts the named volume, made where it is missing. An empty one takes over what the image has at `target`.
    #[must_use]
    pub fn volume(mut self, name: impl Into<String>, target: impl Into<PathBuf>) -> Self {
        self.mounts.push(Mount::Volume { name: name.into(), target: target.into(), read_only: false });
        self
    }

    /// Mounts the named volume read-only.
    #[must_use]
    pub fn volume_read_only(mut self, name: impl Into<String>, target: impl Into<PathBuf>) -> Self {
        self.mounts.push(Mount::Volume { name: name.into(), target: target.into(), read_only: true });
        self
    }

    /// Mounts an empty memory file system of at most `size`.
    #[must_use]
    pub fn tmpfs(mut self, target: impl Into<PathBuf>, size: Memory) -> Self {
        self.mounts.push(Mount::Tmpfs { target: target.into(), size: size.as_bytes() });
        self
    }

    /// Whether an init runs as PID 1, passes signals on and reaps; on by default. Without it the command itself is
    /// PID 1 and, unless it has handlers, deaf to every signal but SIGKILL.
    #[must_use]
    pub fn init(mut self, on: bool) -> Self {
        self.init = on;
        self
    }

    /// Makes the root file system read-only; mounts keep their own setting.
    #[must_use]
    pub fn read_only(mut self, on: bool) -> Self {
        self.read_only = on;
        self
    }

    /// The capabilities of its processes, [`CapabilitySet::DEFAULT`] by default.
    #[must_use]
    pub fn capabilities(mut self, capabilities: CapabilitySet) -> Self {
        self.capabilities = Some(capabilities);
        self
    }

    /// Whether Docker's default seccomp profile applies; on by default.
    #[must_use]
    pub fn seccomp(mut self, on: bool) -> Self {
        self.seccomp = on;
        self
    }

    /// The signal that asks it to stop, by name or number, in place of the image's; SIGTERM by default.
    #[must_use]
    pub fn stop_signal(mut self, signal: impl Into<String>) -> Self {
        self.stop_signal = Some(signal.into());
        self
    }

    /// A label: free text by key, inert.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// How much of its output is kept; only for [`detach`](Self::detach).
    #[must_use]
    pub fn log(mut self, options: LogOptions) -> Self {
        self.log = options;
        self
    }

    /// The health check, in place of the image's; only for [`detach`](Self::detach), whose keeper runs it.
    #[must_use]
    pub fn health(mut self, health: Health) -> Self {
        self.health = HealthChoice::Own(health);
        self
    }

    /// No health check, not even the image's.
    #[must_use]
    pub fn no_health(mut self) -> Self {
        self.health = HealthChoice::None;
        self
    }

    /// When it is started again after it has ended, [`Restart::never`] by default; only for [`detach`](Self::detach).
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// Kills it after this time; only for [`output`](Self::output) and [`stream`](Self::stream).
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Runs it to its end and returns what it wrote. It is gone afterwards.
    ///
    /// A command that fails is no error: see [`Output::status`]. At most 64 MiB of each stream are kept.
    ///
    /// # Errors
    /// `InvalidInput` where a value makes no sense, `Unsupported` where a limit cannot be enforced, `TimedOut`, and what
    /// [`Sandbox::spawn`](crate::Sandbox::spawn) reports. Nothing is left in any case.
    pub fn output(self) -> Result<Output> {
        self.refuse_what_needs_a_keeper()?;
        let (timeout, services) = (self.timeout, self.services.clone());
        let (specification, snapshot) = self.complete()?;
        output::run(&services, &specification, snapshot, timeout, None)
    }

    /// As [`output`](Self::output), and hands on what it writes as it comes; nothing of it is kept.
    ///
    /// # Errors
    /// As [`output`](Self::output).
    pub fn stream(self, mut on_output: impl FnMut(Chunk<'_>)) -> Result<Output> {
        self.refuse_what_needs_a_keeper()?;
        let (timeout, services) = (self.timeout, self.services.clone());
        let (specification, snapshot) = self.complete()?;
        output::run(&services, &specification, snapshot, timeout, Some(&mut on_output))
    }

    /// Starts it so that it outlives this process: a keeper logs its output and records its end.
    ///
    /// # Errors
    /// As [`output`](Self::output), and `AlreadyExists` where the name is taken, `InUse` where a port is. `InvalidInput`
    /// names everything that is wrong with a health check or a restart rule.
    pub fn detach(self) -> Result<Container> {
        if self.timeout.is_some() {
            return Err(Error::invalid("a container that is detached has no timeout").hint("stop it when you like"));
        }
        let services = self.services.clone();
        let (health, restart) = (self.decided_health()?, self.restart);
        restart.check()?;
        let (mut specification, snapshot) = self.complete()?;
        (specification.health, specification.restart) = (health, restart);
        detach::start(&services, specification, snapshot)
    }

    /// Makes it a replica: what looks after its deployment finds it by this, never by its labels.
    #[must_use]
    pub(crate) fn replica_of(mut self, place: ReplicaOf) -> Self {
        self.replica = Some(place);
        self
    }

    /// Decides everything that the image left open.
    fn complete(self) -> Result<(Specification, Snapshot)> {
        let config = self.image.config.config.clone().unwrap_or_default();
        let command = self.full_command(&config)?;
        let stop_signal = self.stop_signal.as_deref().or(config.stop_signal.as_deref()).unwrap_or("SIGTERM");
        let stop_signal = parse_signal(stop_signal).context(|| "stop signal")?;
        if let Some(port) = self.ports.iter().find(|port| port.container_port.number == 0) {
            return Err(Error::invalid(format!("publish {port}: 0 is no port of a container")));
        }
        let name = self.name.as_deref().map(str::parse::<Name>).transpose()?;
        self.limits.check()?;
        self.mounts.iter().try_for_each(Mount::check)?;
        let layers = self.services.store.layers();
        layers.ensure_image(&self.image)?;
        let diff_ids = self.image.config.rootfs.diff_ids.clone();
        let snapshot = layers.snapshot(&diff_ids)?;
        let user = self.user.as_deref().or(config.user.as_deref()).filter(|user| !user.is_empty()).unwrap_or("0");
        let identity = user::resolve(&snapshot.view(), &user.parse::<User>()?)?;
        let id = ContainerId::random()?;
        let hostname = self.hostname.clone().or_else(|| self.name.clone()).unwrap_or_else(|| id.to_string());
        let environment = self.full_environment(&config, &hostname, &identity.home)?;
        let image_directory = config.working_dir.as_deref().filter(|directory| !directory.is_empty());
        let working_directory = self.working_directory.clone().unwrap_or_else(|| image_directory.unwrap_or("/").into());
        let specification = Specification {
            version: 1,
            id,
            name,
            image: self.image.reference.to_string(),
            layers: diff_ids,
            command,
            environment,
            working_directory,
            user: identity.user,
            group: identity.group,
            additional_groups: identity.additional_groups,
            hostname,
            limits: self.limits,
            policy: self.policy,
            network: self.network,
            ports: self.ports,
            networks: self.networks.iter().map(|name| name.parse()).collect::<Result<_>>()?,
            service: self.service,
            mounts: self.mounts,
            init: self.init,
            read_only: self.read_only,
            capabilities: self.capabilities.map(CapabilitySet::bits),
            seccomp: self.seccomp,
            stop_signal,
            labels: self.labels,
            log: self.log,
            health: None,
            restart: Restart::never(),
            created: Timestamp::now(),
            replica: self.replica,
        };
        Ok((specification, snapshot))
    }

    /// The caller's health check, else the image's.
    fn decided_health(&self) -> Result<Option<Health>> {
        let health = match &self.health {
            HealthChoice::None => None,
            HealthChoice::Own(health) => Some(health.clone()),
            HealthChoice::Image => {
                let config = self.image.config.config.clone().unwrap_or_default();
                match config.healthcheck {
                    Some(healthcheck) => health::of_image(&healthcheck, config.shell.as_deref())
                        .context(|| format!("health check of image {}", self.image.reference))?,
                    None => None,
                }
            }
        };
        if let Some(health) = &health {
            health.check(self.network)?;
        }
        Ok(health)
    }

    fn refuse_what_needs_a_keeper(&self) -> Result<()> {
        if matches!(self.health, HealthChoice::Own(_)) || self.restart.is_possible() {
            return Err(Error::invalid("health checks and restarts are for containers that are detached")
                .hint("use .detach(), or leave them out"));
        }
        Ok(())
    }

    fn full_command(&self, config: &RunConfig) -> Result<Vec<String>> {
        let (entrypoint, default) = match &self.entrypoint {
            Some(entrypoint) => (entrypoint.clone(), None),
            None => (config.entrypoint.clone().unwrap_or_default(), config.cmd.clone()),
        };
        let command = self.command.clone().or(default).unwrap_or_default();
        let full = [entrypoint, command].concat();
        if full.is_empty() {
            return Err(Error::invalid(format!("image {} names no command", self.image.reference))
                .hint("give one with .command([..])"));
        }
        Ok(full)
    }

    /// The image's environment, then the caller's; `PATH`, `HOME` and `HOSTNAME` where neither sets them.
    fn full_environment(&self, config: &RunConfig, hostname: &str, home: &str) -> Result<Vec<EnvVar>> {
        let mut all: Vec<EnvVar> = Vec::new();
        let mut put = |variable: EnvVar| {
            all.retain(|other| other.name() != variable.name());
            all.push(variable);
        };
        put(EnvVar::new("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")?);
        put(EnvVar::new("HOSTNAME", hostname)?);
        put(EnvVar::new("HOME", home)?);
        for text in config.env.iter().flatten() {
            put(text.parse()?);
        }
        for (name, value) in &self.environment {
            put(EnvVar::new(name, value)?);
        }
        Ok(all)
    }
}
