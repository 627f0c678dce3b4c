//! Named networks: which containers reach each other.
//!
//! A container that is in the network `default` alone, as most are, needs no element. For every other one:
//!
//! ```text
//! map senders   { 10.77.0.5 : goto reach-1f3a... }    # by its combination of networks
//! set outsiders { 10.77.0.5 }                         # it is not in `default`
//! set net-shop  { 10.77.0.5 }
//! chain reach-1f3a... { ip daddr @net-shop accept; ip daddr @net-back accept; drop }
//! ```

use super::batch::{Batch, Change};
use super::element::Element;
use super::ruleset::{
    ADDRESS, Leads, OUTSIDERS, SENDERS, TABLE, delete_chain, delete_set, elements, flush_chain, new_chain, new_rule,
    new_set,
};
use super::{ELEMENT, Question, Table};
use crate::Result;
use crate::value::Name;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// The network of a container that names none.
pub(crate) const DEFAULT_NETWORK: &str = "default";
const OPERATION: &str = "put a container into its networks";

/// The networks of a container that is in others than `default` alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Combination(BTreeSet<String>);

impl Combination {
    /// `None` for `default` alone.
    pub(crate) fn new(networks: &[Name]) -> Option<Combination> {
        let names: BTreeSet<String> = networks.iter().map(|name| name.as_str().to_owned()).collect();
        let alone = names.iter().all(|name| name == DEFAULT_NETWORK);
        (!alone).then_some(Combination(names))
    }

    fn has_default(&self) -> bool {
        self.0.contains(DEFAULT_NETWORK)
    }

    fn sets(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter(|name| *name != DEFAULT_NETWORK).map(|name| format!("net-{name}"))
    }

    /// Names of networks may be longer, together, than that of a chain: FNV-1a of them, 128 bits wide.
    fn chain(&self) -> String {
        const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
        const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
        let bytes = self.0.iter().flat_map(|name| name.bytes().chain([b'/']));
        let hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
        format!("reach-{hash:032x}")
    }

    fn elements(&self, address: Ipv4Addr) -> Vec<(String, Element)> {
        let mut all: Vec<(String, Element)> = self.sets().map(|set| (set, Element::address(address))).collect();
        if !self.has_default() {
            all.push((OUTSIDERS.to_owned(), Element::address(address)));
        }
        all.push((SENDERS.to_owned(), Element::chain_of(address, self.chain())));
        all
    }
}

impl Table<'_> {
    /// Puts containers into their networks, in one transaction.
    pub(crate) fn join(&mut self, containers: &[(Ipv4Addr, Combination)]) -> Result<()> {
        let mut batch = Batch::default();
        let combinations: BTreeSet<&Combination> = containers.iter().map(|(_, combination)| combination).collect();
        for combination in combinations {
            self.append_combination(&mut batch, combination);
        }
        for (address, combination) in containers {
            for (set, element) in combination.elements(*address) {
                let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE;
                batch.push(elements(Change::NewElement, flags, self.name, &set, [&element]), OPERATION, ELEMENT);
            }
        }
        if batch.is_empty() { Ok(()) } else { batch.commit(&mut self.conversation) }
    }

    /// Takes a container out of its networks; it may be out already.
    pub(crate) fn leave(&mut self, address: Ipv4Addr, combination: &Combination) -> Result<()> {
        // The way to it is closed before its own is opened.
        for (set, element) in combination.elements(address) {
            let mut batch = Batch::default();
            let message = elements(Change::DeleteElement, libc::NLM_F_ACK, self.name, &set, [&element]);
            batch.push(message, OPERATION, ELEMENT);
            for outcome in batch.try_commit(&mut self.conversation)? {
                outcome.check_but(libc::ENOENT, OPERATION)?;
            }
        }
        Ok(())
    }

    /// Removes the chains and sets of combinations that are not among `used`.
    pub(crate) fn collect_networks(&mut self, used: &BTreeSet<Combination>) -> Result<()> {
        let chains: BTreeSet<String> = used.iter().map(Combination::chain).collect();
        let nets: BTreeSet<String> = used.iter().flat_map(Combination::sets).collect();
        let mut batch = Batch::default();
        for chain in self.names(Question::Chains)? {
            if chain.starts_with("reach-") && !chains.contains(&chain) {
                batch.push(flush_chain(self.name, &chain), OPERATION, TABLE);
                batch.push(delete_chain(self.name, &chain), OPERATION, TABLE);
            }
        }
        for set in self.names(Question::Sets)? {
            if set.starts_with("net-") && !nets.contains(&set) {
                batch.push(delete_set(self.name, &set), OPERATION, TABLE);
            }
        }
        if batch.is_empty() { Ok(()) } else { batch.commit(&mut self.conversation) }
    }

    fn append_combination(&self, batch: &mut Batch, combination: &Combination) {
        for set in combination.sets() {
            batch.push(new_set(self.name, &set, batch.next_id(), &[ADDRESS], Leads::Nowhere), OPERATION, TABLE);
        }
        let chain = combination.chain();
        batch.push(new_chain(self.name, &chain), OPERATION, TABLE);
        batch.push(flush_chain(self.name, &chain), OPERATION, TABLE);
        for set in combination.sets() {
            let message = new_rule(self.name, &chain, |rule| rule.destination_among(&set).accept());
            batch.push(message, OPERATION, TABLE);
        }
        if combination.has_default() {
            let message = new_rule(self.name, &chain, |rule| rule.destination_among(OUTSIDERS).drop_packet());
            batch.push(message, OPERATION, TABLE);
            batch.push(new_rule(self.name, &chain, |rule| rule.accept()), OPERATION, TABLE);
        } else {
            batch.push(new_rule(self.name, &chain, |rule| rule.drop_packet()), OPERATION, TABLE);
        }
    }
}
