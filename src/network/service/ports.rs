//! The host's ports of a service: free when it is made, its own from then on.

use super::super::balance::ServiceRecord;
use super::super::publish::{HeldPorts, PublishedPort};
use crate::value::Protocol;
use crate::{Error, ErrorKind, Result};
use std::net::{IpAddr, Ipv4Addr};

/// Where the kernel chooses a port that a service without members owns, it is asked again, so often at most.
const CHOICES: usize = 16;

/// The ports `wanted` with the numbers that they get: those that `mine` has already stay, others must be free. The
/// sockets hold the new ones until the caller has made them the service's own.
pub(super) fn claim(
    wanted: &[PublishedPort],
    mine: Option<&ServiceRecord>,
    others: &[ServiceRecord],
) -> Result<(HeldPorts, Vec<PublishedPort>)> {
    let mut before: Vec<PublishedPort> = mine.map(|record| record.specification.published.clone()).unwrap_or_default();
    let mut held = HeldPorts::default();
    let mut claimed: Vec<PublishedPort> = Vec::with_capacity(wanted.len());
    for port in wanted {
        let number = match before.iter().position(|before| is_continued(before, port)) {
            Some(index) => before.swap_remove(index).host_port,
            None => take(port, mine, others, &mut held)?,
        };
        let port = PublishedPort { host_port: number, ..*port };
        if claimed.iter().any(|other| overlap(other, &port)) {
            return Err(Error::invalid(format!("publish {port}: the service publishes this port twice")));
        }
        claimed.push(port);
    }
    Ok((held, claimed))
}

/// Whether a service owns one of `ports`: it may have no member at the moment that would hold it.
pub(in crate::network) fn check_free(ports: &[PublishedPort], services: &[ServiceRecord]) -> Result<()> {
    for port in ports {
        for service in services {
            if service.specification.published.iter().any(|other| overlap(other, port)) {
                return Err(Error::new(ErrorKind::InUse, format!("publish {port}: port {} is taken", port.host_port))
                    .hint(format!(
                        "the service {} publishes it; choose another host port",
                        service.specification.name.as_str()
                    )));
            }
        }
    }
    Ok(())
}

/// The ports that `before` has or had and would not have any more, the latest last.
pub(super) fn former(before: &ServiceRecord, published: &[PublishedPort]) -> Vec<PublishedPort> {
    let mut former: Vec<PublishedPort> = Vec::new();
    for port in before.former.iter().chain(&before.specification.published) {
        former.retain(|other| !is_same(other, port));
        former.push(*port);
    }
    former.retain(|port| !published.iter().any(|now| is_same(now, port)));
    former.drain(..former.len().saturating_sub(super::MOST_PORTS));
    former
}

fn take(
    port: &PublishedPort,
    mine: Option<&ServiceRecord>,
    others: &[ServiceRecord],
    held: &mut HeldPorts,
) -> Result<u16> {
    let had = |record: &ServiceRecord| {
        let mut all = record.former.iter().chain(&record.specification.published);
        all.any(|other| overlap(other, port))
    };
    let had_before = mine.is_some_and(had);
    for _ in 0..CHOICES {
        let wanted = std::slice::from_ref(port);
        let (socket, chosen) = match HeldPorts::reserve(wanted) {
            // Its own members may hold it: after a rollback those that were there before the change.
            Err(error) if had_before && error.kind() == ErrorKind::InUse => {
                (HeldPorts::share(wanted).map_err(|_| error)?, vec![*port])
            }
            reserved => reserved?,
        };
        held.append(socket);
        match check_free(&chosen, others) {
            Ok(()) => return Ok(chosen[0].host_port),
            Err(error) if port.host_port != 0 => return Err(error),
            Err(_) => {}
        }
    }
    Err(Error::new(ErrorKind::InUse, format!("publish {port}: services own every port that the kernel chose")))
}

fn is_continued(before: &PublishedPort, wanted: &PublishedPort) -> bool {
    address(before) == address(wanted)
        && before.container_port.protocol == wanted.container_port.protocol
        && match wanted.host_port {
            0 => before.container_port == wanted.container_port,
            number => before.host_port == number,
        }
}

/// Whether they are the same port of the host.
fn is_same(one: &PublishedPort, other: &PublishedPort) -> bool {
    address(one) == address(other)
        && one.host_port == other.host_port
        && one.container_port.protocol == other.container_port.protocol
}

fn overlap(one: &PublishedPort, other: &PublishedPort) -> bool {
    let everywhere = |port: &PublishedPort| address(port).is_unspecified();
    one.host_port == other.host_port
        && one.container_port.protocol == other.container_port.protocol
        && (everywhere(one) || everywhere(other) || address(one) == address(other))
}

fn address(port: &PublishedPort) -> IpAddr {
    port.host_address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

/// Whether a service has a port of this protocol.
pub(super) fn uses(record: &ServiceRecord, protocol: Protocol) -> bool {
    let published = record.specification.published.iter().map(|port| port.container_port);
    record.specification.ports.iter().copied().chain(published).any(|port| port.protocol == protocol)
}
