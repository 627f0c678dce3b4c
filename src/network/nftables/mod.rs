//! The packet filter's part of a network: one table per network, named like its bridge, and nothing outside of it.
//!
//! ```text
//! table ip coracle0 {
//!     map published_at { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service }
//!     map published    { type             inet_proto . inet_service : ipv4_addr . inet_service }
//!     chain guard       { hook prerouting priority raw:     no container speaks from or to 127.0.0.0/8 }
//!     chain prerouting  { hook prerouting priority dstnat:  what comes in for a published port is redirected }
//!     chain output      { hook output priority dstnat:      so is what the host itself sends to it }
//!     chain postrouting { hook postrouting priority srcnat: containers leave with the host's address }
//!     chain forward     { hook forward priority filter:     containers are reached by published ports alone }
//! }
//! ```
//!
//! The rules never change; a container's coming and going are elements of the two maps, in one transaction.

mod batch;
mod rule;
mod ruleset;

use super::conversation::Conversation;
use super::message::Message;
use super::publish::PublishedPort;
use super::subnet::Subnet;
use crate::value::Protocol;
use crate::{ErrorKind, Result};
use batch::{Batch, Change, Needs};
use std::net::{IpAddr, Ipv4Addr};

/// The map for ports published on one address.
const MAP_BY_ADDRESS: &str = "published_at";
/// The map for ports published on every address of the host.
const MAP: &str = "published";

const ELEMENT: Needs = Needs("CONFIG_NF_TABLES and CONFIG_NF_TABLES_IPV4");

/// One published port of one container, as an element of a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Redirect {
    map: &'static str,
    key: Vec<u8>,
    target: Vec<u8>,
}

impl Redirect {
    /// The element that leads `port` to the container at `address`.
    pub(crate) fn new(port: &PublishedPort, address: Ipv4Addr) -> Redirect {
        let mut key = Vec::new();
        let map = match port.host_address {
            Some(IpAddr::V4(host)) if !host.is_unspecified() => {
                key.extend(host.octets());
                MAP_BY_ADDRESS
            }
            _ => MAP,
        };
        let transport = match port.container_port.protocol {
            Protocol::Tcp => libc::IPPROTO_TCP as u8,
            Protocol::Udp => libc::IPPROTO_UDP as u8,
        };
        key.extend([transport, 0, 0, 0]);
        key.extend(port.host_port.to_be_bytes());
        key.extend([0, 0]);
        let mut target = address.octets().to_vec();
        target.extend(port.container_port.number.to_be_bytes());
        target.extend([0, 0]);
        Redirect { map, key, target }
    }
}

/// An nfnetlink socket for one network's table.
#[derive(Debug)]
pub(crate) struct Table<'a> {
    name: &'a str,
    conversation: Conversation,
}

