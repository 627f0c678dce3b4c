//! Lowers a sandbox into a plan: which part goes into which phase.

use super::enter::{Enter, Inside};
use super::{NetworkMode, Sandbox, Stream};
use crate::cgroup::{Cgroup, Join};
use crate::error::During;
use crate::isolate::seccomp::Filter;
use crate::isolate::{
    CapabilitySet, CapabilitySets, CommandLine, Confinement, MASKED_PATHS, MountTargets, Privileges, READ_ONLY_PATHS,
    lower_binds, lower_confinement, lower_devices, lower_exec, lower_fence, lower_join_cgroup, lower_keyring,
    lower_masks, lower_null, lower_pivot, lower_proc, lower_root, lower_sys, lower_tmpfs, lower_user_namespace,
};
use crate::launch::{Channel, IdMap, Request};
use crate::plan::op::OpCode;
use crate::plan::{Builder, Phase, Slot};
use crate::{Error, Result};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

pub(super) const BASE_NAMESPACES: i32 =
    libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;

/// Puts in force what must wait until a process, whose number it gets, has memory of its own.
type Arm = Box<dyn FnOnce(i32) -> Result<()> + Send>;

/// A sandbox whose operations are written, not yet closed into a plan.
pub(super) struct Lowered {
    pub(super) plan: Builder,
    pub(super) channel: Channel,
    pub(super) namespaces: u64,
    pub(super) cgroup: Option<OwnedFd>,
    pub(super) id_map: Option<IdMap>,
    pub(super) arm: Option<Arm>,
    /// What the keeper needs to run the second range of operations, where there is one.
    pub(super) enter: Option<Enter>,
}

impl Lowered {
    /// Closes the plan for a start without a keeper.
    fn finish(self) -> Result<Request<'static>> {
        Ok(Request {
            namespaces: self.namespaces,
            cgroup: self.cgroup,
            id_map: self.id_map,
            after_exec_of_stage: self.arm.map(|arm| arm as _),
            ..Request::new(self.plan.finish(self.channel.child())?, self.channel)
        })
    }
}

