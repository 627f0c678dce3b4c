//! Processors: time, weight, and which.

use super::Writer;
use crate::cgroup::controller::Version;
use crate::cgroup::resources::{Bound, CpuWeight};
use std::io;

/// The files of processor time; version 2 has quota and period in one.
const QUOTA_V1: &str = "cpu.cfs_quota_us";
const PERIOD_V1: &str = "cpu.cfs_period_us";
const MAX_V2: &str = "cpu.max";

impl Writer<'_> {
    pub(super) fn cpu(&mut self) {
        // An idle group takes no weight, so that goes first where it ends, and last where it begins.
        let idle = self.resources.cpu.idle;
        if idle == Some(0) && self.number("cpu.idle").is_some_and(|now| now != 0) {
            self.write("cpu.idle", "cpu.idle", "0");
        }
        if let Some(weight) = self.resources.cpu.weight {
            self.cpu_weight(weight);
        }
        self.realtime();
        self.bandwidth();
        if idle == Some(1) {
            self.write("cpu.idle", "cpu.idle", "1");
        }
    }

    fn cpu_weight(&mut self, weight: CpuWeight) {
        match (self.version(), weight) {
            // The kernel would take the nearest it can without a word.
            (Version::V1, CpuWeight::Shares(shares)) if !(2..=262_144).contains(&shares) => {
                let error = io::Error::from_raw_os_error(libc::EINVAL);
                self.note("cpu.shares", "cpu.shares", &shares.to_string(), Err(error));
            }
            (Version::V1, CpuWeight::Shares(shares)) => self.write("cpu.shares", "cpu.shares", shares.to_string()),
            (Version::V1, CpuWeight::Weight(weight)) => {
                self.write("cpu.shares", "cpu.shares", shares_of(weight).to_string());
            }
            (Version::V2, CpuWeight::Shares(shares)) => {
                self.write("cpu.shares", "cpu.weight", weight_of(shares).to_string());
            }
            (Version::V2, CpuWeight::Weight(weight)) => self.write("cpu.shares", "cpu.weight", weight.to_string()),
        }
    }

    /// Quota, period and burst bound each other: one that is refused for the sake of an old value of the others gets a
    /// second try after them.
    fn bandwidth(&mut self) {
        let cpu = &self.resources.cpu;
        let burst_file = match self.version() {
            Version::V1 => "cpu.cfs_burst_us",
            Version::V2 => "cpu.max.burst",
        };
        let mut steps: Vec<(&'static str, &str, String)> = Vec::new();
        let burst = cpu.burst.map(|burst| ("cpu.burst", burst_file, burst.to_string()));
        steps.extend(burst);
        match self.version() {
            Version::V1 => {
                steps.extend(cpu.period.map(|period| ("cpu.period", PERIOD_V1, period.to_string())));
                steps.extend(cpu.quota.map(|quota| ("cpu.quota", QUOTA_V1, quota.text(Version::V1))));
            }
            Version::V2 => steps.extend(self.maximum_v2()),
        }
        let mut again = Vec::new();
        let last = steps.len().saturating_sub(1);
        for (index, (field, file, value)) in steps.into_iter().enumerate() {
            match self.directory().write(file, &value) {
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) && index < last => {
                    again.push((field, file, value));
                }
                result => self.note(field, file, &value, result),
            }
        }
        for (field, file, value) in again.into_iter().rev() {
            self.write(field, file, value);
        }
    }

    /// What is not said stays as it is.
    fn maximum_v2(&self) -> Option<(&'static str, &'static str, String)> {
        let cpu = &self.resources.cpu;
        match (cpu.quota.map(|quota| quota.text(Version::V2)), cpu.period) {
            (Some(quota), Some(period)) => Some(("cpu.quota", MAX_V2, format!("{quota} {period}"))),
            (Some(quota), None) => Some(("cpu.quota", MAX_V2, quota)),
            (None, Some(period)) => {
                let now = self.directory().read(MAX_V2).unwrap_or_default();
                let quota = now.split_whitespace().next().unwrap_or("max");
                Some(("cpu.period", MAX_V2, format!("{quota} {period}")))
            }
            (None, None) => None,
        }
    }

    fn realtime(&mut self) {
        let (runtime, period) = (self.resources.cpu.realtime_runtime, self.resources.cpu.realtime_period);
        if self.version() == Version::V2 {
            for (field, given) in [("cpu.realtimeRuntime", runtime.is_some()), ("cpu.realtimePeriod", period.is_some())]
            {
                if given {
                    self.unsupported(field, "version 2 does not control real-time");
                }
            }
            return;
        }
        if let Some(period) = period {
            self.write("cpu.realtimePeriod", "cpu.rt_period_us", period.to_string());
        }
        if let Some(runtime) = runtime {
            self.write("cpu.realtimeRuntime", "cpu.rt_runtime_us", runtime.to_string());
        }
    }

    pub(super) fn cpuset(&mut self) {
        let cpu = &self.resources.cpu;
        if let Some(cpus) = &cpu.cpus {
            self.write("cpu.cpus", "cpuset.cpus", cpus.as_str());
        }
        if let Some(mems) = &cpu.mems {
            self.write("cpu.mems", "cpuset.mems", mems.as_str());
        }
    }

    pub(super) fn pids(&mut self) {
        match self.resources.pids {
            Some(Bound::Unlimited) => self.write("pids.limit", "pids.max", "max"),
            Some(Bound::At(limit)) => self.write("pids.limit", "pids.max", limit.to_string()),
            None => {}
        }
    }
}

/// `cpu.shares` of a weight: 1024 is the default of the one, 100 of the other.
fn shares_of(weight: u64) -> u64 {
    (weight.saturating_mul(1024) / 100).clamp(2, 262_144)
}

/// `cpu.weight` of shares: a curve through the ends and the default of both scales (runc since 1.3.2, crun since 1.23,
/// Kubernetes' KEP-2254), where the older straight line made 39 of the default.
pub(in crate::cgroup) fn weight_of(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let logarithm = (shares as f64).log2();
            let exponent = (logarithm * logarithm + 125.0 * logarithm) / 612.0 - 7.0 / 34.0;
            // The default must not be missed for the last bit of a power.
            (10f64.powf(exponent) - 1e-9).ceil() as u64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_keep_their_default_and_their_range() {
        assert_eq!([1, 100, 200, 10_000].map(shares_of), [10, 1024, 2048, 102_400]);
        assert_eq!([0, 2, 1024, 262_144, u64::MAX].map(weight_of), [1, 1, 100, 10_000, 10_000]);
        assert_eq!([3, 256, 512, 2048].map(weight_of), [2, 35, 59, 174]);
        assert!((2..262_144).all(|shares| weight_of(shares) <= weight_of(shares + 1)));
    }
}
