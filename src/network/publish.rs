//! Published ports, and the sockets that keep them from being taken twice.

use crate::error::During;
use crate::value::{Port, Protocol};
use crate::{Error, ErrorKind, Result};
use nix::sys::socket::{
    AddressFamily, Backlog, Shutdown, SockFlag, SockType, SockaddrIn, bind, getsockname, listen, setsockopt, shutdown,
    socket, sockopt,
};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::str::FromStr;

/// A port of the host that leads to a port of a container: `8000:8000`, `127.0.0.1:8080:80`, `0:53/udp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The address of the host on which the port is published; `None` (or 0.0.0.0) is all of them, 127.0.0.1 among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_address: Option<IpAddr>,
    /// The port of the host, 1 to 65535; 0 lets the kernel choose a free one.
    pub host_port: u16,
    /// The port in the container; its protocol is also that of the host's port.
    pub container_port: Port,
}

impl PublishedPort {
    /// Port `host_port` of every address of the host, leading to `container_port`.
    pub fn new(host_port: u16, container_port: impl Into<Port>) -> PublishedPort {
        PublishedPort { host_address: None, host_port, container_port: container_port.into() }
    }

    /// Publishes on this address of the host alone.
    #[must_use]
    pub fn address(mut self, address: impl Into<IpAddr>) -> PublishedPort {
        self.host_address = Some(address.into());
        self
    }
}

impl fmt::Display for PublishedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(address) = self.host_address {
            write!(f, "{address}:")?;
        }
        write!(f, "{}:{}", self.host_port, self.container_port)
    }
}

impl FromStr for PublishedPort {
    type Err = Error;

    /// `[ADDRESS:]HOST_PORT:CONTAINER_PORT[/PROTOCOL]`.
    fn from_str(text: &str) -> Result<PublishedPort> {
        let wrong =
            || Error::invalid(format!("published port {text:?} is not [ADDRESS:]HOST_PORT:CONTAINER_PORT[/tcp|/udp]"));
        let (front, container) = text.rsplit_once(':').ok_or_else(wrong)?;
        let (address, host_port) = match front.rsplit_once(':') {
            Some((address, port)) => (Some(address.parse().map_err(|_| wrong())?), port),
            None => (None, front),
        };
        if !host_port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        let host_port = host_port.parse().map_err(|_| wrong())?;
        Ok(PublishedPort { host_address: address, host_port, container_port: container.parse()? })
    }
}

/// Bound sockets that hold the published ports of one container, so that no other program gets them while it lives. No
/// packet reaches them: those are redirected before. The keeper of a detached container inherits them.
#[derive(Debug, Default)]
pub(crate) struct HeldPorts(Vec<OwnedFd>);

impl HeldPorts {
    /// Binds every port; the ports come back with the numbers that the kernel chose for 0.
    pub(crate) fn reserve(ports: &[PublishedPort]) -> Result<(HeldPorts, Vec<PublishedPort>)> {
        let mut held = Vec::with_capacity(ports.len());
        let mut chosen = Vec::with_capacity(ports.len());
        for port in ports {
            let (fd, number) = hold(port)?;
            held.push(fd);
            chosen.push(PublishedPort { host_port: number, ..*port });
        }
        Ok((HeldPorts(held), chosen))
    }

    /// Binds every port so that others of ours can too, and programs that do not ask to share cannot. The ports were
    /// reserved before.
    pub(crate) fn share(ports: &[PublishedPort]) -> Result<HeldPorts> {
        let hold = |port: &PublishedPort| {
            let (kind, wanted) = socket_of(port)?;
            match bind_shared(kind, &wanted, false) {
                // See `hold_beside_closed_connections`.
                Err(nix::errno::Errno::EADDRINUSE) if kind == SockType::Stream => bind_shared(kind, &wanted, true),
                result => result,
            }
            .map_err(|errno| refusal(port, errno))
        };
        ports.iter().map(hold).collect::<Result<_>>().map(HeldPorts)
    }

