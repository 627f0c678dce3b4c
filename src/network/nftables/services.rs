//! The chains of services: how a new connection finds its member.
//!
//! ```text
//! map svc7-12 { type slot : ipv4_addr }          # the 12th version of service 7's slots
//! chain svc7-tcp-80 {
//!     numgen inc mod 3 -> address of that slot -> not in @down -> dnat to it, port 80
//!     numgen random mod 3 -> ...                  # chosen again where the first was down
//!     10.77.0.2 -> not in @down -> dnat           # then the first that is not
//!     drop                                        # all are down: the client asks again after a second
//! }
//! ```
//!
//! A change of members is one transaction: a new map, new rules, and the map before the last one goes. The last one stays
//! for the packets that are among the old rules at that moment: they hold on to the rules they began with, but a set
//! shows them what it has now.

use super::batch::{Batch, Change, Question};
use super::element::{Element, specific};
use super::ruleset::{
    ADDRESS, DOWN, Leads, MEMBER_SELVES, MEMBERS, NAT, SERVICE_PORTS, SERVICE_PORTS_AT, SERVICES, SLOT, TABLE,
    delete_chain, delete_set, elements, flush_chain, new_chain, new_rule, new_set,
};
use super::{ELEMENT, MOST_ELEMENTS, Table};
use crate::Result;
use crate::network::{Balance, PublishedPort};
use crate::value::{Port, Protocol};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

const OPERATION: &str = "change the rules of a service";
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

    fn map(&self) -> String {
        format!("svc{}-{}", self.number, self.generation)
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
        for (id, rules) in (100..).zip(all) {
            let stands = rules.targets().iter().all(|port| filled.contains(&rules.chain(*port)));
            if !stands || !sets.contains(&rules.map()) {
                self.append_service(&mut batch, rules, &sets, id);
            }
        }
        self.align(&mut batch, SERVICES, &stable_addresses(all))?;
        self.align(&mut batch, SERVICE_PORTS_AT, &published(all, true))?;
        self.align(&mut batch, SERVICE_PORTS, &published(all, false))?;
        self.align(&mut batch, MEMBERS, &members(all))?;
        self.align(&mut batch, MEMBER_SELVES, &members_with_themselves(all))?;
        self.append_removals(&mut batch, all, &chains, &sets);
        if batch.is_empty() { Ok(()) } else { batch.commit(&mut self.conversation) }
    }

    fn append_service(&self, batch: &mut Batch, rules: &ServiceRules, sets: &[String], id: u32) {
        let map = rules.map();
        if !rules.slots.is_empty() && !sets.contains(&map) {
            let set = new_set(self.name, &map, id, &[SLOT], Leads::To(&[ADDRESS]));
            batch.push(set, OPERATION, TABLE);
            let slots: Vec<Element> =
                (0..).zip(&rules.slots).map(|(slot, address)| Element::slot(slot, *address)).collect();
            for some in slots.chunks(MOST_ELEMENTS) {
                let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE;
                batch.push(elements(Change::NewElement, flags, self.name, &map, some), OPERATION, ELEMENT);
            }
        }
        for port in rules.targets() {
            let chain = rules.chain(port);
            batch.push(new_chain(self.name, &chain), OPERATION, TABLE);
            batch.push(flush_chain(self.name, &chain), OPERATION, TABLE);
            self.append_chain(batch, rules, &chain, port);
        }
    }

    fn append_chain(&self, batch: &mut Batch, rules: &ServiceRules, chain: &str, port: Port) {
        if rules.slots.is_empty() {
            batch.push(new_rule(self.name, chain, |rule| rule.refuse(port.protocol)), OPERATION, NAT);
            return;
        }
        let (slots, map) = (rules.slots.len() as u32, rules.map());
        let choices = if rules.members.len() > 1 { CHOICES } else { 0 };
        for choice in 0..=choices {
            let message = new_rule(self.name, chain, |rule| {
                match (rules.balance, choice) {
                    (Balance::SourceHash, _) => rule.slot_of_source(slots, choice + 1),
                    (Balance::RoundRobin, 0) => rule.next_slot(slots),
                    _ => rule.random_slot(slots),
                };
                rule.address_of_slot(&map).address_not_among(DOWN).redirect_to_port(port.number)
            });
            batch.push(message, OPERATION, NAT);
        }
        if choices > 0 {
            for member in rules.members.iter().take(ASKED_IN_TURN) {
                let message = new_rule(self.name, chain, |rule| {
                    rule.address(*member).address_not_among(DOWN).redirect_to_port(port.number)
                });
                batch.push(message, OPERATION, NAT);
            }
        }
        batch.push(new_rule(self.name, chain, |rule| rule.drop_packet()), OPERATION, TABLE);
    }

    /// What no service needs any more: chains, then maps, but for the last version of each service's.
    fn append_removals(&self, batch: &mut Batch, all: &[ServiceRules], chains: &BTreeSet<String>, sets: &[String]) {
        let wanted: BTreeSet<String> =
            all.iter().flat_map(|rules| rules.targets().into_iter().map(|port| rules.chain(port))).collect();
        for chain in chains.iter().filter(|chain| is_ours(chain) && !wanted.contains(*chain)) {
            batch.push(flush_chain(self.name, chain), OPERATION, TABLE);
            batch.push(delete_chain(self.name, chain), OPERATION, TABLE);
        }
        for set in sets {
            let Some((number, generation)) = version(set) else { continue };
            let last = sets.iter().filter_map(|set| version(set)).filter(|(other, _)| *other == number);
            let keep = all.iter().find(|rules| rules.number == number).is_some_and(|rules| {
                let before = last.map(|(_, generation)| generation).filter(|other| *other != rules.generation).max();
                generation == rules.generation || Some(generation) == before
            });
            if !keep {
                batch.push(delete_set(self.name, set), OPERATION, TABLE);
            }
        }
    }
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
pub(super) fn is_ours(chain: &str) -> bool {
    let number = chain.strip_prefix("svc").and_then(|rest| rest.split('-').next());
    number.is_some_and(|number| number.parse::<u32>().is_ok())
}

/// The service's number and the version that the name of a map of slots says.
fn version(set: &str) -> Option<(u32, u64)> {
    let (number, generation) = set.strip_prefix("svc")?.split_once('-')?;
    Some((number.parse().ok()?, generation.parse().ok()?))
}
