//! A "host" of its own for each test: a thread in a fresh network namespace.

use super::super::namespace::NetworkNamespace;
use crate::kernel::{in_network_namespace, in_new_network_namespace};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Runs `test` on a thread in a fresh network namespace with loopback up; a failed assertion fails the caller.
pub(crate) fn on_host<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    let result = in_new_network_namespace(|| {
        super::super::route::RouteSocket::open()?.bring_up(1)?;
        Ok(catch_unwind(AssertUnwindSafe(test)))
    });
    result.unwrap().unwrap_or_else(|panic| resume_unwind(panic))
}

/// Runs `work` on a thread in `namespace`.
pub(crate) fn inside<T: Send>(namespace: &NetworkNamespace, work: impl FnOnce() -> T + Send) -> T {
    let result = in_network_namespace(namespace.as_fd(), || Ok(catch_unwind(AssertUnwindSafe(work))));
    result.unwrap().unwrap_or_else(|panic| resume_unwind(panic))
}
