//! The way into a sandbox that runs: what brings another process to where the first one is, with no more rights.

use super::Sandbox;
use super::lower::BASE_NAMESPACES;
use crate::Result;
use crate::error::During;
use crate::isolate::seccomp::Filter;
use crate::isolate::{CapabilitySet, lower_exec, lower_fence, lower_join_cgroup, lower_keyring, lower_null};
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
    /// once, the very lowering of privileges that the start does, and only then a child, which alone is in the PID
    /// namespace: no process that those within can see, and trace, ever has more rights than theirs (CVE-2016-9962).
    /// Nothing but the working directory and the command itself is resolved in the sandbox, both within its root.
    pub(super) fn lower_enter(&self, plan: &mut Builder, command: &[String], inside: &Inside<'_>) -> Result<Enter> {
        let placeholder = || File::open("/dev/null").map(OwnedFd::from).during(|| "open the null device");
        let (target, output) = (placeholder()?, placeholder()?);
        let enter = Enter { target: target.as_raw_fd(), output: output.as_raw_fd() };
        let (target, output) = (plan.inherit(target), plan.inherit(output));
        plan.begin_enter();
        lower_fence(plan);
        lower_keyring(plan, "");
        let null = lower_null(plan);
        lower_join_cgroup(plan, inside.tasks);
        let arguments = [target.into(), self.joined_namespaces(inside.host_network)];
        plan.push(OpCode::JoinNamespace, &arguments, "join the container's namespaces");
        if self.id_map.is_some() {
            plan.phase(Phase::Identity);
            plan.push(OpCode::BecomeRoot, &[], "become root of the user namespace");
        }
        self.lower_session(plan, [null, output, output]);
        self.lower_confinement(plan, inside.capabilities, inside.filter, |plan| {
            plan.push(OpCode::GoOnInside, &[], "enter the PID namespace");
            // Of the child: whoever ends it ends its group.
            plan.push(OpCode::NewSession, &[], "start a new session");
        })?;
        let command: Vec<Vec<u8>> = command.iter().map(|argument| argument.clone().into_bytes()).collect();
        lower_exec(plan, &self.command_line(command));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isolate::Root;
    use crate::launch::{Channel, IdMap};

    /// The listing of the way into a sandbox.
    fn listing(sandbox: Sandbox) -> String {
        let lowered = sandbox.lower(Some(&["check".to_owned()])).unwrap();
        let plan = lowered.plan.finish(Channel::new().unwrap().child()).unwrap();
        let text = plan.verified().unwrap().to_string();
        let (start, enter) = text.split_once("To enter it:\n").unwrap();
        assert!(start.contains("pivot-root") && !start.contains("go-on-inside"));
        enter.to_owned()
    }

    fn sandbox() -> Sandbox {
        Sandbox::new(Root::Directory("/srv/root".into()), ["true"]).user(5, 6, [7]).init(true).workdir("/srv")
    }

    #[test]
    fn nobody_within_sees_a_process_of_more_rights() {
        for (sandbox, namespaces) in [
            (sandbox(), libc::CLONE_NEWNET),
            (sandbox().network(crate::NetworkMode::Host), 0),
            (sandbox().user_namespace(IdMap::current_user()), libc::CLONE_NEWNET | libc::CLONE_NEWUSER),
        ] {
            let text = listing(sandbox);
            let at = |line: &str| text.find(line).unwrap_or_else(|| panic!("no {line} in {text}"));
            let order = [
                "close-others".to_owned(),
                format!("{:#x}", BASE_NAMESPACES | libc::CLONE_NEWCGROUP | namespaces),
                "working-directory \"/srv\"".to_owned(),
                "drop-bounding 0xa80425fb".to_owned(),
                "set-groups [1 words]".to_owned(),
                "set-ids 5 6".to_owned(),
                "set-capabilities 0xa80425fb".to_owned(),
                "no-new-privileges".to_owned(),
                "go-on-inside".to_owned(),
                "new-session".to_owned(),
                "load-filter".to_owned(),
                "execute [\"check\"]".to_owned(),
            ];
            let places: Vec<usize> = order.iter().map(|line| at(line)).collect();
            assert!(places.is_sorted(), "{text}");
            for absent in ["mount", "pivot", "stay-as-init", "wait", "open-below", "unshare"] {
                assert!(!text.contains(absent), "{text}");
            }
        }
    }

    #[test]
    fn the_way_in_lowers_privileges_as_the_start_does() {
        let lowered = sandbox().lower(Some(&["check".to_owned()])).unwrap();
        let plan = lowered.plan.finish(Channel::new().unwrap().child()).unwrap();
        let text = plan.verified().unwrap().to_string();
        let (start, enter) = text.split_once("To enter it:\n").unwrap();
        let privileges = |text: &str| {
            let from = text.find("Privilege:").unwrap();
            text[from..].split("Park:").next().unwrap().to_owned()
        };
        assert_eq!(privileges(start), privileges(enter));
        let filter = |text: &str| text.lines().find(|line| line.contains("load-filter")).unwrap().to_owned();
        assert_eq!(filter(start), filter(enter));
    }
}
