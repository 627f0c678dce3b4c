//! The chains of services: how a new connection finds its member.
//!
//! ```text
//! map svc7-12-tcp-80 { type slot : verdict }     # the 12th version of service 7: jump svc7-tcp-80-10.77.0.2, ...
//! chain svc7-tcp-80 {
//!     numgen inc mod 3 vmap @svc7-12-tcp-80
//!     numgen random mod 3 vmap @svc7-12-tcp-80    # chosen again where the first was down
//!     jump svc7-tcp-80-10.77.0.2                  # then the first that is not
//!     drop                                        # all are down: the client asks again after a second
//! }
//! chain svc7-tcp-80-10.77.0.2 {
//!     (10.77.0.2) != @down dnat to 10.77.0.2:80   # or back to the chain above
//! }
//! ```
//!
//! A change of members is one transaction: a new map, new rules, and the map before the last one goes. The last one stays
//! for the packets that are among the old rules at that moment: they hold on to the rules they began with, but a set
//! shows them what it has now.

use super::batch::{Batch, Change, Needs, Question};
use super::element::{Element, specific};
use super::ruleset::{
    DOWN, Leads, MEMBER_SELVES, MEMBERS, SERVICE_PORTS, SERVICE_PORTS_AT, SERVICES, SLOT, TABLE, delete_chain,
    delete_set, elements, flush_chain, new_chain, new_rule, new_set,
};
use super::{ELEMENT, MOST_ELEMENTS, Table};
use crate::Result;
use crate::network::{Balance, PublishedPort};
use crate::value::{Port, Protocol};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

const OPERATION: &str = "change the rules of a service";
const CHOICE: Needs = Needs("CONFIG_NFT_NAT, CONFIG_NFT_NUMGEN, CONFIG_NFT_HASH and CONFIG_NFT_REJECT");
/// How often another member is chosen by chance where the chosen one is down, before all are asked in turn.
const CHOICES: u32 = 4;
/// More members than this are not asked in turn: by then chance has found one.
const ASKED_IN_TURN: usize = 64;

/// What the packet filter has to know about a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceRules {
    /// The service's number: unique in the table.
    pub(crate) number: u32,
    /// Grows with every change.
    pub(crate) generation: u64,
    pub(crate) address: Ipv4Addr,
    /// Ports of the stable address.
    pub(crate) ports: Vec<Port>,
    pub(crate) published: Vec<PublishedPort>,
    pub(crate) balance: Balance,
    pub(crate) members: Vec<Ipv4Addr>,
    /// The members as often and in the order in which they are to be chosen.
    pub(crate) slots: Vec<Ipv4Addr>,
}

impl ServiceRules {
    /// The ports of members that connections are led to.
    fn targets(&self) -> BTreeSet<Port> {
        let published = self.published.iter().map(|port| port.container_port);
        self.ports.iter().copied().chain(published).collect()
    }

    fn chain(&self, port: Port) -> String {
        format!("svc{}-{}-{}", self.number, port.protocol, port.number)
    }

    fn chain_of(&self, port: Port, member: Ipv4Addr) -> String {
        format!("{}-{member}", self.chain(port))
    }

    fn map(&self, port: Port) -> String {
        format!("svc{}-{}-{}-{}", self.number, self.generation, port.protocol, port.number)
    }

    /// Whether all of it is among these maps and chains that have rules.
    fn stands(&self, maps: &[String], filled: &BTreeSet<String>) -> bool {
        self.targets().iter().all(|port| filled.contains(&self.chain(*port)) && maps.contains(&self.map(*port)))
    }
}

