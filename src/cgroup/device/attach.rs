//! The program on a version 2 group.

use super::super::directory::Directory;
use super::{DeviceRule, program};
use crate::kernel::DeviceProgram;
use std::io;
use std::os::fd::AsFd;

/// What tells ours from those of others (systemd attaches its own to its units): all must allow an access.
const NAME: &std::ffi::CStr = c"coracle_devices";

/// Puts the list in force, in place of the one that was put in force before.
pub(in super::super) fn attach(directory: &Directory, rules: &[DeviceRule]) -> io::Result<()> {
    let program = DeviceProgram::load(NAME, &program::compile(rules))?;
    let mut before = ours(directory)?.into_iter();
    match before.next() {
        Some(old) => program.replace(directory.as_fd(), &old)?,
        None => program.attach(directory.as_fd())?,
    }
    before.try_for_each(|old| old.detach(directory.as_fd()))
}

/// Lets everything through again.
pub(in super::super) fn detach(directory: &Directory) -> io::Result<()> {
    ours(directory)?.into_iter().try_for_each(|old| old.detach(directory.as_fd()))
}

fn ours(directory: &Directory) -> io::Result<Vec<DeviceProgram>> {
    let attached = DeviceProgram::attached(directory.as_fd())?;
    Ok(attached.into_iter().filter(|program| program.is_named(NAME)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::controller::Version;

    /// Needs root. On a machine whose devices are on version 1 this is the only way in which the kernel sees programs.
    #[test]
    fn the_kernel_takes_and_replaces_programs() {
        let hierarchies = crate::cgroup::layout::detect().unwrap();
        let unified = hierarchies.iter().find(|hierarchy| hierarchy.version == Version::V2).expect("a version 2 mount");
        let root = Directory::open(&unified.mount_point).unwrap();
        let name = format!("coracle-test-bpf-{}", std::process::id());
        root.make(&name).unwrap();
        let group = root.child(name.as_str()).unwrap();
        let outcome = std::panic::catch_unwind(|| {
            attach(&group, &DeviceRule::defaults()).unwrap();
            assert_eq!(ours(&group).unwrap().len(), 1);
            let rule = |minor| DeviceRule { allow: minor % 2 == 0, ..DeviceRule::character(200, Some(minor)) };
            let many: Vec<DeviceRule> = (0..1024).map(rule).collect();
            attach(&group, &many).unwrap();
            assert_eq!(ours(&group).unwrap().len(), 1);
            detach(&group).unwrap();
            assert_eq!(ours(&group).unwrap().len(), 0);
        });
        root.remove(name.as_str()).unwrap();
        outcome.unwrap();
    }
}
