//! User namespaces that exist for their id maps alone.

use super::channel::Channel;
use super::conversation::{Request, start};
use super::id_map::IdMap;
use super::launcher::Launcher;
use crate::error::During;
use crate::plan::op::OpCode;
use crate::plan::{Builder, Phase};
use crate::{Error, ErrorKind, Result};
use std::fs::File;
use std::os::fd::OwnedFd;

/// A user namespace with these maps and no process, for the mounts whose ids are mapped by it.
pub(crate) fn make_user_namespace(id_map: &IdMap) -> Result<OwnedFd> {
    let channel = Channel::new()?;
    let mut plan = Builder::new();
    plan.push(OpCode::CloseOthers, &[], "close foreign descriptors");
    plan.phase(Phase::Join);
    plan.push(OpCode::Unshare, &[libc::CLONE_NEWUSER as u32], "create a user namespace for a mount")
        .hint(libc::ENOSPC, "user namespaces are switched off: sysctl user.max_user_namespaces");
    plan.phase(Phase::Map);
    plan.push(OpCode::AskForIdMaps, &[], "get the ids of a mount mapped");
    plan.phase(Phase::EarlyFilter);
    plan.push(OpCode::CloseOnExec, &[3], "have the exec close descriptors");
    plan.phase(Phase::Park);
    plan.push(OpCode::Wait, &[], "wait until the user namespace is held");
    // It never comes to this: who holds the namespace ends the process.
    plan.phase(Phase::Exec);
    let (texts, nothing) = (plan.texts(["/"]), plan.texts([""; 0]));
    plan.push(OpCode::Execute, &[texts, nothing, texts], "execute nothing");
    let mut held = None;
    let hold = |pid: i32| {
        let path = format!("/proc/{pid}/ns/user");
        held = Some(OwnedFd::from(File::open(path).during(|| "open the user namespace of a mount")?));
        Err(Error::new(ErrorKind::Os, "the user namespace is held"))
    };
    let ended = start(
        &Launcher::shared()?,
        Request {
            id_map: Some(id_map.clone()),
            after_exec_of_stage: Some(Box::new(hold)),
            ..Request::new(plan.finish(channel.child())?, channel)
        },
    );
    match (held, ended) {
        (Some(namespace), _) => Ok(namespace),
        (None, Err(error)) => Err(error),
        (None, Ok(_)) => {
            Err(Error::new(ErrorKind::Os, "the process that makes a user namespace has executed a program"))
        }
    }
}
