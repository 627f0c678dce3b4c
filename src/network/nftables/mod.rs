//! The packet filter's part of a network: one table per network, named like its bridge, and nothing outside of it.
//!
//! ```text
//! table ip coracle0 {
//!     map published_at { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service }
//!     map published    { type             inet_proto . inet_service : ipv4_addr . inet_service }
//!     map services     { type ipv4_addr . inet_proto . inet_service : verdict }   # stable addresses
//!     map service_ports_at, service_ports                                         # published ports of services
//!     set down         { type ipv4_addr }                                         # no new connections for these
//!     chain guard       { hook prerouting priority raw:     no container forges its source }
//!     chain refusals    { hook prerouting priority mangle:  what a dead member of a service refuses is asked again }
//!     chain prerouting  { hook prerouting priority dstnat:  what comes in for a published port is redirected }
//!     chain output      { hook output priority dstnat:      so is what the host itself sends to it }
//!     chain lost        { hook postrouting priority filter: what would go to a container that is gone is asked again }
//!     chain postrouting { hook postrouting priority srcnat: containers leave with the host's address }
//!     chain forward     { hook forward priority filter:     who reaches whom }
//!     chain svc7-tcp-80 { choose a member, not one that is down; dnat }
//! }
//! ```
//!
//! These rules never change: a container's coming and going are elements, in one transaction. Those of a service do,
//! see [`services`].

mod batch;
mod element;
mod isolation;
mod rule;
mod ruleset;
mod services;

use super::conversation::Conversation;
use super::subnet::Subnet;
use crate::{ErrorKind, Result};
use batch::{Batch, Change, Needs, Question};
pub(crate) use element::Redirect;
use element::{Element, read_elements, read_name};
pub(crate) use isolation::{Combination, DEFAULT_NETWORK};
use ruleset::{DOWN, PUBLISHED, PUBLISHED_AT, SELVES, elements};
pub(crate) use services::ServiceRules;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

