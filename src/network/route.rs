//! Links, addresses and routes (rtnetlink(7)).

use super::conversation::{Conversation, Outcome};
use super::message::{Message, Reply, attributes, malformed, text, u32_at, u64_at};
use super::subnet::Subnet;
use crate::Result;
use crate::kernel::NetlinkFamily;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

const IFLA_INET_CONF: u16 = 1;
const IPV4_DEVCONF_ROUTE_LOCALNET: u16 = 26;
const VETH_INFO_PEER: u16 = 1;
/// `RTNH_F_ONLINK`: the gateway is at the other end of the cable, whatever the addresses say.
const ON_LINK: u32 = 4;
const IFINFOMSG: usize = 16;
const RTMSG: usize = 12;

/// A hardware address.
pub(crate) type Mac = [u8; 6];

/// What the kernel says about a network interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Link {
    /// The interface index.
    pub(crate) index: u32,
    /// The name, at most 15 bytes.
    pub(crate) name: String,
    /// Whether it is administratively up.
    pub(crate) up: bool,
    /// The group it belongs to; 0 where nobody has put it into one.
    pub(crate) group: u32,
    /// The hardware address, where it has one of six bytes.
    pub(crate) mac: Option<Mac>,
    /// The largest packet in bytes.
    pub(crate) mtu: u32,
    /// The counters of `rtnl_link_stats64`: packets received, packets sent, bytes received, bytes sent, ...
    pub(crate) counters: [u64; 8],
}

/// A route of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    /// Where it leads.
    pub(crate) destination: Subnet,
    /// The interface it leaves by.
    pub(crate) interface: Option<u32>,
    /// The lower of two wins.
    pub(crate) metric: u32,
}

/// A virtual cable to be made: one end is on the host, the other lies in a container. There is nothing else on it: what
/// a container sends to whomever, the host routes.
pub(crate) struct VirtualCable<'a> {
    /// The name of the end on this side.
    pub(crate) name: &'a str,
    /// The interface group of the end on this side, by which the packet filter knows it.
    pub(crate) group: u32,
    /// The hardware address of the end on this side.
    pub(crate) mac: Mac,
    /// The name of the end in the container.
    pub(crate) peer_name: &'a str,
    /// The hardware address of the end in the container.
    pub(crate) peer_mac: Mac,
    /// The container's network namespace.
    pub(crate) namespace: BorrowedFd<'a>,
    /// Of both ends, in bytes.
    pub(crate) mtu: u32,
}

/// An rtnetlink socket.
#[derive(Debug)]
pub(crate) struct RouteSocket(Conversation);

impl RouteSocket {
    /// A socket for the network namespace of the calling thread.
    pub(crate) fn open() -> Result<RouteSocket> {
        Conversation::open(NetlinkFamily::Route).map(RouteSocket)
    }

    /// The interface called `name`.
    pub(crate) fn link(&mut self, name: &str) -> Result<Option<Link>> {
        let mut request = Message::new(libc::RTM_GETLINK, libc::NLM_F_ACK, &ifinfomsg(0, 0, 0));
        request.text(libc::IFLA_IFNAME, name);
        self.0.find(request, &format!("look up interface {name}"), read_link)
    }

    /// All interfaces.
    pub(crate) fn links(&mut self) -> Result<Vec<Link>> {
        let request = Message::new(libc::RTM_GETLINK, libc::NLM_F_DUMP, &ifinfomsg(0, 0, 0));
        self.0.dump(&request, "list the network interfaces", |reply| read_link(reply).map(Some))
    }

    /// All IPv4 routes of every table.
    pub(crate) fn routes(&mut self) -> Result<Vec<Route>> {
        let mut rtmsg = [0; RTMSG];
        rtmsg[0] = libc::AF_INET as u8;
        let request = Message::new(libc::RTM_GETROUTE, libc::NLM_F_DUMP, &rtmsg);
        self.0.dump(&request, "list the routes", read_route)
    }

