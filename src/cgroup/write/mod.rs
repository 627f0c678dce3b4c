//! Resources as the kernel's files want them.

mod block;
mod cpu;
mod memory;
mod other;
mod refusal;

pub(super) use block::unified_weight as unified_io_weight;
pub(super) use cpu::weight_of as weight_of_shares;
pub(super) use refusal::Refusal;

use super::controller::{Controller, Version};
use super::directory::Directory;
use super::resources::{Bound, Resources};
use refusal::Reason;
use std::io;

/// Whether what may kill the processes of a version 2 group for lack of memory is written now, or left to the caller.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum MemoryLimit {
    Now,
    Later,
}

/// The part of a group that is written to.
pub(super) struct Target<'a> {
    pub(super) version: Version,
    pub(super) directory: &'a Directory,
    pub(super) held: &'a [Controller],
}

/// What became of the resources.
#[derive(Default)]
pub(super) struct Outcome {
    /// What the kernel did not take.
    pub(super) refusals: Vec<Refusal>,
    /// Files and what is still to be written to them, see [`MemoryLimit::Later`].
    pub(super) later: Vec<(String, String)>,
}

/// Writes those of the resources whose controllers the target holds.
pub(super) fn write(target: &Target<'_>, resources: &Resources, memory: MemoryLimit) -> Outcome {
    let defers = memory == MemoryLimit::Later && target.version == Version::V2;
    let mut writer = Writer { target, resources, defers, outcome: Outcome::default() };
    if target.held.contains(&Controller::Memory) {
        writer.memory();
    }
    if target.held.contains(&Controller::Cpu) {
        writer.cpu();
    }
    if target.held.contains(&Controller::CpuSet) {
        writer.cpuset();
    }
    if target.held.contains(&Controller::Pids) {
        writer.pids();
    }
    if target.held.contains(&Controller::Io) {
        writer.block();
    }
    writer.other();
    writer.outcome
}

struct Writer<'a> {
    target: &'a Target<'a>,
    resources: &'a Resources,
    defers: bool,
    outcome: Outcome,
}

impl Writer<'_> {
    fn version(&self) -> Version {
        self.target.version
    }

    fn directory(&self) -> &Directory {
        self.target.directory
    }

    /// Writes `value` for the field `linux.resources.<field>`.
    fn write(&mut self, field: &'static str, file: &str, value: impl Into<String>) {
        let value = value.into();
        let result = self.directory().write(file, &value);
        self.note(field, file, &value, result);
    }

    fn note(&mut self, field: &'static str, file: &str, value: &str, result: io::Result<()>) {
        if let Err(error) = result {
            self.refuse(field, format!("write {value} to {file}"), Reason::Kernel(error));
        }
    }

    /// Notes that this version of control groups has nothing of the kind.
    fn unsupported(&mut self, field: &'static str, why: &'static str) {
        let version = self.version();
        self.refuse(field, why.to_owned(), Reason::Version(version));
    }

    fn refuse(&mut self, field: &'static str, written: String, reason: Reason) {
        let names = self.resources.names;
        self.outcome.refusals.push(Refusal { names, field, limit: names.of(field), written, reason });
    }

    fn number(&self, file: &str) -> Option<u64> {
        self.directory().read(file).ok()?.trim().parse().ok()
    }
}

impl Bound {
    /// As the files of a version have it.
    fn text(self, version: Version) -> String {
        match (self, version) {
            (Bound::At(value), _) => value.to_string(),
            (Bound::Unlimited, Version::V1) => "-1".to_owned(),
            (Bound::Unlimited, Version::V2) => "max".to_owned(),
        }
    }
}
