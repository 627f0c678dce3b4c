//! The messages that make a network's table, and those that change the elements of its sets and maps.

use super::super::bridge::group_of;
use super::super::message::Message;
use super::super::subnet::Subnet;
use super::batch::{Batch, Change, Needs, message};
use super::element::{Element, NFT_GOTO, NFT_JUMP, Target};
use super::rule::{Rule, value, verdict};
use std::net::Ipv4Addr;

/// The map for ports published on one address.
pub(super) const PUBLISHED_AT: &str = "published_at";
/// The map for ports published on every address of the host.
pub(super) const PUBLISHED: &str = "published";
/// Pairs of a container that has published ports with itself.
pub(super) const SELVES: &str = "selves";
/// The maps from stable addresses and published ports to the chains of services.
pub(super) const SERVICES: &str = "services";
pub(super) const SERVICE_PORTS_AT: &str = "service_ports_at";
pub(super) const SERVICE_PORTS: &str = "service_ports";
/// Members of services with the ports at which they serve.
pub(super) const MEMBERS: &str = "members";
/// Pairs of a member of a service with itself.
pub(super) const MEMBER_SELVES: &str = "member_selves";
/// Containers that are to get no new connections.
pub(super) const DOWN: &str = "down";
/// From a container that is not in the network `default`, or in others too, to the chain of whom it reaches.
pub(super) const SENDERS: &str = "senders";
/// Containers that are not in the network `default`.
pub(super) const OUTSIDERS: &str = "outsiders";

/// A data type as `nft` shows it; each takes six bits of a concatenation's type and four bytes of its value.
pub(super) type Type = u32;
pub(super) const ADDRESS: Type = 7;
const TRANSPORT: Type = 12;
const PORT: Type = 13;
/// A number in the machine's byte order.
pub(super) const SLOT: Type = 19;

/// What the elements of a set lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leads<'a> {
    Nowhere,
    To(&'a [Type]),
    ToChain,
}

const SETS: [(&str, &[Type], Leads<'_>); 11] = [
    (PUBLISHED_AT, &[ADDRESS, TRANSPORT, PORT], Leads::To(&[ADDRESS, PORT])),
    (PUBLISHED, &[TRANSPORT, PORT], Leads::To(&[ADDRESS, PORT])),
    (SELVES, &[ADDRESS, ADDRESS], Leads::Nowhere),
    (SERVICES, &[ADDRESS, TRANSPORT, PORT], Leads::ToChain),
    (SERVICE_PORTS_AT, &[ADDRESS, TRANSPORT, PORT], Leads::ToChain),
    (SERVICE_PORTS, &[TRANSPORT, PORT], Leads::ToChain),
    (MEMBERS, &[ADDRESS, PORT], Leads::Nowhere),
    (MEMBER_SELVES, &[ADDRESS, ADDRESS], Leads::Nowhere),
    (DOWN, &[ADDRESS], Leads::Nowhere),
    (SENDERS, &[ADDRESS], Leads::ToChain),
    (OUTSIDERS, &[ADDRESS], Leads::Nowhere),
];

/// The step of a batch that creates a rule of the table itself.
pub(super) const CREATE_RULE: &str = "create a rule of the packet filter";

pub(super) const TABLE: Needs = Needs("CONFIG_NF_TABLES and CONFIG_NF_TABLES_IPV4");
const NAT: Needs = Needs("CONFIG_NF_NAT and CONFIG_NFT_NAT");
const MASQUERADE: Needs = Needs("CONFIG_NFT_MASQ");
const CONNECTIONS: Needs = Needs("CONFIG_NF_CONNTRACK and CONFIG_NFT_CT");
const ADDRESS_TYPE: Needs = Needs("CONFIG_NFT_FIB and CONFIG_NFT_FIB_IPV4");

/// A chain: its name, type, hook and priority (linux/netfilter_ipv4.h).
type Chain = (&'static str, &'static str, u32, i32);
const GUARD: Chain = ("guard", "filter", 0, -300);
const REFUSALS: Chain = ("refusals", "filter", 0, -150);
const PREROUTING: Chain = ("prerouting", "nat", 0, -100);
const OUTPUT: Chain = ("output", "nat", 3, -100);
const REDIRECTS: Chain = ("redirects", "filter", 3, 0);
const LOST: Chain = ("lost", "filter", 4, 0);
const POSTROUTING: Chain = ("postrouting", "nat", 4, 100);
const FORWARD: Chain = ("forward", "filter", 2, 0);

const CHAINS: [Chain; 8] = [GUARD, REFUSALS, PREROUTING, OUTPUT, REDIRECTS, LOST, POSTROUTING, FORWARD];

/// Whether the chain is one that every table has.
pub(super) fn is_base(chain: &str) -> bool {
    CHAINS.iter().any(|(name, ..)| *name == chain)
}

/// Appends the whole table `name`; what a table of that name held before is gone in the same transaction.
pub(super) fn append(batch: &mut Batch, name: &str, subnet: Subnet) {
    batch.push(new_table(name), "create the packet filter's table", TABLE);
    batch.push(delete(name), "replace the packet filter's table", TABLE);
    batch.push(new_table(name), "create the packet filter's table", TABLE);
    for (id, (set, key, leads)) in (1..).zip(SETS) {
        batch.push(new_set(name, set, id, key, leads), "create a set of the packet filter", TABLE);
    }
    for chain in CHAINS {
        let needs = if chain.1 == "nat" { NAT } else { TABLE };
        batch.push(new_base_chain(name, chain), "create a chain of the packet filter", needs);
    }
    Rules { batch, table: name, bridge: name, group: group_of(name), subnet }.append();
}

struct Rules<'a> {
    batch: &'a mut Batch,
    table: &'a str,
    bridge: &'a str,
    group: u32,
    subnet: Subnet,
}

