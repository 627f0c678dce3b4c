//! `ports` and `expose` (Compose specification, "ports").

use super::cursor::Cursor;
use crate::network::PublishedPort;
use crate::value::{Port, Protocol};
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// The most ports that a range may have.
const LONGEST_RANGE: u16 = 1000;
/// The most ports that a service may have.
const MOST_PORTS: usize = 1000;

/// All published ports of a service.
pub(super) fn published(ports: &Cursor<'_>) -> Vec<PublishedPort> {
    collect(ports, |port| if port.is_map() { long(port) } else { short(port) })
}

/// All ports that others of the project may use.
pub(super) fn exposed(ports: &Cursor<'_>) -> Vec<Port> {
    let one = |text: &str| {
        let (range, protocol) = with_protocol(text)?;
        Ok::<_, String>(range_of(range)?.map(|number| Port { number, protocol }).collect::<Vec<Port>>())
    };
    collect(ports, |port| port.parsed(one).unwrap_or_default())
}

/// What `read` makes of each, within the budget.
fn collect<'file, T>(ports: &Cursor<'file>, read: impl Fn(&Cursor<'file>) -> Vec<T>) -> Vec<T> {
    let mut all = Vec::new();
    for port in ports.list() {
        all.extend(read(&port));
        if all.len() > MOST_PORTS {
            ports.wrong(format!("more than {MOST_PORTS} ports"));
            break;
        }
    }
    all
}

fn short(port: &Cursor<'_>) -> Vec<PublishedPort> {
    port.parsed(parse).unwrap_or_default()
}

/// `[[ADDRESS:]HOST:]CONTAINER[/PROTOCOL]`, where `HOST` and `CONTAINER` may be ranges of the same length.
fn parse(text: &str) -> Result<Vec<PublishedPort>, String> {
    let (rest, protocol) = with_protocol(text)?;
    let (front, container) = match rest.rsplit_once(':') {
        Some((front, container)) => (Some(front), container),
        None => (None, rest),
    };
    let (address, host) = match front {
        None => (None, None),
        Some(front) => match front.rsplit_once(':') {
            None => (None, Some(front)),
            Some((address, host)) => (Some(address_of(address)?), Some(host)),
        },
    };
    combine(address, host.filter(|host| !host.is_empty()), container, protocol)
        .map_err(|problem| format!("port {text:?}: {problem}"))
}

fn long(port: &Cursor<'_>) -> Vec<PublishedPort> {
    let fields = port.fields(&["target", "published", "host_ip", "protocol", "mode", "name"], &["app_protocol"]);
    if let Some(mode) = fields.get("mode") {
        mode.parsed(|text| match text {
            "ingress" | "host" => Ok(()),
            other => Err(format!("{other:?} is neither ingress nor host")),
        });
    }
    // A name is for people alone.
    fields.get("name").map(|name| name.text().is_some());
    let protocol = fields.get("protocol").and_then(|protocol| protocol.parsed(protocol_of)).unwrap_or(Protocol::Tcp);
    let address = fields.get("host_ip").and_then(|address| address.parsed(address_of));
    let Some(target) = fields.get("target") else {
        port.wrong("target is missing");
        return Vec::new();
    };
    let Some(container) = target.text() else { return Vec::new() };
    let published = fields.text("published");
    match combine(address, published.as_deref(), container, protocol) {
        Ok(ports) => ports,
        Err(problem) => {
            port.wrong(problem);
            Vec::new()
        }
    }
}

fn combine(
    address: Option<IpAddr>,
    host: Option<&str>,
    container: &str,
    protocol: Protocol,
) -> Result<Vec<PublishedPort>, String> {
    let container = range_of(container)?;
    let published = |host_port, number| PublishedPort {
        host_address: address,
        host_port,
        container_port: Port { number, protocol },
    };
    let Some(host) = host else { return Ok(container.map(|number| published(0, number)).collect()) };
    if host == "0" {
        return Ok(container.map(|number| published(0, number)).collect());
    }
    let host = range_of(host)?;
    if host.len() != container.len() {
        return Err(format!(
            "{} ports of the host for {} of the container; a choice out of a range is not supported",
            host.len(),
            container.len()
        ));
    }
    Ok(host.zip(container).map(|(host, container)| published(host, container)).collect())
}

fn with_protocol(text: &str) -> Result<(&str, Protocol), String> {
    match text.split_once('/') {
        None => Ok((text, Protocol::Tcp)),
        Some((rest, protocol)) => Ok((rest, protocol_of(protocol)?)),
    }
}

fn protocol_of(text: &str) -> Result<Protocol, String> {
    match text {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        other => Err(format!("protocol {other:?} is neither tcp nor udp")),
    }
}

fn address_of(text: &str) -> Result<IpAddr, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address: IpAddr = bare.parse().map_err(|_| format!("{text:?} is not an address"))?;
    match address.is_ipv4() {
        true => Ok(address),
        false => Err(format!("{text:?} is an IPv6 address, and ports are published on IPv4 alone")),
    }
}

fn range_of(text: &str) -> Result<RangeInclusive<u16>, String> {
    let number = |text: &str| match text.parse::<u16>() {
        Ok(number) if number > 0 && !text.starts_with('+') => Ok(number),
        _ => Err(format!("{text:?} is not a port from 1 to 65535")),
    };
    let (first, last) = match text.split_once('-') {
        None => (number(text)?, number(text)?),
        Some((first, last)) => (number(first)?, number(last)?),
    };
    match last.checked_sub(first) {
        Some(more) if more < LONGEST_RANGE => Ok(first..=last),
        Some(_) => Err(format!("the range {text} has more than {LONGEST_RANGE} ports")),
        None => Err(format!("the range {text} ends before it begins")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_forms_of_the_specification() {
        for (text, expected) in [
            ("3000", "0:3000/tcp"),
            ("3000-3002", "0:3000/tcp 0:3001/tcp 0:3002/tcp"),
            ("8000:8000", "8000:8000/tcp"),
            ("9090-9091:8080-8081", "9090:8080/tcp 9091:8081/tcp"),
            ("49100:22", "49100:22/tcp"),
            ("127.0.0.1:8001:8001", "127.0.0.1:8001:8001/tcp"),
            ("127.0.0.1:5000-5001:5000-5001", "127.0.0.1:5000:5000/tcp 127.0.0.1:5001:5001/tcp"),
            ("127.0.0.1::80", "127.0.0.1:0:80/tcp"),
            ("6060:6060/udp", "6060:6060/udp"),
        ] {
            let shown: Vec<String> = parse(text).unwrap().iter().map(PublishedPort::to_string).collect();
            assert_eq!(shown.join(" "), expected, "{text}");
        }
        for text in [
            "",
            "80x",
            "0",
            "65536",
            "80:0",
            "80/sctp",
            "x:80:80",
            "[::1]:80:80",
            "81-80",
            "1-2000",
            "8000-9000:80",
            "a:b",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
