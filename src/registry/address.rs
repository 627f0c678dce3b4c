//! Where requests go: origins, URLs, and the rules for moving from one to another.

use crate::{Error, ErrorKind, Result};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use ureq::http::Uri;

/// The longest URL that is followed, in bytes: signed upload and download locations are a few kilobytes.
const URL_BUDGET: usize = 16 << 10;

/// Scheme, host and port: what credentials are bound to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    https: bool,
    /// Lower case; an IPv6 address in brackets.
    host: String,
    port: u16,
}

impl Origin {
    /// The origin of the registry that a reference names as `host` or `host:port`: http on loopback, else https.
    pub(super) fn of_registry(registry: &str) -> Result<Origin> {
        let scheme = if is_loopback(host_of(registry)) { "http" } else { "https" };
        Ok(Url::parse(&format!("{scheme}://{registry}/"))?.origin)
    }

    /// Whether the host is 127.0.0.0/8, ::1 or `localhost`: the traffic does not leave the machine.
    pub(super) fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    /// Whether the connection is encrypted and the peer proven.
    pub(super) fn is_https(&self) -> bool {
        self.https
    }

    /// The host without brackets, and the port.
    pub(super) fn host_and_port(&self) -> (&str, u16) {
        (self.host.trim_matches(['[', ']']), self.port)
    }

    /// The URL of `path`, which begins with a slash.
    pub(super) fn url(&self, path: &str) -> Result<Url> {
        Url::parse(&format!("{self}{path}"))
    }

    /// Whether an answer from here may send the client to `target`: over https anywhere, over http only within
    /// loopback. So https is never downgraded, and plain http never leaves the machine.
    pub(super) fn check_move_to(&self, target: &Origin) -> Result<()> {
        if target.https || (!self.https && self.is_loopback() && target.is_loopback()) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unavailable, format!("{self} sends the client to {target}, which is not encrypted"))
            .hint("a registry behind a proxy that ends TLS has to be told its outer scheme"))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port == default_port(self.https) { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

/// An absolute http or https URL without user information and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    origin: Origin,
    /// The path and, after a `?`, the query.
    target: String,
}

impl Url {
    /// Parses an absolute URL; `user:password@` is refused, a fragment is dropped.
    pub(super) fn parse(text: &str) -> Result<Url> {
        let bad = || Error::new(ErrorKind::Unavailable, format!("{:?} is not an http or https URL", shorten(text)));
        let text = text.split('#').next().unwrap_or_default();
        if text.len() > URL_BUDGET {
            return Err(bad());
        }
        let uri: Uri = text.parse().map_err(|_| bad())?;
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(bad()),
        };
        let authority = uri.authority().ok_or_else(bad)?;
        let host = authority.host().to_ascii_lowercase();
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("" | ":") => default_port(https),
            Some(port) => port[1..].parse().ok().filter(|&port| port > 0).ok_or_else(bad)?,
            None => return Err(bad()),
        };
        if host.is_empty() || authority.as_str().contains('@') {
            return Err(bad());
        }
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Ok(Url { origin: Origin { https, host, port }, target })
    }

    /// Resolves the value of a `Location` header against this URL (RFC 3986, section 5.2, without dot segments).
    pub(super) fn resolve(&self, location: &str) -> Result<Url> {
        if location.contains("://") && !location.starts_with(['/', '?']) {
            return Url::parse(location);
        }
        let scheme = if self.origin.https { "https" } else { "http" };
        let directory = self.path().rsplit_once('/').map_or("", |(directory, _)| directory);
        Url::parse(&match location {
            network if network.starts_with("//") => format!("{scheme}:{network}"),
            absolute if absolute.starts_with('/') => format!("{}{absolute}", self.origin),
            query if query.starts_with('?') => format!("{}{}{query}", self.origin, self.path()),
            relative => format!("{}{directory}/{relative}", self.origin),
        })
    }

    /// Adds `name=value` to the query; the value is escaped.
    #[must_use]
    pub(super) fn query(mut self, name: &str, value: &str) -> Url {
        self.target.push(if self.target.contains('?') { '&' } else { '?' });
        self.target.push_str(name);
        self.target.push('=');
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => self.target.push(byte as char),
                _ => self.target.push_str(&format!("%{byte:02X}")),
            }
        }
        self
    }

    /// Scheme, host and port.
    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// Without the query, which may hold a signature that grants access.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path())
    }
}

