//! The configurations that are measured.

use crate::bundle::Bundle;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One configuration and the pause before each verb.
#[derive(Clone, Copy)]
pub struct Setting {
    /// As Docker writes it, or the least.
    pub full: bool,
    /// With a network namespace of its own.
    pub network: bool,
    /// With one that was prepared.
    pub joins: bool,
    pub gap: Duration,
}

impl Setting {
    /// Those that are measured; the quick ones are an engine's, back to back.
    pub fn all(quick: bool) -> Vec<Setting> {
        let mut all = Vec::new();
        for gap in [0, 20].map(Duration::from_millis) {
            for full in [true, false] {
                for (network, joins) in [(false, false), (true, false), (false, true)] {
                    all.push(Setting { full, network, joins, gap });
                }
            }
        }
        all.retain(|setting| !quick || (setting.full && setting.gap.is_zero()));
        all
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.full { "docker-like" } else { "minimal" };
        let network = match (self.network, self.joins) {
            (true, _) => "new network",
            (_, true) => "prepared network",
            _ => "host network",
        };
        let gap = if self.gap.is_zero() { "back to back" } else { "with idle gaps" };
        write!(formatter, "{kind}, {network}, {gap}")
    }
}

/// What the bundles are made of.
pub struct Ground {
    pub scratch: PathBuf,
    pub root: PathBuf,
    /// Holds a network namespace open.
    pub network: PathBuf,
    /// What engines bind into every container.
    pub files: Vec<(PathBuf, &'static str)>,
}

impl Ground {
    /// In `scratch`, with a network namespace held by a mount in this process's own mount namespace.
    pub fn new(scratch: &Path) -> Ground {
        let root = crate::machine::root(scratch);
        let files = ["etc/resolv.conf", "etc/hostname", "etc/hosts"].map(|target| {
            let source = scratch.join(target.replace('/', "-"));
            std::fs::write(&source, "127.0.0.1 localhost\n").unwrap();
            std::fs::write(root.join(target), "").unwrap();
            (source, target)
        });
        let network = scratch.join("network");
        crate::network::prepare(&network);
        Ground { scratch: scratch.to_owned(), root, network, files: files.to_vec() }
    }

    /// The bundle of a setting for the contestant `name`.
    pub fn bundle<'a>(&'a self, setting: &Setting, name: &str, command: &'a str) -> Bundle<'a> {
        Bundle {
            root: &self.root,
            full: setting.full,
            network: setting.network,
            joins: setting.joins.then_some(&self.network),
            // Only the floor, crun and ours can do without a /proc.
            proc: matches!(name, "runc" | "youki"),
            command,
            group: group_of(name),
            files: &self.files,
        }
    }

    /// Lets go of what is not a file.
    pub fn leave(&self) {
        crate::network::release(&self.network);
    }

    /// Writes the bundles `exit` and `wait` of a contestant; the directory that holds them.
    pub fn bundles(&self, setting: &Setting, name: &str) -> PathBuf {
        let directory = self.scratch.join("bundles").join(name);
        for command in ["exit", "wait"] {
            self.bundle(setting, name, &format!("/bin/{command}")).write(&directory.join(command));
        }
        directory
    }
}

/// The control group of a contestant.
pub fn group_of(name: &str) -> String {
    format!("/coracle-bench-{}", name.replace(' ', "-"))
}
