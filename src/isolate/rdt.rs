//! `linux.intelRdt`: cache and memory bandwidth by the resctrl file system.

use crate::error::During;
use crate::{Error, ErrorKind, Result};
use oci_spec::runtime::LinuxIntelRdt;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind as IoErrorKind, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// A container's place in the resctrl hierarchy.
#[derive(Debug)]
pub(crate) struct IntelRdt {
    /// The class of service.
    class: PathBuf,
    /// The monitoring group, where there is one.
    monitoring: Option<PathBuf>,
    /// What the container's end removes: the directories that were made for it.
    made: Vec<PathBuf>,
}

/// Whether what `rdt` asks for can be had here.
pub(crate) fn check(rdt: &LinuxIntelRdt) -> Result<()> {
    check_class(rdt)?;
    mount_point().map(drop)
}

impl IntelRdt {
    /// Makes and fills the groups of container `id` (runtime-spec, config-linux, "IntelRdt").
    ///
    /// # Errors
    /// `Unsupported` where no resctrl file system is mounted; `NotFound` for a class that is given without a schema and
    /// does not exist.
    pub(crate) fn prepare(rdt: &LinuxIntelRdt, id: &str) -> Result<IntelRdt> {
        check_class(rdt)?;
        IntelRdt::prepare_at(&mount_point()?, rdt, id)
    }

    fn prepare_at(top: &Path, rdt: &LinuxIntelRdt, id: &str) -> Result<IntelRdt> {
        let lines = schema(rdt);
        let mut group = IntelRdt { class: top.to_owned(), monitoring: None, made: Vec::new() };
        if rdt.clos_id().is_some() || !lines.is_empty() {
            group.class = top.join(rdt.clos_id().as_deref().unwrap_or(id));
            if lines.is_empty() && !group.class.is_dir() {
                let name = rdt.clos_id().as_deref().unwrap_or_default();
                return Err(Error::new(ErrorKind::NotFound, format!("linux.intelRdt.closID: {name:?} does not exist"))
                    .hint("give a schema, and it is made"));
            }
            let class = group.class.clone();
            group.undo_on_error(|group| group.make(class))?;
        }
        group.undo_on_error(|group| group.fill(&lines, rdt, id))?;
        Ok(group)
    }

    /// The files into which a process writes `0` to enter the groups.
    pub(crate) fn tasks(&self) -> Result<Vec<OwnedFd>> {
        let groups = std::iter::once(&self.class).chain(&self.monitoring);
        groups
            .map(|group| {
                let path = group.join("tasks");
                OpenOptions::new()
                    .write(true)
                    .open(&path)
                    .map(OwnedFd::from)
                    .during(|| format!("open {}", path.display()))
            })
            .collect()
    }

    /// The directories that the container's end removes, in this order.
    pub(crate) fn made(&self) -> &[PathBuf] {
        &self.made
    }

    fn undo_on_error(&mut self, work: impl FnOnce(&mut IntelRdt) -> Result<()>) -> Result<()> {
        work(self).inspect_err(|_| remove(&self.made))
    }

    fn make(&mut self, directory: PathBuf) -> Result<()> {
        match fs::create_dir(&directory) {
            Ok(()) => self.made.insert(0, directory),
            Err(error) if error.kind() == IoErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).during(|| format!("create {}", directory.display())),
        }
        Ok(())
    }

    fn fill(&mut self, lines: &[&str], rdt: &LinuxIntelRdt, id: &str) -> Result<()> {
        let path = self.class.join("schemata");
        if !lines.is_empty() {
            let text = lines.join("\n") + "\n";
            let written = File::options().write(true).open(&path).and_then(|mut file| file.write_all(text.as_bytes()));
            written
                .during(|| format!("write linux.intelRdt to {}", path.display()))
                .map_err(|error| error.hint("see info/last_cmd_status of the resctrl file system"))?;
        }
        if rdt.enable_monitoring().unwrap_or(false) {
            let directory = self.class.join("mon_groups").join(id);
            self.make(directory.clone())?;
            self.monitoring = Some(directory);
        }
        Ok(())
    }
}

