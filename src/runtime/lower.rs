//! Lowers a configuration into the plan of its container: which part goes into which phase.

use super::config::Config;
use super::record::Remedy;
use crate::cgroup::{Cgroup, Join};
use crate::isolate::{
    Circumstances, CommandLine, MountNamespace, Namespaces, Surroundings, lower_exec, lower_fence, lower_filesystem, lower_find,
    lower_join_cgroup, lower_keyring, lower_own, lower_process,
};
use crate::kernel::is_open;
use crate::launch::{Channel, IdMap};
use crate::plan::op::OpCode;
use crate::plan::{Builder, Phase, Plan, Slot};
use crate::{Error, Result};
use oci_spec::runtime::Process;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What a start depends on beside its configuration.
pub(super) struct Setting<'a> {
    pub(super) config: &'a Config,
    pub(super) bundle: &'a Path,
    pub(super) group: &'a Cgroup,
    /// The standard streams, where there is no terminal.
    pub(super) streams: [OwnedFd; 3],
    /// The payload gets this many of the caller's descriptors, from 3 on.
    pub(super) preserved: u32,
    pub(super) no_pivot: bool,
    pub(super) no_new_keyring: bool,
    /// The fifos of a start by another process; without, the start goes on at the parent's word.
    pub(super) fifos: Option<[OwnedFd; 2]>,
}

/// A start, written down.
pub(super) struct Lowered {
    pub(super) plan: Plan,
    pub(super) channel: Channel,
    /// The CLONE_NEW flags of the clone.
    pub(super) at_clone: u64,
    pub(super) cgroup: Option<OwnedFd>,
    pub(super) id_map: Option<IdMap>,
    /// The CLONE_NEW flags of all namespaces that are not the caller's.
    pub(super) namespaces: i32,
    /// The operations behind the wait, for the sentence of a fault.
    pub(super) parked: Vec<Remedy>,
    /// The number of the first of them.
    pub(super) first_parked: u32,
    pub(super) warnings: Vec<String>,
}

/// Checks everything and writes the plan.
pub(super) fn lower(setting: Setting<'_>) -> Result<Lowered> {
    let spec = &setting.config.spec;
    let process = spec.process().as_ref().ok_or_else(|| Error::invalid("process is missing"))?;
    let namespaces = Namespaces::from_runtime_spec(spec)?;
    let (flags, id_map) = (namespaces.flags(), namespaces.id_map().cloned());
    let channel = Channel::new()?;
    let mut plan = Builder::new();
    let Join { tasks, directory } = setting.group.join()?;
    let cgroups = setting.group.directories();
    let tasks: Vec<Slot> = tasks.into_iter().map(|file| plan.inherit(file)).collect();
    preserve(&mut plan, setting.preserved)?;
    let streams = setting.streams.map(|stream| plan.inherit(stream));
    let fifos = setting.fifos.map(|fifos| fifos.map(|fifo| plan.inherit(fifo)));

    lower_fence(&mut plan);
    plan.push(OpCode::NewSession, &[], "start a new session");
    if !setting.no_new_keyring {
        lower_keyring(&mut plan, "");
    }
    let offsets = namespaces.lower_early(&mut plan);
    let circumstances =
        Circumstances { user_namespace: flags & libc::CLONE_NEWUSER != 0, joins: false, preserved: setting.preserved };
    lower_own(&mut plan, process, circumstances)?;
    lower_join_cgroup(&mut plan, &tasks);
    let at_clone = namespaces.lower(&mut plan, spec, offsets);
    let surroundings = Surroundings {
        bundle: setting.bundle,
        user_namespace: flags & libc::CLONE_NEWUSER != 0,
        own_network: flags & libc::CLONE_NEWNET != 0,
        own_cgroup_namespace: flags & libc::CLONE_NEWCGROUP != 0,
        cgroups: &cgroups,
        id_map: id_map.as_ref(),
        mounts: if flags & libc::CLONE_NEWNS == 0 { MountNamespace::Callers } else { MountNamespace::Own },
        no_pivot: setting.no_pivot,
    };
    lower_filesystem(&mut plan, spec, &surroundings, |_, _| Ok(()))?;
    lower_session(&mut plan, process, streams);
    let command = command_line(process);
    let mut warnings = Vec::new();
    let mut first_parked = 0;
    lower_process(&mut plan, spec, process, circumstances, &mut |warning| warnings.push(warning), |plan| {
        lower_find(plan, &command);
        plan.push(OpCode::Wait, &[], "wait for the runtime");
        if let Some([start, outcome]) = fifos {
            plan.push(OpCode::AwaitStart, &[start.into(), outcome.into()], "wait to be started");
        }
        first_parked = plan.len();
        Ok(())
    })?;
    lower_exec(&mut plan, &command);
    let plan = plan.finish(channel.child())?;
    let parked = (first_parked..plan.len()).map(|index| Remedy::of(&plan, index)).collect();
    let first_parked = first_parked as u32;
    Ok(Lowered {
        plan,
        channel,
        at_clone,
        cgroup: directory,
        id_map,
        namespaces: flags,
        parked,
        first_parked,
        warnings,
    })
}

/// Standard streams and the working directory.
fn lower_session(plan: &mut Builder, process: &Process, streams: [Slot; 3]) {
    plan.phase(Phase::Session);
    for (number, slot) in streams.into_iter().enumerate() {
        plan.push(OpCode::StandardStream, &[slot.into(), number as u32], "set up a standard stream");
    }
    let directory = plan.text(process.cwd().as_os_str().as_bytes());
    let shown = process.cwd().display();
    plan.push(OpCode::WorkingDirectory, &[directory, 0o755], format!("enter process.cwd {shown}"))
        .hint(libc::ENOTDIR, "it is not a directory")
        .hint(libc::EROFS, "it does not exist, and the root is read-only");
}

/// The command line of `process`, which has been checked.
fn command_line(process: &Process) -> CommandLine {
    let bytes = |texts: &Option<Vec<String>>| -> Vec<Vec<u8>> {
        texts.iter().flatten().map(|text| text.clone().into_bytes()).collect()
    };
    CommandLine { arguments: bytes(process.args()), environment: bytes(process.env()) }
}

fn preserve(plan: &mut Builder, count: u32) -> Result<()> {
    for number in 3..3 + count as i32 {
        if !is_open(number) {
            return Err(Error::invalid(format!("descriptor {number} is to be preserved, and is not open")));
        }
        plan.preserve(number);
    }
    Ok(())
}
