//! What a balanced service is: one stable address in front of several containers.

use super::PublishedPort;
use crate::value::{Name, Port};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// By which rule new connections are spread over the members of a service. Established ones stay where they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Balance {
    /// One after the other, the default.
    #[default]
    RoundRobin,
    /// By chance, each with the same probability.
    Random,
    /// By chance, each with a probability in proportion to its weight.
    Weighted,
    /// By the client's address: the same client reaches the same member as long as that is one. A member that comes or
    /// goes moves as few clients as possible.
    SourceHash,
}

/// A service as its owner wants it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServiceSpecification {
    /// Its name, unique in the engine.
    pub(crate) name: Name,
    /// The name by which containers of its networks find it, where that is another one.
    #[serde(default)]
    pub(crate) alias: Option<Name>,
    /// The ports of the stable address; each leads to the same port of a member.
    pub(crate) ports: Vec<Port>,
    /// Ports of the host that lead to a port of a member.
    pub(crate) published: Vec<PublishedPort>,
    pub(crate) balance: Balance,
    /// The networks whose containers find it; none is `default` alone.
    #[serde(default)]
    pub(crate) networks: Vec<Name>,
}

impl ServiceSpecification {
    /// The name by which containers of its networks find it.
    pub(crate) fn host_name(&self) -> &Name {
        self.alias.as_ref().unwrap_or(&self.name)
    }
}

/// A service as it is: with its address, and with the numbers that the kernel chose for host port 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServiceRecord {
    pub(crate) version: u32,
    pub(crate) specification: ServiceSpecification,
    pub(crate) address: Ipv4Addr,
    pub(crate) members: Vec<ServiceMember>,
    /// Grows with every change, so that the kernel's part can be told from an earlier one.
    #[serde(default)]
    pub(crate) generation: u64,
    /// Ports of the host that it had before: members that were started then hold them still.
    #[serde(default)]
    pub(crate) former: Vec<PublishedPort>,
}

/// A container behind a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServiceMember {
    pub(crate) address: Ipv4Addr,
    /// 1 to 1000; only [`Balance::Weighted`] looks at it.
    pub(crate) weight: u32,
}
