//! The way into a sandbox that runs: what brings another process to where the first one is, with no more rights.

use super::Sandbox;
use super::lower::{BASE_NAMESPACES, lower_fence, lower_join_cgroup, lower_keyring_and_null};
use crate::Result;
use crate::error::During;
use crate::isolate::CapabilitySet;
use crate::isolate::seccomp::Filter;
use crate::plan::op::OpCode;
use crate::plan::{Builder, Phase, Slot};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};

/// Two descriptors of the plan in whose place whoever runs the range puts others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Enter {
    /// A process of the sandbox, by pidfd.
    pub(super) target: i32,
    /// Takes standard output and error.
    pub(super) output: i32,
}

/// What the start decided and the way in shares.
pub(super) struct Inside<'a> {
    pub(super) tasks: &'a [Slot],
    pub(super) host_network: bool,
    pub(super) capabilities: CapabilitySet,
    pub(super) filter: Option<&'a Filter>,
}

impl Sandbox {
    /// Writes the operations that run `command` in the sandbox once it runs.
    ///
    /// The order is that of the start, less the mounts: control groups while the host's are in sight, all namespaces at
    /// once, a child (which alone is in the PID namespace), and then the very lowering of privileges that the start
    /// does. Nothing but the working directory and the command itself is resolved in the sandbox, both within its root.
    pub(super) fn lower_enter(&self, plan: &mut Builder, command: &[String], inside: &Inside<'_>) -> Result<Enter> {
        let placeholder = || File::open("/dev/null").map(OwnedFd::from).during(|| "open the null device");
        let (target, output) = (placeholder()?, placeholder()?);
        let enter = Enter { target: target.as_raw_fd(), output: output.as_raw_fd() };
        let (target, output) = (plan.inherit(target), plan.inherit(output));
        plan.begin_enter();
        lower_fence(plan);
        let null = lower_keyring_and_null(plan);
        lower_join_cgroup(plan, inside.tasks);
        let arguments = [target.into(), self.joined_namespaces(inside.host_network)];
        plan.push(OpCode::JoinNamespace, &arguments, "join the container's namespaces");
        plan.phase(Phase::Identity);
        plan.push(OpCode::GoOnInside, &[], "enter the PID namespace");
        if self.id_map.is_some() {
            plan.push(OpCode::BecomeRoot, &[], "become root of the user namespace");
        }
        plan.phase(Phase::Session);
        plan.push(OpCode::NewSession, &[], "start a new session");
        self.lower_session(plan, [null, output, output]);
        self.lower_confinement(plan, inside.capabilities, inside.filter, |_| {});
        let command: Vec<Vec<u8>> = command.iter().map(|argument| argument.clone().into_bytes()).collect();
        self.lower_exec(plan, &command);
        Ok(enter)
    }

    /// The namespaces that the sandbox does not share with the host: joining one of the host's needs rights there.
    fn joined_namespaces(&self, host_network: bool) -> u32 {
        let mut namespaces = BASE_NAMESPACES | libc::CLONE_NEWCGROUP;
        if !host_network {
            namespaces |= libc::CLONE_NEWNET;
        }
        if self.id_map.is_some() {
            namespaces |= libc::CLONE_NEWUSER;
        }
        namespaces as u32
    }
}
