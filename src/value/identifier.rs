//! Names and identifiers that are safe as file names, host names and environment entries.

use crate::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A name of a container, network, volume or deployment: a letter or digit, then letters, digits, `_`, `.` or `-`, at
/// most 63 in all (the shape of Docker's names, the length of a host name, RFC 1123).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Name> {
        let mut bytes = text.bytes();
        let ok = text.len() <= 63
            && bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        if ok {
            return Ok(Name(text.to_owned()));
        }
        Err(Error::invalid(format!(
            "name {text:?} is not a letter or digit followed by at most 62 letters, digits, '_', '.' or '-'"
        )))
    }
}

/// The identifier of a container: 64 random bits as 16 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(String);

impl ContainerId {
    /// A fresh identifier from the kernel's random source.
    pub fn random() -> Result<ContainerId> {
        let mut bytes = [0; 8];
        crate::kernel::random(&mut bytes)?;
        Ok(ContainerId(format!("{:016x}", u64::from_ne_bytes(bytes))))
    }

    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerId {
    type Err = Error;

    fn from_str(text: &str) -> Result<ContainerId> {
        if text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)) {
            return Ok(ContainerId(text.to_owned()));
        }
        Err(Error::invalid(format!("container id {text:?} is not 16 lower-case hexadecimal digits")))
    }
}

/// One entry of an environment: a name without `=` or NUL, a value without NUL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnvVar {
    name: String,
    value: String,
}

impl EnvVar {
    /// `name=value`.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Result<EnvVar> {
        let (name, value) = (name.into(), value.into());
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(Error::invalid(format!(
                "environment variable {name:?} has an empty name, a '=' in its name or a NUL byte"
            )));
        }
        Ok(EnvVar { name, value })
    }

    /// The part before the `=`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The part after the `=`.
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl FromStr for EnvVar {
    type Err = Error;

    fn from_str(text: &str) -> Result<EnvVar> {
        let (name, value) =
            text.split_once('=').ok_or_else(|| Error::invalid(format!("environment entry {text:?} has no '='")))?;
        EnvVar::new(name, value)
    }
}

impl fmt::Display for EnvVar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

macro_rules! text_form {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<$type, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

text_form!(Name, ContainerId, EnvVar);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_a_directory() {
        for good in ["web", "api-2", "a.b_c", "0"] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "-a", "a/b", "a\0", "a b", &"x".repeat(64)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }

    #[test]
    fn environment_entries_have_a_name() {
        assert_eq!("A=b=c".parse::<EnvVar>().unwrap().value(), "b=c");
        assert!("=x".parse::<EnvVar>().is_err());
        assert!("A".parse::<EnvVar>().is_err());
    }
}
