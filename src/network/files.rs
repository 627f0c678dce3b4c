//! The text of a container's `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`.

use super::Network;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

/// The C library reads no more (`MAXNS` in resolv.h).
const MOST_NAMESERVERS: usize = 3;

/// `/etc/hosts` (hosts(5)): localhost, the container's own name at `address` (at loopback where it has none), then
/// `others` in their order. Names with white space, `#` or control characters are left out: they would be other lines.
pub(crate) fn hosts(hostname: &str, address: Option<Ipv4Addr>, others: &[(IpAddr, String)]) -> String {
    let mut text = String::from("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    let own = IpAddr::V4(address.unwrap_or(Ipv4Addr::LOCALHOST));
    let own = std::iter::once((own, hostname));
    for (address, name) in own.chain(others.iter().map(|(address, name)| (*address, name.as_str()))) {
        if is_one_word(name) {
            let _ = writeln!(text, "{address}\t{name}");
        }
    }
    text
}

/// `/etc/hostname` (hostname(5)).
pub(crate) fn hostname(hostname: &str) -> String {
    if is_one_word(hostname) { format!("{hostname}\n") } else { String::new() }
}

/// `/etc/resolv.conf` (resolv.conf(5)) for a container, from the text of the host's.
///
/// With [`Network::Host`] it is the host's. On a bridge, name servers that only the host can reach are left out: those
/// on loopback, and IPv6 ones. No name server is made up where none is left.
pub(crate) fn resolv_conf(host: &str, network: Network) -> String {
    match network {
        Network::Host => host.to_owned(),
        Network::None => String::new(),
        Network::Bridge => {
            let mut text = String::new();
            let mut nameservers = 0;
            for line in host.lines().map(str::trim) {
                let keep = match line.split_whitespace().next() {
                    Some("nameserver") => {
                        let usable = is_reachable_nameserver(line) && nameservers < MOST_NAMESERVERS;
                        nameservers += usize::from(usable);
                        usable
                    }
                    Some("search" | "domain" | "options" | "sortlist") => true,
                    _ => false,
                };
                if keep {
                    text.push_str(line);
                    text.push('\n');
                }
            }
            text
        }
    }
}

/// The host's own resolv.conf; where that names a local stub of systemd-resolved, the file with the servers behind it.
/// Empty where the host has none.
pub(crate) fn host_resolv_conf() -> String {
    const BEHIND_THE_STUB: &str = "/run/systemd/resolve/resolv.conf";
    let own = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    if resolv_conf(&own, Network::Bridge).contains("nameserver") {
        return own;
    }
    std::fs::read_to_string(BEHIND_THE_STUB).unwrap_or(own)
}

fn is_reachable_nameserver(line: &str) -> bool {
    let address = line.split_whitespace().nth(1).and_then(|address| address.parse::<Ipv4Addr>().ok());
    address.is_some_and(|address| !address.is_loopback() && !address.is_unspecified())
}

fn is_one_word(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|char| !char.is_whitespace() && !char.is_control() && char != '#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_has_one_line_for_each_name() {
        let others =
            [(IpAddr::from([10, 77, 0, 9]), "db".to_owned()), (IpAddr::from([1, 2, 3, 4]), "a\nevil".to_owned())];
        assert_eq!(
            hosts("web", Some(Ipv4Addr::new(10, 77, 0, 2)), &others),
            "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n10.77.0.2\tweb\n10.77.0.9\tdb\n"
        );
        assert!(hosts("web", None, &[]).ends_with("127.0.0.1\tweb\n"));
        assert_eq!(hostname("web"), "web\n");
    }

    #[test]
    fn only_nameservers_that_a_container_reaches_are_left() {
        let host = "# made by hand\nnameserver 127.0.0.53\nnameserver  192.0.2.3 \nnameserver ::1\nnameserver fe80::1%eth0\n\
                    nameserver 192.0.2.4\nnameserver 192.0.2.5\nnameserver 192.0.2.6\nsearch example.com\noptions ndots:2\n";
        assert_eq!(
            resolv_conf(host, Network::Bridge),
            "nameserver  192.0.2.3\nnameserver 192.0.2.4\nnameserver 192.0.2.5\nsearch example.com\noptions ndots:2\n"
        );
        assert_eq!(resolv_conf(host, Network::Host), host);
        assert_eq!(resolv_conf(host, Network::None), "");
        assert_eq!(resolv_conf("nameserver\nnameserver 0.0.0.0\nnameserver x", Network::Bridge), "");
    }
}
