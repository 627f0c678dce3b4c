//! Everything that is wrong with a configuration, at once: who corrects it wants to do so once.

use super::config::check;
use super::limits::{cgroups_path, is_privileged};
use crate::cgroup::Resources;
use crate::isolate::{
    Circumstances, MountNamespace, Namespaces, Surroundings, check_hooks, lower_filesystem, lower_process,
    process_problems,
};
use crate::plan::Builder;
use crate::{Error, ErrorKind, Result};
use oci_spec::runtime::Spec;
use std::path::Path;

/// The error of a configuration in which `first` is wrong: with all else that is, each with its field.
pub(super) fn report(spec: &Spec, bundle: &Path, first: Error) -> Error {
    if !matches!(first.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) {
        return first;
    }
    let found: Vec<String> = problems(spec, bundle).iter().map(Error::to_string).collect();
    if found.len() < 2 {
        return first;
    }
    Error::invalid(format!("{} problems: {}", found.len(), found.join("; ")))
}

/// Asks every part; each tells the first problem that it meets.
fn problems(spec: &Spec, bundle: &Path) -> Vec<Error> {
    let mut found = check(spec);
    let mut ask = |answer: Result<()>| found.extend(answer.err());
    let linux = spec.linux().as_ref();
    ask(cgroups_path(spec, "id").map(drop));
    ask(linux
        .and_then(|linux| linux.resources().as_ref())
        .map_or(Ok(()), |resources| Resources::from_runtime_spec(resources).map(drop)));
    let namespaces = Namespaces::from_runtime_spec(spec);
    let flags = namespaces.as_ref().map_or(0, Namespaces::flags);
    let id_map = namespaces.as_ref().ok().and_then(|namespaces| namespaces.id_map().cloned());
    ask(namespaces.map(drop));
    ask(check_hooks(spec));
    if spec.root().is_some() {
        let surroundings = Surroundings {
            bundle,
            user_namespace: flags & libc::CLONE_NEWUSER != 0,
            makes_devices: flags & libc::CLONE_NEWUSER == 0 && is_privileged(),
            own_network: flags & libc::CLONE_NEWNET != 0,
            own_cgroup_namespace: flags & libc::CLONE_NEWCGROUP != 0,
            cgroups: &[Path::new("/sys/fs/cgroup/unified/id").to_owned()],
            id_map: id_map.as_ref(),
            mounts: if flags & libc::CLONE_NEWNS == 0 { MountNamespace::Callers } else { MountNamespace::Own },
            no_pivot: false,
        };
        ask(lower_filesystem(&mut Builder::new(), spec, &surroundings, |_, _| Ok(())));
    }
    if let Some(process) = spec.process() {
        let of_process = process_problems(spec, process);
        if of_process.is_empty() {
            let circumstances =
                Circumstances { user_namespace: flags & libc::CLONE_NEWUSER != 0, ..Circumstances::default() };
            let lowered = lower_process(&mut Builder::new(), spec, process, circumstances, &mut |_| {}, |_| Ok(()));
            ask(lowered);
        }
        found.extend(of_process);
    }
    found
}
