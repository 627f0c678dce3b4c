//! Connections the kernel remembers.

use super::conversation::Conversation;
use super::message::{Message, Reply, attributes, malformed, u32_at};
use super::publish::PublishedPort;
use crate::Result;
use crate::kernel::NetlinkFamily;
use crate::value::Protocol;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const IPCTNL_MSG_CT_GET: u16 = 1;
const IPCTNL_MSG_CT_DELETE: u16 = 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_STATUS: u16 = 3;
const CTA_PROTOINFO: u16 = 4;
const CTA_STATUS_MASK: u16 = 26;
const CTA_TUPLE_IP: u16 = 1;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
const CTA_PROTOINFO_TCP: u16 = 1;
const CTA_PROTOINFO_TCP_STATE: u16 = 1;
/// `CTA_FILTER_FLAG(CTA_PROTO_NUM)` and `(CTA_PROTO_DST_PORT)`.
const BY_PROTOCOL_AND_DESTINATION_PORT: u32 = 1 << 3 | 1 << 5;
/// `CTA_FILTER_FLAG(CTA_IP_SRC)` and `(CTA_PROTO_NUM)`.
const BY_SOURCE_AND_PROTOCOL: u32 = 1 | 1 << 3;
/// `IPS_ASSURED`: both sides have spoken, over UDP for more than two seconds. `IPS_DST_NAT`: the destination was rewritten.
const ASSURED: u32 = 1 << 2;
const DESTINATION_REWRITTEN: u32 = 1 << 5;
/// `TCP_CONNTRACK_SYN_SENT` to `TCP_CONNTRACK_CLOSE_WAIT`: not closed by both sides yet.
const LIVING_STATES: std::ops::RangeInclusive<u8> = 1..=5;

/// Lets the kernel forget the UDP conversations with the host's published ports.
///
/// A redirect is decided by a conversation's first packet. UDP has no end that the kernel could see: a sender that never
/// pauses would go on to reach the container that had the port before. A kernel without connection tracking over netlink
/// forgets by itself, 30 seconds after the last packet.
pub(super) fn forget(ports: &[PublishedPort]) -> Result<()> {
    let mut requests = Vec::new();
    for port in ports.iter().filter(|port| port.container_port.protocol == Protocol::Udp) {
        requests.push(deletion(port.host_port));
    }
    if !requests.is_empty() {
        Conversation::open(NetlinkFamily::Netfilter)?.request(requests)?;
    }
    Ok(())
}