impl Rules<'_> {
    fn append(&mut self) {
        self.guard();
        self.translate();
        self.forward();
        let (bridge, group) = (self.bridge, self.group);
        // A member that is dead refuses a connection that another would take. The kernel has forgotten the connection
        // by the time it has seen the refusal; the client, who never sees it, asks again after a second.
        self.rule(REFUSALS, CONNECTIONS, |rule| {
            rule.comes_from_container(group)
                .refuses_connection()
                .of_published_port()
                .source_and_port_among(MEMBERS)
                .drop_packet()
        });
        // A container whose cable is gone: the client asks again, as above, and meets another member.
        self.rule(LOST, CONNECTIONS, |rule| {
            rule.leaves_by(bridge).of_new_connection().of_published_port().drop_packet()
        });
    }

    fn guard(&mut self) {
        let group = self.group;
        let loopback = Subnet::new(Ipv4Addr::LOCALHOST, 8);
        // The cables carry 127.0.0.0/8 for the host's own connections to published ports: without these two a
        // container could reach what the host serves to itself alone (the class of CVE-2020-8558).
        self.rule(GUARD, TABLE, |rule| rule.comes_from_container(group).destination_in(loopback).drop_packet());
        self.rule(GUARD, TABLE, |rule| rule.comes_from_container(group).source_in(loopback).drop_packet());
        self.rule(GUARD, ADDRESS_TYPE, |rule| rule.comes_from_container(group).source_is_forged().drop_packet());
    }

    fn translate(&mut self) {
        let (group, subnet) = (self.group, self.subnet);
        let loopback = Subnet::new(Ipv4Addr::LOCALHOST, 8);
        // A port published on 127.0.0.1 is not for a neighbour on the wire who writes that address on a packet.
        self.rule(PREROUTING, TABLE, |rule| rule.destination_in(loopback).enters_not_by("lo").accept());
        self.rule(PREROUTING, NAT, |rule| rule.comes_from_container(group).goto_by_address_and_port(SERVICES));
        self.rule(OUTPUT, NAT, |rule| rule.goto_by_address_and_port(SERVICES));
        for chain in [PREROUTING, OUTPUT] {
            self.rule(chain, NAT, |rule| rule.goto_by_address_and_port(SERVICE_PORTS_AT));
            self.rule(chain, NAT, |rule| rule.redirect_by_address_and_port(PUBLISHED_AT));
            self.rule(chain, ADDRESS_TYPE, |rule| rule.destination_is_local().goto_by_port(SERVICE_PORTS));
            self.rule(chain, ADDRESS_TYPE, |rule| rule.destination_is_local().redirect_by_port(PUBLISHED));
        }
        self.rule(POSTROUTING, MASQUERADE, |rule| rule.source_in(subnet).goes_not_to_container(group).masquerade());
        self.rule(POSTROUTING, MASQUERADE, |rule| rule.source_in(loopback).goes_to_container(group).masquerade());
        // A container that is led to itself would take its own address for a forged one.
        for set in [SELVES, MEMBER_SELVES] {
            self.rule(POSTROUTING, CONNECTIONS, |rule| {
                rule.goes_to_container(group).of_published_port().source_and_destination_among(set).masquerade()
            });
        }
    }

    fn forward(&mut self) {
        let group = self.group;
        // Before known connections, whose address may have a new holder by now; both sides are asked, so what one may
        // send the other may answer.
        self.rule(FORWARD, TABLE, |rule| {
            rule.comes_from_container(group).goes_to_container(group).goto_by_source(SENDERS)
        });
        self.rule(FORWARD, TABLE, |rule| {
            rule.comes_from_container(group).goes_to_container(group).destination_among(OUTSIDERS).drop_packet()
        });
        self.rule(FORWARD, TABLE, |rule| rule.comes_from_container(group).accept());
        self.rule(FORWARD, CONNECTIONS, |rule| rule.goes_to_container(group).of_known_connection().accept());
        self.rule(FORWARD, CONNECTIONS, |rule| rule.goes_to_container(group).of_published_port().accept());
        self.rule(FORWARD, TABLE, |rule| rule.goes_to_container(group).drop_packet());
        // A packet that goes back to where it came from, on its way to a container itself, is no mistake.
        self.rule(REDIRECTS, TABLE, |rule| rule.goes_to_container(group).is_redirect().drop_packet());
    }

    fn rule(&mut self, chain: Chain, needs: Needs, fill: impl for<'a, 'b> Fn(&'b mut Rule<'a>) -> &'b mut Rule<'a>) {
        self.batch.push(new_rule(self.table, chain.0, fill), CREATE_RULE, needs);
    }
}

