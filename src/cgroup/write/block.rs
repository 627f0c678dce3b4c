//! Block devices.

use super::Writer;
use super::refusal::Reason;
use crate::cgroup::controller::Version;
use crate::cgroup::resources::{IoWeight, Throttle, Traffic, WeightDevice};
use std::io;

impl Writer<'_> {
    pub(super) fn block(&mut self) {
        let block = &self.resources.block;
        if let Some(weight) = block.weight {
            self.io_weight(weight);
        }
        if let Some(weight) = block.leaf_weight {
            match self.version() {
                Version::V1 => self.write("blockIO.leafWeight", "blkio.leaf_weight", weight.to_string()),
                Version::V2 => self.unsupported("blockIO.leafWeight", "version 2 has no weight against groups below"),
            }
        }
        for device in &block.weight_devices {
            self.weight_device(device);
        }
        for throttle in &block.throttles {
            self.throttle(throttle);
        }
    }

    fn io_weight(&mut self, weight: IoWeight) {
        const FIELD: &str = "blockIO.weight";
        match (self.version(), weight) {
            (Version::V1, IoWeight::Block(weight)) => self.write(FIELD, self.weight_file_v1(), weight.to_string()),
            (Version::V1, IoWeight::Unified(weight)) => {
                self.write(FIELD, self.weight_file_v1(), bfq_weight(weight).to_string());
            }
            (Version::V2, IoWeight::Block(weight)) if self.directory().has("io.bfq.weight") => {
                self.write(FIELD, "io.bfq.weight", weight.to_string());
            }
            (Version::V2, IoWeight::Block(weight)) => {
                self.write(FIELD, "io.weight", format!("default {}", unified_weight(weight)));
            }
            (Version::V2, IoWeight::Unified(weight)) if self.directory().has("io.weight") => {
                self.write(FIELD, "io.weight", format!("default {weight}"));
            }
            (Version::V2, IoWeight::Unified(weight)) => {
                self.write(FIELD, "io.bfq.weight", bfq_weight(weight).to_string());
            }
        }
    }

    /// The name from before and after the scheduler was renamed.
    fn weight_file_v1(&self) -> &'static str {
        if self.directory().has("blkio.weight") { "blkio.weight" } else { "blkio.bfq.weight" }
    }

    fn weight_device(&mut self, device: &WeightDevice) {
        const FIELD: &str = "blockIO.weightDevice";
        let (major, minor) = device.device;
        if let Some(weight) = device.weight {
            let (file, weight) = match self.version() {
                Version::V1 if self.directory().has("blkio.weight_device") => {
                    ("blkio.weight_device", u64::from(weight))
                }
                Version::V1 => ("blkio.bfq.weight_device", u64::from(weight)),
                Version::V2 if self.directory().has("io.bfq.weight") => ("io.bfq.weight", u64::from(weight)),
                Version::V2 => ("io.weight", unified_weight(weight)),
            };
            self.write(FIELD, file, format!("{major}:{minor} {weight}"));
        }
        if let Some(weight) = device.leaf_weight {
            match self.version() {
                Version::V1 => self.write(FIELD, "blkio.leaf_weight_device", format!("{major}:{minor} {weight}")),
                Version::V2 => {
                    let error = io::Error::from_raw_os_error(libc::ENOENT);
                    self.refuse(FIELD, "weigh against groups below".to_owned(), Reason::Kernel(error));
                }
            }
        }
    }

    fn throttle(&mut self, throttle: &Throttle) {
        let (major, minor) = throttle.device;
        let (file, key) = match throttle.traffic {
            Traffic::ReadBytes => ("blkio.throttle.read_bps_device", "rbps"),
            Traffic::WriteBytes => ("blkio.throttle.write_bps_device", "wbps"),
            Traffic::ReadOperations => ("blkio.throttle.read_iops_device", "riops"),
            Traffic::WriteOperations => ("blkio.throttle.write_iops_device", "wiops"),
        };
        let field = throttle.traffic.field();
        match (self.version(), throttle.rate) {
            (Version::V1, rate) => self.write(field, file, format!("{major}:{minor} {rate}")),
            (Version::V2, 0) => self.write(field, "io.max", format!("{major}:{minor} {key}=max")),
            (Version::V2, rate) => self.write(field, "io.max", format!("{major}:{minor} {key}={rate}")),
        }
    }
}

/// The BFQ scheduler's weight, 1 to 1000, of a weight from 1 to 10,000: both have the default 100, and the range above
/// it is compressed (systemd's rule).
fn bfq_weight(weight: u32) -> u32 {
    if weight <= 100 { weight } else { 100 + (weight - 100) * 900 / 9900 }
}

/// `io.weight`, 1 to 10,000, of a weight from 10 to 1000 (runc's conversion).
pub(in crate::cgroup) fn unified_weight(weight: u16) -> u64 {
    1 + u64::from(weight.saturating_sub(10)) * 9999 / 990
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_keep_their_range() {
        assert_eq!([1, 100, 1090, 10_000].map(bfq_weight), [1, 100, 190, 1000]);
        assert_eq!([10, 500, 1000].map(unified_weight), [1, 4950, 10_000]);
    }
}