impl Table<'_> {
    /// Makes the kernel's services exactly `all`, in one transaction. Those that are there in this generation already
    /// are left as they are.
    pub(crate) fn apply(&mut self, all: &[ServiceRules]) -> Result<()> {
        let chains: BTreeSet<String> = self.names(Question::Chains)?.into_iter().collect();
        let filled: BTreeSet<String> = self.names(Question::Rules)?.into_iter().collect();
        let sets = self.names(Question::Sets)?;
        let mut batch = Batch::default();
        for rules in all.iter().filter(|rules| !rules.stands(&sets, &filled)) {
            for port in rules.targets() {
                self.append_members(&mut batch, rules, port, &filled);
                self.append_chain(&mut batch, rules, port, &sets);
            }
        }
        self.align(&mut batch, SERVICES, &stable_addresses(all))?;
        self.align(&mut batch, SERVICE_PORTS_AT, &published(all, true))?;
        self.align(&mut batch, SERVICE_PORTS, &published(all, false))?;
        self.align(&mut batch, MEMBERS, &members(all))?;
        self.align(&mut batch, MEMBER_SELVES, &members_with_themselves(all))?;
        self.append_removals(&mut batch, all, &chains, &sets)?;
        if batch.is_empty() { Ok(()) } else { batch.commit(&mut self.conversation) }
    }

    /// The chain of each member; one that is there already stays as it is.
    fn append_members(&self, batch: &mut Batch, rules: &ServiceRules, port: Port, filled: &BTreeSet<String>) {
        for member in &rules.members {
            let chain = rules.chain_of(port, *member);
            if filled.contains(&chain) {
                continue;
            }
            batch.push(new_chain(self.name, &chain), OPERATION, TABLE);
            let message = new_rule(self.name, &chain, |rule| {
                rule.constant(*member).address_not_among(DOWN).redirect_to(*member, port.number)
            });
            batch.push(message, OPERATION, CHOICE);
        }
    }

    fn append_chain(&self, batch: &mut Batch, rules: &ServiceRules, port: Port, sets: &[String]) {
        let (chain, map) = (rules.chain(port), rules.map(port));
        if !sets.contains(&map) {
            // The identifier ties a set to the rules of its batch; here they name it.
            let id = batch.next_id();
            batch.push(new_set(self.name, &map, id, &[SLOT], Leads::ToChain), OPERATION, TABLE);
            let slot = |(slot, member): (u32, &Ipv4Addr)| Element::slot(slot, rules.chain_of(port, *member));
            let slots: Vec<Element> = (0..).zip(&rules.slots).map(slot).collect();
            for some in slots.chunks(MOST_ELEMENTS) {
                let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE;
                batch.push(elements(Change::NewElement, flags, self.name, &map, some), OPERATION, ELEMENT);
            }
        }
        batch.push(new_chain(self.name, &chain), OPERATION, TABLE);
        batch.push(flush_chain(self.name, &chain), OPERATION, TABLE);
        if rules.slots.is_empty() {
            batch.push(new_rule(self.name, &chain, |rule| rule.refuse(port.protocol)), OPERATION, CHOICE);
            return;
        }
        let slots = rules.slots.len() as u32;
        let choices = if rules.members.len() > 1 { CHOICES } else { 0 };
        for choice in 0..=choices {
            let message = new_rule(self.name, &chain, |rule| {
                match (rules.balance, choice) {
                    (Balance::SourceHash, _) => rule.slot_of_source(slots, choice + 1),
                    (Balance::RoundRobin, 0) => rule.next_slot(slots),
                    _ => rule.random_slot(slots),
                };
                rule.jump_by_slot(&map)
            });
            batch.push(message, OPERATION, CHOICE);
        }
        if choices > 0 {
            for member in rules.members.iter().take(ASKED_IN_TURN) {
                let member = rules.chain_of(port, *member);
                batch.push(new_rule(self.name, &chain, |rule| rule.jump(&member)), OPERATION, TABLE);
            }
        }
        batch.push(new_rule(self.name, &chain, |rule| rule.drop_packet()), OPERATION, TABLE);
    }

    /// What no service needs any more: chains and maps, but for the last version of each service's maps with the chains
    /// it leads to.
    fn append_removals(
        &mut self,
        batch: &mut Batch,
        all: &[ServiceRules],
        chains: &BTreeSet<String>,
        sets: &[String],
    ) -> Result<()> {
        let mut wanted: BTreeSet<String> = BTreeSet::new();
        for rules in all {
            for port in rules.targets() {
                wanted.insert(rules.chain(port));
                wanted.extend(rules.members.iter().map(|member| rules.chain_of(port, *member)));
            }
        }
        let (kept, gone): (Vec<&String>, Vec<&String>) =
            sets.iter().filter(|set| version(set).is_some()).partition(|set| is_kept(set, all, sets));
        let is_stale = |chain: &&String| is_ours(chain) && !wanted.contains(*chain);
        if chains.iter().any(|chain| is_stale(&chain)) {
            let mut needed = BTreeSet::new();
            for set in kept {
                needed.extend(self.elements_of(set)?.into_iter().filter_map(Element::into_chain));
            }
            let stale: Vec<&String> = chains.iter().filter(is_stale).filter(|chain| !needed.contains(*chain)).collect();
            for chain in &stale {
                batch.push(flush_chain(self.name, chain), OPERATION, TABLE);
            }
            for set in &gone {
                batch.push(delete_set(self.name, set), OPERATION, TABLE);
            }
            for chain in &stale {
                batch.push(delete_chain(self.name, chain), OPERATION, TABLE);
            }
        } else {
            for set in &gone {
                batch.push(delete_set(self.name, set), OPERATION, TABLE);
            }
        }
        Ok(())
    }
}

