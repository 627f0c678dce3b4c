//! Ports of the transport layer.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The transport protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP, the default.
    Tcp,
    /// UDP.
    Udp,
}

/// A port number with its protocol: `8000`, `53/udp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Port {
    /// 1 to 65535.
    pub number: u16,
    /// TCP unless said otherwise.
    pub protocol: Protocol,
}

impl Port {
    /// TCP port `number`.
    pub const fn tcp(number: u16) -> Port {
        Port { number, protocol: Protocol::Tcp }
    }

    /// UDP port `number`.
    pub const fn udp(number: u16) -> Port {
        Port { number, protocol: Protocol::Udp }
    }
}

impl From<u16> for Port {
    fn from(number: u16) -> Port {
        Port::tcp(number)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol)
    }
}

impl FromStr for Port {
    type Err = Error;

    fn from_str(text: &str) -> Result<Port> {
        let (number, protocol) = match text.split_once('/') {
            None => (text, Protocol::Tcp),
            Some((number, "tcp")) => (number, Protocol::Tcp),
            Some((number, "udp")) => (number, Protocol::Udp),
            Some(_) => return Err(Error::invalid(format!("port {text:?} has a protocol other than tcp and udp"))),
        };
        match number.parse() {
            Ok(number) if number > 0 && !text.starts_with('+') => Ok(Port { number, protocol }),
            _ => Err(Error::invalid(format!("port {text:?} is not a number from 1 to 65535"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_strict() {
        assert_eq!("53/udp".parse::<Port>().unwrap(), Port::udp(53));
        assert_eq!("8000".parse::<Port>().unwrap().to_string(), "8000/tcp");
        for bad in ["0", "65536", "+80", "80/sctp", "", "80/"] {
            assert!(bad.parse::<Port>().is_err(), "{bad}");
        }
    }
}
