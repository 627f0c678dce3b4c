//! Moves devices of the host into the network namespace of a container (runtime-spec, config-linux, "Network Devices").

use super::message::{Message, Reply, attributes, malformed, u32_at};
use super::route::{Link, RouteSocket, ifinfomsg};
use crate::error::Context;
use crate::kernel::in_network_namespace;
use crate::{Error, ErrorKind, Result};
use std::os::fd::{AsRawFd, BorrowedFd};

/// A device and what it is called where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MovedDevice {
    /// The name on the host.
    pub(crate) name: String,
    /// The name in the container; with one `%d` in it the kernel chooses the number.
    pub(crate) target: String,
}

/// struct ifaddrmsg.
const IFADDRMSG: usize = 8;

const IFA_FLAGS: u16 = 8;
const IFA_RT_PRIORITY: u16 = 9;

/// The flags of an address that a person has set: the others say what the kernel found out about it.
const KEPT_FLAGS: u32 =
    libc::IFA_F_NODAD | libc::IFA_F_HOMEADDRESS | libc::IFA_F_MANAGETEMPADDR | libc::IFA_F_NOPREFIXROUTE;

/// Moves devices into the network namespace `namespace`, each with its permanent addresses of global scope, and brings
/// them up there.
///
/// # Errors
/// `InvalidInput` for a name that is none, `NotFound` for a device that is not there, `AlreadyExists` for a name that is
/// taken in the container. What has been moved goes with the namespace: a physical device back to the host.
pub(crate) fn move_devices(namespace: BorrowedFd<'_>, devices: &[MovedDevice]) -> Result<()> {
    devices.iter().try_for_each(|device| device.check())?;
    let mut host = RouteSocket::open()?;
    in_network_namespace(namespace, || {
        // One socket for each side: a socket stays in the namespace it was opened in.
        let mut inside = RouteSocket::open()?;
        devices.iter().try_for_each(|device| {
            device.move_to(namespace, &mut host, &mut inside).context(|| format!("linux.netDevices.{}", device.name))
        })
    })
}

impl MovedDevice {
    fn check(&self) -> Result<()> {
        for name in [&self.name, &self.target] {
            let bad = |character: char| character == '/' || character == ':' || character.is_whitespace();
            if name.is_empty() || name.len() > 15 || name == "." || name == ".." || name.contains(bad) {
                return Err(Error::invalid(format!("linux.netDevices: {name:?} is no name of a network device")));
            }
        }
        Ok(())
    }

    fn move_to(&self, namespace: BorrowedFd<'_>, host: &mut RouteSocket, inside: &mut RouteSocket) -> Result<()> {
        let missing = || Error::new(ErrorKind::NotFound, format!("the host has no network device {}", self.name));
        let index = host.link(&self.name)?.ok_or_else(missing)?.index;
        let addresses = host.kept_addresses(index)?;
        let before = inside.links()?;
        if before.iter().any(|link| link.name == self.target) {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                format!("the container has a network device {} already", self.target),
            )
            .hint("a name with %d lets the kernel choose the number"));
        }
        host.move_link(index, &self.target, namespace)?;
        let after = inside.links()?;
        let moved = |link: &&Link| !before.iter().any(|other| other.index == link.index && other.name == link.name);
        let link = after.iter().find(moved).ok_or_else(|| malformed("list of links"))?;
        addresses.into_iter().try_for_each(|address| inside.put_address(link.index, address))?;
        inside.bring_up(link.index)
    }
}

/// An address as the kernel tells it: family, prefix length, and the attributes that are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Address {
    family: u8,
    prefix: u8,
    attributes: Vec<(u16, Vec<u8>)>,
}

impl RouteSocket {
    /// The permanent addresses of global scope of interface `index`.
    fn kept_addresses(&mut self, index: u32) -> Result<Vec<Address>> {
        let request = Message::new(libc::RTM_GETADDR, libc::NLM_F_DUMP, &[0; IFADDRMSG]);
        self.conversation().dump(&request, "list the addresses", |reply| read_address(reply, index))
    }

    fn put_address(&mut self, index: u32, address: Address) -> Result<()> {
        let mut fixed = vec![address.family, address.prefix, 0, libc::RT_SCOPE_UNIVERSE];
        fixed.extend(index.to_ne_bytes());
        let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
        let mut request = Message::new(libc::RTM_NEWADDR, flags, &fixed);
        for (kind, value) in &address.attributes {
            request.bytes(*kind, value);
        }
        self.conversation().demand(request, "add an address of the moved device")
    }