impl<'a> Table<'a> {
    /// The table `name` in the network namespace of the calling thread; it need not be there.
    pub(crate) fn open(name: &'a str) -> Result<Table<'a>> {
        Ok(Table { name, conversation: batch::open()? })
    }

    /// Whether the kernel has the table. A host's `nft flush ruleset` takes it away.
    pub(crate) fn exists(&mut self) -> Result<bool> {
        let found =
            self.conversation.find(batch::get_table(self.name), "look up the packet filter's table", |_| Ok(()));
        match found {
            Ok(found) => Ok(found.is_some()),
            Err(error) if error.errno() == Some(libc::EOPNOTSUPP) => {
                Err(error.with_kind(ErrorKind::Unsupported).hint("the kernel has no nftables: enable CONFIG_NF_TABLES"))
            }
            // A kernel without the IPv4 family refuses the question; the creation says what is missing.
            Err(error) if error.errno() == Some(libc::EAFNOSUPPORT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes the table afresh for the bridge of the same name and its subnet, with `redirects` as elements.
    pub(crate) fn create(&mut self, subnet: Subnet, redirects: &[Redirect]) -> Result<()> {
        let mut batch = Batch::default();
        ruleset::append(&mut batch, self.name, subnet);
        for (map, some) in by_map(redirects) {
            // Not exclusive: a crash may have left two leases that say the same.
            let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE;
            batch.push(ruleset::elements(Change::NewElement, flags, self.name, map, &some), "publish a port", ELEMENT);
        }
        batch.commit(&mut self.conversation)
    }

    /// Removes the table; it may be gone already.
    pub(crate) fn remove(&mut self) -> Result<()> {
        let mut batch = Batch::default();
        batch.push(ruleset::delete(self.name), "remove the packet filter's table", ELEMENT);
        let outcomes = batch.try_commit(&mut self.conversation)?;
        outcomes.iter().try_for_each(|outcome| outcome.check_but(libc::ENOENT, "remove the packet filter's table"))
    }

    /// Adds elements in one transaction. The caller holds the host's ports, so an element that is in the way was left by
    /// a container that is dead: it is replaced in the same transaction.
    pub(crate) fn add(&mut self, redirects: &[Redirect]) -> Result<()> {
        let mut stale = vec![false; redirects.len()];
        loop {
            let mut batch = Batch::default();
            for (redirect, _) in redirects.iter().zip(&stale).filter(|(_, stale)| **stale) {
                let message = self.element(Change::DeleteElement, libc::NLM_F_ACK, redirect);
                batch.push(message, "unpublish a port", ELEMENT);
            }
            let first = stale.iter().filter(|stale| **stale).count();
            for redirect in redirects {
                let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
                batch.push(self.element(Change::NewElement, flags, redirect), "publish a port", ELEMENT);
            }
            let outcomes = batch.try_commit(&mut self.conversation)?;
            let mut progress = false;
            for (index, outcome) in outcomes[first..].iter().enumerate() {
                if matches!(outcome.errno, libc::EEXIST | libc::EBUSY) && !stale[index] {
                    stale[index] = true;
                    progress = true;
                }
            }
            if !progress {
                return outcomes.iter().try_for_each(|outcome| outcome.check("publish a port"));
            }
        }
    }

    /// Removes those of the elements that are there and lead to the same container; one that another container has
    /// taken over stays.
    pub(crate) fn take_away(&mut self, redirects: &[Redirect]) -> Result<()> {
        for redirect in redirects {
            let one = std::slice::from_ref(redirect);
            let outcomes = removal(self.name, one, libc::NLM_F_ACK).try_commit(&mut self.conversation)?;
            if outcomes.iter().any(|outcome| matches!(outcome.errno, libc::ENOENT | libc::EEXIST | libc::EBUSY)) {
                continue;
            }
            outcomes.iter().try_for_each(|outcome| outcome.check("unpublish a port"))?;
        }
        Ok(())
    }

    fn element(&self, change: Change, flags: i32, redirect: &Redirect) -> Message {
        ruleset::elements(change, flags, self.name, redirect.map, &[redirect])
    }
}

/// A finished transaction that removes the elements, to be sent as one datagram on a fresh `NETLINK_NETFILTER` socket.
///
/// Each element is added and removed: both succeed where it was there and where it was not, on every kernel
/// (`NFT_MSG_DESTROYSETELEM` came with 6.3), and an element that has another target by now makes the kernel refuse.
pub(crate) fn removal_bytes(table: &str, redirects: &[Redirect]) -> Result<Vec<u8>> {
    removal(table, redirects, 0).into_bytes()
}

fn removal(table: &str, redirects: &[Redirect], flags: i32) -> Batch {
    let mut batch = Batch::default();
    for (map, some) in by_map(redirects) {
        let add = ruleset::elements(Change::NewElement, flags | libc::NLM_F_CREATE, table, map, &some);
        batch.push(add, "unpublish a port", ELEMENT);
        let delete = ruleset::elements(Change::DeleteElement, flags, table, map, &some);
        batch.push(delete, "unpublish a port", ELEMENT);
    }
    batch
}

/// The elements of each map, no more together than one attribute (64 KiB) holds.
fn by_map(redirects: &[Redirect]) -> impl Iterator<Item = (&'static str, Vec<&Redirect>)> {
    const MOST: usize = 1000;
    [MAP_BY_ADDRESS, MAP].into_iter().flat_map(|map| {
        let of_map: Vec<&Redirect> = redirects.iter().filter(|redirect| redirect.map == map).collect();
        of_map.chunks(MOST).map(|some| (map, some.to_vec())).collect::<Vec<_>>()
    })
}
