//! The limits that `update` is given.

use crate::arguments::Arguments;
use coracle::cgroup::Resources;
use coracle::{Error, ErrorKind, Result};
use oci_spec::runtime::LinuxResources;
use serde_json::{Value, json};
use std::io::Read;

/// Where each option goes in `linux.resources`, and whether it is a text.
const PLACES: [(&str, &str, bool); 16] = [
    ("blkio-weight", "/blockIO/weight", false),
    ("cpu-period", "/cpu/period", false),
    ("cpu-quota", "/cpu/quota", false),
    ("cpu-burst", "/cpu/burst", false),
    ("cpu-share", "/cpu/shares", false),
    ("cpu-rt-period", "/cpu/realtimePeriod", false),
    ("cpu-rt-runtime", "/cpu/realtimeRuntime", false),
    ("cpuset-cpus", "/cpu/cpus", true),
    ("cpuset-mems", "/cpu/mems", true),
    ("cpu-idle", "/cpu/idle", false),
    ("memory", "/memory/limit", false),
    ("memory-reservation", "/memory/reservation", false),
    ("memory-swap", "/memory/swap", false),
    ("kernel-memory", "/memory/kernel", false),
    ("kernel-memory-tcp", "/memory/kernelTCP", false),
    ("pids-limit", "/pids/limit", false),
];

/// Those of `--resources`, else those of the other options.
pub(crate) fn resources(arguments: &Arguments) -> Result<Resources> {
    Resources::from_runtime_spec(&document(arguments)?)
}

fn document(arguments: &Arguments) -> Result<LinuxResources> {
    if arguments.text("l3-cache-schema").is_some() || arguments.text("mem-bw-schema").is_some() {
        return Err(Error::new(ErrorKind::Unsupported, "update knows no Intel RDT schemas"));
    }
    if let Some(path) = arguments.text("resources").filter(|path| !path.is_empty()) {
        return read(path);
    }
    let mut document = json!({"memory": {}, "cpu": {}, "blockIO": {}, "pids": {}});
    for (option, place, is_text) in PLACES {
        let Some(text) = arguments.text(option).filter(|text| !text.is_empty()) else { continue };
        let value = if is_text { Value::from(text) } else { Value::from(number(option, text)?) };
        let (above, name) = place.rsplit_once('/').unwrap_or_default();
        if let Some(object) = document.pointer_mut(above) {
            object[name] = value;
        }
    }
    if let Some(object) = document.as_object_mut() {
        object.retain(|_, value| value.as_object().is_some_and(|fields| !fields.is_empty()));
    }
    serde_json::from_value(document).map_err(|error| Error::invalid("update").source_error(error))
}

/// A number, or a size in bytes with the suffix b, k, m, g or t as runc takes it.
fn number(option: &str, text: &str) -> Result<i64> {
    let wrong = || Error::invalid(format!("invalid value for {option}: {text:?} is no number"));
    let sized = option.contains("memory");
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches('b').trim_end_matches('i');
    let shift = match digits.bytes().last() {
        Some(b'k') => 10,
        Some(b'm') => 20,
        Some(b'g') => 30,
        Some(b't') => 40,
        _ => 0,
    };
    match (sized, shift) {
        (false, _) | (true, 0) if lower == digits => text.parse().map_err(|_| wrong()),
        (true, 0) => digits.parse().map_err(|_| wrong()),
        (true, shift) => {
            let number: i64 = digits[..digits.len() - 1].parse().map_err(|_| wrong())?;
            number.checked_mul(1 << shift).ok_or_else(wrong)
        }
        _ => Err(wrong()),
    }
}

fn read(path: &str) -> Result<LinuxResources> {
    let failed = |error: std::io::Error| Error::invalid(format!("read {path}")).source_error(error);
    let mut text = String::new();
    if path == "-" {
        std::io::stdin().read_to_string(&mut text).map_err(failed)?;
    } else {
        text = std::fs::read_to_string(path).map_err(failed)?;
    }
    serde_json::from_str(&text).map_err(|error| Error::invalid(path.to_owned()).source_error(error))
}
