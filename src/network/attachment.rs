//! A container's way into the default network, and out of it.

use super::bridge::{self, Definition};
use super::conntrack;
use super::lease::{AttachmentRecord, Leases, Membership};
use super::namespace::NetworkNamespace;
use super::nftables::{Combination, Table, removal_bytes};
use super::publish::{HeldPorts, PublishedPort};
use super::route::{Mac, RouteSocket, VirtualCable};
use super::service;
use super::stats::NetworkStats;
use crate::error::{Context, During};
use crate::value::{ContainerId, Name, Protocol};
use crate::{Error, ErrorKind, Result};
use std::fs::{self, DirBuilder, File};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The interface in a container.
const CONTAINER_INTERFACE: &str = "eth0";
const INTERFACE_PREFIX: &str = "crcl";
/// Interface names have at most 15 bytes (`IFNAMSIZ` less the NUL).
const INTERFACE_NAME_BYTES: usize = 15;

/// The networks of one engine. Today that is one, `default`.
///
/// Every call speaks with the network namespace of the calling thread: that is "the host".
#[derive(Debug)]
pub(crate) struct Networks {
    root: PathBuf,
    run: PathBuf,
}

/// What a container asks of the network.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Joining<'a> {
    /// The ports to publish.
    pub(crate) ports: &'a [PublishedPort],
    /// The networks it belongs to; none is `default` alone.
    pub(crate) networks: &'a [Name],
    /// Its place among the members of services.
    pub(crate) membership: Membership,
}

/// A container's place in the network. It stays until [`Networks::detach`], whatever becomes of this value.
#[derive(Debug)]
pub(crate) struct Attachment {
    /// The container's address.
    pub(crate) address: Ipv4Addr,
    /// The host's address on the bridge: the container's default route.
    pub(crate) gateway: Ipv4Addr,
    /// The published ports, with the numbers that the kernel chose for 0.
    pub(crate) ports: Vec<PublishedPort>,
    /// Keeps the ports from being taken by others: must live as long as the container.
    pub(crate) held: HeldPorts,
    /// What undoes it, from any process.
    pub(crate) record: AttachmentRecord,
}

impl Networks {
    /// The networks whose definition is below `root` and whose leases are below `run`.
    pub(crate) fn new(root: &Path, run: &Path) -> Networks {
        Networks { root: root.join("networks"), run: run.join("networks") }
    }

    /// Brings a container into the default network: reserves its ports, makes bridge and table where they are missing,
    /// gives it an address, a virtual cable, a default route, and publishes its ports. On failure nothing is left.
    pub(crate) fn attach(
        &self,
        namespace: &NetworkNamespace,
        id: &ContainerId,
        joining: &Joining<'_>,
    ) -> Result<Attachment> {
        let (held, ports) = HeldPorts::reserve(joining.ports)?;
        let mut route = RouteSocket::open()?;
        let (definition, record) = self.connect(&mut route, namespace, id, joining, ports)?;
        match configure(namespace, &definition, &record) {
            Ok(()) => Ok(Attachment {
                address: record.address,
                gateway: definition.subnet.gateway(),
                ports: record.ports.clone(),
                held,
                record,
            }),
            Err(error) => {
                // The first error says what went wrong; a second one would only hide it.
                let _ = self.detach(&record);
                Err(error)
            }
        }
    }

    /// Takes a container out of the network. May be called again, and after the container's end or a crash.
    pub(crate) fn detach(&self, record: &AttachmentRecord) -> Result<()> {
        let redirects = record.redirects();
        if !redirects.is_empty() {
            Table::open(&record.bridge)?.take_away(&redirects)?;
        }
        let mut route = RouteSocket::open()?;
        // A record that was damaged must not take an interface of the host away.
        if record.interface.starts_with(INTERFACE_PREFIX)
            && let Some(link) = route.link(&record.interface)?
        {
            route.delete_link(link.index)?;
        }
        let _lock = self.lock()?;
        let leases = self.leases()?;
        if !leases.is_held_by(record)? {
            return Ok(());
        }
        end(record)?;
        if record.ports.iter().any(|port| port.container_port.protocol == Protocol::Udp) {
            // They would go on to reach the next one that has the address.
            conntrack::forget_members([record.address].into_iter())?;
        }
        leases.give_back(record)?;
        match Combination::new(&record.networks) {
            Some(_) => collect_networks(&record.bridge, &leases),
            None => Ok(()),
        }
    }