const ELEMENT: Needs = Needs("CONFIG_NF_TABLES and CONFIG_NF_TABLES_IPV4");
/// No more elements together than one attribute (64 KiB) holds.
const MOST_ELEMENTS: usize = 800;

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
        let found = self.conversation.find(
            batch::question(Question::Table, libc::NLM_F_ACK, self.name),
            "look up the packet filter's table",
            |_| Ok(()),
        );
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

    /// Whether the table is there with all its own rules. `nft flush table` takes the rules and leaves the rest.
    pub(crate) fn is_whole(&mut self, subnet: Subnet) -> Result<bool> {
        if !self.exists()? {
            return Ok(false);
        }
        let mut batch = Batch::default();
        ruleset::append(&mut batch, self.name, subnet);
        let rules = self.names(Question::Rules)?;
        Ok(rules.iter().filter(|chain| ruleset::is_base(chain)).count() == batch.count(ruleset::CREATE_RULE))
    }

    /// Makes the table afresh for the bridge of the same name and its subnet, with `redirects` as elements.
    pub(crate) fn create(&mut self, subnet: Subnet, redirects: &[Redirect]) -> Result<()> {
        let mut batch = Batch::default();
        ruleset::append(&mut batch, self.name, subnet);
        for (set, some) in by_set(redirects) {
            // Not exclusive: a crash may have left two leases that say the same.
            let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE;
            batch.push(elements(Change::NewElement, flags, self.name, set, some), "publish a port", ELEMENT);
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

    /// Says which container is to get new connections and which is not.
    pub(crate) fn set_down(&mut self, address: Ipv4Addr, down: bool) -> Result<()> {
        down_batch(self.name, address, down, libc::NLM_F_ACK).commit(&mut self.conversation)
    }

    fn element(&self, change: Change, flags: i32, redirect: &Redirect) -> super::message::Message {
        elements(change, flags, self.name, redirect.set, [&redirect.element])
    }

    /// The names of all chains or sets of the table, or of the chain of each rule.
    fn names(&mut self, what: Question) -> Result<Vec<String>> {
        let attribute = if what == Question::Chains { 3 } else { 2 };
        let table = self.name;
        let request = batch::question(what, libc::NLM_F_DUMP, table);
        self.conversation.dump(&request, "list the packet filter", |reply| read_name(reply, table, attribute))
    }

    /// The elements of one set.
    fn elements_of(&mut self, set: &str) -> Result<BTreeSet<Element>> {
        let mut request = batch::question(Question::Elements, libc::NLM_F_DUMP, self.name);
        request.text(2, set);
        let lists = self
            .conversation
            .dump(&request, "list a set of the packet filter", |reply| read_elements(reply).map(Some))?;
        Ok(lists.into_iter().flatten().collect())
    }

    /// Appends what makes `set` hold exactly `wanted`.
    fn align(&mut self, batch: &mut Batch, set: &str, wanted: &BTreeSet<Element>) -> Result<()> {
        let there = self.elements_of(set)?;
        let gone: Vec<&Element> = there.difference(wanted).collect();
        let come: Vec<&Element> = wanted.difference(&there).collect();
        for some in gone.chunks(MOST_ELEMENTS) {
            let message = elements(Change::DeleteElement, libc::NLM_F_ACK, self.name, set, some.iter().copied());
            batch.push(message, "change a set of the packet filter", ELEMENT);
        }
        for some in come.chunks(MOST_ELEMENTS) {
            let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE;
            let message = elements(Change::NewElement, flags, self.name, set, some.iter().copied());
            batch.push(message, "change a set of the packet filter", ELEMENT);
        }
        Ok(())
    }
}

/// A finished transaction that removes `redirects` and, where there is an address, says that its container is to get no
/// new connections; to be sent as one datagram on a fresh `NETLINK_NETFILTER` socket.
///
/// Each element is added and removed: both succeed where it was there and where it was not, on every kernel
/// (`NFT_MSG_DESTROYSETELEM` came with 6.3), and an element that has another target by now makes the kernel refuse.
pub(crate) fn removal_bytes(table: &str, redirects: &[Redirect], down: Option<Ipv4Addr>) -> Result<Vec<u8>> {
    let mut batch = removal(table, redirects, 0);
    if let Some(address) = down {
        batch.push(down_message(table, address, Change::NewElement, libc::NLM_F_CREATE), "", ELEMENT);
    }
    batch.into_bytes()
}

/// The finished transactions that say that the container is to get new connections, and that it is not.
pub(crate) fn readiness_bytes(table: &str, address: Ipv4Addr) -> Result<(Vec<u8>, Vec<u8>)> {
    let bytes = |down| down_batch(table, address, down, 0).into_bytes();
    Ok((bytes(false)?, bytes(true)?))
}

/// What is read of the kernel's answers, for the fuzz target.
#[cfg(fuzzing)]
pub(super) fn read_as_everything(reply: &super::message::Reply<'_>) -> Result<()> {
    read_elements(reply)?;
    read_name(reply, "coracle0", 3).map(drop)
}

fn down_batch(table: &str, address: Ipv4Addr, down: bool, flags: i32) -> Batch {
    let operation = "change which containers get connections";
    let mut batch = Batch::default();
    batch.push(down_message(table, address, Change::NewElement, flags | libc::NLM_F_CREATE), operation, ELEMENT);
    if !down {
        batch.push(down_message(table, address, Change::DeleteElement, flags), operation, ELEMENT);
    }
    batch
}

fn down_message(table: &str, address: Ipv4Addr, change: Change, flags: i32) -> super::message::Message {
    elements(change, flags, table, DOWN, [&Element::address(address)])
}

fn removal(table: &str, redirects: &[Redirect], flags: i32) -> Batch {
    let mut batch = Batch::default();
    for (set, some) in by_set(redirects) {
        let add = elements(Change::NewElement, flags | libc::NLM_F_CREATE, table, set, some.iter().copied());
        batch.push(add, "unpublish a port", ELEMENT);
        let delete = elements(Change::DeleteElement, flags, table, set, some);
        batch.push(delete, "unpublish a port", ELEMENT);
    }
    batch
}

/// The elements of each set, no more together than one message holds.
fn by_set(redirects: &[Redirect]) -> impl Iterator<Item = (&'static str, Vec<&Element>)> {
    [PUBLISHED_AT, PUBLISHED, SELVES].into_iter().flat_map(|set| {
        let of_set: Vec<&Element> =
            redirects.iter().filter(|redirect| redirect.set == set).map(|redirect| &redirect.element).collect();
        of_set.chunks(MOST_ELEMENTS).map(|some| (set, some.to_vec())).collect::<Vec<_>>()
    })
}