fn deletion(port: u16) -> Message {
    let kind = (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_DELETE;
    let mut request = Message::new(kind, libc::NLM_F_ACK, &[libc::AF_INET as u8, 0, 0, 0]);
    request
        .nest(CTA_TUPLE_ORIG, |tuple| {
            tuple.nest(CTA_TUPLE_PROTO, |transport| {
                transport
                    .bytes(CTA_PROTO_NUM, &[libc::IPPROTO_UDP as u8])
                    .bytes(CTA_PROTO_DST_PORT, &port.to_be_bytes());
            });
        })
        .nest(CTA_FILTER, |filter| {
            filter.number(CTA_FILTER_ORIG_FLAGS, BY_PROTOCOL_AND_DESTINATION_PORT);
        });
    request
}

/// Lets the kernel forget the UDP conversations with these containers, see [`forget`]: their next packet finds another.
pub(super) fn forget_members(members: impl Iterator<Item = Ipv4Addr>) -> Result<()> {
    let requests: Vec<Message> = members.map(deletion_of_member).collect();
    if !requests.is_empty() {
        Conversation::open(NetlinkFamily::Netfilter)?.request(requests)?;
    }
    Ok(())
}

fn deletion_of_member(member: Ipv4Addr) -> Message {
    let kind = (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_DELETE;
    let mut request = Message::new(kind, libc::NLM_F_ACK, &[libc::AF_INET as u8, 0, 0, 0]);
    request
        .nest(CTA_TUPLE_REPLY, |tuple| {
            tuple
                .nest(CTA_TUPLE_IP, |addresses| {
                    addresses.bytes(CTA_IP_V4_SRC, &member.octets());
                })
                .nest(CTA_TUPLE_PROTO, |transport| {
                    transport.bytes(CTA_PROTO_NUM, &[libc::IPPROTO_UDP as u8]);
                });
        })
        .nest(CTA_FILTER, |filter| {
            filter.number(CTA_FILTER_REPLY_FLAGS, BY_SOURCE_AND_PROTOCOL);
        });
    request
}

/// How many living connections whose destination was rewritten each of `members` has, in one pass over the kernel's
/// table. What is kept of it is four bytes for each that counts.
pub(super) fn living(members: &[Ipv4Addr]) -> Result<Vec<u32>> {
    let mut counts: BTreeMap<Ipv4Addr, u32> = members.iter().map(|member| (*member, 0)).collect();
    let kind = (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_GET;
    let mut request = Message::new(kind, libc::NLM_F_DUMP, &[libc::AF_INET as u8, 0, 0, 0]);
    // Kernels that know how to leave the others out do.
    request.network_number(CTA_STATUS, DESTINATION_REWRITTEN).network_number(CTA_STATUS_MASK, DESTINATION_REWRITTEN);
    let found = Conversation::open(NetlinkFamily::Netfilter)?.dump(&request, "list the connections", |reply| {
        Ok(read_living(reply)?.filter(|member| counts.contains_key(member)))
    })?;
    for member in found {
        *counts.entry(member).or_default() += 1;
    }
    Ok(members.iter().map(|member| counts.get(member).copied().unwrap_or(0)).collect())
}

/// The container that a living connection was led to; `None` for any other connection.
pub(crate) fn read_living(reply: &Reply<'_>) -> Result<Option<Ipv4Addr>> {
    let (mut status, mut member, mut protocol, mut state) = (0, None, 0, 0);
    for attribute in attributes(reply.payload.get(4..).ok_or_else(|| malformed("connection"))?) {
        match attribute? {
            (CTA_STATUS, value) => {
                status = u32_at(value, 0).map(u32::from_be).ok_or_else(|| malformed("connection"))?;
            }
            (CTA_TUPLE_REPLY, tuple) => (member, protocol) = read_tuple(tuple)?,
            (CTA_PROTOINFO, details) => state = read_state(details)?,
            _ => {}
        }
    }
    let living = match i32::from(protocol) {
        libc::IPPROTO_TCP => LIVING_STATES.contains(&state),
        _ => status & ASSURED != 0,
    };
    Ok(member.filter(|_| living && status & DESTINATION_REWRITTEN != 0))
}

/// Source address and protocol.
fn read_tuple(tuple: &[u8]) -> Result<(Option<Ipv4Addr>, u8)> {
    let (mut source, mut protocol) = (None, 0);
    for attribute in attributes(tuple) {
        let (outer, value) = attribute?;
        for attribute in attributes(value) {
            match (outer, attribute?) {
                (CTA_TUPLE_IP, (CTA_IP_V4_SRC, address)) => {
                    let octets: [u8; 4] = address.try_into().map_err(|_| malformed("connection"))?;
                    source = Some(octets.into());
                }
                (CTA_TUPLE_PROTO, (CTA_PROTO_NUM, number)) => protocol = number.first().copied().unwrap_or(0),
                _ => {}
            }
        }
    }
    Ok((source, protocol))
}

fn read_state(details: &[u8]) -> Result<u8> {
    for attribute in attributes(details) {
        let (CTA_PROTOINFO_TCP, tcp) = attribute? else { continue };
        for attribute in attributes(tcp) {
            if let (CTA_PROTOINFO_TCP_STATE, state) = attribute? {
                return Ok(state.first().copied().unwrap_or(0));
            }
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::super::message::replies;
    use super::*;
    use proptest::prelude::*;

    /// A connection as the kernel tells it, and what is read of it.
    fn told(protocol: i32, status: u32, state: Option<u8>) -> Option<Ipv4Addr> {
        let mut message = Message::new(0, 0, &[libc::AF_INET as u8, 0, 0, 0]);
        message
            .nest(CTA_TUPLE_REPLY, |tuple| {
                tuple
                    .nest(CTA_TUPLE_IP, |addresses| {
                        addresses.bytes(CTA_IP_V4_SRC, &[10, 77, 0, 2]);
                    })
                    .nest(CTA_TUPLE_PROTO, |transport| {
                        transport.bytes(CTA_PROTO_NUM, &[protocol as u8]);
                    });
            })
            .network_number(CTA_STATUS, status);
        if let Some(state) = state {
            message.nest(CTA_PROTOINFO, |details| {
                details.nest(CTA_PROTOINFO_TCP, |tcp| {
                    tcp.bytes(CTA_PROTOINFO_TCP_STATE, &[state]);
                });
            });
        }
        let bytes = message.finish(1).unwrap();
        let reply = replies(&bytes).next().unwrap().unwrap();
        read_living(&reply).unwrap()
    }

    #[test]
    fn what_lives_was_led_to_a_container_and_is_not_closed() {
        const TCP: i32 = libc::IPPROTO_TCP;
        const UDP: i32 = libc::IPPROTO_UDP;
        let member = Some(Ipv4Addr::new(10, 77, 0, 2));
        for state in 0..=9 {
            let expected = member.filter(|_| (1..=5).contains(&state));
            assert_eq!(told(TCP, DESTINATION_REWRITTEN, Some(state)), expected, "state {state}");
            assert_eq!(told(TCP, ASSURED, Some(state)), None);
        }
        assert_eq!(told(TCP, DESTINATION_REWRITTEN, None), None);
        assert_eq!(told(UDP, DESTINATION_REWRITTEN, None), None);
        assert_eq!(told(UDP, DESTINATION_REWRITTEN | ASSURED, None), member);
    }

    proptest! {
        #[test]
        fn no_answer_breaks_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = read_living(&Reply { kind: 0, flags: 0, sequence: 0, payload: &bytes });
        }
    }
}