    /// The place of a container whose start was cut off before it could record it: the lease comes before all else.
    pub(crate) fn attachment_of(&self, id: &ContainerId) -> Result<Option<AttachmentRecord>> {
        let _lock = self.lock()?;
        Ok(self.leases()?.all()?.into_iter().find(|record| record.container == *id))
    }

    /// Removes the bridge and the table if no container hangs on it; whether they are gone. A container that has just
    /// ended may hang on it for a moment yet: network namespaces are taken apart in the background.
    pub(crate) fn remove_unused(&self) -> Result<bool> {
        let _lock = self.lock()?;
        let Some(definition) = Definition::load(&self.definition())? else {
            return Ok(true);
        };
        let mut route = RouteSocket::open()?;
        let Some((index, _)) = definition.find(&mut route)? else {
            return Ok(true);
        };
        if !bridge::is_unused(&mut route, &definition)? || !self.services()?.is_empty() {
            return Ok(false);
        }
        Table::open(&definition.bridge)?.remove()?;
        route.delete_link(index)?;
        self.leases()?.clear()?;
        Ok(true)
    }

    /// The container's counters; `None` where it has left the network.
    pub(crate) fn stats(&self, record: &AttachmentRecord) -> Result<Option<NetworkStats>> {
        let link = RouteSocket::open()?.link(&record.interface)?;
        Ok(link.map(|link| NetworkStats::of_host_side(&link.counters)))
    }

    /// The part that one container at a time goes through: the address and the cable.
    fn connect(
        &self,
        route: &mut RouteSocket,
        namespace: &NetworkNamespace,
        id: &ContainerId,
        joining: &Joining<'_>,
        ports: Vec<PublishedPort>,
    ) -> Result<(Definition, AttachmentRecord)> {
        let _lock = self.lock()?;
        let (leases, store) = (self.leases()?, self.service_store());
        service::check_ports(&store, &ports)?;
        let (definition, _) = bridge::ensure(&self.definition(), route, &leases, &store)?;
        let interface = interface_name(id);
        let make = |address| AttachmentRecord {
            version: 1,
            container: id.clone(),
            bridge: definition.bridge.clone(),
            interface: interface.clone(),
            address,
            ports: ports.clone(),
            membership: joining.membership,
            networks: joining.networks.to_vec(),
            hosts: None,
        };
        let (record, before) =
            leases.take(definition.subnet, make, |interface| Ok(route.link(interface)?.is_some()))?;
        if let Err(error) = begin(&definition, &record, before.as_ref()) {
            let _ = end(&record).and_then(|()| leases.give_back(&record));
            return Err(error);
        }
        let cable = VirtualCable {
            name: &interface,
            group: definition.group(),
            mac: mac_of(definition.subnet.gateway()),
            peer_name: CONTAINER_INTERFACE,
            peer_mac: mac_of(record.address),
            namespace: namespace.as_fd(),
            mtu: definition.mtu,
        };
        if let Err(error) = lay(route, &cable, definition.subnet.gateway(), record.address) {
            let _ = end(&record).and_then(|()| leases.give_back(&record));
            return Err(error);
        }
        Ok((definition, record))
    }

    pub(super) fn lock(&self) -> Result<File> {
        for directory in [&self.root, &self.run] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)
                .during(|| format!("create {}", directory.display()))?;
        }
        let path = self.run.join("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.during(|| format!("open {}", path.display()))?;
        loop {
            match file.lock() {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                result => return result.map(|()| file).during(|| format!("lock {}", path.display())),
            }
        }
    }

    pub(super) fn leases(&self) -> Result<Leases> {
        Leases::open(self.run.join("default"))
    }

    /// Where what outlives a reboot is.
    pub(super) fn directory(&self) -> &Path {
        &self.root
    }

    pub(super) fn definition(&self) -> PathBuf {
        self.root.join("default.json")
    }
}

/// A finished netlink transaction that unpublishes the container's ports, and keeps a member of a service from getting
/// new connections: any process can send it as one datagram on a fresh `NETLINK_NETFILTER` socket in the host's network
/// namespace, without looking at the answer. Empty where there is nothing to send. The virtual cable goes with the
/// container's namespace.
pub(crate) fn undo_message(record: &AttachmentRecord) -> Result<Vec<u8>> {
    let redirects = record.redirects();
    let down = (record.membership != Membership::None).then_some(record.address);
    if redirects.is_empty() && down.is_none() {
        return Ok(Vec::new());
    }
    removal_bytes(&record.bridge, &redirects, down)
}

