//! `exec`: another process in a container that runs.

use crate::Session;
use crate::arguments::Arguments;
use crate::verbs::container;
use coracle::runtime::{Exec, Relay};
use coracle::{Error, Result};

/// As runc, whatever the reason: engines look for words of the message.
const NOT_EXECUTED: u8 = 255;

/// The exit code of the process, or 255 where it was not executed.
pub(crate) fn run(session: &Session, arguments: &Arguments) -> Result<u8> {
    match execute(session, arguments) {
        Err(error) => {
            session.log.error(&format!("exec failed: {error}"));
            Ok(NOT_EXECUTED)
        }
        executed => executed,
    }
}

fn execute(session: &Session, arguments: &Arguments) -> Result<u8> {
    let container = container(session, arguments)?;
    let exec = match arguments.text("process") {
        Some(path) => container.exec_file(path),
        None => container.exec(arguments.positions[1..].iter().cloned()).tty(arguments.on("tty")),
    };
    let exec = options(exec, arguments)?;
    if arguments.on("detach") {
        return exec.detach().map(|_| 0);
    }
    let relay = Relay::begin()?;
    let exit = exec.spawn()?.attend(relay)?;
    Ok(exit.status.code().unwrap_or(u8::MAX))
}

fn options<'a>(mut exec: Exec<'a>, arguments: &Arguments) -> Result<Exec<'a>> {
    if let Some(user) = arguments.text("user").filter(|user| !user.is_empty()) {
        let (user, group) = user.split_once(':').map_or((user, None), |(user, group)| (user, Some(group)));
        exec = exec.user(id(user)?, group.map(id).transpose()?);
    }
    for group in arguments.all("additional-gids") {
        exec = exec.additional_group(id(&group)?);
    }
    for capability in arguments.all("cap") {
        exec = exec.capability(capability.parse()?);
    }
    for variable in arguments.all("env") {
        exec = exec.env(variable);
    }
    if let Some(directory) = arguments.text("cwd").filter(|directory| !directory.is_empty()) {
        exec = exec.cwd(directory);
    }
    if let Some(path) = arguments.text("console-socket").filter(|path| !path.is_empty()) {
        exec = exec.console_socket(path);
    }
    if let Some(path) = arguments.text("pid-file").filter(|path| !path.is_empty()) {
        exec = exec.pid_file(path);
    }
    if let Some(profile) = arguments.text("apparmor") {
        exec = exec.apparmor_profile(profile);
    }
    if let Some(label) = arguments.text("process-label") {
        exec = exec.selinux_label(label);
    }
    if arguments.on("no-new-privs") {
        exec = exec.no_new_privileges(true);
    }
    if let Some(group) = arguments.text("cgroup").filter(|group| !group.is_empty()) {
        exec = exec.cgroup(group);
    }
    Ok(exec.preserve_fds(arguments.parsed("preserve-fds")?.unwrap_or(0)).ignore_paused(arguments.on("ignore-paused")))
}

fn id(text: &str) -> Result<u32> {
    text.parse().map_err(|_| Error::invalid(format!("{text:?} is no user or group id")))
}
