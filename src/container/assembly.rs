//! What a container holds while it runs: control group, network, files. Undone on drop unless it was handed over.

use super::services::{Services, needs_root};
use super::specification::{Mount, Specification};
use crate::cgroup::{Cgroup, CgroupRecord, Unenforced};
use crate::error::During;
use crate::isolate::{CapabilitySet, Root};
use crate::network::{
    AttachmentRecord, HeldPorts, Joining, Membership, Network, NetworkNamespace, PublishedPort, files,
    service_ports_held,
};
use crate::sandbox::{NetworkMode, Sandbox, Seccomp};
use crate::store::MergedView;
use crate::value::{ContainerId, Memory};
use crate::volume::{self, Mounted};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a container holds outside its own directory; with it any process can undo it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Holdings {
    pub(crate) cgroup: Option<CgroupRecord>,
    pub(crate) attachment: Option<AttachmentRecord>,
}

/// A container's surroundings, made and not yet used.
#[derive(Debug)]
pub(crate) struct Assembly {
    services: Arc<Services>,
    holdings: Holdings,
    network: Option<OwnedFd>,
    held_ports: HeldPorts,
    /// In the order of the specification's mounts; each keeps its volume from being removed or exchanged.
    volumes: Vec<Mounted>,
    pub(crate) ports: Vec<PublishedPort>,
    pub(crate) address: Option<Ipv4Addr>,
    gateway: Option<Ipv4Addr>,
    pub(crate) unenforced: Vec<Unenforced>,
    armed: bool,
}

impl Holdings {
    /// Adds what container `id` of a dead host had begun to make and could not note any more.
    pub(super) fn complete(mut self, services: &Services, id: &ContainerId) -> Result<Holdings> {
        if self.cgroup.is_none() {
            self.cgroup = Some(Cgroup::begun(&group_name(id)).record());
        }
        if self.attachment.is_none() {
            self.attachment = services.networks.attachment_of(id)?;
        }
        Ok(self)
    }

    /// Gives everything back. May be called again, and after a crash.
    pub(crate) fn undo(&self, services: &Services) -> Result<()> {
        let group = self.cgroup.as_ref().map_or(Ok(()), |record| Cgroup::open(record).remove());
        let network = self.attachment.as_ref().map_or(Ok(()), |record| {
            services.networks.detach(record)?;
            // An empty network is no use to anybody; a full one stays.
            services.networks.remove_unused().map(drop)
        });
        group.and(network)
    }
}

impl Assembly {
    /// Makes the surroundings of `specification`; `note` is called with what is held whenever that grows, before it is
    /// used, so that a crash leaves nothing that nobody knows of.
    pub(crate) fn make(
        services: &Arc<Services>,
        specification: &Specification,
        note: &mut dyn FnMut(&Holdings) -> Result<()>,
    ) -> Result<Assembly> {
        let mut assembly = Assembly {
            services: services.clone(),
            holdings: Holdings::default(),
            network: None,
            held_ports: HeldPorts::default(),
            volumes: hold_volumes(services, specification)?,
            ports: Vec::new(),
            address: None,
            gateway: None,
            unenforced: Vec::new(),
            armed: true,
        };
        let name = group_name(&specification.id);
        let (group, unenforced) = Cgroup::create(&name, &specification.limits, specification.policy)?;
        assembly.unenforced = unenforced;
        if !group.is_absent() {
            assembly.holdings.cgroup = Some(group.record());
            note(&assembly.holdings)?;
        }
        if specification.network == Network::Bridge {
            assembly.attach(specification, note)?;
        } else if !specification.networks.is_empty() || specification.service.is_some() {
            return Err(Error::invalid("networks have names on the bridge alone")
                .hint("leave the network as it is by default, Network::Bridge"));
        } else if !specification.ports.is_empty() {
            return Err(Error::invalid("ports can be published on the bridge network alone")
                .hint("with the host's network the container's ports are the host's"));
        }
        Ok(assembly)
    }

    fn attach(&mut self, specification: &Specification, note: &mut dyn FnMut(&Holdings) -> Result<()>) -> Result<()> {
        if !nix::unistd::geteuid().is_root() {
            return Err(needs_root("the bridge network", "use Network::None or Network::Host"));
        }
        let namespace = NetworkNamespace::create()?;
        let networks = &self.services.networks;
        let membership = match (&specification.service, &specification.health) {
            (None, _) => Membership::None,
            (Some(_), None) => Membership::Ready,
            (Some(_), Some(_)) => Membership::Awaited,
        };
        let joining = Joining { ports: &specification.ports, networks: &specification.networks, membership };
        let shared = match &specification.service {
            Some(name) => service_ports_held(&networks.demand_service(name)?)?,
            None => HeldPorts::default(),
        };
        let attachment = networks.attach(&namespace, &specification.id, &joining)?;
        self.holdings.attachment = Some(attachment.record);
        self.address = Some(attachment.address);
        self.gateway = Some(attachment.gateway);
        self.ports = attachment.ports;
        self.held_ports = attachment.held;
        self.held_ports.append(shared);
        self.network = Some(namespace.into_fd());
        note(&self.holdings)
    }

    /// What is held, for records.
    pub(crate) fn holdings(&self) -> &Holdings {
        &self.holdings
    }