impl Sandbox {
    /// Checks everything and writes the plan.
    pub(super) fn prepare(self) -> Result<Request<'static>> {
        self.lower(None)?.finish()
    }

    /// Checks everything and writes the operations, also those that run the command `inside` in what was started.
    pub(super) fn lower(mut self, inside: Option<&[String]>) -> Result<Lowered> {
        self.check()?;
        let channel = Channel::new()?;
        let mut plan = Builder::new();
        let host_network = matches!(self.network, NetworkMode::Host);
        let Join { tasks, directory } = self.cgroup.as_ref().map_or(Ok(Join::default()), Cgroup::join)?;
        let arm = self.cgroup.take().filter(|_| directory.is_some());
        let capabilities = self.decided_capabilities()?;
        let filter = self.decided_filter(capabilities)?;
        let streams = self.open_streams(&mut plan)?;
        let tasks: Vec<Slot> = tasks.into_iter().map(|file| plan.inherit(file)).collect();
        let (namespaces, null) = self.lower_fence_and_join(&mut plan, &tasks)?;
        let root = lower_root(&mut plan, &self.root, self.id_map.is_some())?;
        self.lower_mounts(&mut plan, root, host_network)?;
        lower_pivot(&mut plan, root, self.read_only);
        self.lower_session(&mut plan, streams.map(|stream| stream.unwrap_or(null)));
        self.lower_confinement(&mut plan, capabilities, filter.as_deref(), |plan| {
            if arm.is_some() {
                plan.push(OpCode::Wait, &[], "wait for the limits");
            }
            if self.init {
                plan.push(OpCode::StayAsInit, &[], "fork the command from its init");
            }
        })?;
        lower_exec(&mut plan, &self.command_line(self.command.clone()));
        let enter = match inside {
            Some(command) => {
                let inside = Inside { tasks: &tasks, host_network, capabilities, filter: filter.as_deref() };
                Some(self.lower_enter(&mut plan, command, &inside)?)
            }
            None => None,
        };
        // A memory limit of version 2 is written only once the process has memory of its own.
        let arm = arm.map(|group| Box::new(move |_: i32| group.arm()) as Arm);
        Ok(Lowered { plan, channel, namespaces, cgroup: directory, id_map: self.id_map, arm, enter })
    }

    fn check(&self) -> Result<()> {
        if self.command.first().is_none_or(Vec::is_empty) {
            return Err(Error::invalid("the command is empty"));
        }
        if self.command.iter().any(|argument| argument.contains(&0)) {
            return Err(Error::invalid("the command holds a NUL byte"));
        }
        if let Some(hostname) = &self.hostname
            && (hostname.is_empty() || hostname.len() > 64 || hostname.contains('\0'))
        {
            return Err(Error::invalid(format!("host name {hostname:?} is empty or longer than 64 bytes")));
        }
        if !self.working_directory.is_absolute() || self.working_directory.as_os_str().as_bytes().contains(&0) {
            let shown = self.working_directory.display();
            return Err(Error::invalid(format!("working directory {shown} is not absolute")));
        }
        if self.user.0 == u32::MAX || self.user.1 == u32::MAX {
            return Err(Error::invalid("4294967295 is no user or group id"));
        }
        self.id_map.as_ref().map_or(Ok(()), |map| map.check())
    }

    /// The descriptors of the standard streams, in slots.
    fn open_streams(&mut self, plan: &mut Builder) -> Result<[Option<Slot>; 3]> {
        let mut slots = [None; 3];
        for (number, (slot, stream)) in slots.iter_mut().zip(&mut self.streams).enumerate() {
            *slot = match std::mem::replace(stream, Stream::Null) {
                Stream::Null => None,
                Stream::Inherit => Some(plan.inherit(own_stream(number).during(|| "duplicate a standard stream")?)),
                Stream::Descriptor(descriptor) => Some(plan.inherit(descriptor)),
            };
        }
        Ok(slots)
    }

    /// Fence to identity; the flags of the namespaces that begin with the clone, and the null device.
    fn lower_fence_and_join(&mut self, plan: &mut Builder, tasks: &[Slot]) -> Result<(u64, Slot)> {
        lower_fence(plan);
        if self.die_with_parent {
            plan.push(OpCode::DieWithParent, &[u32::from(!self.kept)], "tie the container's life to the host's");
        }
        plan.push(OpCode::NewSession, &[], "start a new session");
        lower_keyring(plan, "");
        let null = lower_null(plan);
        let network = std::mem::replace(&mut self.network, NetworkMode::Host);
        let fresh_network = matches!(network, NetworkMode::None);
        lower_join_cgroup(plan, tasks);
        if let NetworkMode::Join(namespace) = network {
            let slot = plan.inherit(namespace);
            let flags = libc::CLONE_NEWNET as u32;
            plan.push(OpCode::JoinNamespace, &[slot.into(), flags], "enter the network namespace");
        }
        let namespaces = BASE_NAMESPACES | if fresh_network { libc::CLONE_NEWNET } else { 0 };
        let at_clone = if self.id_map.is_some() {
            lower_user_namespace(plan);
            plan.push(OpCode::Unshare, &[(namespaces | libc::CLONE_NEWCGROUP) as u32], "create namespaces");
            plan.push(OpCode::GoOnInChild, &[], "enter the PID namespace");
            if self.die_with_parent {
                plan.push(OpCode::DieWithParent, &[u32::from(!self.kept)], "tie the container's life to the host's");
            }
            0
        } else {
            plan.push(OpCode::Unshare, &[libc::CLONE_NEWCGROUP as u32], "create a control group namespace");
            namespaces as u64
        };
        plan.phase(Phase::Identity);
        if let Some(hostname) = &self.hostname {
            let bytes = plan.bytes(hostname.as_bytes());
            plan.push(OpCode::SetHostname, &[bytes, hostname.len() as u32], "set the host name");
        }
        if fresh_network {
            plan.push(OpCode::LoopbackUp, &[], "bring the loopback interface up");
        }
        Ok((at_clone, null))
    }

    fn lower_mounts(&self, plan: &mut Builder, root: Slot, host_network: bool) -> Result<()> {
        if self.filesystems {
            let in_user_namespace = self.id_map.is_some();
            let proc = lower_proc(plan, root);
            let kit = lower_devices(plan, root, in_user_namespace, self.shared_memory.as_bytes());
            let sys = lower_sys(plan, root, !(in_user_namespace && host_network));
            if self.masks {
                lower_masks(plan, root, MountTargets { proc, sys, kit }, &MASKED_PATHS, &READ_ONLY_PATHS);
            }
        }
        lower_tmpfs(plan, root, &self.tmpfs)?;
        lower_binds(plan, root, &self.binds)?;
        if self.make_working_directory {
            // Before the seal: the root may become read-only.
            let directory = plan.text(self.working_directory.as_os_str().as_bytes());
            let shown = self.working_directory.display();
            let arguments = [root.into(), directory, 0o755, Slot::NONE.into()];
            plan.push(OpCode::MakeDirectories, &arguments, format!("make the working directory {shown}"));
        }
        Ok(())
    }

    pub(super) fn lower_session(&self, plan: &mut Builder, streams: [Slot; 3]) {
        plan.phase(Phase::Session);
        for (number, slot) in streams.into_iter().enumerate() {
            plan.push(OpCode::StandardStream, &[slot.into(), number as u32], "set up a standard stream");
        }
        if self.working_directory == Path::new("/") {
            // The pivot has entered it.
            return;
        }
        let directory = plan.text(self.working_directory.as_os_str().as_bytes());
        let shown = self.working_directory.display();
        plan.push(OpCode::WorkingDirectory, &[directory, 0], format!("enter the working directory {shown}"))
            .hint(libc::ENOENT, "it does not exist in the image");
    }

    /// Gives up all privileges but what the sandbox grants.
    pub(super) fn lower_confinement(
        &self,
        plan: &mut Builder,
        capabilities: CapabilitySet,
        filter: Option<&Filter>,
        park: impl FnOnce(&mut Builder),
    ) -> Result<()> {
        let privileges = Privileges {
            user: self.user.0,
            group: self.user.1,
            additional_groups: self.additional_groups.clone(),
            in_user_namespace: self.id_map.is_some(),
            umask: 0o022,
            capabilities: CapabilitySets::of(capabilities),
            limits: self.limits.clone(),
            no_new_privileges: self.no_new_privileges,
            preserved: 0,
            die_with_parent: self.die_with_parent.then_some(u32::from(!self.kept)),
        };
        let confinement =
            Confinement { privileges: &privileges, filter, landlock: self.landlock.as_ref(), parent_leaves: false };
        let park = |plan: &mut Builder| {
            park(plan);
            Ok(())
        };
        lower_confinement(plan, confinement, |_| Ok(()), park)
    }

    /// `arguments` with the sandbox's environment.
    pub(super) fn command_line(&self, arguments: Vec<Vec<u8>>) -> CommandLine {
        let environment = self.environment.iter().map(|variable| variable.to_string().into_bytes()).collect();
        CommandLine { arguments, environment }
    }
}

/// A duplicate of this process's own standard stream.
fn own_stream(number: usize) -> std::io::Result<OwnedFd> {
    match number {
        0 => std::io::stdin().as_fd().try_clone_to_owned(),
        1 => std::io::stdout().as_fd().try_clone_to_owned(),
        _ => std::io::stderr().as_fd().try_clone_to_owned(),
    }
}
