//! A container's network namespace, held by descriptor.

use super::route::RouteSocket;
#[cfg(test)]
use crate::kernel::in_network_namespace;
use crate::kernel::{current_network_namespace, in_new_network_namespace};
use crate::{Error, ErrorKind, Result};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

/// The loopback interface is the first of every namespace (`LOOPBACK_IFINDEX`).
const LOOPBACK: u32 = 1;

/// A network namespace. It lives as long as a process in it, this value, or another descriptor of it; then the kernel
/// takes it apart in the background, with the interfaces in it.
#[derive(Debug)]
pub(crate) struct NetworkNamespace {
    fd: OwnedFd,
    route: Mutex<RouteSocket>,
}

impl NetworkNamespace {
    /// A fresh one with the loopback interface up. The calling thread stays where it is.
    pub(crate) fn create() -> Result<NetworkNamespace> {
        in_new_network_namespace(|| {
            let mut route = RouteSocket::open()?;
            route.bring_up(LOOPBACK)?;
            Ok(NetworkNamespace { fd: current_network_namespace()?, route: Mutex::new(route) })
        })
        .map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => error.hint("network namespaces need CAP_SYS_ADMIN or a user namespace"),
            _ => error,
        })
    }

    /// The namespace that `fd` refers to.
    #[cfg(test)]
    pub(crate) fn from_fd(fd: OwnedFd) -> Result<NetworkNamespace> {
        let route = in_network_namespace(fd.as_fd(), RouteSocket::open)?;
        Ok(NetworkNamespace { fd, route: Mutex::new(route) })
    }

    /// The descriptor alone, to be joined by setns(2).
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// Runs `work` with a socket that speaks for this namespace.
    pub(super) fn configure<T>(&self, work: impl FnOnce(&mut RouteSocket) -> Result<T>) -> Result<T> {
        work(&mut self.route.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The index of the interface `name` in this namespace.
    pub(super) fn interface(&self, name: &str) -> Result<u32> {
        let link = self.configure(|route| route.link(name))?;
        link.map(|link| link.index)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("the namespace has no interface {name}")))
    }
}

impl AsFd for NetworkNamespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
