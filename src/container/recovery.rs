//! What the next engine does with what the last one left: adopt what lives, undo what does not.

use super::attached;
use super::detach::pin_name;
use super::directory::{self, Directory};
use super::exit::ContainerExit;
use super::services::Services;
use crate::Result;
use crate::error::During;
use std::fs::{self, File};
use std::sync::Arc;

/// Looks after every container on disk. Living ones need nothing: their keepers hold them.
pub(crate) fn recover(services: &Arc<Services>) -> Result<()> {
    attached::recover(services)?;
    directory::recover(services)?;
    for id in directory::list(services)? {
        let directory = Directory::of(services, &id);
        if directory.is_alive() {
            continue;
        }
        // One container that cannot be put in order (a full disk, a damaged record) must not keep the engine closed: its
        // own methods report it.
        if matches!(directory.exit(), Ok(None)) {
            let _ = adopt_lost(services, &directory);
        }
    }
    Ok(())
}

/// A container without a keeper and without a record of its end: its start was cut off, or its keeper was killed, and
/// it died with it. One that never started is removed; of one that did, the end is recorded as unknown.
pub(super) fn adopt_lost(services: &Arc<Services>, directory: &Directory) -> Result<()> {
    attached::undo_lost(services, directory.path())?;
    if directory.processes().is_none() {
        let specification = directory.specification().ok();
        directory.remove(services, specification.as_ref().and_then(|specification| specification.name.as_ref()))?;
        if let Some(specification) = &specification {
            services.store.pins().release(&pin_name(specification)?)?;
        }
        return Ok(());
    }
    let (path, aside) = (directory.path().join("exit"), directory.path().join("exit.lost"));
    let operation = || format!("record the end of {}", directory.path().display());
    fs::write(&aside, ContainerExit::unknown()).during(operation)?;
    File::open(&aside).and_then(|file| file.sync_all()).during(operation)?;
    fs::rename(&aside, &path).during(operation)
}