    /// Makes the bridge `name`; the outcome is `EEXIST` where the name is taken.
    pub(crate) fn create_bridge(&mut self, name: &str, mac: Mac) -> Result<Outcome> {
        let mut request = Message::new(libc::RTM_NEWLINK, create_flags(), &ifinfomsg(0, 0, 0));
        request.text(libc::IFLA_IFNAME, name).bytes(libc::IFLA_ADDRESS, &mac).nest(libc::IFLA_LINKINFO, |info| {
            info.text(libc::IFLA_INFO_KIND, "bridge");
        });
        self.first_outcome(vec![request])
    }

    /// Connects the host's end of a cable: `gateway` here, `container` at the other end, and packets for 127.0.0.0/8
    /// may pass (the sysctl `route_localnet`), which the host's own connections to published ports need.
    pub(crate) fn connect(&mut self, index: u32, gateway: Ipv4Addr, container: Ipv4Addr) -> Result<()> {
        let mut settings = Message::new(libc::RTM_SETLINK, libc::NLM_F_ACK, &ifinfomsg(index, 0, 0));
        settings.nest(libc::IFLA_AF_SPEC, |families| {
            families.nest(libc::AF_INET as u16, |inet| {
                inet.nest(IFLA_INET_CONF, |settings| {
                    settings.number(IPV4_DEVCONF_ROUTE_LOCALNET, 1);
                });
            });
        });
        let outcomes = self.0.request(vec![settings, new_peer_address(index, gateway, container)])?;
        let operations =
            ["let the cable carry connections from 127.0.0.1", "route the container's address to its cable"];
        outcomes.iter().zip(operations).try_for_each(|(outcome, operation)| outcome.check(operation))
    }

    /// Brings interface `index` up.
    pub(crate) fn bring_up(&mut self, index: u32) -> Result<()> {
        self.0.demand(up(index), "bring a network interface up")
    }

    /// Makes a virtual cable in one step, with the end on this side up (the kernel refuses `IFF_UP` for the peer of a
    /// cable that is not there yet); the outcome is `EEXIST` where the name is taken.
    pub(crate) fn create_cable(&mut self, cable: &VirtualCable<'_>) -> Result<Outcome> {
        let up = libc::IFF_UP as u32;
        let mut create = Message::new(libc::RTM_NEWLINK, create_flags(), &ifinfomsg(0, up, up));
        create
            .text(libc::IFLA_IFNAME, cable.name)
            .number(libc::IFLA_MTU, cable.mtu)
            .number(libc::IFLA_GROUP, cable.group)
            .bytes(libc::IFLA_ADDRESS, &cable.mac)
            .nest(libc::IFLA_LINKINFO, |info| {
                info.text(libc::IFLA_INFO_KIND, "veth").nest(libc::IFLA_INFO_DATA, |data| {
                    data.nest_after(VETH_INFO_PEER, &ifinfomsg(0, 0, 0), |peer| {
                        peer.text(libc::IFLA_IFNAME, cable.peer_name)
                            .number(libc::IFLA_MTU, cable.mtu)
                            .bytes(libc::IFLA_ADDRESS, &cable.peer_mac)
                            .number(libc::IFLA_NET_NS_FD, cable.namespace.as_raw_fd() as u32);
                    });
                });
            });
        self.first_outcome(vec![create])
    }

    /// Removes interface `index`, with its peer; it may be gone already.
    pub(crate) fn delete_link(&mut self, index: u32) -> Result<()> {
        let request = Message::new(libc::RTM_DELLINK, libc::NLM_F_ACK, &ifinfomsg(index, 0, 0));
        self.first_outcome(vec![request])?.check_but(libc::ENODEV, "remove a network interface")
    }

    /// Gives interface `index` an address in `subnet`; it may have it already.
    pub(crate) fn add_address(&mut self, index: u32, address: Ipv4Addr, subnet: Subnet) -> Result<()> {
        self.first_outcome(vec![new_address(index, address, subnet)])?
            .check_but(libc::EEXIST, &format!("add address {address}/{}", subnet.prefix))
    }