/// What the packet filter must know before the container can send. What it knew about a dead holder of the address
/// counts no more.
fn begin(definition: &Definition, record: &AttachmentRecord, before: Option<&AttachmentRecord>) -> Result<()> {
    if let Some(before) = before {
        end(before)?;
    }
    if record.membership == Membership::Awaited {
        Table::open(&definition.bridge)?.set_down(record.address, true)?;
    }
    match Combination::new(&record.networks) {
        Some(combination) => Table::open(&definition.bridge)?.join(&[(record.address, combination)]),
        None => Ok(()),
    }
}

/// Takes back what [`begin`] has said. Where another program has flushed the table, that is gone too.
fn end(record: &AttachmentRecord) -> Result<()> {
    let combination = Combination::new(&record.networks);
    if record.membership == Membership::None && combination.is_none() {
        return Ok(());
    }
    let mut table = Table::open(&record.bridge)?;
    if !table.exists()? {
        return Ok(());
    }
    if record.membership != Membership::None {
        table.set_down(record.address, false)?;
    }
    combination.map_or(Ok(()), |combination| table.leave(record.address, &combination))
}

/// Removes what is left of networks in which nobody is any more.
fn collect_networks(bridge: &str, leases: &Leases) -> Result<()> {
    let used = leases.all()?.iter().filter_map(|lease| Combination::new(&lease.networks)).collect();
    let mut table = Table::open(bridge)?;
    if table.exists()? { table.collect_networks(&used) } else { Ok(()) }
}

/// Lays the cable. An earlier cable of the same container, whose namespace the kernel has not taken apart yet, is cut.
fn lay(route: &mut RouteSocket, cable: &VirtualCable<'_>, gateway: Ipv4Addr, container: Ipv4Addr) -> Result<()> {
    let operation = "connect the container to the host";
    let outcome = route.create_cable(cable)?;
    match outcome.errno {
        libc::EEXIST => match route.link(cable.name)? {
            Some(earlier) => {
                route.delete_link(earlier.index)?;
                route.create_cable(cable)?.check(operation)?;
            }
            None => {
                return Err(Error::new(
                    ErrorKind::AlreadyExists,
                    format!("{operation}: its namespace has an interface {} already", cable.peer_name),
                ));
            }
        },
        libc::EOPNOTSUPP => {
            return Err(Error::os(operation, outcome.errno)
                .hint("the kernel has no virtual cables: enable CONFIG_VETH, or load the module veth"));
        }
        _ => outcome.check(operation)?,
    }
    let link = route.link(cable.name)?;
    let link = link.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("{operation}: its cable has gone again")))?;
    let connected = switch_ipv6_off(cable.name).and_then(|()| route.connect(link.index, gateway, container));
    connected.inspect_err(|_| {
        // The first error says what went wrong.
        let _ = route.delete_link(link.index);
    })
}

/// The host's end of a cable speaks IPv4 alone: no rule of ours looks at IPv6, over which a container could reach what
/// listens on every address of the host, and tell it that it is its router (CVE-2020-13401). The container cannot send
/// before this: nothing runs in it yet, and its end is down.
fn switch_ipv6_off(interface: &str) -> Result<()> {
    let switch = PathBuf::from(format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"));
    match fs::read(&switch) {
        // A kernel without IPv6.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Ok(state) if state.starts_with(b"1") => Ok(()),
        _ => fs::write(&switch, "1")
            .during(|| "switch IPv6 off on the container's cable")
            .map_err(|error| error.hint("let /proc/sys be written to, or set net.ipv6.conf.default.disable_ipv6=1")),
    }
}

/// The part that containers go through side by side.
fn configure(namespace: &NetworkNamespace, definition: &Definition, record: &AttachmentRecord) -> Result<()> {
    let index = namespace.interface(CONTAINER_INTERFACE)?;
    let gateway = definition.subnet.gateway();
    namespace.configure(|route| route.configure(index, record.address, gateway, mac_of(gateway)))?;
    let redirects = record.redirects();
    if redirects.is_empty() {
        return Ok(());
    }
    Table::open(&record.bridge)?.add(&redirects).context(|| "publish the container's ports")?;
    conntrack::forget(&record.ports)
}

fn interface_name(id: &ContainerId) -> String {
    let mut name = format!("{INTERFACE_PREFIX}{id}");
    name.truncate(INTERFACE_NAME_BYTES);
    name
}

/// A locally administered hardware address made of the IPv4 address, so that neighbours' caches stay right when an
/// address comes back to use.
fn mac_of(address: Ipv4Addr) -> Mac {
    let [a, b, c, d] = address.octets();
    [0x02, 0x63, a, b, c, d]
}
