//! The start of a detached container.

use super::assembly::{Assembly, Holdings, root_of};
use super::attached::write_holdings;
use super::care;
use super::directory::{Directory, NewDirectory};
use super::handle::Container;
use super::services::Services;
use super::specification::Specification;
use crate::error::{Context, During};
use crate::sandbox::{KeeperTask, Stream};
use crate::store::{KeptSnapshot, Snapshot};
use crate::value::Name;
use crate::{Error, ErrorKind, Result};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Starts a container under a keeper. What of it was made is undone if it fails.
pub(crate) fn start(services: &Arc<Services>, specification: Specification, snapshot: Snapshot) -> Result<Container> {
    let shown = specification.name.as_ref().map_or(specification.id.as_str(), |name| name.as_str()).to_owned();
    start_unnamed(services, specification, snapshot).context(|| format!("starting {shown}"))
}

fn start_unnamed(services: &Arc<Services>, mut specification: Specification, snapshot: Snapshot) -> Result<Container> {
    let new = NewDirectory::make(services, &specification.id)?;
    let pin = pin_name(&specification)?;
    services.store.pins().hold(&pin, &specification.layers)?;
    let made = snapshot.into_kept(new.aside()).and_then(|kept| {
        let published = new.publish(services, &specification)?;
        Ok((kept, published))
    });
    let (kept, (directory, lock)) = match made {
        Ok(made) => made,
        Err(error) => {
            let _ = services.store.pins().release(&pin);
            return Err(error);
        }
    };
    match run(services, &mut specification, &directory, &kept, lock) {
        Ok(()) => {
            directory.wait_until_noted();
            Container::open(services, &specification.id)
        }
        Err(error) => {
            // The keeper, if there was one, is done with its own cleaning up.
            let _ = directory.wait_until_dead();
            let error = explain(&directory, error);
            let _ = directory.remove(services, specification.name.as_ref());
            let _ = services.store.pins().release(&pin);
            Err(error)
        }
    }
}

fn run(
    services: &Arc<Services>,
    specification: &mut Specification,
    directory: &Directory,
    kept: &KeptSnapshot,
    lock: File,
) -> Result<()> {
    let path = directory.path();
    let mut assembly =
        Assembly::make(services, specification, &mut |holdings: &Holdings| write_holdings(path, holdings))?;
    assembly.write_files(specification, path)?;
    let moved = |inner: &std::path::Path| path.join(inner.file_name().unwrap_or_default());
    let root = root_of(&kept.lower, &moved(&kept.upper), &moved(&kept.work));
    let (stdout, stdout_writer) = std::io::pipe().during(|| "create a pipe")?;
    let (stderr, stderr_writer) = std::io::pipe().during(|| "create a pipe")?;
    for pipe in [&stdout, &stderr] {
        fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).during(|| "set up a pipe")?;
    }
    let sandbox = assembly
        .sandbox(specification, root, path)?
        .stdout(Stream::Descriptor(stdout_writer.into()))
        .stderr(Stream::Descriptor(stderr_writer.into()));
    let open = |path: &std::path::Path| -> Result<OwnedFd> {
        File::open(path).map(OwnedFd::from).during(|| format!("open {}", path.display()))
    };
    let group = assembly.cgroup();
    let mut held = assembly.held()?;
    held.push(lock.into());
    let (farewell, (ready, unready)) = match &assembly.holdings().attachment {
        Some(record) => (crate::network::undo_message(record)?, crate::network::readiness_messages(record)?),
        None => Default::default(),
    };
    let task = KeeperTask {
        streams: [stdout.into(), stderr.into()],
        log_directory: open(&directory.log())?,
        directory: open(path)?,
        oom_file: group
            .as_ref()
            .and_then(|group| group.oom_file())
            .map(|file: std::path::PathBuf| open(&file))
            .transpose()?,
        log_limit: specification.log.limit,
        log_files: specification.log.files,
        held,
        remove: group.map(|group| group.directories()).unwrap_or_default(),
        farewell,
        ready,
        unready,
        care: care::task(specification, assembly.address)?,
    };
    sandbox.detach(task)?;
    assembly.hand_over();
    Ok(())
}

/// The name under which a container pins its image's layers.
pub(crate) fn pin_name(specification: &Specification) -> Result<Name> {
    format!("container-{}", specification.id).parse()
}

/// A start that was killed for its memory says so; the keeper has recorded it.
fn explain(directory: &Directory, error: Error) -> Error {
    match directory.exit() {
        Ok(Some(exit)) if exit.oom_killed => {
            Error::new(ErrorKind::ResourceExhausted, "the memory limit is too small to start")
                .hint("raise the memory limit")
                .source_error(error)
        }
        _ => error,
    }
}
