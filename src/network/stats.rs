//! What a container has sent and received.

use serde::{Deserialize, Serialize};

/// Counters of a container's network interface since it was made, as the container sees them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NetworkStats {
    /// Bytes that came in, with the Ethernet headers.
    pub received_bytes: u64,
    /// Packets that came in.
    pub received_packets: u64,
    /// Bytes that went out, with the Ethernet headers.
    pub sent_bytes: u64,
    /// Packets that went out.
    pub sent_packets: u64,
    /// Packets, of both directions, that the kernel dropped at the virtual cable.
    pub dropped_packets: u64,
}

impl NetworkStats {
    /// From the first counters of `struct rtnl_link_stats64` of the host's end of the cable: what that end sent is what
    /// the container received.
    pub(super) fn of_host_side(counters: &[u64; 8]) -> NetworkStats {
        let [received_packets, sent_packets, received_bytes, sent_bytes, _, _, received_dropped, sent_dropped] =
            *counters;
        NetworkStats {
            received_bytes: sent_bytes,
            received_packets: sent_packets,
            sent_bytes: received_bytes,
            sent_packets: received_packets,
            dropped_packets: received_dropped.saturating_add(sent_dropped),
        }
    }
}
