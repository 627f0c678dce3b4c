//! The lines about services in the `/etc/hosts` of living containers.
//!
//! A container sees the file by a bind mount, so it must stay the same file: it is written in place. What else is in it,
//! the container's own changes too, stays.

use super::super::balance::ServiceRecord;
use crate::Result;
use crate::error::During;
use std::fmt::Write;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// By this our lines are known (a comment, hosts(5)).
const MARK: &str = "# service";
/// A container can write to its file: what is longer than this is not a hosts file any more.
const MOST_BYTES: u64 = 1 << 20;

/// The text `others` with the lines of `services` at its end, in place of those that were there.
pub(super) fn with_services(others: &str, services: &[ServiceRecord]) -> String {
    let mut text = String::new();
    for line in others.lines().filter(|line| !line.ends_with(MARK)) {
        text.push_str(line);
        text.push('\n');
    }
    for service in services {
        let _ = writeln!(text, "{}\t{}\t{MARK}", service.address, service.specification.host_name().as_str());
    }
    text
}

/// Rewrites the file at `path` with the lines of `services`. A file that is gone belongs to a container that is.
///
/// The container can make its file one that cannot be rewritten: too long, immutable, executed at the moment, under a
/// lease (fcntl(2)). That is its own loss; a change of services must not fail for all because of it.
pub(super) fn rewrite(path: &Path, services: &[ServiceRecord]) -> Result<()> {
    let operation = || format!("write {}", path.display());
    let file = File::options().read(true).write(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    let mut file = match file {
        Err(error) if is_the_containers_doing(error.kind()) => return Ok(()),
        file => file.during(operation)?,
    };
    let mut bytes = Vec::new();
    (&mut file).take(MOST_BYTES + 1).read_to_end(&mut bytes).during(operation)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Ok(());
    }
    let mut text = with_services(&String::from_utf8_lossy(&bytes), services);
    if text.as_bytes() == bytes {
        return Ok(());
    }
    let length = text.len() as u64;
    // Whoever reads between the two steps sees empty lines at the end, not the rest of an old one.
    while text.len() < bytes.len() {
        text.push('\n');
    }
    file.write_all_at(text.as_bytes(), 0).during(operation)?;
    file.set_len(length).during(operation)
}

fn is_the_containers_doing(error: ErrorKind) -> bool {
    use ErrorKind::{ExecutableFileBusy, NotFound, PermissionDenied, WouldBlock};
    matches!(error, NotFound | PermissionDenied | WouldBlock | ExecutableFileBusy)
}
