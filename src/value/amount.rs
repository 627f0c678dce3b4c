//! Amounts of memory and of processor.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// An amount of memory in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Memory(u64);

impl Memory {
    /// `bytes` bytes.
    pub const fn bytes(bytes: u64) -> Memory {
        Memory(bytes)
    }

    /// `mib` mebibytes; saturates at the largest amount.
    pub const fn mib(mib: u64) -> Memory {
        Memory(mib.saturating_mul(1 << 20))
    }

    /// `gib` gibibytes; saturates at the largest amount.
    pub const fn gib(gib: u64) -> Memory {
        Memory(gib.saturating_mul(1 << 30))
    }

    /// The amount in bytes.
    pub const fn as_bytes(self) -> u64 {
        self.0
    }
}

/// Docker's notation: digits, an optional fraction, an optional unit `b`, `k`, `m`, `g`, `t` (powers of 1024, a
/// trailing `b` or `ib` allowed), any case: `512m`, `1.5GiB`, `4096`.
impl FromStr for Memory {
    type Err = Error;

    fn from_str(text: &str) -> Result<Memory> {
        let bad =
            || Error::invalid(format!("memory amount {text:?} is not a number with an optional unit b, k, m, g or t"));
        let lower = text.trim().to_ascii_lowercase();
        let split = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
        let (number, unit) = lower.split_at(split);
        let shift = match unit.trim() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            _ => return Err(bad()),
        };
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(1 << shift).map(Memory).ok_or_else(bad);
        }
        let fraction: f64 = number.parse().map_err(|_| bad())?;
        let bytes = fraction * (1u64 << shift) as f64;
        if !bytes.is_finite() || bytes < 0.0 || bytes >= u64::MAX as f64 {
            return Err(bad());
        }
        Ok(Memory(bytes as u64))
    }
}

/// With the largest binary unit that keeps it above 1, one decimal: `12.3 MiB`.
impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let mut amount = self.0 as f64;
        let mut unit = 0;
        while amount >= 1024.0 && unit + 1 < UNITS.len() {
            amount /= 1024.0;
            unit += 1;
        }
        if unit == 0 { write!(f, "{} B", self.0) } else { write!(f, "{amount:.1} {}", UNITS[unit]) }
    }
}

/// A share of processors in thousandths: `Cpus::of(0.5)` is half of one processor's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cpus(u32);

impl Cpus {
    /// `cpus` processors, rounded to thousandths; negative and NaN count as 0, which no limit accepts.
    pub fn of(cpus: f64) -> Cpus {
        Cpus((cpus * 1000.0).round().clamp(0.0, f64::from(u32::MAX)) as u32)
    }

    /// `millis` thousandths of a processor.
    pub const fn millis(millis: u32) -> Cpus {
        Cpus(millis)
    }

    /// The share in thousandths of a processor.
    pub const fn as_millis(self) -> u32 {
        self.0
    }
}

impl FromStr for Cpus {
    type Err = Error;

    fn from_str(text: &str) -> Result<Cpus> {
        match text.trim().parse::<f64>() {
            Ok(cpus) if cpus.is_finite() && cpus > 0.0 => Ok(Cpus::of(cpus)),
            _ => Err(Error::invalid(format!("number of processors {text:?} is not a positive number"))),
        }
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(self.0) / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_reads_dockers_notation() {
        for (text, bytes) in [("0", 0), ("512", 512), ("512m", 512 << 20), ("1.5GiB", 3 << 29), ("2KB", 2048)] {
            assert_eq!(text.parse::<Memory>().unwrap().as_bytes(), bytes, "{text}");
        }
        for text in ["", "m", "-1", "1x", "1e99g", "99999999999999999999"] {
            assert!(text.parse::<Memory>().is_err(), "{text}");
        }
        assert_eq!(Memory::bytes(12 << 20).to_string(), "12.0 MiB");
    }

    #[test]
    fn cpus_are_positive() {
        assert_eq!("0.5".parse::<Cpus>().unwrap(), Cpus::millis(500));
        assert!("-1".parse::<Cpus>().is_err());
        assert!("NaN".parse::<Cpus>().is_err());
    }
}
