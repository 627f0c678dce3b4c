//! The default network: its bridge, its subnet, its table, and what is on disk about it.

use super::balance::ServiceRecord;
use super::lease::{AttachmentRecord, Leases};
use super::nftables::{Combination, Redirect, Table};
use super::record::write_durably;
use super::route::{Mac, Route, RouteSocket};
use super::service::{self, ServiceStore};
use super::subnet::{Subnet, free_subnet};
use crate::error::During;
use crate::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

const VERSION: u32 = 1;
/// More engines than this, each with a root of its own, cannot have networks on one host at the same time.
const MOST_NETWORKS: u32 = 64;
const ETHERNET_MTU: u32 = 1500;
const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// What `networks/default.json` says. The bridge is ours if it has the recorded name and hardware address: another
/// engine with another root has another bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Definition {
    version: u32,
    /// The name of the bridge and of the nftables table.
    pub(super) bridge: String,
    mac: Mac,
    /// The containers' addresses.
    pub(super) subnet: Subnet,
    /// Of the containers' interfaces in bytes: that of the host's default route when the bridge was made.
    pub(super) mtu: u32,
    /// Whether it was this engine that let the host forward packets (`net.ipv4.ip_forward`). It stays on, since others
    /// may rely on it by the time the network goes.
    #[serde(default)]
    pub(super) forwarding_enabled: bool,
}

impl Definition {
    /// The recorded definition, if there is one.
    pub(super) fn load(path: &Path) -> Result<Option<Definition>> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).during(|| format!("read {}", path.display())),
        };
        let definition: Definition = serde_json::from_slice(&bytes).map_err(|error| {
            Error::new(ErrorKind::Corrupt, format!("read {}", path.display()))
                .source_error(error)
                .hint("remove the file to let the network be made anew")
        })?;
        if definition.version != VERSION || !is_bridge_name(&definition.bridge) || !definition.subnet.is_usable() {
            return Err(Error::new(ErrorKind::Corrupt, format!("{} is damaged or of another version", path.display()))
                .hint("remove the file to let the network be made anew"));
        }
        Ok(Some(definition))
    }

    /// The interface group of the containers' cables.
    pub(super) fn group(&self) -> u32 {
        group_of(&self.bridge)
    }

    /// The index of the bridge, if it is there and ours, and whether it is up.
    pub(super) fn find(&self, route: &mut RouteSocket) -> Result<Option<(u32, bool)>> {
        let link = route.link(&self.bridge)?.filter(|link| link.mac == Some(self.mac));
        Ok(link.map(|link| (link.index, link.up)))
    }

    fn save(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).map_err(|error| Error::invalid("network").source_error(error))?;
        write_durably(path, &text)
    }
}

/// Makes sure of the bridge, the table and forwarding; the definition and the bridge's index. The caller holds the lock.
pub(super) fn ensure(
    path: &Path,
    route: &mut RouteSocket,
    leases: &Leases,
    store: &ServiceStore,
) -> Result<(Definition, u32)> {
    let recorded = Definition::load(path)?;
    let present = match &recorded {
        Some(definition) => definition.find(route)?.map(|(index, up)| (definition.clone(), index, up)),
        None => None,
    };
    let (mut definition, index, up) = match present {
        Some(present) => present,
        None => create(path, recorded, route)?,
    };
    if up {
        if !Table::open(&definition.bridge)?.exists()? {
            restore_table(&definition, route, leases, &store.all()?)?;
        }
    } else {
        // The bridge is brought up last: one that is up has all the rest.
        leases.clear()?;
        service::begin_anew(store, definition.subnet)?;
        let mut table = Table::open(&definition.bridge)?;
        table.create(definition.subnet, &[])?;
        table.apply(&service::rules(definition.subnet, &store.all()?))?;
        route.add_address(index, definition.subnet.gateway(), definition.subnet)?;
        route.bring_up(index)?;
    }
    enable_forwarding(path, &mut definition)?;
    Ok((definition, index))
}