    /// The container's control group, where it has one.
    pub(crate) fn cgroup(&self) -> Option<Cgroup> {
        self.holdings.cgroup.as_ref().map(Cgroup::open)
    }

    /// Writes hosts, hostname and resolv.conf of the container into `directory`.
    pub(crate) fn write_files(&self, specification: &Specification, directory: &Path) -> Result<()> {
        let network = specification.network;
        // The name under which podman's containers find their host.
        let host = self.gateway.map(|gateway| (IpAddr::V4(gateway), "host.containers.internal".to_owned()));
        let hosts = files::hosts(&specification.hostname, self.address, host.as_slice());
        let path = directory.join("hosts");
        match &self.holdings.attachment {
            Some(record) => self.services.networks.write_hosts(record, &path, &hosts)?,
            None => fs::write(&path, hosts).during(|| format!("write {}", path.display()))?,
        }
        let texts = [
            ("hostname", files::hostname(&specification.hostname)),
            ("resolv.conf", files::resolv_conf(&files::host_resolv_conf(), network)),
        ];
        for (name, text) in texts {
            let path = directory.join(name);
            fs::write(&path, text).during(|| format!("write {}", path.display()))?;
        }
        Ok(())
    }

    /// The sandbox on `root`, with the files of `directory` bound into it.
    pub(crate) fn sandbox(&mut self, specification: &Specification, root: Root, directory: &Path) -> Result<Sandbox> {
        let Specification { user, group, .. } = *specification;
        let network = match (specification.network, self.network.take()) {
            (_, Some(namespace)) => NetworkMode::Join(namespace),
            (Network::Host, None) => NetworkMode::Host,
            _ => NetworkMode::None,
        };
        let mut sandbox = Sandbox::new(root, specification.command.iter().cloned())
            .launcher(self.services.launcher.clone())
            .workdir(&specification.working_directory)
            .make_workdir(true)
            .user(user, group, specification.additional_groups.clone())
            .hostname(&specification.hostname)
            .network(network)
            .init(specification.init)
            .read_only(specification.read_only);
        if let Some(bits) = specification.capabilities {
            sandbox = sandbox.capabilities(CapabilitySet::from_bits(bits));
        }
        if !specification.seccomp {
            sandbox = sandbox.seccomp(Seccomp::Unconfined);
        }
        for variable in &specification.environment {
            sandbox = sandbox.env(variable.clone());
        }
        for name in ["hosts", "hostname", "resolv.conf"] {
            sandbox = sandbox.bind(directory.join(name), Path::new("/etc").join(name), false);
        }
        let mut volumes = self.volumes.iter();
        for mount in &specification.mounts {
            sandbox = match mount {
                Mount::Bind { source, target, read_only } => sandbox.bind(source, target, *read_only),
                Mount::Tmpfs { target, size } => sandbox.tmpfs(target, Memory::bytes(*size)),
                Mount::Volume { target, read_only, .. } => match volumes.next() {
                    Some(volume) => sandbox.bind(&volume.path, target, *read_only),
                    None => sandbox,
                },
            };
        }
        if let Some(map) = self.services.id_map() {
            sandbox = sandbox.user_namespace(map);
        }
        if let Some(group) = self.cgroup() {
            sandbox = sandbox.cgroup(&group);
        }
        Ok(sandbox)
    }

    /// A keeper has taken over: nothing is undone on drop any more.
    pub(crate) fn hand_over(mut self) {
        self.armed = false;
    }

    /// What holds the ports and the volumes, duplicated for a keeper.
    pub(crate) fn held(&self) -> Result<Vec<OwnedFd>> {
        let mut held = self.held_ports.duplicates()?;
        for volume in &self.volumes {
            held.push(volume.held.try_clone().during(|| "duplicate a held volume")?);
        }
        Ok(held)
    }

    /// Gives everything back now, and says what could not be.
    pub(crate) fn undo(mut self) -> Result<()> {
        self.armed = false;
        self.holdings.undo(&self.services)
    }
}

impl Drop for Assembly {
    fn drop(&mut self) {
        if self.armed {
            let _ = self.holdings.undo(&self.services);
        }
    }
}

/// Holds every volume of the container, made and filled where that is due.
fn hold_volumes(services: &Services, specification: &Specification) -> Result<Vec<Mounted>> {
    let layers: Vec<PathBuf> = specification.layers.iter().map(|layer| services.store.layers().path(layer)).collect();
    let view = MergedView::new(&layers, None);
    let mut held = Vec::new();
    for mount in &specification.mounts {
        if let Mount::Volume { name, target, .. } = mount {
            held.push(volume::mount(&services.store, &name.parse()?, &view, target)?);
        }
    }
    Ok(held)
}

fn group_name(id: &ContainerId) -> String {
    format!("coracle/{id}")
}

/// The root of a container: an overlay, or the bare directory where the image has no layers.
pub(crate) fn root_of(lower: &[PathBuf], upper: &Path, work: &Path) -> Root {
    match lower {
        [] => Root::Directory(upper.to_owned()),
        lower => Root::Overlay { lower: lower.to_vec(), upper: upper.to_owned(), work: work.to_owned() },
    }
}
