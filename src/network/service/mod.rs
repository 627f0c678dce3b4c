//! Services: one stable address, and ports of the host, in front of several containers. The kernel does the balancing;
//! no process of ours is in the way of a packet.
//!
//! The records on disk are what is wanted, and are written before the kernel is told; whatever is cut off in between,
//! [`Networks::restore`] and every later change bring the kernel up to them.

mod hosts;
mod ports;
mod slots;
mod store;

use super::attachment::Networks;
use super::balance::{ServiceMember, ServiceRecord, ServiceSpecification};
use super::bridge::{self, Definition};
use super::conntrack;
use super::nftables::{Table, readiness_bytes};
use super::publish::{HeldPorts, PublishedPort};
use super::route::RouteSocket;
use super::subnet::Subnet;
use super::{AttachmentRecord, Membership};
use crate::value::{Name, Protocol};
use crate::{Error, ErrorKind, Result};
pub(super) use ports::check_free;
use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
pub(super) use store::{ServiceStore, rules};

const VERSION: u32 = 1;
/// More members, or more ports, than anybody has; the kernel's transactions stay short.
const MOST_MEMBERS: usize = 1000;
const MOST_PORTS: usize = 1000;
const MOST_WEIGHT: u32 = 1000;

impl Networks {
    /// Makes the service, or changes the ports and the rule of the one of this name, which keeps its address and its
    /// members. Idempotent. On failure all is as it was before.
    ///
    /// A published port must be free on the host; from then on no other container and no other service gets it, and no
    /// other program while a member holds it, see [`service_ports_held`].
    pub(crate) fn ensure_service(&self, specification: &ServiceSpecification) -> Result<ServiceRecord> {
        check(specification)?;
        let _lock = self.lock()?;
        let store = self.service_store();
        let mut route = RouteSocket::open()?;
        let (definition, _) = bridge::ensure(&self.definition(), &mut route, &self.leases()?, &store)?;
        let (mine, others): (Vec<ServiceRecord>, Vec<ServiceRecord>) =
            store.all()?.into_iter().partition(|record| record.specification.name == specification.name);
        let mine = mine.into_iter().next();
        check_host_name(specification, &others)?;
        let (_held, published) = ports::claim(&specification.published, mine.as_ref(), &others)?;
        let specification = ServiceSpecification { published, ..specification.clone() };
        let record = match &mine {
            Some(record) if record.specification == specification => record.clone(),
            Some(record) => ServiceRecord {
                former: ports::former(record, &specification.published),
                specification,
                generation: record.generation + 1,
                ..record.clone()
            },
            None => ServiceRecord {
                version: VERSION,
                address: free_address(definition.subnet, &specification.name, &others)?,
                specification,
                members: Vec::new(),
                generation: 1,
                former: Vec::new(),
            },
        };
        if mine.as_ref() != Some(&record) {
            store.save(&record)?;
        }
        if let Err(error) = self.bring_up_to_date(&definition) {
            // The first error says what went wrong.
            let _ = match &mine {
                Some(before) => store.save(before),
                None => store.remove(&record.specification.name),
            };
            let _ = self.bring_up_to_date(&definition);
            return Err(error);
        }
        if mine.as_ref() != Some(&record) {
            conntrack::forget(&record.specification.published)?;
        }
        Ok(record)
    }

    /// From now on exactly these members get the service's new connections; established ones stay where they are, but
    /// for the conversations over UDP of those that are no members any more, which move.
    pub(crate) fn route(&self, name: &Name, members: &[ServiceMember]) -> Result<()> {
        let _lock = self.lock()?;
        let store = self.service_store();
        let mut route = RouteSocket::open()?;
        let (definition, _) = bridge::ensure(&self.definition(), &mut route, &self.leases()?, &store)?;
        let before = self.demand_service(name)?;
        check_members(definition.subnet, members)?;
        let record = ServiceRecord { members: members.to_vec(), generation: before.generation + 1, ..before.clone() };
        if record.members != before.members {
            store.save(&record)?;
        }
        self.bring_up_to_date(&definition)?;
        if ports::uses(&record, Protocol::Udp) {
            let stay: BTreeSet<Ipv4Addr> = members.iter().map(|member| member.address).collect();
            let left = before.members.iter().map(|member| member.address).filter(|address| !stay.contains(address));
            conntrack::forget_members(left)?;
        }
        Ok(())
    }

    /// The service `name`.
    pub(crate) fn service(&self, name: &Name) -> Result<Option<ServiceRecord>> {
        self.service_store().get(name)
    }

    /// The service `name`, which must be there.
    pub(crate) fn demand_service(&self, name: &Name) -> Result<ServiceRecord> {
        self.service(name)?.ok_or_else(|| no_service(name))
    }

