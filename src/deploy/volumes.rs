//! The volumes of a deployment whose content goes with its revisions.

use super::controller::model::RevisionNumber;
use super::record::Record;
use super::specification::DeploymentMount;
use crate::container::Services;
use crate::value::Name;
use crate::{ErrorKind, Result};
use std::sync::Arc;

/// Keeps the content of `volume` as it is before revision `before` begins to use it.
pub(crate) fn keep(services: &Arc<Services>, owner: &Name, volume: &str, before: RevisionNumber) -> Result<()> {
    let volume = services.volume(volume.parse()?).create()?;
    let label = label(owner, before);
    // A host that was killed may have kept it, and not have come to writing that down.
    if volume.snapshots()?.iter().any(|snapshot| snapshot.label.as_str() == label) {
        return Ok(());
    }
    volume.snapshot(&label).map(drop)
}

/// Brings the content of `volume` back as it was before revision `before`; whether there was anything to bring back.
pub(crate) fn restore(services: &Arc<Services>, owner: &Name, volume: &str, before: RevisionNumber) -> Result<bool> {
    let volume = services.volume(volume.parse()?).create()?;
    let label = label(owner, before);
    if !volume.snapshots()?.iter().any(|snapshot| snapshot.label.as_str() == label) {
        return Ok(false);
    }
    volume.restore(&label).map(|()| true)
}

/// Removes every snapshot that was made for the deployment.
pub(crate) fn forget(services: &Arc<Services>, record: &mut Record) -> Result<()> {
    for before in record.kept_before.clone() {
        forget_before(services, record, before)?;
    }
    record.kept_before.clear();
    Ok(())
}

/// Removes the snapshots that were made before revision `before`.
pub(crate) fn forget_before(services: &Arc<Services>, record: &Record, before: RevisionNumber) -> Result<()> {
    let directory = super::record::Directory::of(services, &record.name);
    let Ok(revision) = directory.revision(before) else { return Ok(()) };
    for mount in &revision.deployment.mounts {
        if let DeploymentMount::Volume { name, snapshot: true, .. } = mount {
            match services.volume(name.parse()?).remove_snapshot(&label(&record.name, before)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

fn label(owner: &Name, before: RevisionNumber) -> String {
    format!("{owner}-before-{before}")
}
