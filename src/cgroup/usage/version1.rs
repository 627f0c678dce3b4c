//! The files of version 1 (Documentation/admin-guide/cgroup-v1).

use super::{BlockEntry, Files, HugePageUsage, MemoryEntry, Usage};
use crate::cgroup::controller::Controller;

pub(super) fn count(controller: Controller, files: &Files, usage: &mut Usage) {
    match controller {
        Controller::CpuAcct => cpu(files, usage),
        Controller::Cpu => {
            let stat = files.map("cpu.stat");
            let of = |key: &str| stat.get(key).copied().unwrap_or(0);
            usage.cpu.throttling.periods = of("nr_periods");
            usage.cpu.throttling.throttled_periods = of("nr_throttled");
            usage.cpu.throttling.throttled_time = of("throttled_time");
        }
        Controller::CpuSet => cpuset(files, usage),
        Controller::Memory => memory(files, usage),
        Controller::Pids => {
            usage.pids.current = files.number("pids.current");
            usage.pids.limit = files.number("pids.max");
        }
        Controller::Io => block(files, usage),
        Controller::HugeTlb => {
            for size in files.huge_page_sizes(".usage_in_bytes") {
                let number = |ending: &str| files.number(&format!("hugetlb.{size}.{ending}"));
                let pages = HugePageUsage {
                    usage: number("usage_in_bytes"),
                    max: number("max_usage_in_bytes"),
                    failcnt: number("failcnt"),
                };
                usage.hugetlb.insert(size, pages);
            }
        }
        _ => {}
    }
}

fn cpu(files: &Files, usage: &mut Usage) {
    let time = &mut usage.cpu.usage;
    time.total = files.number("cpuacct.usage");
    time.kernel = files.number("cpuacct.usage_sys");
    time.user = files.number("cpuacct.usage_user");
    time.percpu = files.numbers("cpuacct.usage_percpu");
    time.percpu_kernel = files.numbers("cpuacct.usage_percpu_sys");
    time.percpu_user = files.numbers("cpuacct.usage_percpu_user");
}

fn cpuset(files: &Files, usage: &mut Usage) {
    let set = &mut usage.cpuset;
    set.cpus = files.list("cpuset.cpus");
    set.mems = files.list("cpuset.mems");
    for (flag, file) in [
        (&mut set.cpu_exclusive, "cpuset.cpu_exclusive"),
        (&mut set.mem_hardwall, "cpuset.mem_hardwall"),
        (&mut set.mem_exclusive, "cpuset.mem_exclusive"),
        (&mut set.memory_migrate, "cpuset.memory_migrate"),
        (&mut set.memory_spread_page, "cpuset.memory_spread_page"),
        (&mut set.memory_spread_slab, "cpuset.memory_spread_slab"),
        (&mut set.memory_pressure, "cpuset.memory_pressure"),
        (&mut set.sched_load_balance, "cpuset.sched_load_balance"),
    ] {
        *flag = files.number(file);
    }
    set.sched_relax_domain_level = files.text("cpuset.sched_relax_domain_level").trim().parse().unwrap_or(0);
}

fn memory(files: &Files, usage: &mut Usage) {
    let memory = &mut usage.memory;
    memory.raw = files.map("memory.stat");
    memory.cache = memory.raw.get("cache").copied().unwrap_or(0);
    for (entry, name) in [
        (&mut memory.usage, "memory"),
        (&mut memory.swap, "memory.memsw"),
        (&mut memory.kernel, "memory.kmem"),
        (&mut memory.kernel_tcp, "memory.kmem.tcp"),
    ] {
        let number = |file: &str| files.number(&format!("{name}.{file}"));
        *entry = MemoryEntry {
            limit: number("limit_in_bytes"),
            usage: number("usage_in_bytes"),
            max: number("max_usage_in_bytes"),
            failcnt: number("failcnt"),
        };
    }
}

/// What every request is counted in, and what only the scheduler BFQ counts.
fn block(files: &Files, usage: &mut Usage) {
    let block = &mut usage.blkio;
    for (entries, file) in [
        (&mut block.io_service_bytes_recursive, "blkio.throttle.io_service_bytes_recursive"),
        (&mut block.io_serviced_recursive, "blkio.throttle.io_serviced_recursive"),
        (&mut block.io_queued_recursive, "blkio.bfq.io_queued_recursive"),
        (&mut block.io_service_time_recursive, "blkio.bfq.io_service_time_recursive"),
        (&mut block.io_wait_time_recursive, "blkio.bfq.io_wait_time_recursive"),
        (&mut block.io_merged_recursive, "blkio.bfq.io_merged_recursive"),
        (&mut block.io_time_recursive, "blkio.bfq.time_recursive"),
        (&mut block.sectors_recursive, "blkio.bfq.sectors_recursive"),
    ] {
        *entries = files.text(file).lines().filter_map(entry).collect();
    }
}

/// `8:0 Read 4096`, or `8:0 4096` where the file tells nothing apart. The last line, `Total 4096`, is of no device.
fn entry(line: &str) -> Option<BlockEntry> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (device, op, value) = match words[..] {
        [device, op, value] => (device, op, value),
        [device, value] => (device, "", value),
        _ => return None,
    };
    let (major, minor) = device.split_once(':')?;
    Some(BlockEntry {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
        op: op.to_owned(),
        value: value.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_devices_are_read_and_totals_passed_over() {
        let expected = BlockEntry { major: 254, minor: 3, op: "Discard".to_owned(), value: 9 };
        assert_eq!(entry("254:3 Discard 9"), Some(expected));
        assert_eq!(entry("8:0 7").map(|entry| (entry.op, entry.value)), Some((String::new(), 7)));
        assert_eq!([entry("Total 7"), entry(""), entry("8:0 Read x"), entry("a b c d")], [const { None }; 4]);
    }
}
