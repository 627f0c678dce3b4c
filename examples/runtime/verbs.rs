//! The verbs that change a container: each reads its options and calls the library.

use crate::arguments::Arguments;
use crate::{Session, checkpoint, exec, reports, update};
use coracle::runtime::{Container, Create, Relay, parse_signal};
use coracle::{ErrorKind, Result};

/// Runs one; the exit code.
pub(crate) fn run(verb: &str, session: &Session, arguments: &Arguments) -> Result<u8> {
    match verb {
        "create" => making(session, arguments)?.create().map(drop),
        "run" => return run_container(session, arguments),
        "restore" => return checkpoint::restore(session, arguments),
        "exec" => return exec::run(session, arguments),
        "checkpoint" => checkpoint::checkpoint(session, arguments),
        "start" => container(session, arguments)?.start(),
        "kill" => kill(session, arguments),
        "delete" => delete(session, arguments),
        "pause" => container(session, arguments)?.pause(),
        "resume" => container(session, arguments)?.resume(),
        "update" => container(session, arguments)?.update(&update::resources(arguments)?),
        "state" => reports::state(session, arguments),
        "list" => reports::list(session, arguments),
        "ps" => reports::processes(session, arguments),
        "events" => reports::events(session, arguments),
        "spec" => reports::spec(arguments),
        _ => reports::features(),
    }
    .map(|()| 0)
}

pub(crate) fn container(session: &Session, arguments: &Arguments) -> Result<Container> {
    session.runtime.container(arguments.id()?)
}

/// What create and run have in common.
pub(crate) fn making<'a>(session: &'a Session, arguments: &Arguments) -> Result<Create<'a>> {
    let mut create = session
        .runtime
        .create(arguments.id()?, arguments.text("bundle").filter(|bundle| !bundle.is_empty()).unwrap_or("."))
        .preserve_fds(arguments.parsed("preserve-fds")?.unwrap_or(0))
        .no_pivot(arguments.on("no-pivot"))
        .no_new_keyring(arguments.on("no-new-keyring"));
    if let Some(path) = arguments.text("pid-file").filter(|path| !path.is_empty()) {
        create = create.pid_file(path);
    }
    if let Some(path) = arguments.text("console-socket").filter(|path| !path.is_empty()) {
        create = create.console_socket(path);
    }
    Ok(create)
}

fn run_container(session: &Session, arguments: &Arguments) -> Result<u8> {
    let create = making(session, arguments)?;
    if arguments.on("detach") {
        create.run()?.detach();
        return Ok(0);
    }
    let relay = Relay::begin()?;
    let mut running = create.run()?;
    let exit = running.attend(relay)?;
    if !arguments.on("keep") {
        running.container().delete(true)?;
    }
    Ok(exit.status.code().unwrap_or(u8::MAX))
}

fn kill(session: &Session, arguments: &Arguments) -> Result<()> {
    let container = container(session, arguments)?;
    let signal = match arguments.positions.get(1).map(String::as_str) {
        None | Some("") => 15,
        // Asks whether it runs.
        Some("0") => 0,
        Some(signal) => parse_signal(signal)?,
    };
    container.kill(signal, arguments.on("all"))
}

fn delete(session: &Session, arguments: &Arguments) -> Result<()> {
    let force = arguments.on("force");
    match container(session, arguments).and_then(|container| container.delete(force)) {
        Err(error) if force && error.kind() == ErrorKind::NotFound => Ok(()),
        deleted => deleted,
    }
}