    /// Brings interface `index` up with `address` and a default route over `gateway` at the other end of its cable, whose
    /// hardware address is `mac`: a host that answers to ARP on few interfaces (`arp_ignore`) is not asked.
    pub(crate) fn configure(&mut self, index: u32, address: Ipv4Addr, gateway: Ipv4Addr, mac: Mac) -> Result<()> {
        let alone = Subnet::new(address, 32);
        let requests = vec![
            up(index),
            new_address(index, address, alone),
            new_default_route(index, gateway),
            new_neighbour(index, gateway, mac),
        ];
        let outcomes = self.0.request(requests)?;
        let operations = [
            "bring the container's interface up",
            "add the container's address",
            "add the container's default route",
            "tell the container the host's hardware address",
        ];
        outcomes.iter().zip(operations).try_for_each(|(outcome, operation)| outcome.check(operation))
    }

    /// The conversation, for requests of other parts of the room.
    pub(super) fn conversation(&mut self) -> &mut Conversation {
        &mut self.0
    }

    /// The outcome of the first; the others follow it and are not looked at.
    fn first_outcome(&mut self, requests: Vec<Message>) -> Result<Outcome> {
        let mut outcomes = self.0.request(requests)?;
        if outcomes.is_empty() { Err(malformed("acknowledgement")) } else { Ok(outcomes.swap_remove(0)) }
    }
}

fn up(index: u32) -> Message {
    let up = libc::IFF_UP as u32;
    Message::new(libc::RTM_NEWLINK, libc::NLM_F_ACK, &ifinfomsg(index, up, up))
}

fn create_flags() -> i32 {
    libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL
}

fn new_address(index: u32, address: Ipv4Addr, subnet: Subnet) -> Message {
    let mut ifaddrmsg = vec![libc::AF_INET as u8, subnet.prefix, 0, libc::RT_SCOPE_UNIVERSE];
    ifaddrmsg.extend(index.to_ne_bytes());
    let broadcast = Ipv4Addr::from_bits(subnet.address.to_bits() | !subnet.mask().to_bits());
    let mut request = Message::new(libc::RTM_NEWADDR, create_flags(), &ifaddrmsg);
    request
        .bytes(libc::IFA_LOCAL, &address.octets())
        .bytes(libc::IFA_ADDRESS, &address.octets())
        .bytes(libc::IFA_BROADCAST, &broadcast.octets());
    request
}

/// A point-to-point address: the kernel adds the route to `peer` by itself.
fn new_peer_address(index: u32, local: Ipv4Addr, peer: Ipv4Addr) -> Message {
    let mut ifaddrmsg = vec![libc::AF_INET as u8, 32, 0, libc::RT_SCOPE_UNIVERSE];
    ifaddrmsg.extend(index.to_ne_bytes());
    let mut request = Message::new(libc::RTM_NEWADDR, create_flags(), &ifaddrmsg);
    request.bytes(libc::IFA_LOCAL, &local.octets()).bytes(libc::IFA_ADDRESS, &peer.octets());
    request
}

/// A neighbour that is never asked for.
fn new_neighbour(index: u32, address: Ipv4Addr, mac: Mac) -> Message {
    let mut ndmsg = vec![libc::AF_INET as u8, 0, 0, 0];
    ndmsg.extend(index.to_ne_bytes());
    ndmsg.extend(libc::NUD_PERMANENT.to_ne_bytes());
    ndmsg.extend([0, libc::RTN_UNICAST]);
    let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
    let mut request = Message::new(libc::RTM_NEWNEIGH, flags, &ndmsg);
    request.bytes(libc::NDA_DST, &address.octets()).bytes(libc::NDA_LLADDR, &mac);
    request
}