    /// Holds what `other` holds too.
    pub(crate) fn append(&mut self, mut other: HeldPorts) {
        self.0.append(&mut other.0);
    }

    /// The sockets once more, for another process to inherit.
    pub(crate) fn duplicates(&self) -> Result<Vec<OwnedFd>> {
        self.0.iter().map(|socket| socket.try_clone().during(|| "duplicate a held port")).collect()
    }
}

/// The kind of socket that holds `port`, and where it is bound.
fn socket_of(port: &PublishedPort) -> Result<(SockType, SockaddrIn)> {
    let host = match port.host_address {
        None => Ipv4Addr::UNSPECIFIED,
        Some(IpAddr::V4(address)) => address,
        Some(IpAddr::V6(address)) => {
            return Err(Error::new(ErrorKind::Unsupported, format!("publish {port}: {address} is an IPv6 address"))
                .hint("ports are published on IPv4 addresses of the host only"));
        }
    };
    let kind = match port.container_port.protocol {
        Protocol::Tcp => SockType::Stream,
        Protocol::Udp => SockType::Datagram,
    };
    Ok((kind, SockaddrIn::from(SocketAddrV4::new(host, port.host_port))))
}

fn bind_shared(kind: SockType, wanted: &SockaddrIn, beside_closed_connections: bool) -> nix::Result<OwnedFd> {
    let fd = open(kind)?;
    setsockopt(&fd, sockopt::ReusePort, &true)?;
    setsockopt(&fd, sockopt::ReuseAddr, &beside_closed_connections)?;
    bind(fd.as_raw_fd(), wanted)?;
    setsockopt(&fd, sockopt::ReuseAddr, &false)?;
    Ok(fd)
}

fn hold(port: &PublishedPort) -> Result<(OwnedFd, u16)> {
    let (kind, wanted) = socket_of(port)?;
    let fd = open(kind).during(|| format!("publish {port}"))?;
    let fd = match bind(fd.as_raw_fd(), &wanted) {
        Ok(()) => fd,
        Err(nix::errno::Errno::EADDRINUSE) if kind == SockType::Stream => {
            hold_beside_closed_connections(&wanted).map_err(|errno| refusal(port, errno))?
        }
        Err(errno) => return Err(refusal(port, errno)),
    };
    let bound: SockaddrIn = getsockname(fd.as_raw_fd()).during(|| format!("publish {port}"))?;
    Ok((fd, bound.port()))
}

/// Connections of an earlier program that are closing (TIME_WAIT) refuse a plain bind for a minute. With `SO_REUSEADDR`
/// they do not, but then another such socket would not be refused either: so the socket listens for a moment, which the
/// kernel allows to one alone, and gives up the permission to share before it goes on as a bound socket.
fn hold_beside_closed_connections(wanted: &SockaddrIn) -> nix::Result<OwnedFd> {
    let fd = open(SockType::Stream)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    bind(fd.as_raw_fd(), wanted)?;
    listen(&fd, Backlog::new(1)?)?;
    setsockopt(&fd, sockopt::ReuseAddr, &false)?;
    shutdown(fd.as_raw_fd(), Shutdown::Both)?;
    Ok(fd)
}

fn open(kind: SockType) -> nix::Result<OwnedFd> {
    socket(AddressFamily::Inet, kind, SockFlag::SOCK_CLOEXEC, None)
}