/// Removes directories that [`IntelRdt::prepare`] made; those that are gone are passed over.
pub(crate) fn remove(made: &[PathBuf]) {
    for directory in made {
        // A monitoring group goes with its class; what still has processes the kernel moves to the default group.
        let _ = fs::remove_dir(directory);
    }
}

/// The lines of the schemata file, in the order of the runtime-spec.
fn schema(rdt: &LinuxIntelRdt) -> Vec<&str> {
    let named = [rdt.l3_cache_schema(), rdt.mem_bw_schema()];
    let listed = rdt.schemata().iter().flatten().map(String::as_str);
    named.into_iter().filter_map(|schema| schema.as_deref()).chain(listed).collect()
}

fn check_class(rdt: &LinuxIntelRdt) -> Result<()> {
    let wrong = |class: &str| matches!(class, "" | "." | "..") || class.contains(['/', '\0', '\n']);
    match rdt.clos_id() {
        Some(class) if wrong(class) => {
            Err(Error::invalid(format!("linux.intelRdt.closID: {class:?} is no name of a directory")))
        }
        _ => Ok(()),
    }
}

fn mount_point() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").during(|| "read the mounts of this process")?;
    let line = mounts.lines().find(|line| line.contains(" - resctrl "));
    let point = line.and_then(|line| line.split(' ').nth(4));
    point.map(PathBuf::from).ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, "linux.intelRdt: no resctrl file system is mounted on this host")
            .hint("the processor must have it: mount -t resctrl resctrl /sys/fs/resctrl")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rdt(value: serde_json::Value) -> LinuxIntelRdt {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn groups_are_made_filled_and_listed() {
        let top = tempfile::tempdir().unwrap();
        fs::create_dir_all(top.path().join("gold/mon_groups")).unwrap();
        for group in ["gold", "."] {
            fs::write(top.path().join(group).join("schemata"), "").unwrap();
            fs::write(top.path().join(group).join("tasks"), "").unwrap();
        }
        let asked = rdt(serde_json::json!({ "closID": "gold", "l3CacheSchema": "L3:0=f", "schemata": ["MB:0=50"] }));
        let group = IntelRdt::prepare_at(top.path(), &asked, "box").unwrap();
        assert_eq!(fs::read_to_string(top.path().join("gold/schemata")).unwrap(), "L3:0=f\nMB:0=50\n");
        assert!(group.made().is_empty(), "the class was there before");
        assert_eq!(group.tasks().unwrap().len(), 1);
        let watched = rdt(serde_json::json!({ "closID": "gold", "enableMonitoring": true }));
        let group = IntelRdt::prepare_at(top.path(), &watched, "box").unwrap();
        assert_eq!(group.made(), [top.path().join("gold/mon_groups/box")]);
        remove(group.made());
        assert!(!top.path().join("gold/mon_groups/box").exists());
    }

    #[test]
    fn what_cannot_be_had_is_an_error_that_leaves_nothing() {
        let top = tempfile::tempdir().unwrap();
        let missing = rdt(serde_json::json!({ "closID": "gold" }));
        let error = IntelRdt::prepare_at(top.path(), &missing, "box").unwrap_err();
        assert!(error.to_string().contains("linux.intelRdt.closID: \"gold\" does not exist"), "{error}");
        // A plain directory has no schemata.
        let filled = rdt(serde_json::json!({ "schemata": ["MB:0=50"] }));
        assert!(IntelRdt::prepare_at(top.path(), &filled, "box").is_err());
        assert!(!top.path().join("box").exists());
        for bad in ["", "..", "a/b"] {
            assert!(check(&rdt(serde_json::json!({ "closID": bad }))).unwrap_err().to_string().contains("closID"));
        }
    }
}
