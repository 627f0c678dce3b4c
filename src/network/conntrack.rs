//! Connections the kernel remembers.

use super::conversation::Conversation;
use super::message::Message;
use super::publish::PublishedPort;
use crate::Result;
use crate::kernel::NetlinkFamily;
use crate::value::Protocol;

const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const IPCTNL_MSG_CT_DELETE: u16 = 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
/// `CTA_FILTER_FLAG(CTA_PROTO_NUM)` and `(CTA_PROTO_DST_PORT)`.
const BY_PROTOCOL_AND_DESTINATION_PORT: u32 = 1 << 3 | 1 << 5;

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
