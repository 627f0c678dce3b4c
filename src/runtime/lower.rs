//! Lowers a configuration into the plan of its container: which part goes into which phase.

use super::config::Config;
use super::create::Stdio;
use super::hooks::{has_gate, moved_devices};
use super::limits::is_privileged;
use super::record::Remedy;
use crate::cgroup::{Cgroup, Join};
use crate::isolate::{
    Circumstances, CommandLine, HookPoint, HookState, Landlock, MountNamespace, Namespaces, Surroundings, TerminalEnd,
    check_hooks, lower_console, lower_controlling_terminal, lower_exec, lower_fence, lower_filesystem, lower_find,
    lower_gate, lower_hook_directory, lower_hooks, lower_join_cgroup, lower_own, lower_process, lower_sysctls,
    lower_terminal, process_problems,
};
use crate::kernel::is_inheritable;
use crate::launch::{Channel, IdMap};
use crate::plan::op::{OpCode, Tolerate};
use crate::plan::{Builder, Phase, Plan, Slot};
use crate::{Error, Result};
use oci_spec::runtime::{Process, Spec};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What a start depends on beside its configuration.
pub(super) struct Setting<'a> {
    pub(super) config: &'a Config,
    pub(super) bundle: &'a Path,
    pub(super) group: &'a Cgroup,
    /// The `tasks` files of its groups of the resctrl file system.
    pub(super) resctrl: Vec<OwnedFd>,
    /// What the hooks read.
    pub(super) hook_state: HookState<'a>,
    /// The standard streams, or where the master of the terminal goes.
    pub(super) stdio: Stdio,
    /// The payload gets this many of the caller's descriptors, from 3 on.
    pub(super) preserved: u32,
    pub(super) no_pivot: bool,
    pub(super) no_new_keyring: bool,
    pub(super) landlock: Option<&'a Landlock>,
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
    check_hooks(spec)?;
    process_problems(spec, process).into_iter().next().map_or(Ok(()), Err)?;
    if !moved_devices(spec).is_empty() && !namespaces.has(libc::CLONE_NEWNET) {
        return Err(Error::invalid("linux.netDevices: the container has no network namespace of its own"));
    }
    let (flags, id_map) = (namespaces.flags(), namespaces.id_map().cloned());
    let channel = Channel::new()?;
    let mut plan = Builder::new();
    let Join { tasks, directory } = setting.group.join()?;
    let cgroups = setting.group.directories();
    let tasks: Vec<Slot> = tasks.into_iter().chain(setting.resctrl).map(|file| plan.inherit(file)).collect();
    preserve(&mut plan, setting.preserved)?;
    let stdio = match setting.stdio {
        Stdio::Streams(streams) => Ends::Streams(streams.map(|stream| plan.inherit(stream))),
        Stdio::Terminal(socket, size) => Ends::Terminal(TerminalEnd { socket: plan.inherit(socket), size }),
    };
    let fifos = setting.fifos.map(|fifos| fifos.map(|fifo| plan.inherit(fifo)));

    lower_fence(&mut plan);
    plan.push(OpCode::NewSession, &[], "start a new session");
    let offsets = namespaces.lower_early(&mut plan);
    let keyring = keyring_name(setting.hook_state.id);
    let circumstances = Circumstances {
        user_namespace: flags & libc::CLONE_NEWUSER != 0,
        joins: false,
        keyring: (!setting.no_new_keyring).then_some(keyring.as_str()),
        landlock: setting.landlock,
        preserved: setting.preserved,
    };
    lower_own(&mut plan, process, circumstances)?;
    lower_join_cgroup(&mut plan, &tasks);
    let at_clone = namespaces.lower(&mut plan, spec, offsets);
    let surroundings = Surroundings {
        bundle: setting.bundle,
        user_namespace: flags & libc::CLONE_NEWUSER != 0,
        makes_devices: flags & libc::CLONE_NEWUSER == 0 && is_privileged(),
        own_network: flags & libc::CLONE_NEWNET != 0,
        own_cgroup_namespace: flags & libc::CLONE_NEWCGROUP != 0,
        cgroups: &cgroups,
        id_map: id_map.as_ref(),
        mounts: if flags & libc::CLONE_NEWNS == 0 { MountNamespace::Callers } else { MountNamespace::Own },
        no_pivot: setting.no_pivot,
    };
    let mut terminal = None;
    lower_filesystem(&mut plan, spec, &surroundings, |plan, root| {
        if let Ends::Terminal(end) = stdio {
            let slave = lower_terminal(plan, root, process, end)?;
            lower_console(plan, root, slave);
            terminal = Some(slave);
        }
        lower_sysctls(plan, spec)?;
        lower_hooks_before_pivot(plan, spec, &setting.hook_state)
    })?;
    plan.phase(Phase::Session);
    // A process that waits to be started holds nothing of the host's that it needs no longer.
    tasks.into_iter().for_each(|slot| plan.release(slot));
    match (stdio, terminal) {
        (Ends::Streams(streams), _) => {
            // Once more: behind a user namespace this is another process, which leads none of its PID namespace yet.
            plan.push(OpCode::NewSession, &[], "start a new session").tolerate(Tolerate::REFUSED);
            lower_streams(&mut plan, streams);
            streams.into_iter().for_each(|slot| plan.release(slot));
        }
        (_, Some(slave)) => {
            lower_controlling_terminal(&mut plan, slave);
            lower_streams(&mut plan, [slave; 3]);
        }
        _ => {}
    }
    lower_working_directory(&mut plan, process);
    let command = command_line(process);
    lower_find(&mut plan, &command);
    let mut warnings = Vec::new();
    let mut first_parked = 0;
    lower_process(&mut plan, spec, process, circumstances, &mut |warning| warnings.push(warning), |plan| {
        plan.push(OpCode::Wait, &[], "wait for the runtime");
        if let Some([start, outcome]) = fifos {
            plan.push(OpCode::AwaitStart, &[start.into(), outcome.into()], "wait to be started");
        }
        first_parked = plan.len();
        Ok(())
    })?;
    // Behind the filter, which confines them too.
    plan.phase(Phase::LateFilter);
    lower_hooks(&mut plan, spec, HookPoint::StartContainer, &setting.hook_state)?;
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

