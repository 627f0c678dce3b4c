//! Lowers the way into a container that runs.

use super::super::create::Stdio;
use super::super::lower::{command_line, lower_streams, preserve};
use crate::Result;
use crate::cgroup::Join;
use crate::isolate::{
    Circumstances, TerminalEnd, lower_controlling_terminal, lower_exec, lower_fence, lower_find, lower_join_cgroup,
    lower_own, lower_process, lower_terminal,
};
use crate::kernel::PidFd;
use crate::launch::Channel;
use crate::plan::op::{OpCode, Tolerate};
use crate::plan::{Builder, Phase, Plan, Slot};
use oci_spec::runtime::{Process, Spec};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What the way in depends on.
pub(super) struct Setting<'a> {
    pub(super) spec: &'a Spec,
    pub(super) process: &'a Process,
    pub(super) stdio: Stdio,
    /// The container's first process.
    pub(super) first: PidFd,
    /// The CLONE_NEW flags of its namespaces that are not this process's.
    pub(super) namespaces: i32,
    pub(super) join: Join,
    pub(super) circumstances: Circumstances<'a>,
}

/// The way in, written down.
pub(super) struct Lowered {
    pub(super) plan: Plan,
    pub(super) channel: Channel,
    pub(super) cgroup: Option<OwnedFd>,
}

/// Writes the plan.
///
/// The order is that of a start, less the mounts: control groups while the host's are in sight, all namespaces at once,
/// the very lowering of privileges that the start does, and only then a child, which alone is in the PID namespace: no
/// process that those within can see ever has more rights than theirs, nor can they look into it before the exec, unless
/// they may trace processes of the host's user namespace; and then they find no descriptor in it but those of the
/// payload and the sockets to this process (CVE-2016-9962). Nothing but the terminal, the working directory and the command itself is resolved in the container,
/// all within its root.
pub(super) fn lower(setting: Setting<'_>, warn: &mut dyn FnMut(String)) -> Result<Lowered> {
    let Setting { spec, process, stdio, first, namespaces, join, circumstances } = setting;
    let channel = Channel::new()?;
    let mut plan = Builder::new();
    let tasks: Vec<Slot> = join.tasks.into_iter().map(|file| plan.inherit(file)).collect();
    preserve(&mut plan, circumstances.preserved)?;
    let first = plan.inherit(first.into());
    let (streams, terminal) = match stdio {
        Stdio::Streams(streams) => (Some(streams.map(|stream| plan.inherit(stream))), None),
        Stdio::Terminal(socket, size) => (None, Some(TerminalEnd { socket: plan.inherit(socket), size })),
    };
    lower_fence(&mut plan);
    lower_own(&mut plan, process, circumstances)?;
    lower_join_cgroup(&mut plan, &tasks);
    lower_join(&mut plan, first, namespaces);
    plan.phase(Phase::Session);
    // What is not needed any more, so that those within find nothing of the host's in the child.
    tasks.into_iter().chain([first]).for_each(|slot| plan.release(slot));
    let slave = match terminal {
        Some(end) => {
            let root = plan.slot();
            plan.push(OpCode::OpenRoot, &[root.into()], "open the container's root");
            let slave = lower_terminal(&mut plan, root, process, end)?;
            plan.release(root);
            Some(slave)
        }
        None => None,
    };
    if let Some(slave) = slave {
        lower_streams(&mut plan, [slave; 3]);
    }
    if let Some(streams) = streams {
        lower_streams(&mut plan, streams);
        streams.into_iter().for_each(|slot| plan.release(slot));
    }
    lower_working_directory(&mut plan, process.cwd());
    let command = command_line(process);
    lower_find(&mut plan, &command);
    lower_process(&mut plan, spec, process, circumstances, warn, |plan| {
        if namespaces & libc::CLONE_NEWPID != 0 {
            plan.push(OpCode::GoOnInChild, &[1], "enter the PID namespace");
        }
        match slave {
            Some(slave) => lower_controlling_terminal(plan, slave),
            None => {
                plan.push(OpCode::NewSession, &[], "start a new session").tolerate(Tolerate::REFUSED);
            }
        }
        plan.push(OpCode::Wait, &[], "wait for the runtime");
        Ok(())
    })?;
    lower_exec(&mut plan, &command);
    Ok(Lowered { plan: plan.finish(channel.child())?, channel, cgroup: join.directory })
}

fn lower_join(plan: &mut Builder, first: Slot, namespaces: i32) {
    if namespaces != 0 {
        plan.push(OpCode::JoinNamespace, &[first.into(), namespaces as u32], "join the container's namespaces")
            .hint(libc::EPERM, "joining needs CAP_SYS_ADMIN over each of them: be root, or who created the container")
            .hint(libc::ESRCH, "the container has ended");
    }
    if namespaces & libc::CLONE_NEWUSER != 0 {
        plan.phase(Phase::Identity);
        plan.push(OpCode::BecomeRoot, &[], "become root of the user namespace");
    }
}

fn lower_working_directory(plan: &mut Builder, directory: &Path) {
    let text = plan.text(directory.as_os_str().as_bytes());
    let what = format!("enter the working directory {}", directory.display());
    plan.push(OpCode::WorkingDirectory, &[text, 0], what)
        .hint(libc::ENOENT, "it does not exist in the container")
        .hint(libc::EACCES, "it lies outside of the container's root, or may not be entered");
}
