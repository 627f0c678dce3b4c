//! Prepared words to the kernel's firewall.

use super::constant::*;
use super::files::{close, write};
use super::call::call;

/// Sends a netlink batch, one message a 32-bit length each; what it changes may be gone already.
pub(crate) fn send(batch: &[u8]) {
    const AF_NETLINK: usize = 16;
    const SOCK_RAW: usize = 3;
    const NETLINK_NETFILTER: usize = 12;
    // SAFETY: plain numbers.
    if let Ok(socket) = unsafe { call!(SOCKET, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER) } {
        let _ = write(socket as i32, batch);
        close(socket as i32);
    }
}