/// The name of the session keyring that the processes of a container share: runc's.
pub(super) fn keyring_name(id: &str) -> String {
    format!("_ses.{id}")
}

/// Where the standard streams of a process lie in the plan.
#[derive(Clone, Copy)]
enum Ends {
    Streams([Slot; 3]),
    /// A terminal.
    Terminal(TerminalEnd),
}

/// What happens when all is mounted and the host's root is still in sight (runtime-spec, Lifecycle, steps 3 to 5).
fn lower_hooks_before_pivot(plan: &mut Builder, spec: &Spec, state: &HookState<'_>) -> Result<()> {
    if has_gate(spec) {
        lower_gate(plan);
    }
    if HookPoint::CreateContainer.is_used(spec) {
        lower_hook_directory(plan, state.bundle);
    }
    lower_hooks(plan, spec, HookPoint::CreateContainer, state)
}

/// Puts them in place.
pub(super) fn lower_streams(plan: &mut Builder, streams: [Slot; 3]) {
    for (number, slot) in streams.into_iter().enumerate() {
        plan.push(OpCode::StandardStream, &[slot.into(), number as u32], "set up a standard stream");
    }
}

/// Enters `process.cwd`, which is made where it is missing, as runc does.
pub(super) fn lower_working_directory(plan: &mut Builder, process: &Process) {
    let directory = plan.text(process.cwd().as_os_str().as_bytes());
    let shown = process.cwd().display();
    plan.push(OpCode::WorkingDirectory, &[directory, 0o755], format!("enter process.cwd {shown}"))
        .hint(libc::ENOTDIR, "it is not a directory")
        .hint(libc::EROFS, "it does not exist, and the root is read-only");
}

/// The command line of `process`, which has been checked.
pub(super) fn command_line(process: &Process) -> CommandLine {
    let bytes = |texts: &Option<Vec<String>>| -> Vec<Vec<u8>> {
        texts.iter().flatten().map(|text| text.clone().into_bytes()).collect()
    };
    CommandLine { arguments: bytes(process.args()), environment: bytes(process.env()) }
}

/// Keeps `count` descriptors of the caller, from 3 on.
pub(super) fn preserve(plan: &mut Builder, count: u32) -> Result<()> {
    for number in 3..3 + count as i32 {
        if !is_inheritable(number) {
            return Err(Error::invalid(format!(
                "descriptor {number} is to be preserved, and is not open for programs that are executed"
            )));
        }
        plan.preserve(number);
    }
    Ok(())
}
