//! Properties of a unit: what systemd calls the resources (systemd.resource-control(5)), and what annotations say.

use super::wire::Value;
use crate::cgroup::resources::{Bound, CpuWeight, IoWeight, Resources};
use crate::cgroup::write::{unified_io_weight, weight_of_shares};
use crate::{Error, Result};

/// Those that decide which processes are in the unit, and whose it is.
const KEPT: [&str; 4] = ["PIDs", "Slice", "Delegate", "ControlGroup"];

/// The resources that systemd would write back otherwise, under the names of the version of control groups that it uses.
pub(super) fn of_resources(resources: &Resources, unified: bool) -> Vec<(String, Value)> {
    let mut properties = Vec::new();
    let mut push = |name: &str, value: Option<Value>| properties.extend(value.map(|value| (name.to_owned(), value)));
    let memory = &resources.memory;
    push(if unified { "MemoryMax" } else { "MemoryLimit" }, memory.limit.map(bound));
    if unified {
        push("MemoryLow", memory.reservation.map(bound));
        let swap = match (memory.swap, memory.limit) {
            (Some(Bound::At(total)), Some(Bound::At(limit))) => Some(Value::U64(total.saturating_sub(limit))),
            (Some(Bound::Unlimited), _) => Some(Value::U64(u64::MAX)),
            _ => None,
        };
        push("MemorySwapMax", swap);
    }
    let cpu = &resources.cpu;
    match (cpu.weight, unified) {
        (Some(CpuWeight::Shares(shares)), true) => push("CPUWeight", Some(Value::U64(weight_of_shares(shares)))),
        (Some(CpuWeight::Weight(weight)), true) => push("CPUWeight", Some(Value::U64(weight))),
        (Some(CpuWeight::Shares(shares)), false) => push("CPUShares", Some(Value::U64(shares))),
        _ => {}
    }
    push("CPUQuotaPerSecUSec", cpu.quota.map(|quota| Value::U64(per_second(quota, cpu.period))));
    if unified {
        push("CPUQuotaPeriodUSec", cpu.period.map(Value::U64));
        push("AllowedCPUs", cpu.cpus.as_deref().and_then(bits).map(Value::Bytes));
        push("AllowedMemoryNodes", cpu.mems.as_deref().and_then(bits).map(Value::Bytes));
    }
    push("TasksMax", resources.pids.map(bound));
    match (resources.block.weight, unified) {
        (Some(IoWeight::Block(weight)), true) => push("IOWeight", Some(Value::U64(unified_io_weight(weight)))),
        (Some(IoWeight::Unified(weight)), true) => push("IOWeight", Some(Value::U64(weight.into()))),
        (Some(IoWeight::Block(weight)), false) => push("BlockIOWeight", Some(Value::U64(weight.into()))),
        _ => {}
    }
    properties
}

/// systemd has no limit at the largest number.
fn bound(bound: Bound) -> Value {
    Value::U64(match bound {
        Bound::At(value) => value,
        Bound::Unlimited => u64::MAX,
    })
}

/// Microseconds per second, rounded up to whole percents, which is what systemd keeps: rounded down, the scope would get
/// less than the group in it asks for.
fn per_second(quota: Bound, period: Option<u64>) -> u64 {
    const PERCENT: u64 = 10_000;
    match quota {
        Bound::Unlimited => u64::MAX,
        Bound::At(quota) => {
            let exact = u128::from(quota) * 1_000_000 / u128::from(period.unwrap_or(100_000).max(1));
            u64::try_from(exact).unwrap_or(u64::MAX - PERCENT).div_ceil(PERCENT).saturating_mul(PERCENT)
        }
    }
}

/// A list as `0-3,7` as bits, the lowest in the first byte.
fn bits(list: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if last >= 1 << 16 {
            return None;
        }
        if bytes.len() <= last / 8 {
            bytes.resize(last / 8 + 1, 0u8);
        }
        (first..=last).for_each(|bit| bytes[bit / 8] |= 1 << (bit % 8));
    }
    Some(bytes)
}

