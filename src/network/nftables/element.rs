//! Elements of sets and maps, and what the kernel says about them.

use super::super::message::{Reply, attributes, malformed, text, u32_at};
use super::ruleset::{PUBLISHED, PUBLISHED_AT, SELVES};
use crate::Result;
use crate::network::PublishedPort;
use crate::value::Protocol;
use std::net::{IpAddr, Ipv4Addr};

/// Verdicts that lead to another chain, with and without a way back (linux/netfilter/nf_tables.h).
pub(super) const NFT_JUMP: i32 = -3;
pub(super) const NFT_GOTO: i32 = -4;

/// An element: its key, and where it leads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Element {
    pub(super) key: Vec<u8>,
    pub(super) target: Target,
}

/// Where an element leads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    None,
    Value(Vec<u8>),
    Chain(String),
    /// A chain that comes back.
    Subchain(String),
}

impl Element {
    /// An address in a set.
    pub(super) fn address(address: Ipv4Addr) -> Element {
        Element { key: address.octets().to_vec(), target: Target::None }
    }

    /// An address together with itself.
    pub(super) fn pair(address: Ipv4Addr) -> Element {
        Element { key: address.octets().repeat(2), target: Target::None }
    }

    /// An address together with a port.
    pub(super) fn address_and_port(address: Ipv4Addr, port: u16) -> Element {
        let mut key = address.octets().to_vec();
        key.extend(port_part(port));
        Element { key, target: Target::None }
    }

    /// From (address .) transport . port to a chain.
    pub(super) fn chain(address: Option<Ipv4Addr>, protocol: Protocol, port: u16, chain: String) -> Element {
        Element { key: port_key(address, protocol, port), target: Target::Chain(chain) }
    }

    /// From an address to a chain.
    pub(super) fn chain_of(address: Ipv4Addr, chain: String) -> Element {
        Element { key: address.octets().to_vec(), target: Target::Chain(chain) }
    }

    /// From a slot to a chain that comes back.
    pub(super) fn slot(slot: u32, chain: String) -> Element {
        Element { key: slot.to_ne_bytes().to_vec(), target: Target::Subchain(chain) }
    }

    /// The chain that it leads to.
    pub(super) fn into_chain(self) -> Option<String> {
        match self.target {
            Target::Chain(chain) | Target::Subchain(chain) => Some(chain),
            _ => None,
        }
    }
}

/// What leads a published port to one container: an element and the set it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Redirect {
    pub(super) set: &'static str,
    pub(super) element: Element,
}

impl Redirect {
    /// The element that leads `port` to the container at `address`.
    pub(crate) fn new(port: &PublishedPort, address: Ipv4Addr) -> Redirect {
        let host = specific(port);
        let set = if host.is_some() { PUBLISHED_AT } else { PUBLISHED };
        let mut target = address.octets().to_vec();
        target.extend(port_part(port.container_port.number));
        let key = port_key(host, port.container_port.protocol, port.host_port);
        Redirect { set, element: Element { key, target: Target::Value(target) } }
    }

    /// The element by which the container at `address`, which has published ports, can reach itself by them.
    pub(crate) fn to_itself(address: Ipv4Addr) -> Redirect {
        Redirect { set: SELVES, element: Element::pair(address) }
    }
}

/// The one address of the host on which `port` is published, if it is one.
pub(super) fn specific(port: &PublishedPort) -> Option<Ipv4Addr> {
    match port.host_address {
        Some(IpAddr::V4(host)) if !host.is_unspecified() => Some(host),
        _ => None,
    }
}

fn port_key(address: Option<Ipv4Addr>, protocol: Protocol, port: u16) -> Vec<u8> {
    let mut key = address.map(|address| address.octets().to_vec()).unwrap_or_default();
    let transport = match protocol {
        Protocol::Tcp => libc::IPPROTO_TCP as u8,
        Protocol::Udp => libc::IPPROTO_UDP as u8,
    };
    key.extend([transport, 0, 0, 0]);
    key.extend(port_part(port));
    key
}

