//! The files of version 2 (Documentation/admin-guide/cgroup-v2.rst).

use super::{BlockEntry, Files, HugePageUsage, Usage};
use crate::cgroup::controller::Controller;

pub(super) fn count(controller: Controller, files: &Files, usage: &mut Usage) {
    match controller {
        Controller::CpuAcct => cpu(files, usage),
        Controller::CpuSet => {
            usage.cpuset.cpus = files.list("cpuset.cpus.effective");
            usage.cpuset.mems = files.list("cpuset.mems.effective");
        }
        Controller::Memory => memory(files, usage),
        Controller::Pids => {
            usage.pids.current = files.number("pids.current");
            usage.pids.limit = files.number("pids.max");
        }
        Controller::Io => {
            usage.blkio.psi = files.pressure("io.pressure");
            for line in files.text("io.stat").lines() {
                block(line, usage);
            }
        }
        Controller::HugeTlb => {
            for size in files.huge_page_sizes(".current") {
                let failcnt = files.map(&format!("hugetlb.{size}.events")).get("max").copied().unwrap_or(0);
                let pages = HugePageUsage { usage: files.number(&format!("hugetlb.{size}.current")), max: 0, failcnt };
                usage.hugetlb.insert(size, pages);
            }
        }
        _ => {}
    }
}

fn cpu(files: &Files, usage: &mut Usage) {
    let stat = files.map("cpu.stat");
    let of = |key: &str| stat.get(key).copied().unwrap_or(0);
    let nanoseconds = |key: &str| of(key).saturating_mul(1000);
    usage.cpu.usage.total = nanoseconds("usage_usec");
    usage.cpu.usage.kernel = nanoseconds("system_usec");
    usage.cpu.usage.user = nanoseconds("user_usec");
    usage.cpu.throttling.periods = of("nr_periods");
    usage.cpu.throttling.throttled_periods = of("nr_throttled");
    usage.cpu.throttling.throttled_time = nanoseconds("throttled_usec");
    usage.cpu.psi = files.pressure("cpu.pressure");
}

/// Readers expect version 1's way to count swap: together with memory.
fn memory(files: &Files, usage: &mut Usage) {
    let memory = &mut usage.memory;
    memory.raw = files.map("memory.stat");
    memory.cache = memory.raw.get("file").copied().unwrap_or(0);
    let limit = |file: &str| files.text(file).trim().parse().unwrap_or(u64::MAX);
    memory.usage.limit = limit("memory.max");
    memory.usage.usage = files.number("memory.current");
    memory.usage.max = files.number("memory.peak");
    memory.usage.failcnt = files.map("memory.events").get("max").copied().unwrap_or(0);
    memory.swap.limit = limit("memory.swap.max").saturating_add(memory.usage.limit);
    memory.swap.usage = files.number("memory.swap.current").saturating_add(memory.usage.usage);
    memory.swap.max = memory.usage.max;
    memory.psi = files.pressure("memory.pressure");
}

/// `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`.
fn block(line: &str, usage: &mut Usage) {
    let mut words = line.split_whitespace();
    let numbers = words.next().and_then(|device| device.split_once(':'));
    let Some((Ok(major), Ok(minor))) = numbers.map(|(major, minor)| (major.parse(), minor.parse())) else { return };
    for (key, value) in words.filter_map(|word| word.split_once('=')) {
        let (entries, op) = match key {
            "rbytes" => (&mut usage.blkio.io_service_bytes_recursive, "Read"),
            "wbytes" => (&mut usage.blkio.io_service_bytes_recursive, "Write"),
            "dbytes" => (&mut usage.blkio.io_service_bytes_recursive, "Discard"),
            "rios" => (&mut usage.blkio.io_serviced_recursive, "Read"),
            "wios" => (&mut usage.blkio.io_serviced_recursive, "Write"),
            "dios" => (&mut usage.blkio.io_serviced_recursive, "Discard"),
            _ => continue,
        };
        entries.push(BlockEntry { major, minor, op: op.to_owned(), value: value.parse().unwrap_or(0) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_told_apart() {
        let mut usage = Usage::default();
        for line in ["8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0 cost.usage=1", "253:1 rbytes=x", "rubbish"]
        {
            block(line, &mut usage);
        }
        let bytes: Vec<(u64, u64, &str, u64)> = usage
            .blkio
            .io_service_bytes_recursive
            .iter()
            .map(|entry| (entry.major, entry.minor, entry.op.as_str(), entry.value))
            .collect();
        assert_eq!(bytes, [(8, 0, "Read", 10), (8, 0, "Write", 20), (8, 0, "Discard", 0), (253, 1, "Read", 0)]);
        assert_eq!(usage.blkio.io_serviced_recursive.len(), 3);
    }
}