impl Url {
    /// The whole URL, for the request line.
    pub(super) fn to_request(&self) -> String {
        format!("{}{}", self.origin, self.target)
    }
}

fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

fn host_of(registry: &str) -> &str {
    match registry.rsplit_once(':') {
        Some((host, _)) if !registry.ends_with(']') => host,
        _ => registry,
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback())
        || host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .and_then(|host| host.parse().ok())
            .is_some_and(|address: Ipv6Addr| address.is_loopback())
}

fn shorten(text: &str) -> &str {
    let mut end = text.len().min(200);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_plain() {
        for (registry, origin) in [
            ("127.0.0.1:5000", "http://127.0.0.1:5000"),
            ("127.9.8.7", "http://127.9.8.7"),
            ("[::1]:5000", "http://[::1]:5000"),
            ("LOCALHOST:80", "http://localhost"),
            ("registry.example", "https://registry.example"),
            ("registry.example:443", "https://registry.example"),
            ("127.1:5000", "https://127.1:5000"),
            ("[::ffff:127.0.0.1]:5000", "https://[::ffff:127.0.0.1]:5000"),
            ("127.0.0.1.example:5000", "https://127.0.0.1.example:5000"),
            ("localhost.example", "https://localhost.example"),
            ("10.0.0.1:5000", "https://10.0.0.1:5000"),
        ] {
            assert_eq!(Origin::of_registry(registry).unwrap().to_string(), origin);
        }
    }

    #[test]
    fn locations_resolve() {
        let base = Url::parse("http://127.0.0.1:5000/v2/a/blobs/uploads/?x=1").unwrap();
        for (location, whole) in [
            ("/v2/b?c=%2Fd", "http://127.0.0.1:5000/v2/b?c=%2Fd"),
            ("https://cdn.example/p?s=1#f", "https://cdn.example/p?s=1"),
            ("//cdn.example/p", "http://cdn.example/p"),
            ("id", "http://127.0.0.1:5000/v2/a/blobs/uploads/id"),
            ("?y=2", "http://127.0.0.1:5000/v2/a/blobs/uploads/?y=2"),
            ("/redirect?to=https://x/", "http://127.0.0.1:5000/redirect?to=https://x/"),
        ] {
            assert_eq!(base.resolve(location).unwrap().to_request(), whole);
        }
        let url = base.resolve("/v2/b").unwrap().query("digest", "sha256:ab").query("from", "a/b");
        assert_eq!(url.to_request(), "http://127.0.0.1:5000/v2/b?digest=sha256%3Aab&from=a%2Fb");
        assert_eq!(url.to_string(), "http://127.0.0.1:5000/v2/b");
    }

    #[test]
    fn odd_urls_are_refused() {
        for bad in
            ["", "ftp://a/", "http://", "https://user:pw@host/", "file:///etc/passwd", "https://h:0/", "http:// a/"]
        {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
        assert!(Url::parse(&format!("https://a/{}", "b".repeat(URL_BUDGET))).is_err());
    }

    #[test]
    fn encryption_is_never_lost() {
        let origin = |text: &str| Url::parse(text).unwrap().origin().clone();
        let (plain, other) = (origin("http://127.0.0.1:1/"), origin("http://localhost:2/"));
        let (secure, far) = (origin("https://registry.example/"), origin("http://registry.example/"));
        for (from, to, allowed) in [
            (&plain, &other, true),
            (&plain, &secure, true),
            (&plain, &far, false),
            (&secure, &far, false),
            (&secure, &plain, false),
            (&secure, &secure, true),
        ] {
            assert_eq!(from.check_move_to(to).is_ok(), allowed, "{from} -> {to}");
        }
    }
}