/// Whether a map is of a service's present generation, or of the last one before.
fn is_kept(set: &str, all: &[ServiceRules], sets: &[String]) -> bool {
    let Some((number, generation)) = version(set) else { return true };
    let Some(rules) = all.iter().find(|rules| rules.number == number) else { return false };
    let others = sets.iter().filter_map(|set| version(set)).filter(|(other, _)| *other == number);
    let before = others.map(|(_, generation)| generation).filter(|other| *other != rules.generation).max();
    generation == rules.generation || Some(generation) == before
}

fn stable_addresses(all: &[ServiceRules]) -> BTreeSet<Element> {
    let of = |rules: &ServiceRules| -> Vec<Element> {
        let element = |port: &Port| Element::chain(Some(rules.address), port.protocol, port.number, rules.chain(*port));
        rules.ports.iter().map(element).collect()
    };
    all.iter().flat_map(of).collect()
}

fn published(all: &[ServiceRules], at_one_address: bool) -> BTreeSet<Element> {
    let of = |rules: &ServiceRules| -> Vec<Element> {
        let those = rules.published.iter().filter(|port| specific(port).is_some() == at_one_address);
        those
            .map(|port| {
                let target = port.container_port;
                Element::chain(specific(port), target.protocol, port.host_port, rules.chain(target))
            })
            .collect()
    };
    all.iter().flat_map(of).collect()
}

fn members(all: &[ServiceRules]) -> BTreeSet<Element> {
    let mut members = BTreeSet::new();
    for rules in all {
        for port in rules.targets().iter().filter(|port| port.protocol == Protocol::Tcp) {
            members.extend(rules.members.iter().map(|member| Element::address_and_port(*member, port.number)));
        }
    }
    members
}

fn members_with_themselves(all: &[ServiceRules]) -> BTreeSet<Element> {
    all.iter().flat_map(|rules| rules.members.iter().map(|member| Element::pair(*member))).collect()
}

/// Whether a chain is one of a service.
fn is_ours(chain: &str) -> bool {
    let number = chain.strip_prefix("svc").and_then(|rest| rest.split('-').next());
    number.is_some_and(|number| number.parse::<u32>().is_ok())
}

/// The service's number and the generation that the name of a map of slots says.
fn version(set: &str) -> Option<(u32, u64)> {
    let mut parts = set.strip_prefix("svc")?.split('-');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}
