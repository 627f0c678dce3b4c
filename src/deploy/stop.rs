//! Stopping replicas without waiting for them.

use crate::container::Container;
use crate::value::ContainerId;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The replicas that this process is stopping: whoever looks after their deployment next must not begin once more.
static UNDER_WAY: Mutex<BTreeSet<ContainerId>> = Mutex::new(BTreeSet::new());

/// Asks `container` to stop and kills it after `grace`, on a thread of its own; does nothing where that is under way.
///
/// What becomes of it is seen at the next look: a stop that fails, or whose process is killed, is begun again.
pub(crate) fn begin(container: &Container, grace: Duration) {
    let id = container.id().clone();
    if !UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone()) {
        return;
    }
    let container = container.clone();
    let stop = move || {
        let _ = container.stop(grace);
        UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner).remove(container.id());
    };
    if std::thread::Builder::new().name("coracle-stop".into()).spawn(stop).is_err() {
        UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}
