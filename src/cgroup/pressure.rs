//! Pressure stall information: how much time processes lost waiting (Documentation/accounting/psi.rst).

use super::directory::Directory;
use std::time::Duration;

/// How much the processes of a group waited for each resource.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Pressure {
    /// For the processor.
    pub cpu: Stall,
    /// For memory: reclaim, refaults, swap.
    pub memory: Stall,
    /// For block devices.
    pub io: Stall,
}

/// How much was waited for one resource.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Stall {
    /// Time in which at least one task waited.
    pub some: StallShare,
    /// Time in which all tasks waited at once.
    pub full: StallShare,
}

/// Shares of the last seconds in percent, and the whole time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StallShare {
    /// Percent of the last 10 seconds.
    pub last_10s: f64,
    /// Percent of the last 60 seconds.
    pub last_60s: f64,
    /// Percent of the last 300 seconds.
    pub last_300s: f64,
    /// All the time since the group was made.
    pub total: Duration,
}

/// `None` where the kernel has the accounting compiled out or turned off.
pub(super) fn read(directory: &Directory) -> Option<Pressure> {
    let stall = |file| directory.read(file).ok().map(|text| parse(&text));
    Some(Pressure { cpu: stall("cpu.pressure")?, memory: stall("memory.pressure")?, io: stall("io.pressure")? })
}

pub(super) fn parse(text: &str) -> Stall {
    let mut stall = Stall::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let share = match words.next() {
            Some("some") => &mut stall.some,
            Some("full") => &mut stall.full,
            _ => continue,
        };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            match key {
                "avg10" => share.last_10s = value.parse().unwrap_or_default(),
                "avg60" => share.last_60s = value.parse().unwrap_or_default(),
                "avg300" => share.last_300s = value.parse().unwrap_or_default(),
                "total" => share.total = Duration::from_micros(value.parse().unwrap_or_default()),
                _ => {}
            }
        }
    }
    stall
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lines_are_read() {
        let stall =
            parse("some avg10=1.50 avg60=0.25 avg300=0.00 total=1500\nfull avg10=0.50 avg60=0 avg300=0 total=7\n");
        assert_eq!((stall.some.last_10s, stall.some.last_60s), (1.5, 0.25));
        assert_eq!((stall.some.total, stall.full.total), (Duration::from_micros(1500), Duration::from_micros(7)));
        assert_eq!(parse("some avg10=x\nnonsense\n\n"), Stall::default());
    }
}
