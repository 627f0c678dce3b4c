//! Work in another network namespace, on a short-lived thread: the caller's own thread never changes.

use crate::error::During;
use crate::{Error, Result};
use nix::sched::{CloneFlags, setns, unshare};
use std::os::fd::{BorrowedFd, OwnedFd};

/// Runs `work` on a thread that has moved into a fresh network namespace. The namespace lives on only by what `work`
/// returns: its descriptor ([`current_network_namespace`]) or a socket opened in it.
pub(crate) fn in_new_network_namespace<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    on_short_lived_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET).during(|| "create a network namespace")?;
        work()
    })
}

/// Runs `work` on a thread that has joined the network namespace `namespace`.
pub(crate) fn in_network_namespace<T: Send>(
    namespace: BorrowedFd<'_>,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    on_short_lived_thread(|| {
        setns(namespace, CloneFlags::CLONE_NEWNET).during(|| "join a network namespace")?;
        work()
    })
}

/// A descriptor of the network namespace of the calling thread.
pub(crate) fn current_network_namespace() -> Result<OwnedFd> {
    std::fs::File::open("/proc/thread-self/ns/net").map(OwnedFd::from).during(|| "open /proc/thread-self/ns/net")
}

/// The `CLONE_NEW` flag of the kind of namespace that this descriptor refers to; `None` where it is none (ioctl_ns(2)).
pub(crate) fn namespace_kind(descriptor: std::os::fd::BorrowedFd<'_>) -> Option<i32> {
    use std::os::fd::AsRawFd;
    const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
    // SAFETY: the request takes no argument.
    let kind = unsafe { libc::ioctl(descriptor.as_raw_fd(), NS_GET_NSTYPE) };
    (kind >= 0).then_some(kind)
}

fn on_short_lived_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("coracle-network".into())
            .stack_size(256 << 10)
            .spawn_scoped(scope, || {
                // The host's signal handlers must not run where they would see another network.
                nix::sys::signal::SigSet::all().thread_block().during(|| "block the signals of a thread")?;
                work()
            })
            .during(|| "start a thread for a network namespace")?;
        thread.join().unwrap_or_else(|_| {
            Err(Error::new(crate::ErrorKind::Os, "a thread in a network namespace ended without an answer"))
        })
    })
}