fn refusal(port: &PublishedPort, errno: nix::errno::Errno) -> Error {
    use nix::errno::Errno;
    let what = Port { number: port.host_port, protocol: port.container_port.protocol };
    let shown = match port.host_address {
        Some(address) => format!("publish {address}:{what}"),
        None => format!("publish {what}"),
    };
    match errno {
        Errno::EADDRINUSE => Error::new(ErrorKind::InUse, format!("{shown}: port {} is taken", port.host_port))
            .hint("another program or container holds it; choose another host port, or 0 to let the kernel choose"),
        Errno::EADDRNOTAVAIL => Error::invalid(format!("{shown}: the host does not have this address"))
            .hint("publish on an address that `ip addr` shows, or on all by leaving it out"),
        Errno::EACCES => Error::os(shown, errno as i32)
            .hint("ports below net.ipv4.ip_unprivileged_port_start (1024) need CAP_NET_BIND_SERVICE"),
        _ => Error::os(shown, errno as i32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::tests::host::on_host;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn text_is_strict_and_round_trips() {
        for text in ["8000:8000/tcp", "127.0.0.1:8080:80/tcp", "0:53/udp"] {
            assert_eq!(text.parse::<PublishedPort>().unwrap().to_string(), text);
        }
        assert_eq!("8000:80".parse::<PublishedPort>().unwrap(), PublishedPort::new(8000, 80));
        for bad in ["", "80", ":80", "+1:80", "80:0", "65536:80", "host:80:80", "80:80/sctp", "1.2.3:80:80"] {
            assert!(bad.parse::<PublishedPort>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_port_is_held_once() {
        on_host(|| {
            let port = [PublishedPort::new(8000, 80)];
            let (held, _) = HeldPorts::reserve(&port).unwrap();
            let error = HeldPorts::reserve(&port).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InUse);
            assert!(error.to_string().starts_with("publish 8000/tcp: port 8000 is taken (hint: "), "{error}");
            assert!(TcpListener::bind("127.0.0.1:8000").is_err());
            assert!(HeldPorts::reserve(&[PublishedPort::new(8000, Port::udp(80))]).is_ok());
            drop(held);
            let listener = TcpListener::bind("127.0.0.1:8000").unwrap();
            assert_eq!(HeldPorts::reserve(&port).unwrap_err().kind(), ErrorKind::InUse);
            drop(listener);
            let twice = [PublishedPort::new(8000, 80), PublishedPort::new(8000, 81)];
            assert_eq!(HeldPorts::reserve(&twice).unwrap_err().kind(), ErrorKind::InUse);
        });
    }

    #[test]
    fn the_kernel_chooses_for_zero() {
        on_host(|| {
            let ports = [PublishedPort::new(0, 80), PublishedPort::new(0, Port::udp(53))];
            let (_held, chosen) = HeldPorts::reserve(&ports).unwrap();
            assert!(chosen.iter().all(|port| port.host_port != 0));
            assert_eq!(chosen[1].container_port, Port::udp(53));
        });
    }

    #[test]
    fn closing_connections_do_not_refuse_but_a_holder_does() {
        on_host(|| {
            let listener = TcpListener::bind("127.0.0.1:8001").unwrap();
            let mut client = TcpStream::connect("127.0.0.1:8001").unwrap();
            let (mut server, _) = listener.accept().unwrap();
            // The side that closes first keeps the port in TIME_WAIT.
            server.write_all(b"bye").unwrap();
            drop(server);
            let mut text = String::new();
            client.read_to_string(&mut text).unwrap();
            drop((client, listener));
            let port = [PublishedPort::new(8001, 80)];
            let (_held, _) = HeldPorts::reserve(&port).unwrap();
            assert_eq!(HeldPorts::reserve(&port).unwrap_err().kind(), ErrorKind::InUse);
            assert!(TcpListener::bind("127.0.0.1:8001").is_err());
            assert!(TcpStream::connect("127.0.0.1:8001").is_err());
        });
    }

    #[test]
    fn addresses_the_host_lacks_are_refused() {
        on_host(|| {
            let far = PublishedPort::new(80, 80).address(Ipv4Addr::new(192, 0, 2, 77));
            assert_eq!(HeldPorts::reserve(&[far]).unwrap_err().kind(), ErrorKind::InvalidInput);
            let six = PublishedPort::new(80, 80).address(std::net::Ipv6Addr::LOCALHOST);
            assert_eq!(HeldPorts::reserve(&[six]).unwrap_err().kind(), ErrorKind::Unsupported);
        });
    }
}