fn port_part(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

/// The name in a message about a chain (attribute 3) or a set (attribute 2) of `table`; `None` for one of another table.
pub(super) fn read_name(reply: &Reply<'_>, table: &str, attribute: u16) -> Result<Option<String>> {
    const TABLE: u16 = 1;
    let (mut ours, mut name) = (false, None);
    for one in attributes(reply.payload.get(4..).ok_or_else(|| malformed("nftables message"))?) {
        let (kind, value) = one?;
        if kind == TABLE {
            ours = text(value) == table;
        } else if kind == attribute {
            name = Some(text(value));
        }
    }
    Ok(name.filter(|_| ours))
}

/// The elements in a message about a set.
pub(super) fn read_elements(reply: &Reply<'_>) -> Result<Vec<Element>> {
    const ELEMENTS: u16 = 3;
    let mut all = Vec::new();
    for one in attributes(reply.payload.get(4..).ok_or_else(|| malformed("nftables message"))?) {
        let (kind, value) = one?;
        if kind == ELEMENTS {
            for element in attributes(value) {
                all.push(read_element(element?.1)?);
            }
        }
    }
    Ok(all)
}

fn read_element(bytes: &[u8]) -> Result<Element> {
    const KEY: u16 = 1;
    const DATA: u16 = 2;
    let mut element = Element { key: Vec::new(), target: Target::None };
    for one in attributes(bytes) {
        match one? {
            (KEY, value) => {
                if let Some((1, key)) = attributes(value).next().transpose()? {
                    element.key = key.to_vec();
                }
            }
            (DATA, value) => element.target = read_target(value)?,
            _ => {}
        }
    }
    Ok(element)
}

fn read_target(bytes: &[u8]) -> Result<Target> {
    const VALUE: u16 = 1;
    const VERDICT: u16 = 2;
    const CODE: u16 = 1;
    const CHAIN: u16 = 2;
    match attributes(bytes).next().transpose()? {
        Some((VALUE, value)) => Ok(Target::Value(value.to_vec())),
        Some((VERDICT, verdict)) => {
            let (mut chain, mut code) = (String::new(), 0);
            for one in attributes(verdict) {
                match one? {
                    (CODE, value) => code = u32_at(value, 0).map_or(0, u32::from_be) as i32,
                    (CHAIN, name) => chain = text(name),
                    _ => {}
                }
            }
            Ok(if code == NFT_JUMP { Target::Subchain(chain) } else { Target::Chain(chain) })
        }
        _ => Ok(Target::None),
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::Change;
    use super::super::ruleset::elements;
    use super::*;
    use crate::network::message::replies;
    use proptest::prelude::*;

    #[test]
    fn elements_are_read_as_they_are_written() {
        let member = Ipv4Addr::new(10, 77, 0, 2);
        let all = [
            Element::address(member),
            Element::pair(member),
            Element::chain(Some(member), Protocol::Tcp, 80, "svc1-tcp-80".to_owned()),
            Element::slot(7, "svc1-tcp-80-10.77.0.2".to_owned()),
            Redirect::new(&PublishedPort::new(8000, 80), member).element,
        ];
        let bytes = elements(Change::NewElement, 0, "coracle0", "set", &all).finish(1).unwrap();
        let reply = replies(&bytes).next().unwrap().unwrap();
        assert_eq!(read_elements(&reply).unwrap(), all);
        assert_eq!(read_name(&reply, "coracle0", 2).unwrap().as_deref(), Some("set"));
        assert_eq!(read_name(&reply, "coracle1", 2).unwrap(), None);
    }

    proptest! {
        #[test]
        fn no_answer_breaks_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let reply = Reply { kind: 0, flags: 0, sequence: 0, payload: &bytes };
            let _ = (read_elements(&reply), read_name(&reply, "coracle0", 2));
        }
    }
}
