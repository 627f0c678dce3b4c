use super::*;
use crate::cgroup::{CpuStats, IoStats, MemoryStats, PidsStats, Pressure, ProcessorWait, Stall, StallShare};
use crate::network::NetworkStats;
use std::collections::{BTreeMap, BTreeSet};

/// A container that has used `milliseconds` of processor time, a fifth of it in the kernel.
fn usage(milliseconds: u64, bytes: u64) -> ContainerStats {
    let time = Duration::from_millis;
    ContainerStats {
        memory: MemoryStats { used: Memory::mib(3), peak: None, limit: Some(Memory::mib(64)) },
        cpu: CpuStats {
            usage: time(milliseconds),
            user: time(milliseconds * 4 / 5),
            system: time(milliseconds / 5),
            throttled: time(milliseconds / 10),
        },
        pids: PidsStats { current: 2, limit: None },
        io: None,
        pressure: None,
        network: Some(NetworkStats {
            received_bytes: bytes,
            received_packets: bytes / 100,
            sent_bytes: 2 * bytes,
            sent_packets: bytes / 50,
            dropped_packets: 0,
        }),
    }
}

fn replica(id: u64, usage: Option<ContainerStats>) -> ReplicaStats {
    ReplicaStats {
        id: format!("{id:016x}").parse().unwrap(),
        name: None,
        revision: 3,
        usage,
        restarts: 1,
        health: HealthState::Healthy,
        in_traffic: true,
        connections: Some(4),
    }
}

fn deployment(replicas: impl IntoIterator<Item = ReplicaStats>) -> DeploymentStats {
    DeploymentStats { replicas: replicas.into_iter().collect(), ..DeploymentStats::new("api", 3, 2) }
}

#[test]
fn totals_count_what_runs() {
    let unhealthy = ReplicaStats { health: HealthState::Unhealthy, ..replica(2, Some(usage(500, 1000))) };
    let totals = deployment([replica(1, Some(usage(1000, 3000))), unhealthy, replica(3, None)]).totals();
    assert_eq!((totals.running, totals.ready, totals.restarts, totals.connections), (2, 1, 3, 12));
    assert_eq!((totals.memory, totals.cpu, totals.pids), (Memory::mib(6), Duration::from_millis(1500), 4));
    assert_eq!((totals.received_bytes, totals.sent_bytes), (4000, 8000));
    assert_eq!(deployment([]).totals().memory, Memory::bytes(0));
}

#[test]
fn rates_survive_restarts_and_replicas_that_come_and_go() {
    let two = Duration::from_secs(2);
    let rates = Rates::between(Some(&usage(1000, 4000)), &usage(2000, 4500), two).unwrap();
    assert_eq!((rates.cpus, rates.user_cpus, rates.system_cpus, rates.throttled), (0.5, 0.4, 0.1, 0.05));
    assert_eq!((rates.received_bytes, rates.sent_bytes, rates.read_bytes), (Some(250.0), Some(500.0), None));
    let again = Rates::between(Some(&usage(5000, 4000)), &usage(1000, 100), two).unwrap();
    assert_eq!((again.cpus, again.received_bytes), (0.5, Some(50.0)), "a counter that has gone back began at 0");
    assert_eq!(Rates::between(None, &usage(1000, 0), Duration::ZERO), None);
    let earlier = deployment([replica(1, Some(usage(1000, 0))), replica(2, Some(usage(9000, 9000)))]);
    let later = deployment([replica(1, Some(usage(2000, 0))), replica(3, Some(usage(1000, 400))), replica(4, None)]);
    let rates = later.rates(&earlier, two).unwrap();
    assert_eq!((rates.cpus, rates.received_bytes, rates.written_bytes), (1.0, Some(200.0), None));
    assert_eq!(rates.to_string(), "1.00 CPUs (user 0.80, system 0.20, throttled 0.10), received 200 B/s, sent 400 B/s");
    assert_eq!(later.rates(&earlier, Duration::ZERO), None);
    assert_eq!(deployment([]).rates(&earlier, two), Some(Rates::default()));
}

#[test]
fn the_parts_of_processor_time_make_up_the_whole() {
    let mut later = usage(1000, 0);
    let parts = |stats: &ContainerStats| {
        let shares = TimeShares::between(&usage(0, 0), stats, Duration::from_secs(1));
        (shares.user.as_millis(), shares.system.as_millis())
    };
    // Ticks fell on both by chance, and more than there was time.
    (later.cpu.user, later.cpu.system) = (Duration::from_millis(900), Duration::from_millis(300));
    assert_eq!(parts(&later), (750, 250));
    (later.cpu.user, later.cpu.system) = (Duration::ZERO, Duration::ZERO);
    assert_eq!(parts(&later), (1000, 0));
    (later.cpu.user, later.cpu.system) = (Duration::ZERO, Duration::from_millis(4));
    assert_eq!(parts(&later), (0, 1000));
}

