//! What a process in a running container is: the container's own, less what is asked for otherwise.

use crate::error::During;
use crate::spec::parse_runtime;
use crate::{Capability, Error, ErrorKind, Result};
use oci_spec::runtime::{Capabilities, LinuxCapabilities, Process, Spec};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

/// A longer description is refused.
const BUDGET: u64 = 8 << 20;

/// What is asked for.
#[derive(Debug, Default)]
pub(super) struct Wish {
    command: Vec<String>,
    file: Option<PathBuf>,
    pub(super) user: Option<(u32, Option<u32>)>,
    pub(super) additional_groups: Vec<u32>,
    pub(super) capabilities: Vec<Capability>,
    pub(super) cwd: Option<PathBuf>,
    pub(super) environment: Vec<String>,
    pub(super) terminal: Option<bool>,
    pub(super) no_new_privileges: Option<bool>,
    pub(super) apparmor_profile: Option<String>,
    pub(super) selinux_label: Option<String>,
}

impl Wish {
    /// A command with the attributes of the container's first process.
    pub(super) fn command(command: Vec<String>) -> Wish {
        // The terminal of the first process is its own.
        Wish { command, terminal: Some(false), ..Wish::default() }
    }

    /// A whole process, from a file.
    pub(super) fn file(path: PathBuf) -> Wish {
        Wish { file: Some(path), ..Wish::default() }
    }

    /// The process that comes of it in a container with this configuration. What was passed over goes to `warn`.
    pub(super) fn decide(&self, spec: &Spec, warn: &mut dyn FnMut(String)) -> Result<Process> {
        let mut process = match &self.file {
            Some(path) => read(path, warn)?,
            None => {
                let mut process = spec.process().clone().unwrap_or_default();
                process.set_args(Some(self.command.clone()));
                process
            }
        };
        if let Some((user, group)) = self.user {
            let mut changed = process.user().clone();
            changed.set_uid(user);
            if let Some(group) = group {
                changed.set_gid(group);
            }
            process.set_user(changed);
        }
        if !self.additional_groups.is_empty() {
            let mut changed = process.user().clone();
            changed.additional_gids_mut().get_or_insert_default().extend(&self.additional_groups);
            process.set_user(changed);
        }
        if let Some(cwd) = &self.cwd {
            process.set_cwd(cwd.clone());
        }
        if let Some(terminal) = self.terminal {
            process.set_terminal(Some(terminal));
        }
        if let Some(on) = self.no_new_privileges {
            process.set_no_new_privileges(Some(on));
        }
        if let Some(profile) = &self.apparmor_profile {
            process.set_apparmor_profile(Some(profile.clone()));
        }
        if let Some(label) = &self.selinux_label {
            process.set_selinux_label(Some(label.clone()));
        }
        self.add_capabilities(&mut process)?;
        let environment = process.env().iter().flatten().chain(&self.environment).cloned().collect();
        process.set_env(Some(last_of_each_name(environment)));
        Ok(process)
    }

    fn add_capabilities(&self, process: &mut Process) -> Result<()> {
        if self.capabilities.is_empty() {
            return Ok(());
        }
        let added: Capabilities =
            self.capabilities.iter().map(|capability| named(*capability)).collect::<Result<_>>()?;
        let root = process.user().uid() == 0;
        let mut sets = process.capabilities().clone().unwrap_or_else(none);
        let with = |set: &Option<Capabilities>| Some(set.iter().flatten().chain(&added).copied().collect());
        sets.set_bounding(with(sets.bounding()));
        sets.set_effective(with(sets.effective()));
        sets.set_permitted(with(sets.permitted()));
        if !root {
            // The exec of somebody who is not root keeps nothing else.
            sets.set_inheritable(with(sets.inheritable()));
            sets.set_ambient(with(sets.ambient()));
        }
        process.set_capabilities(Some(sets));
        Ok(())
    }
}

fn none() -> LinuxCapabilities {
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(None).set_effective(None).set_permitted(None).set_inheritable(None).set_ambient(None);
    sets
}

fn named(capability: Capability) -> Result<oci_spec::runtime::Capability> {
    let name = capability.to_string();
    name.trim_start_matches("CAP_")
        .parse()
        .map_err(|_| Error::invalid(format!("the runtime specification has no capability {name}")))
}

fn read(path: &std::path::Path, warn: &mut dyn FnMut(String)) -> Result<Process> {
    let shown = path.display();
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(BUDGET + 1).read_to_end(&mut bytes))
        .during(|| format!("read {shown}"))?;
    if bytes.len() as u64 > BUDGET {
        return Err(Error::new(ErrorKind::LimitExceeded, format!("{shown} is longer than {BUDGET} bytes")));
    }
    let (process, warnings) =
        parse_runtime(&bytes).map_err(|error| Error::invalid(format!("{shown}")).source_error(error))?;
    warnings.into_iter().for_each(warn);
    Ok(process)
}

/// Of several variables of one name the last counts.
fn last_of_each_name(variables: Vec<String>) -> Vec<String> {
    fn name(variable: &str) -> &str {
        variable.split('=').next().unwrap_or(variable)
    }
    let last: std::collections::HashMap<String, usize> =
        variables.iter().enumerate().map(|(index, variable)| (name(variable).to_owned(), index)).collect();
    let kept = |(index, variable): &(usize, String)| last.get(name(variable)) == Some(index);
    variables.into_iter().enumerate().filter(kept).map(|(_, variable)| variable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Spec {
        let json = r#"{ "ociVersion": "1.3.0", "process": { "terminal": true, "cwd": "/srv", "args": ["init"],
            "env": ["A=1", "B=2"], "user": { "uid": 5, "gid": 6, "additionalGids": [7] } } }"#;
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_is_not_asked_for_is_the_first_process_s() {
        let process = Wish::command(vec!["ls".into()]).decide(&spec(), &mut |_| {}).unwrap();
        assert_eq!(process.args().as_deref(), Some(&["ls".to_owned()][..]));
        assert_eq!((process.user().uid(), process.user().gid(), process.terminal()), (5, 6, Some(false)));
        assert_eq!(process.cwd(), &PathBuf::from("/srv"));
        assert_eq!(process.env().as_deref(), Some(&["A=1".to_owned(), "B=2".to_owned()][..]));
    }

    #[test]
    fn what_is_asked_for_replaces_it() {
        let wish = Wish {
            user: Some((9, None)),
            additional_groups: vec![8],
            cwd: Some("/x".into()),
            environment: vec!["B=3".into(), "C=4".into(), "C=5".into()],
            capabilities: vec!["CAP_NET_ADMIN".parse().unwrap()],
            terminal: Some(true),
            ..Wish::command(vec!["ls".into()])
        };
        let process = wish.decide(&spec(), &mut |_| {}).unwrap();
        assert_eq!((process.user().uid(), process.user().gid(), process.terminal()), (9, 6, Some(true)));
        assert_eq!(process.user().additional_gids().as_deref(), Some(&[7, 8][..]));
        assert_eq!(process.env().as_deref(), Some(&["A=1".to_owned(), "B=3".to_owned(), "C=5".to_owned()][..]));
        let sets = process.capabilities().as_ref().unwrap();
        for set in [sets.bounding(), sets.effective(), sets.permitted(), sets.inheritable(), sets.ambient()] {
            assert_eq!(set.as_ref().unwrap().len(), 1);
        }
    }
}