    /// All services, by name.
    pub(crate) fn services(&self) -> Result<Vec<ServiceRecord>> {
        self.service_store().all()
    }

    /// Removes the service: its rules, its lines in the containers' hosts files, its address. It may be gone already.
    /// Established connections go on.
    pub(crate) fn remove_service(&self, name: &Name) -> Result<()> {
        let _lock = self.lock()?;
        let store = self.service_store();
        let Some(record) = store.get(name)? else { return Ok(()) };
        let mut others = store.all()?;
        others.retain(|other| other.specification.name != *name);
        if let Some(definition) = Definition::load(&self.definition())?
            && Table::open(&definition.bridge)?.exists()?
        {
            Table::open(&definition.bridge)?.apply(&rules(definition.subnet, &others))?;
        }
        self.name_services(&others)?;
        // The record goes last: whatever was cut off is done again.
        store.remove(name)?;
        if ports::uses(&record, Protocol::Udp) {
            conntrack::forget_members(record.members.iter().map(|member| member.address))?;
        }
        Ok(())
    }

    /// Makes the kernel's part of the network again where it is missing or behind the records: after a flush by another
    /// program, a crash, a reboot. What is whole is left as it is, what belongs to others always.
    pub(crate) fn restore(&self) -> Result<()> {
        if !self.definition().exists() {
            return Ok(());
        }
        let _lock = self.lock()?;
        let Some(definition) = Definition::load(&self.definition())? else { return Ok(()) };
        let store = self.service_store();
        let mut route = RouteSocket::open()?;
        if definition.find(&mut route)?.is_none() && store.all()?.is_empty() {
            return Ok(());
        }
        let (definition, _) = bridge::ensure(&self.definition(), &mut route, &self.leases()?, &store)?;
        self.bring_up_to_date(&definition)
    }

    /// How many living connections each of `members` has that came to it by a service or a published port: TCP from the
    /// first packet until both sides have closed, UDP in which both sides have spoken for two seconds. One pass over what the kernel
    /// remembers.
    pub(crate) fn connections_of(&self, members: &[Ipv4Addr]) -> Result<Vec<u32>> {
        conntrack::living(members)
    }

    /// Writes the `/etc/hosts` of a container: `text`, and a line for each service, which is kept up to date from then
    /// on.
    pub(crate) fn write_hosts(&self, record: &AttachmentRecord, path: &Path, text: &str) -> Result<()> {
        use crate::error::During;
        let _lock = self.lock()?;
        let text = hosts::with_services(text, &seen_by(record, &self.services()?));
        fs::write(path, text).during(|| format!("write {}", path.display()))?;
        self.leases()?.update(&AttachmentRecord { hosts: Some(path.to_owned()), ..record.clone() })
    }

    pub(super) fn service_store(&self) -> ServiceStore {
        ServiceStore::new(self.directory().join("services"))
    }

    /// Brings the kernel and the containers' hosts files up to the records.
    fn bring_up_to_date(&self, definition: &Definition) -> Result<()> {
        let records = self.services()?;
        bridge::restore_table(definition, &mut RouteSocket::open()?, &self.leases()?, &records)?;
        Table::open(&definition.bridge)?.apply(&rules(definition.subnet, &records))?;
        self.name_services(&records)
    }

    /// Writes a line for each of `records` into the hosts files of all containers, and no other.
    fn name_services(&self, records: &[ServiceRecord]) -> Result<()> {
        for lease in self.leases()?.all()? {
            if let Some(path) = &lease.hosts {
                hosts::rewrite(path, &seen_by(&lease, records))?;
            }
        }
        Ok(())
    }
}

/// Two finished netlink transactions, to be sent like [`undo_message`](super::undo_message): the first says that the
/// container is ready for new connections, the second that it is not. Empty for one that is no member of a service: its
/// keeper has nobody to tell.
pub(crate) fn readiness_messages(record: &AttachmentRecord) -> Result<(Vec<u8>, Vec<u8>)> {
    match record.membership {
        Membership::None => Ok((Vec::new(), Vec::new())),
        Membership::Ready | Membership::Awaited => readiness_bytes(&record.bridge, record.address),
    }
}

/// Sockets that keep the service's ports of the host from other programs, for one of its members to hold while it lives:
/// several can hold the same port (`SO_REUSEPORT`), other programs of the same user that ask for that too.
pub(crate) fn service_ports_held(record: &ServiceRecord) -> Result<HeldPorts> {
    HeldPorts::share(&record.specification.published)
}