/// A rule at the end of `chain`.
pub(super) fn new_rule(
    table: &str,
    chain: &str,
    fill: impl for<'a, 'b> Fn(&'b mut Rule<'a>) -> &'b mut Rule<'a>,
) -> Message {
    let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_APPEND;
    let mut message = message(Change::NewRule, flags);
    message.text(1, table).text(2, chain).nest(4, |expressions| {
        fill(&mut Rule(expressions));
    });
    message
}

/// The removal of all rules of `chain`.
pub(super) fn flush_chain(table: &str, chain: &str) -> Message {
    let mut message = message(Change::DeleteRule, libc::NLM_F_ACK);
    message.text(1, table).text(2, chain);
    message
}

/// A chain that others lead to; it may be there already.
pub(super) fn new_chain(table: &str, name: &str) -> Message {
    let mut message = message(Change::NewChain, libc::NLM_F_ACK | libc::NLM_F_CREATE);
    message.text(1, table).text(3, name);
    message
}

/// The removal of a chain without rules.
pub(super) fn delete_chain(table: &str, name: &str) -> Message {
    let mut message = message(Change::DeleteChain, libc::NLM_F_ACK);
    message.text(1, table).text(3, name);
    message
}

/// The removal of a set that no rule looks at.
pub(super) fn delete_set(table: &str, name: &str) -> Message {
    let mut message = message(Change::DeleteSet, libc::NLM_F_ACK);
    message.text(1, table).text(2, name);
    message
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

fn new_base_chain(table: &str, (name, kind, hook, priority): Chain) -> Message {
    const NF_ACCEPT: u32 = 1;
    let mut message = message(Change::NewChain, libc::NLM_F_ACK | libc::NLM_F_CREATE);
    message.text(1, table).text(3, name).text(7, kind).network_number(5, NF_ACCEPT).nest(4, |position| {
        position.network_number(1, hook).bytes(2, &priority.to_be_bytes());
    });
    message
}

/// A set or map whose key is the concatenation of `key`.
pub(super) fn new_set(table: &str, name: &str, id: u32, key: &[Type], leads: Leads<'_>) -> Message {
    const NFT_SET_MAP: u32 = 8;
    const NFT_DATA_VERDICT: u32 = 0xffff_ff00;
    /// Every part of a concatenation takes four bytes.
    const PART: u32 = 4;
    let concatenated = |types: &[Type]| types.iter().fold(0, |all, one| all << 6 | one);
    let mut message = message(Change::NewSet, libc::NLM_F_ACK | libc::NLM_F_CREATE);
    let map = if leads == Leads::Nowhere { 0 } else { NFT_SET_MAP };
    message
        .text(1, table)
        .text(2, name)
        .network_number(3, map)
        .network_number(4, concatenated(key))
        .network_number(5, key.len() as u32 * PART);
    match leads {
        Leads::Nowhere => {}
        Leads::ToChain => {
            message.network_number(6, NFT_DATA_VERDICT);
        }
        Leads::To(target) => {
            message.network_number(6, concatenated(target)).network_number(7, target.len() as u32 * PART);
        }
    }
    message.network_number(10, id);
    message
}

/// One change of elements of one set; `flags` as for [`Message::new`].
pub(super) fn elements<'a>(
    change: Change,
    flags: i32,
    table: &str,
    set: &str,
    some: impl IntoIterator<Item = &'a Element>,
) -> Message {
    const NFTA_LIST_ELEM: u16 = 1;
    let mut message = message(change, flags);
    message.text(1, table).text(2, set).nest(3, |elements| {
        for one in some {
            elements.nest(NFTA_LIST_ELEM, |element| {
                value(element, 1, &one.key);
                match &one.target {
                    _ if change == Change::DeleteElement => {}
                    Target::None => {}
                    Target::Value(bytes) => value(element, 2, bytes),
                    Target::Chain(chain) => verdict(element, NFT_GOTO, chain),
                    Target::Subchain(chain) => verdict(element, NFT_JUMP, chain),
                }
            });
        }
    });
    message
}
