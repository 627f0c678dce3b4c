//! Virtual cables, published ports, balanced services: by netlink alone, with no program of the host.

mod attachment;
mod balance;
mod bridge;
mod conntrack;
mod conversation;
mod device;
pub(crate) mod files;
mod lease;
mod message;
mod namespace;
mod nftables;
mod publish;
mod record;
mod route;
mod service;
mod stats;
mod subnet;
#[cfg(test)]
mod tests;

pub(crate) use attachment::{Joining, Networks, undo_message};
pub use balance::Balance;
pub(crate) use balance::{ServiceMember, ServiceRecord, ServiceSpecification};
pub(crate) use device::{MovedDevice, move_devices};
pub(crate) use lease::{AttachmentRecord, Membership};
pub(crate) use namespace::NetworkNamespace;
pub(crate) use publish::HeldPorts;
pub use publish::PublishedPort;
pub(crate) use service::{readiness_messages, service_ports_held};
pub use stats::NetworkStats;

use serde::{Deserialize, Serialize};

/// What the kernel says about connections and about elements of sets, for the fuzz target.
#[cfg(fuzzing)]
pub(crate) fn read_as_everything(data: &[u8]) {
    for reply in message::replies(data).flatten() {
        let _ = conntrack::read_living(&reply);
        let _ = nftables::read_as_everything(&reply);
        let _ = route::read_as_everything(&reply);
    }
}

/// What a container sees of the network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Network {
    /// Nothing but its own loopback interface.
    None,
    /// The host's network, unconfined: its interfaces, its loopback, its abstract sockets.
    Host,
    /// An address of its own in the engine's network, behind the host; the way out is masqueraded as the host, the way
    /// in are published ports. The default.
    #[default]
    Bridge,
}