/// GVariant's text format, as far as annotations have it in use.
pub(super) fn parse_property(name: &str, value: &str) -> Result<(String, Value)> {
    let wrong = |what: &str| Error::invalid(format!("property {name:?} of the scope: {what}"));
    if name.is_empty() || name.len() > 128 || !name.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Err(wrong("this is no name"));
    }
    if KEPT.contains(&name) {
        return Err(wrong("the runtime decides it"));
    }
    let parsed = parse_value(value.trim()).ok_or_else(|| {
        wrong(&format!("{value:?} is no value")).hint("write true, 'text', uint64 5, ['a', 'b'] or a number")
    })?;
    // runc: seconds, with or without a type, under the name that systemctl shows.
    let seconds = match parsed {
        Value::U32(seconds) => Some(u64::from(seconds)),
        Value::U64(seconds) => Some(seconds),
        Value::I32(seconds) => u64::try_from(seconds).ok(),
        _ => None,
    };
    match (name.strip_suffix("Sec").filter(|stem| !stem.ends_with('U')), seconds) {
        (Some(stem), Some(seconds)) => Ok((format!("{stem}USec"), Value::U64(seconds.saturating_mul(1_000_000)))),
        _ => Ok((name.to_owned(), parsed)),
    }
}

fn parse_value(text: &str) -> Option<Value> {
    if let Some(value) = quoted(text) {
        return Some(Value::Text(value));
    }
    if let Some(list) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let texts: Option<Vec<String>> = list.split(',').map(|item| quoted(item.trim())).collect();
        return texts.filter(|texts| texts.len() <= 256).map(Value::Texts);
    }
    match text.split_once(' ') {
        Some(("uint32", number)) => number.trim().parse().ok().map(Value::U32),
        Some(("uint64", number)) => number.trim().parse().ok().map(Value::U64),
        Some(("int32", number)) => number.trim().parse().ok().map(Value::I32),
        Some(_) => None,
        None => match text {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            number => number.parse().ok().map(Value::I32),
        },
    }
}

/// A text in single or double quotes, without any within, and short enough for a unit.
fn quoted(text: &str) -> Option<String> {
    let strip = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
    let inner = strip('\'').or_else(|| strip('"'))?;
    (inner.len() <= 4096 && !inner.contains(['\'', '"', '\\', '\0'])).then(|| inner.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_are_typed() {
        for (name, value, expected) in [
            ("TimeoutStopUSec", "uint64 5", ("TimeoutStopUSec", Value::U64(5))),
            ("TimeoutStopSec", "uint64 5", ("TimeoutStopUSec", Value::U64(5_000_000))),
            ("TimeoutStopSec", "7", ("TimeoutStopUSec", Value::U64(7_000_000))),
            ("CollectMode", "'inactive-or-failed'", ("CollectMode", Value::Text("inactive-or-failed".into()))),
            (
                "After",
                "['a.service', \"b.service\"]",
                ("After", Value::Texts(vec!["a.service".into(), "b.service".into()])),
            ),
            ("SendSIGHUP", "true", ("SendSIGHUP", Value::Bool(true))),
            ("OOMScoreAdjust", "-5", ("OOMScoreAdjust", Value::I32(-5))),
        ] {
            assert_eq!(parse_property(name, value).unwrap(), (expected.0.to_owned(), expected.1));
        }
        for (name, value) in [("PIDs", "1"), ("A B", "1"), ("A", "'x"), ("A", "uint64 -1"), ("A", ""), ("A", "[1]")] {
            assert!(parse_property(name, value).is_err(), "{name}={value}");
        }
    }

    #[test]
    fn quotas_are_rounded_up_to_percents() {
        assert_eq!(per_second(Bound::At(50_000), None), 500_000);
        assert_eq!(per_second(Bound::At(123), Some(10_000)), 20_000);
        assert_eq!(per_second(Bound::Unlimited, Some(1)), u64::MAX);
        assert!(per_second(Bound::At(u64::MAX), Some(1)) > 1 << 60);
        assert_eq!((bits("0-2,9"), bits("x"), bits("99999999")), (Some(vec![7, 2]), None, None));
    }
}