#[test]
fn shares_say_what_was_measured_and_what_was_not() {
    let mut earlier = usage(1000, 4000);
    let mut later = usage(3000, 6000);
    let shares = TimeShares::between(&earlier, &later, Duration::from_secs(10)).requests(100);
    assert_eq!(shares.remaining(), Some(Duration::from_millis(10_000 - 2000 - 200)));
    let expected = "\
period                        10.000 s   100.0 %    100.000 ms/request
requests                         100
application CPU                1.600 s    16.0 %     16.000 ms/request
system CPU                     0.400 s     4.0 %      4.000 ms/request
throttled by its limit         0.200 s     2.0 %      2.000 ms/request
waiting for a processor    not measured
what remains                   7.800 s    78.0 %     78.000 ms/request
stalled for a processor    not measured
stalled for memory         not measured
stalled for block devices  not measured
received                       2.0 KiB                   20 B/request
sent                           3.9 KiB                   40 B/request
read from block devices    not measured
written to block devices   not measured
";
    assert_eq!(shares.to_string(), expected);
    // With the response time of the requests the rest is of that.
    let shares = shares.response_time(Duration::from_secs(3));
    assert_eq!(shares.remaining(), Some(Duration::from_millis(800)));
    assert_eq!(shares.response_time(Duration::from_secs(1)).remaining(), None, "threads worked at once");
    let stall = |total| Stall { some: StallShare { total, ..StallShare::default() }, full: StallShare::default() };
    let pressure = |total| Some(Pressure { cpu: stall(total), memory: stall(total), io: stall(total * 2) });
    (earlier.pressure, later.pressure) = (pressure(Duration::ZERO), pressure(Duration::from_millis(300)));
    (earlier.io, later.io) = (Some(IoStats::default()), Some(IoStats { read: 4096, written: 0 }));
    let wait = ProcessorWait::default();
    let shares = TimeShares::between(&earlier, &later, Duration::from_secs(10)).waiting(&wait, &wait).requests(0);
    assert_eq!(shares.waiting, Some(Duration::ZERO));
    let stalls = shares.stalls.unwrap();
    assert_eq!([stalls.cpu, stalls.memory, stalls.io].map(|time| time.as_millis()), [300, 300, 600]);
    let text = shares.to_string();
    assert!(text.contains("waiting for a processor        0.000 s     0.0 %\n"), "{text}");
    assert!(text.contains("stalled for block devices      0.600 s     6.0 %\n"), "{text}");
    assert!(!text.contains("/request"), "{text}");
}

#[test]
fn metrics_are_what_prometheus_reads() {
    let mut full = usage(1500, 100);
    full.io = Some(IoStats { read: 1, written: u64::MAX });
    full.pressure = Some(Pressure::default());
    full.memory.peak = Some(Memory::mib(9));
    full.pids.limit = Some(9);
    let named = ReplicaStats { name: Some("api-0".parse().unwrap()), ..replica(1, Some(full)) };
    let quoted = DeploymentStats { deployment: "a\"b\\c\nd".into(), ..deployment([replica(2, None)]) };
    let text = metrics(&[deployment([named.clone(), replica(3, Some(usage(1, 1))), named]), quoted]);
    let series = strictly_parsed(&text);
    let labels = r#"deployment="api",replica="api-0",revision="3""#;
    let of = |name: &str| series.get(&format!("{name}{{{labels}}}")).copied();
    assert_eq!(of("coracle_replica_cpu_seconds_total"), Some(1.5));
    assert_eq!(of("coracle_replica_io_written_bytes_total"), Some(u64::MAX as f64));
    assert_eq!(of("coracle_replica_memory_used_bytes"), Some(3.0 * 1024.0 * 1024.0));
    let healthy = |state: &str| series[&format!("coracle_replica_health{{{labels},state=\"{state}\"}}")];
    assert_eq!([healthy("healthy"), healthy("unhealthy")], [1.0, 0.0]);
    assert_eq!(series[r#"coracle_deployment_replicas_running{deployment="a\"b\\c\nd"}"#], 0.0);
    assert!(!text.contains(r#"cpu_seconds_total{deployment="a\"#), "what has ended uses nothing");
    assert_eq!(metrics(&[]), "");
}

/// The series of a text, which is refused for everything that Prometheus, or `promtool check metrics`, would refuse.
fn strictly_parsed(text: &str) -> BTreeMap<String, f64> {
    let (mut series, mut families, mut helped) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
    let mut current = "";
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').unwrap();
            assert!(!text.is_empty() && helped.insert(name), "{line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(helped.contains(name) && families.insert(name, kind).is_none(), "{line}");
            assert_eq!(kind, if name.ends_with("_total") { "counter" } else { "gauge" });
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
            current = name;
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let (family, labels) = name.split_once('{').unwrap();
            assert_eq!(family, current, "the samples of a metric stand together");
            assert_labels(labels.strip_suffix('}').unwrap());
            assert!(series.insert(name.to_owned(), value.parse().unwrap()).is_none(), "twice: {name}");
        }
    }
    assert_eq!(families.len(), helped.len());
    assert!(families.keys().all(|family| series.keys().any(|name| name.starts_with(&format!("{family}{{")))));
    series
}

/// `name="value",...` with the three escapes and each name once.
fn assert_labels(labels: &str) {
    let (mut rest, mut names) = (labels, BTreeSet::new());
    loop {
        let (name, value) = rest.split_once("=\"").unwrap();
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase()) && names.insert(name), "{labels}");
        let (mut escaped, mut end) = (false, None);
        for (at, byte) in value.bytes().enumerate() {
            match (escaped, byte) {
                (true, b'\\' | b'"' | b'n') => escaped = false,
                (true, _) => panic!("escape in {labels}"),
                (false, b'\\') => escaped = true,
                (false, b'"') => {
                    end = Some(at);
                    break;
                }
                (false, _) => {}
            }
        }
        rest = &value[end.unwrap() + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return assert_eq!(rest, ""),
        }
    }
}
