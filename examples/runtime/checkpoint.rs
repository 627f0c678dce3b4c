//! `checkpoint` and `restore`.

use crate::Session;
use crate::arguments::Arguments;
use crate::verbs::{container, making};
use coracle::runtime::Criu;
use coracle::{Error, Result};

pub(crate) fn checkpoint(session: &Session, arguments: &Arguments) -> Result<()> {
    let mut criu = criu(session, arguments)?
        .pre_dump(arguments.on("pre-dump"))
        .leave_running(arguments.on("leave-running") || arguments.on("pre-dump"));
    if let Some(directory) = arguments.text("parent-path") {
        criu = criu.parent(directory);
    }
    if let Some(server) = arguments.text("page-server") {
        let wrong = || Error::invalid("Use --page-server ADDRESS:PORT to specify page server");
        let (address, port) = server.rsplit_once(':').ok_or_else(wrong)?;
        criu = criu.page_server(address, port.parse().map_err(|_| wrong())?);
    }
    if let Some(descriptor) = arguments.parsed("status-fd")? {
        criu = criu.status_fd(descriptor);
    }
    container(session, arguments)?.checkpoint(&criu)
}

/// The exit code of the container, or 0 where it is detached.
pub(crate) fn restore(session: &Session, arguments: &Arguments) -> Result<u8> {
    let mut criu = criu(session, arguments)?;
    if let Some(profile) = arguments.text("lsm-profile") {
        criu = criu.lsm_profile(profile);
    }
    if let Some(context) = arguments.text("lsm-mount-context") {
        criu = criu.lsm_mount_context(context);
    }
    let mut restored = making(session, arguments)?.restore(&criu)?;
    if arguments.on("detach") {
        return Ok(0);
    }
    let status = restored.wait()?;
    restored.container().delete(true)?;
    Ok(status.code().unwrap_or(u8::MAX))
}

fn criu(session: &Session, arguments: &Arguments) -> Result<Criu> {
    let mut criu = Criu::new(arguments.text("image-path").unwrap_or("checkpoint"))
        .program(&session.criu)
        .tcp_established(arguments.on("tcp-established"))
        .external_unix_sockets(arguments.on("ext-unix-sk"))
        .shell_job(arguments.on("shell-job"))
        .file_locks(arguments.on("file-locks"))
        .lazy_pages(arguments.on("lazy-pages"))
        .auto_dedup(arguments.on("auto-dedup"));
    if let Some(directory) = arguments.text("work-path") {
        criu = criu.work_directory(directory);
    }
    if let Some(mode) = arguments.text("manage-cgroups-mode") {
        criu = criu.cgroups_mode(mode);
    }
    for kind in arguments.all("empty-ns") {
        criu = criu.empty_namespace(&kind);
    }
    Ok(criu)
}