    /// Takes interface `index` down, moves it into `namespace` and names it there, in one step.
    fn move_link(&mut self, index: u32, target: &str, namespace: BorrowedFd<'_>) -> Result<()> {
        let down = Message::new(libc::RTM_NEWLINK, libc::NLM_F_ACK, &ifinfomsg(index, 0, libc::IFF_UP as u32));
        let mut request = Message::new(libc::RTM_NEWLINK, libc::NLM_F_ACK, &ifinfomsg(index, 0, 0));
        request.number(libc::IFLA_NET_NS_FD, namespace.as_raw_fd() as u32).text(libc::IFLA_IFNAME, target);
        self.conversation().demand(down, "take the device down")?;
        self.conversation().demand(request, "move the device").map_err(|error| match error.errno() {
            Some(libc::EINVAL) => error.hint("the device belongs to its network namespace, as bridges and tunnels may"),
            _ => error,
        })
    }
}

fn read_address(reply: &Reply<'_>, index: u32) -> Result<Option<Address>> {
    let fixed = reply.payload.get(..IFADDRMSG).ok_or_else(|| malformed("address"))?;
    let (family, prefix, short_flags, scope) = (fixed[0], fixed[1], fixed[2], fixed[3]);
    if u32_at(fixed, 4) != Some(index) || scope != libc::RT_SCOPE_UNIVERSE {
        return Ok(None);
    }
    let mut flags = u32::from(short_flags);
    let mut kept = Vec::new();
    for attribute in attributes(&reply.payload[IFADDRMSG..]) {
        let (kind, value) = attribute?;
        match kind {
            IFA_FLAGS => flags = u32_at(value, 0).ok_or_else(|| malformed("address"))?,
            libc::IFA_ADDRESS | libc::IFA_LOCAL | libc::IFA_BROADCAST | IFA_RT_PRIORITY => {
                kept.push((kind, value.to_vec()));
            }
            _ => {}
        }
    }
    if flags & libc::IFA_F_PERMANENT == 0 {
        return Ok(None);
    }
    kept.push((IFA_FLAGS, (flags & KEPT_FLAGS).to_ne_bytes().to_vec()));
    Ok(Some(Address { family, prefix, attributes: kept }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{current_network_namespace, in_new_network_namespace};
    use crate::network::subnet::Subnet;
    use std::os::fd::AsFd;

    fn dummy(socket: &mut RouteSocket, name: &str) -> u32 {
        let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        let mut request = Message::new(libc::RTM_NEWLINK, flags, &ifinfomsg(0, 0, 0));
        request.text(libc::IFLA_IFNAME, name).nest(libc::IFLA_LINKINFO, |info| {
            info.text(libc::IFLA_INFO_KIND, "veth");
        });
        socket.conversation().demand(request, "make a device").unwrap();
        socket.link(name).unwrap().unwrap().index
    }

    fn moved(name: &str, target: &str) -> MovedDevice {
        MovedDevice { name: name.to_owned(), target: target.to_owned() }
    }

    #[test]
    fn devices_keep_their_addresses_and_get_their_names() {
        in_new_network_namespace(|| {
            let mut host = RouteSocket::open()?;
            for name in ["first", "second", "third"] {
                let index = dummy(&mut host, name);
                host.bring_up(index)?;
            }
            let index = host.link("first")?.unwrap().index;
            host.add_address(index, [169, 254, 169, 13].into(), Subnet::new([169, 254, 169, 13].into(), 32))?;
            let inside = in_new_network_namespace(current_network_namespace)?;
            move_devices(inside.as_fd(), &[moved("first", "eth0"), moved("second", "eth%d")])?;
            assert_eq!((host.link("first")?, host.link("second")?), (None, None));
            let taken = move_devices(inside.as_fd(), &[moved("third", "eth1")]).unwrap_err();
            assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
            assert!(taken.to_string().contains("linux.netDevices.third"), "{taken}");
            let missing = move_devices(inside.as_fd(), &[moved("none", "none")]).unwrap_err();
            assert_eq!(missing.kind(), ErrorKind::NotFound);
            in_network_namespace(inside.as_fd(), || {
                let mut socket = RouteSocket::open()?;
                let eth0 = socket.link("eth0")?.unwrap();
                assert!(eth0.up && socket.link("eth1")?.unwrap().up);
                let addresses = socket.kept_addresses(eth0.index)?;
                assert_eq!((addresses.len(), addresses[0].prefix), (1, 32));
                assert!(addresses[0].attributes.contains(&(libc::IFA_LOCAL, vec![169, 254, 169, 13])));
                Ok(())
            })
        })
        .unwrap();
    }

    #[test]
    fn names_are_checked_before_anything_is_moved() {
        let namespace = current_network_namespace().unwrap();
        for name in ["", "..", "a/b", "a b", "sixteen-letters!"] {
            let error = move_devices(namespace.as_fd(), &[moved("lo", name)]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}");
        }
    }
}
