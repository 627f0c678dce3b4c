//! The messages that make a network's table, and those that change the elements of its maps.

use super::super::message::Message;
use super::super::subnet::Subnet;
use super::batch::{Batch, Change, Needs, message};
use super::rule::{Rule, value};
use super::{MAP, MAP_BY_ADDRESS, Redirect};
use std::net::Ipv4Addr;

/// The data types of keys and targets as `nft` shows them; each takes six bits of a concatenation's type.
const TYPE_ADDRESS: u32 = 7;
const TYPE_TRANSPORT: u32 = 12;
const TYPE_PORT: u32 = 13;
/// Every part of a concatenation takes four bytes.
const PART: u32 = 4;

const TABLE: Needs = Needs("CONFIG_NF_TABLES and CONFIG_NF_TABLES_IPV4");
const NAT: Needs = Needs("CONFIG_NF_NAT and CONFIG_NFT_NAT");
const MASQUERADE: Needs = Needs("CONFIG_NFT_MASQ");
const CONNECTIONS: Needs = Needs("CONFIG_NF_CONNTRACK and CONFIG_NFT_CT");
const ADDRESS_TYPE: Needs = Needs("CONFIG_NFT_FIB and CONFIG_NFT_FIB_IPV4");

/// A chain: its name, type, hook and priority (linux/netfilter_ipv4.h).
type Chain = (&'static str, &'static str, u32, i32);
const GUARD: Chain = ("guard", "filter", 0, -300);
const PREROUTING: Chain = ("prerouting", "nat", 0, -100);
const OUTPUT: Chain = ("output", "nat", 3, -100);
const POSTROUTING: Chain = ("postrouting", "nat", 4, 100);
const FORWARD: Chain = ("forward", "filter", 2, 0);

/// Appends the whole table `name`; what a table of that name held before is gone in the same transaction.
pub(super) fn append(batch: &mut Batch, name: &str, subnet: Subnet) {
    batch.push(new_table(name), "create the packet filter's table", TABLE);
    batch.push(delete(name), "replace the packet filter's table", TABLE);
    batch.push(new_table(name), "create the packet filter's table", TABLE);
    let by_port = [TYPE_TRANSPORT, TYPE_PORT];
    let by_address = [TYPE_ADDRESS, TYPE_TRANSPORT, TYPE_PORT];
    batch.push(new_map(name, MAP_BY_ADDRESS, 1, &by_address), "create the map of published ports", TABLE);
    batch.push(new_map(name, MAP, 2, &by_port), "create the map of published ports", TABLE);
    for chain in [GUARD, PREROUTING, OUTPUT, POSTROUTING, FORWARD] {
        let needs = if chain.1 == "nat" { NAT } else { TABLE };
        batch.push(new_chain(name, chain), "create a chain of the packet filter", needs);
    }
    Rules { batch, table: name, bridge: name, subnet }.append();
}

struct Rules<'a> {
    batch: &'a mut Batch,
    table: &'a str,
    bridge: &'a str,
    subnet: Subnet,
}

