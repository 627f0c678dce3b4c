//! What the caller's own group may use: a machine within the machine.

use super::directory::Directory;
use super::layout::{Hierarchy, detect};
use std::path::Path;

/// The smallest limits of the caller's group and of those above it; `None` where there is none, or none can be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct OwnLimits {
    /// Thousandths of a processor.
    pub(crate) cpus: Option<u64>,
    /// Bytes.
    pub(crate) memory: Option<u64>,
    pub(crate) pids: Option<u64>,
}

/// Version 1 writes "no limit" as the largest number of pages; nothing real comes near.
const BEYOND_ANY: u64 = 1 << 62;

impl OwnLimits {
    /// As they are now.
    pub(crate) fn read() -> OwnLimits {
        let mut limits = OwnLimits::default();
        for hierarchy in detect().unwrap_or_default() {
            limits.lower_by_hierarchy(&hierarchy);
        }
        limits
    }

    fn lower_by_hierarchy(&mut self, hierarchy: &Hierarchy) {
        let own = hierarchy.own.as_deref().unwrap_or(Path::new(""));
        for group in own.ancestors() {
            if let Ok(directory) = Directory::open(&hierarchy.mount_point.join(group)) {
                self.lower_by(&|file| directory.read(file).ok());
            }
        }
    }

    /// The files of both versions: a group has those of one.
    fn lower_by(&mut self, read: &dyn Fn(&str) -> Option<String>) {
        let number = |file: &str| read(file).and_then(|text| text.trim().parse::<u64>().ok());
        let memory = number("memory.max").or_else(|| number("memory.limit_in_bytes"));
        lower(&mut self.memory, memory.filter(|bytes| *bytes < BEYOND_ANY));
        lower(&mut self.pids, number("pids.max"));
        let unified = read("cpu.max").and_then(|text| {
            let (quota, period) = text.trim().split_once(' ')?;
            Some((quota.parse().ok()?, period.parse().ok()?))
        });
        let bandwidth = unified.or_else(|| Some((number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?)));
        let share = |(quota, period): (u64, u64)| quota.saturating_mul(1000).checked_div(period);
        lower(&mut self.cpus, bandwidth.and_then(share));
    }
}

fn lower(limit: &mut Option<u64>, by: Option<u64>) {
    *limit = [*limit, by].into_iter().flatten().min();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lowered(groups: &[&[(&str, &str)]]) -> OwnLimits {
        let mut limits = OwnLimits::default();
        for files in groups {
            limits.lower_by(&|name| files.iter().find(|(file, _)| *file == name).map(|(_, text)| format!("{text}\n")));
        }
        limits
    }

    #[test]
    fn the_smallest_of_all_groups_above_counts() {
        let below: &[(&str, &str)] = &[("memory.max", "max"), ("pids.max", "100"), ("cpu.max", "50000 100000")];
        let above: &[(&str, &str)] = &[("memory.max", "1048576"), ("pids.max", "max"), ("cpu.max", "max 100000")];
        let expected = OwnLimits { cpus: Some(500), memory: Some(1 << 20), pids: Some(100) };
        assert_eq!(lowered(&[below, above]), expected);
        assert_eq!(lowered(&[above, below]), expected);
    }

    #[test]
    fn version_1_has_its_own_files_and_its_own_infinity() {
        let open: &[(&str, &str)] = &[("memory.limit_in_bytes", "9223372036854771712"), ("cpu.cfs_quota_us", "-1")];
        assert_eq!(lowered(&[open]), OwnLimits::default());
        let bound: &[(&str, &str)] =
            &[("memory.limit_in_bytes", "4096"), ("cpu.cfs_quota_us", "150000"), ("cpu.cfs_period_us", "100000")];
        assert_eq!(lowered(&[bound]), OwnLimits { cpus: Some(1500), memory: Some(4096), pids: None });
        let broken: &[(&str, &str)] = &[("cpu.cfs_quota_us", "1"), ("cpu.cfs_period_us", "0"), ("pids.max", "many")];
        assert_eq!(lowered(&[broken]), OwnLimits::default());
    }

    #[test]
    fn rootless_the_real_ones_can_be_read() {
        let limits = OwnLimits::read();
        assert!(limits.memory.is_none_or(|bytes| bytes > 0) && limits.pids.is_none_or(|pids| pids > 0));
    }
}