/// Makes the bridge under the first free name. The definition is on disk before: a bridge is never left ownerless.
fn create(path: &Path, recorded: Option<Definition>, route: &mut RouteSocket) -> Result<(Definition, u32, bool)> {
    let routes = route.routes()?;
    let taken: Vec<Subnet> = routes.iter().map(|route| route.destination).collect();
    let mtu = uplink_mtu(route, &routes)?;
    let before = recorded
        .as_ref()
        .map(|definition| definition.subnet)
        .filter(|subnet| free_of_default_routes(&taken).all(|taken| !taken.overlaps(subnet)));
    let forwarding_enabled = recorded.is_some_and(|definition| definition.forwarding_enabled);
    for number in 0..MOST_NETWORKS {
        let bridge = format!("coracle{number}");
        if route.link(&bridge)?.is_some() {
            continue;
        }
        let subnet = before.map_or_else(|| free_subnet(&taken, number), Ok)?;
        let definition = Definition { version: VERSION, bridge, mac: random_mac()?, subnet, mtu, forwarding_enabled };
        definition.save(path)?;
        let outcome = route.create_bridge(&definition.bridge, definition.mac)?;
        if outcome.errno == libc::EOPNOTSUPP {
            let error = Error::os("create a bridge", outcome.errno);
            return Err(error.hint("the kernel has no bridges: enable CONFIG_BRIDGE, or load the module bridge"));
        }
        outcome.check_but(libc::EEXIST, &format!("create the bridge {}", definition.bridge))?;
        if let Some((index, up)) = definition.find(route)? {
            return Ok((definition, index, up));
        }
    }
    Err(Error::new(ErrorKind::ResourceExhausted, format!("the host has {MOST_NETWORKS} bridges named coracle already")))
}

fn free_of_default_routes(taken: &[Subnet]) -> impl Iterator<Item = &Subnet> {
    taken.iter().filter(|subnet| subnet.prefix > 2)
}

/// Makes the table again where another program has flushed it, with the ports of the containers that are alive and with
/// the services `records`.
pub(super) fn restore_table(
    definition: &Definition,
    route: &mut RouteSocket,
    leases: &Leases,
    records: &[ServiceRecord],
) -> Result<()> {
    let mut table = Table::open(&definition.bridge)?;
    if table.is_whole(definition.subnet)? {
        return Ok(());
    }
    let (mut redirects, mut joined): (Vec<Redirect>, Vec<(Ipv4Addr, Combination)>) = (Vec::new(), Vec::new());
    for record in leases.all()? {
        if route.link(&record.interface)?.is_some() {
            redirects.extend(record.redirects());
            joined.extend(Combination::new(&record.networks).map(|combination| (record.address, combination)));
        }
    }
    table.create(definition.subnet, &redirects)?;
    table.join(&joined)?;
    table.apply(&service::rules(definition.subnet, records))
}

fn enable_forwarding(path: &Path, definition: &mut Definition) -> Result<()> {
    let state = fs::read_to_string(FORWARDING).during(|| format!("read {FORWARDING}"))?;
    if state.trim() != "0" {
        return Ok(());
    }
    if !definition.forwarding_enabled {
        definition.forwarding_enabled = true;
        definition.save(path)?;
    }
    fs::write(FORWARDING, "1")
        .during(|| "let the host forward packets between containers and its networks")
        .map_err(|error| error.hint("set net.ipv4.ip_forward=1 on the host, or use Network::Host or Network::None"))
}

fn uplink_mtu(route: &mut RouteSocket, routes: &[Route]) -> Result<u32> {
    let default = routes.iter().filter(|route| route.destination.prefix == 0 && route.interface.is_some());
    let uplink = default.min_by_key(|route| route.metric).and_then(|route| route.interface);
    let links = route.links()?;
    let link = links.iter().find(|link| Some(link.index) == uplink);
    Ok(link.map_or(ETHERNET_MTU, |link| link.mtu.clamp(576, 65_535)))
}

/// A locally administered unicast address.
fn random_mac() -> Result<Mac> {
    let mut mac = [0; 6];
    crate::kernel::random(&mut mac)?;
    mac[0] = 0x02;
    Ok(mac)
}

fn is_bridge_name(name: &str) -> bool {
    let number = name.strip_prefix("coracle").unwrap_or_default();
    matches!(number.len(), 1..=4) && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether no container's cable is there.
pub(super) fn is_unused(route: &mut RouteSocket, definition: &Definition) -> Result<bool> {
    Ok(route.links()?.iter().all(|link| link.group != definition.group()))
}

/// The interface group of the network whose bridge is called so: interfaces of a host that are in no group are in 0, and
/// hand-made groups are small numbers.
pub(super) fn group_of(bridge: &str) -> u32 {
    const BASE: u32 = 0x6372_0000;
    let number: u32 = bridge.trim_start_matches(|char: char| !char.is_ascii_digit()).parse().unwrap_or(0);
    BASE + number % (1 << 16)
}

/// The elements of an attachment in the maps of published ports.
impl AttachmentRecord {
    /// See [`Redirect`].
    pub(super) fn redirects(&self) -> Vec<Redirect> {
        let mut redirects: Vec<Redirect> = self.ports.iter().map(|port| Redirect::new(port, self.address)).collect();
        if !redirects.is_empty() {
            redirects.push(Redirect::to_itself(self.address));
        }
        redirects
    }
}