impl Rules<'_> {
    fn append(&mut self) {
        let (bridge, subnet) = (self.bridge, self.subnet);
        let loopback = Subnet::new(Ipv4Addr::LOCALHOST, 8);

        // The bridge carries 127.0.0.0/8 for the host's own connections to published ports: without these two a
        // container could reach what the host serves to itself alone (the class of CVE-2020-8558).
        self.rule(GUARD, TABLE, |rule| rule.enters_by(bridge).destination_in(loopback).drop_packet());
        self.rule(GUARD, TABLE, |rule| rule.enters_by(bridge).source_in(loopback).drop_packet());

        // A port published on 127.0.0.1 is not for a neighbour on the wire who writes that address on a packet.
        self.rule(PREROUTING, TABLE, |rule| rule.destination_in(loopback).enters_not_by("lo").accept());
        for chain in [PREROUTING, OUTPUT] {
            self.rule(chain, NAT, |rule| rule.redirect_by_address_and_port(MAP_BY_ADDRESS));
            self.rule(chain, ADDRESS_TYPE, |rule| rule.destination_is_local().redirect_by_port(MAP));
        }

        self.rule(POSTROUTING, MASQUERADE, |rule| rule.source_in(subnet).leaves_not_by(bridge).masquerade());
        self.rule(POSTROUTING, MASQUERADE, |rule| rule.source_in(loopback).leaves_by(bridge).masquerade());
        // A container that reaches another (or itself) by a published port must get its answers from the host's
        // address, or it would not know them.
        self.rule(POSTROUTING, CONNECTIONS, |rule| {
            rule.source_in(subnet).leaves_by(bridge).of_published_port().masquerade()
        });

        self.rule(FORWARD, TABLE, |rule| rule.enters_by(bridge).accept());
        self.rule(FORWARD, CONNECTIONS, |rule| rule.leaves_by(bridge).of_known_connection().accept());
        self.rule(FORWARD, CONNECTIONS, |rule| rule.leaves_by(bridge).of_published_port().accept());
        self.rule(FORWARD, TABLE, |rule| rule.leaves_by(bridge).drop_packet());
    }

    fn rule(&mut self, chain: Chain, needs: Needs, fill: impl for<'a, 'b> Fn(&'b mut Rule<'a>) -> &'b mut Rule<'a>) {
        let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_APPEND;
        let mut message = message(Change::NewRule, flags);
        message.text(1, self.table).text(2, chain.0).nest(4, |expressions| {
            fill(&mut Rule(expressions));
        });
        self.batch.push(message, "create a rule of the packet filter", needs);
    }
}

fn new_table(name: &str) -> Message {
    let mut message = message(Change::NewTable, libc::NLM_F_ACK | libc::NLM_F_CREATE);
    message.text(1, name).network_number(2, 0);
    message
}

/// The removal of the table `name` with all that is in it.
pub(super) fn delete(name: &str) -> Message {
    let mut message = message(Change::DeleteTable, libc::NLM_F_ACK);
    message.text(1, name);
    message
}

fn new_chain(table: &str, (name, kind, hook, priority): Chain) -> Message {
    const NF_ACCEPT: u32 = 1;
    let mut message = message(Change::NewChain, libc::NLM_F_ACK | libc::NLM_F_CREATE);
    message.text(1, table).text(3, name).text(7, kind).network_number(5, NF_ACCEPT).nest(4, |position| {
        position.network_number(1, hook).bytes(2, &priority.to_be_bytes());
    });
    message
}

/// A map from a concatenation of `key` to address . port.
fn new_map(table: &str, name: &str, id: u32, key: &[u32]) -> Message {
    const NFT_SET_MAP: u32 = 8;
    let concatenated = |types: &[u32]| types.iter().fold(0, |all, one| all << 6 | one);
    let target = [TYPE_ADDRESS, TYPE_PORT];
    let mut message = message(Change::NewMap, libc::NLM_F_ACK | libc::NLM_F_CREATE);
    message
        .text(1, table)
        .text(2, name)
        .network_number(3, NFT_SET_MAP)
        .network_number(4, concatenated(key))
        .network_number(5, key.len() as u32 * PART)
        .network_number(6, concatenated(&target))
        .network_number(7, target.len() as u32 * PART)
        .network_number(10, id);
    message
}

/// One change of elements of one map; `flags` as for [`Message::new`].
pub(super) fn elements(change: Change, flags: i32, table: &str, map: &str, redirects: &[&Redirect]) -> Message {
    const NFTA_LIST_ELEM: u16 = 1;
    let mut message = message(change, flags);
    message.text(1, table).text(2, map).nest(3, |elements| {
        for redirect in redirects {
            elements.nest(NFTA_LIST_ELEM, |element| {
                value(element, 1, &redirect.key);
                if change == Change::NewElement {
                    value(element, 2, &redirect.target);
                }
            });
        }
    });
    message
}