/// The services that a container finds: those with which it has a network in common.
fn seen_by(record: &AttachmentRecord, services: &[ServiceRecord]) -> Vec<ServiceRecord> {
    let names = |networks: &[Name]| -> BTreeSet<String> {
        match networks {
            [] => BTreeSet::from(["default".to_owned()]),
            some => some.iter().map(|name| name.as_str().to_owned()).collect(),
        }
    };
    let own = names(&record.networks);
    let shared = |service: &&ServiceRecord| !names(&service.specification.networks).is_disjoint(&own);
    services.iter().filter(shared).cloned().collect()
}

/// Two services of one network under one name: containers would find the first in their hosts files, by chance.
fn check_host_name(specification: &ServiceSpecification, others: &[ServiceRecord]) -> Result<()> {
    let networks = |specification: &ServiceSpecification| -> BTreeSet<String> {
        match specification.networks.as_slice() {
            [] => BTreeSet::from([super::nftables::DEFAULT_NETWORK.to_owned()]),
            networks => networks.iter().map(|network| network.as_str().to_owned()).collect(),
        }
    };
    let mine = networks(specification);
    let taken = others.iter().map(|other| &other.specification).find(|other| {
        other.host_name() == specification.host_name() && networks(other).iter().any(|network| mine.contains(network))
    });
    taken.map_or(Ok(()), |other| {
        let (name, holder) = (specification.host_name(), &other.name);
        Err(Error::new(ErrorKind::AlreadyExists, format!("the name {name} is taken in this network by {holder}"))
            .hint("choose another alias, or another network"))
    })
}

fn check(specification: &ServiceSpecification) -> Result<()> {
    let name = specification.name.as_str();
    let ports: BTreeSet<_> = specification.ports.iter().collect();
    if ports.len() != specification.ports.len() {
        return Err(Error::invalid(format!("service {name} has a port twice")));
    }
    if specification.ports.iter().any(|port| port.number == 0) {
        return Err(Error::invalid(format!("service {name} has port 0")));
    }
    if specification.ports.len() + specification.published.len() > MOST_PORTS {
        return Err(Error::new(ErrorKind::LimitExceeded, format!("service {name} has more than {MOST_PORTS} ports")));
    }
    Ok(())
}

fn check_members(subnet: Subnet, members: &[ServiceMember]) -> Result<()> {
    if members.len() > MOST_MEMBERS {
        return Err(Error::new(ErrorKind::LimitExceeded, format!("a service has at most {MOST_MEMBERS} members")));
    }
    let mut seen = BTreeSet::new();
    for member in members {
        let ServiceMember { address, weight } = *member;
        if !subnet.is_container(address) {
            return Err(Error::invalid(format!("member {address} is no container of the network {subnet}")));
        }
        if !(1..=MOST_WEIGHT).contains(&weight) {
            return Err(Error::invalid(format!("member {address} has weight {weight}, not 1 to {MOST_WEIGHT}")));
        }
        if !seen.insert(address) {
            return Err(Error::invalid(format!("member {address} is named twice")));
        }
    }
    Ok(())
}

/// An address that no other service has. A service that is made again under its name gets the one it had before, unless
/// another has it by now.
fn free_address(subnet: Subnet, name: &Name, others: &[ServiceRecord]) -> Result<Ipv4Addr> {
    let capacity = subnet.service_capacity();
    let start = name.as_str().bytes().fold(0, |hash, byte| slots::mix(hash ^ u64::from(byte)));
    let candidates = (0..u64::from(capacity))
        .map(|step| subnet.service(((start % u64::from(capacity) + step) % u64::from(capacity)) as u32));
    let taken: BTreeSet<Ipv4Addr> = others.iter().map(|record| record.address).collect();
    candidates.into_iter().find(|address| !taken.contains(address)).ok_or_else(|| {
        Error::new(
            ErrorKind::ResourceExhausted,
            format!("every one of the {capacity} addresses for services is in use"),
        )
    })
}

fn no_service(name: &Name) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no service {}", name.as_str()))
}

/// Gives every service that has none in `subnet` an address there, and takes its members, which lived in another, away:
/// after a reboot the addresses of containers mean others.
pub(super) fn begin_anew(store: &ServiceStore, subnet: Subnet) -> Result<()> {
    let mut records = store.all()?;
    for index in 0..records.len() {
        let mut record = records[index].clone();
        if subnet.service_index(record.address).is_none() {
            let others: Vec<ServiceRecord> =
                records.iter().filter(|other| other.specification.name != record.specification.name).cloned().collect();
            record.address = free_address(subnet, &record.specification.name, &others)?;
        }
        record.members.clear();
        record.generation += 1;
        store.save(&record)?;
        records[index] = record;
    }
    Ok(())
}

/// Whether any of `ports` is one of a service.
pub(super) fn check_ports(store: &ServiceStore, ports: &[PublishedPort]) -> Result<()> {
    if ports.is_empty() { Ok(()) } else { check_free(ports, &store.all()?) }
}