fn new_default_route(index: u32, gateway: Ipv4Addr) -> Message {
    let mut rtmsg = vec![libc::AF_INET as u8, 0, 0, 0, libc::RT_TABLE_MAIN, libc::RTPROT_BOOT];
    rtmsg.extend([libc::RT_SCOPE_UNIVERSE, libc::RTN_UNICAST]);
    rtmsg.extend(ON_LINK.to_ne_bytes());
    let mut request = Message::new(libc::RTM_NEWROUTE, create_flags(), &rtmsg);
    request.bytes(libc::RTA_GATEWAY, &gateway.octets()).number(libc::RTA_OIF, index);
    request
}

pub(super) fn ifinfomsg(index: u32, flags: u32, change: u32) -> [u8; IFINFOMSG] {
    let mut fixed = [0; IFINFOMSG];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    fixed[8..12].copy_from_slice(&flags.to_ne_bytes());
    fixed[12..16].copy_from_slice(&change.to_ne_bytes());
    fixed
}

/// What is read of the kernel's answers, for the fuzz target.
#[cfg(fuzzing)]
pub(super) fn read_as_everything(reply: &Reply<'_>) -> Result<()> {
    read_link(reply)?;
    read_route(reply).map(drop)
}

fn read_link(reply: &Reply<'_>) -> Result<Link> {
    let fixed = || Some((u32_at(reply.payload, 4)?, u32_at(reply.payload, 8)?));
    let (index, flags) = fixed().ok_or_else(|| malformed("link"))?;
    let mut link = Link { index, up: flags & libc::IFF_UP as u32 != 0, ..Link::default() };
    for attribute in attributes(reply.payload.get(IFINFOMSG..).ok_or_else(|| malformed("link"))?) {
        let (kind, value) = attribute?;
        match kind {
            libc::IFLA_IFNAME => link.name = text(value),
            libc::IFLA_GROUP => link.group = u32_at(value, 0).ok_or_else(|| malformed("group"))?,
            libc::IFLA_MTU => link.mtu = u32_at(value, 0).ok_or_else(|| malformed("MTU"))?,
            libc::IFLA_ADDRESS => link.mac = value.try_into().ok(),
            libc::IFLA_STATS64 => {
                for (index, counter) in link.counters.iter_mut().enumerate() {
                    *counter = u64_at(value, index * 8).ok_or_else(|| malformed("counter"))?;
                }
            }
            _ => {}
        }
    }
    Ok(link)
}

fn read_route(reply: &Reply<'_>) -> Result<Option<Route>> {
    let fixed = reply.payload.get(..RTMSG).ok_or_else(|| malformed("route"))?;
    let (family, prefix, kind) = (fixed[0], fixed[1], fixed[7]);
    // Multicast and broadcast routes do not take addresses from anybody.
    if i32::from(family) != libc::AF_INET || matches!(kind, libc::RTN_MULTICAST | libc::RTN_BROADCAST) {
        return Ok(None);
    }
    let (mut destination, mut interface, mut metric) = (Ipv4Addr::UNSPECIFIED, None, 0);
    for attribute in attributes(&reply.payload[RTMSG..]) {
        let (kind, value) = attribute?;
        match kind {
            libc::RTA_DST => {
                let octets: [u8; 4] = value.try_into().map_err(|_| malformed("route"))?;
                destination = octets.into();
            }
            libc::RTA_OIF => interface = u32_at(value, 0),
            libc::RTA_PRIORITY => metric = u32_at(value, 0).unwrap_or(0),
            _ => {}
        }
    }
    Ok(Some(Route { destination: Subnet::new(destination, prefix), interface, metric }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_answer_breaks_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let reply = Reply { kind: libc::RTM_NEWLINK, flags: 0, sequence: 0, payload: &bytes };
            let _ = (read_link(&reply), read_route(&reply));
        }
    }

    #[test]
    fn a_short_counter_is_an_error() {
        let mut message = Message::new(libc::RTM_NEWLINK, 0, &ifinfomsg(3, 0, 0));
        message.bytes(libc::IFLA_STATS64, &[0; 60]);
        let bytes = message.finish(1).unwrap();
        let reply = super::super::message::replies(&bytes).next().unwrap().unwrap();
        assert!(read_link(&reply).is_err());
    }
}
