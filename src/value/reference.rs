//! Image references: distribution-spec, "Pulling manifests", and the grammar of the `distribution/reference` library.

use super::Digest;
use crate::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// `[registry/]repository[:tag][@digest]`.
///
/// The first component is a registry if it holds a `.` or a `:`, or is `localhost`. A reference without one names an
/// image of the local store only: there is no default registry to fall back to. Without tag and digest the tag is
/// `latest`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: Option<String>,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// `host` or `host:port`, where the reference names a registry.
    pub fn registry(&self) -> Option<&str> {
        self.registry.as_deref()
    }

    /// The path in the registry: `library/python`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `latest` where neither tag nor digest was written.
    pub fn tag(&self) -> Option<&str> {
        match (&self.tag, &self.digest) {
            (None, None) => Some("latest"),
            (tag, _) => tag.as_deref(),
        }
    }

    /// The digest, where the reference is pinned to one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Reference> {
        parse(text).map_err(|why| Error::invalid(format!("image reference {text:?} {why}")))
    }
}

/// The whole reference, the default tag written out.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(registry) = &self.registry {
            write!(f, "{registry}/")?;
        }
        f.write_str(&self.repository)?;
        if let Some(tag) = self.tag() {
            write!(f, ":{tag}")?;
        }
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Reference, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

fn parse(text: &str) -> std::result::Result<Reference, String> {
    // Above the sum of the parts' limits, so that a reference still parses with the default tag written out.
    if text.is_empty() || text.len() > 1024 {
        return Err("is empty or longer than 1024 bytes".into());
    }
    let (rest, digest) = match text.split_once('@') {
        None => (text, None),
        Some((rest, digest)) => (rest, Some(digest.parse::<Digest>().map_err(|_| "has a malformed digest")?)),
    };
    let (registry, rest) = match rest.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
            (Some(parse_registry(first)?), rest)
        }
        _ => (None, rest),
    };
    let (repository, tag) = match rest.split_once(':') {
        None => (rest, None),
        Some((repository, tag)) => (repository, Some(parse_tag(tag)?)),
    };
    if repository.is_empty() || repository.len() > 255 || !repository.split('/').all(is_path_component) {
        return Err(
            "has a repository that is not lower-case letters and digits, separated by '.', '_', '__', '-' or '/'"
                .into(),
        );
    }
    Ok(Reference { registry, repository: repository.to_owned(), tag, digest })
}

fn parse_registry(text: &str) -> std::result::Result<String, String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let plain = |host: &str| {
        !host.is_empty()
            && host.split('.').all(|label| {
                !label.is_empty()
                    && !label.starts_with('-')
                    && !label.ends_with('-')
                    && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            })
    };
    let literal = |host: &str| {
        host.strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok())
    };
    let port_ok = port.is_none_or(|port| !port.starts_with('+') && port.parse::<u16>().is_ok_and(|port| port > 0));
    // The longest name of the DNS has 253 characters (RFC 1035, section 2.3.4).
    if port_ok && host.len() <= 253 && (plain(host) || literal(host)) {
        Ok(text.to_owned())
    } else {
        Err("has a malformed registry host or port".into())
    }
}

fn parse_tag(tag: &str) -> std::result::Result<String, String> {
    let mut bytes = tag.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if first && tag.len() <= 128 && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)) {
        Ok(tag.to_owned())
    } else {
        Err("has a malformed tag".into())
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_component(component: &str) -> bool {
    let bytes = component.as_bytes();
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else { return false };
    if !word(first) || !word(last) {
        return false;
    }
    bytes
        .split(|&byte| word(byte))
        .all(|separator| matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|&byte| byte == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_told_apart() {
        let reference: Reference = "127.0.0.1:5000/library/python:3.7".parse().unwrap();
        assert_eq!(reference.registry(), Some("127.0.0.1:5000"));
        assert_eq!(reference.repository(), "library/python");
        assert_eq!(reference.tag(), Some("3.7"));
        let local: Reference = "shop/web".parse().unwrap();
        assert_eq!((local.registry(), local.tag()), (None, Some("latest")));
        let digest = Digest::of(b"x");
        let pinned: Reference = format!("[::1]:5000/a@{digest}").parse().unwrap();
        assert_eq!((pinned.tag(), pinned.digest()), (None, Some(&digest)));
    }

    #[test]
    fn the_longest_reference_parses_again_as_it_is_written() {
        let (host, repository) = (format!("{}.b", "a".repeat(251)), "c".repeat(255));
        let reference: Reference = format!("{host}:65535/{repository}").parse().unwrap();
        assert_eq!(reference.to_string().parse::<Reference>().unwrap().to_string(), reference.to_string());
        assert!(format!("a{host}/b").parse::<Reference>().is_err());
    }

    #[test]
    fn malformed_references_are_refused() {
        for bad in [
            "",
            "A",
            "a//b",
            "a/../b",
            "-a",
            "a-",
            "a..b",
            "a:",
            "a:.x",
            "a@sha256:1",
            "h:0/a",
            "h:x/a",
            "a b",
            "localhost/",
            ".x/a",
            "a___b",
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
    }
}
