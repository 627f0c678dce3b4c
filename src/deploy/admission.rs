//! Whether what is requested fits the machine: `free = machine - reserve - held`, by sums of requests, not by what is used
//! at the moment. An [`Admission`] is the ledger; the kernel is asked only by [`Machine::read`].

use super::specification::Request;
use crate::cgroup::OwnLimits;
use crate::error::During;
use crate::value::{Cpus, Memory};
use crate::{Error, ErrorKind, Result};
use nix::unistd::{SysconfVar, sysconf};
use std::fmt;

/// Amounts of what a machine has and a container requests. All arithmetic saturates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Thousandths of a processor.
    pub cpus: u64,
    /// Bytes.
    pub memory: u64,
    /// Processes and threads.
    pub pids: u64,
}

/// Who holds a part of the machine: a deployment with its replicas, or a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The deployment's or the container's name.
    pub name: String,
    /// How many of them, those of a rollout that may be there besides included.
    pub replicas: u32,
    /// What each of them requests.
    pub request: Amounts,
}

/// What a machine, or our part of it, has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) amounts: Amounts,
    /// Set aside for everything that is not a container.
    pub(crate) reserve: Amounts,
}

/// The machine and who holds how much of it. Display is a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    pub(crate) machine: Machine,
    pub(crate) holders: Vec<Holder>,
}

impl Admission {
    /// Sees whether `wanted` fits beside the others; what its own name holds already is replaced by it. What it does not
    /// request always fits, also where the machine is overfull.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ResourceExhausted`]: one line with all that does not fit and by how much; the hint says who holds what.
    pub fn admit(&self, wanted: &Holder) -> Result<()> {
        let others: Vec<&Holder> = self.holders.iter().filter(|holder| holder.name != wanted.name).collect();
        let free = self.machine.usable().less(held(&others));
        let all = wanted.all();
        let lacking: Vec<String> = KINDS
            .iter()
            .filter(|kind| (kind.of)(&all) > (kind.of)(&free))
            .map(|kind| {
                let (all, free) = ((kind.of)(&all), (kind.of)(&free));
                let show = |amount| (kind.show)(amount);
                format!("{} {} requested, {} free, {} too much", show(all), kind.name, show(free), show(all - free))
            })
            .collect();
        if lacking.is_empty() {
            return Ok(());
        }
        let message = format!("{} x{} does not fit: {}", wanted.name, wanted.replicas, lacking.join("; "));
        let others: Vec<String> = others.iter().map(|holder| holder.to_string()).collect();
        let others = if others.is_empty() { "nobody else holds anything".to_owned() } else { others.join("; ") };
        let machine = format!("of {}, {} are set aside", self.machine.amounts, self.machine.reserve);
        Err(Error::new(ErrorKind::ResourceExhausted, message).hint(format!("{machine}; {others}")))
    }

    /// What nobody holds; 0 where more is held than there is.
    pub fn free(&self) -> Amounts {
        self.machine.usable().less(held(&self.holders.iter().collect::<Vec<_>>()))
    }

    /// Who holds what.
    pub fn holders(&self) -> &[Holder] {
        &self.holders
    }
}

/// One row each for the machine, the reserve, every holder and what is free.
impl fmt::Display for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = vec![("machine".to_owned(), self.machine.amounts), ("reserve".to_owned(), self.machine.reserve)];
        rows.extend(self.holders.iter().map(|holder| (format!("{} x{}", holder.name, holder.replicas), holder.all())));
        rows.push(("free".to_owned(), self.free()));
        let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        write!(f, "{:width$}  {:>8}  {:>11}  {:>8}", "", "cpus", "memory", "pids")?;
        for (name, amounts) in rows {
            let shown = |index: usize| (KINDS[index].show)((KINDS[index].of)(&amounts));
            write!(f, "\n{name:width$}  {:>8}  {:>11}  {:>8}", shown(0), shown(1), shown(2))?;
        }
        Ok(())
    }
}

impl Amounts {
    /// What one replica requests; what it does not name is 0.
    pub(crate) fn of(request: &Request) -> Amounts {
        Amounts {
            cpus: request.cpus.map_or(0, |cpus| u64::from(cpus.as_millis())),
            memory: request.memory.map_or(0, Memory::as_bytes),
            pids: request.pids.map_or(0, u64::from),
        }
    }

    fn more(self, by: Amounts) -> Amounts {
        Amounts {
            cpus: self.cpus.saturating_add(by.cpus),
            memory: self.memory.saturating_add(by.memory),
            pids: self.pids.saturating_add(by.pids),
        }
    }

    fn less(self, by: Amounts) -> Amounts {
        Amounts {
            cpus: self.cpus.saturating_sub(by.cpus),
            memory: self.memory.saturating_sub(by.memory),
            pids: self.pids.saturating_sub(by.pids),
        }
    }

    fn times(self, replicas: u32) -> Amounts {
        let by = u64::from(replicas);
        Amounts {
            cpus: self.cpus.saturating_mul(by),
            memory: self.memory.saturating_mul(by),
            pids: self.pids.saturating_mul(by),
        }
    }
}

/// `0.5 cpus, 64.0 MiB memory, 16 pids`.
impl fmt::Display for Amounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> =
            KINDS.iter().map(|kind| format!("{} {}", (kind.show)((kind.of)(self)), kind.name)).collect();
        f.write_str(&parts.join(", "))
    }
}

impl Holder {
    /// So many replicas that request so much each.
    pub fn new(name: impl Into<String>, replicas: u32, request: Amounts) -> Holder {
        Holder { name: name.into(), replicas, request }
    }

    /// What all of them request together.
    pub fn all(&self) -> Amounts {
        self.request.times(self.replicas)
    }
}

/// `api x3: 1.5 cpus, 192.0 MiB memory, 48 pids`.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x{}: {}", self.name, self.replicas, self.all())
    }
}

impl Machine {
    /// This machine, or what the caller's control group leaves of it; a twentieth is set aside.
    pub(crate) fn read() -> Result<Machine> {
        let processors = sysconf(SysconfVar::_NPROCESSORS_ONLN).during(|| "count the processors")?.unwrap_or(1);
        let own = OwnLimits::read();
        let lower = |amount: u64, limit: Option<u64>| amount.min(limit.unwrap_or(u64::MAX));
        let threads = number("/proc/sys/kernel/pid_max")?.min(number("/proc/sys/kernel/threads-max")?);
        let amounts = Amounts {
            cpus: lower(u64::try_from(processors).unwrap_or(1).saturating_mul(1000), own.cpus),
            memory: lower(total_memory(&read("/proc/meminfo")?)?, own.memory),
            pids: lower(threads, own.pids),
        };
        let part = |amount: u64| amount / 20;
        let reserve = Amounts { cpus: part(amounts.cpus), memory: part(amounts.memory), pids: part(amounts.pids) };
        Ok(Machine { amounts, reserve })
    }

    fn usable(&self) -> Amounts {
        self.amounts.less(self.reserve)
    }
}

/// A kind of amount: its name, where it is, how it is shown.
struct Kind {
    name: &'static str,
    of: fn(&Amounts) -> u64,
    show: fn(u64) -> String,
}

const KINDS: [Kind; 3] = [
    Kind {
        name: "cpus",
        of: |amounts| amounts.cpus,
        show: |millis| Cpus::millis(u32::try_from(millis).unwrap_or(u32::MAX)).to_string(),
    },
    Kind { name: "memory", of: |amounts| amounts.memory, show: |bytes| Memory::bytes(bytes).to_string() },
    Kind { name: "pids", of: |amounts| amounts.pids, show: |pids| pids.to_string() },
];

fn held(holders: &[&Holder]) -> Amounts {
    holders.iter().fold(Amounts::default(), |sum, holder| sum.more(holder.all()))
}

fn read(path: &'static str) -> Result<String> {
    std::fs::read_to_string(path).during(|| format!("read {path}"))
}

fn number(path: &'static str) -> Result<u64> {
    let text = read(path)?;
    text.trim().parse().map_err(|_| Error::new(ErrorKind::Corrupt, format!("{path} holds {:?}", text.trim())))
}

/// `MemTotal` in bytes; proc_meminfo(5) has it in units of 1024.
fn total_memory(meminfo: &str) -> Result<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kibibytes
        .map(|amount| amount.saturating_mul(1024))
        .ok_or_else(|| Error::new(ErrorKind::Corrupt, "/proc/meminfo has no MemTotal"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn amounts(cpus: u64, mebibytes: u64, pids: u64) -> Amounts {
        Amounts { cpus, memory: mebibytes << 20, pids }
    }

    fn machine() -> Admission {
        Admission {
            machine: Machine { amounts: amounts(4000, 8192, 32768), reserve: amounts(200, 400, 1638) },
            holders: vec![Holder::new("api", 3, amounts(500, 512, 64)), Holder::new("db", 1, amounts(1000, 2048, 128))],
        }
    }

    #[test]
    fn what_fits_exactly_is_admitted() {
        let free = machine().free();
        assert_eq!(free, amounts(1300, 4208, 30810));
        assert!(machine().admit(&Holder::new("web", 1, free)).is_ok());
        assert!(machine().admit(&Holder::new("web", 1, Amounts { cpus: free.cpus + 1, ..free })).is_err());
    }

    #[test]
    fn a_refusal_says_what_is_lacking_and_who_holds_it() {
        let error = machine().admit(&Holder::new("web", 4, amounts(500, 1536, 64))).expect_err("too much");
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
        assert_eq!(
            error.to_string(),
            "web x4 does not fit: 2 cpus requested, 1.3 free, 0.7 too much; 6.0 GiB memory requested, 4.1 GiB free, \
             1.9 GiB too much (hint: of 4 cpus, 8.0 GiB memory, 32768 pids, 0.2 cpus, 400.0 MiB memory, 1638 pids are \
             set aside; api x3: 1.5 cpus, 1.5 GiB memory, 192 pids; db x1: 1 cpus, 2.0 GiB memory, 128 pids)"
        );
    }

    #[test]
    fn the_table_shows_who_holds_what() {
        let expected = "\x20            cpus       memory      pids
machine         4      8.0 GiB     32768
reserve       0.2    400.0 MiB      1638
api x3        1.5      1.5 GiB       192
db x1           1      2.0 GiB       128
free          1.3      4.1 GiB     30810";
        assert_eq!(machine().to_string(), expected);
    }

    #[test]
    fn a_new_revision_replaces_what_its_name_holds() {
        assert!(machine().admit(&Holder::new("db", 1, amounts(2300, 2048, 128))).is_ok());
        assert!(machine().admit(&Holder::new("other", 1, amounts(2300, 2048, 128))).is_err());
    }

    #[test]
    fn what_is_not_requested_is_taken_from_the_limits() {
        let limits = crate::cgroup::Limits::new().cpus(Cpus::of(2.0)).memory(Memory::mib(64));
        let api = crate::Deployment::new("api", "api").limits(limits).request(Request::new().cpus(Cpus::of(0.5)));
        assert_eq!(Amounts::of(&api.effective_request()), amounts(500, 64, 0));
    }

    #[test]
    fn what_requests_nothing_fits_an_overfull_machine() {
        let mut full = machine();
        full.holders.push(Holder::new("hog", u32::MAX, amounts(u64::MAX / 2, 1 << 40, 1 << 40)));
        assert_eq!(full.free(), Amounts::default());
        assert!(full.admit(&Holder::new("small", 9, Amounts::default())).is_ok());
        assert!(full.admit(&Holder::new("small", 1, amounts(0, 0, 1))).is_err());
        assert!(!full.to_string().is_empty());
    }

    #[test]
    fn rootless_this_machine_can_be_read() {
        let machine = Machine::read().expect("this machine");
        assert!(machine.amounts.cpus >= 1 && machine.amounts.memory > 1 << 20 && machine.amounts.pids > 1);
        assert!(machine.reserve.memory < machine.amounts.memory);
        assert_eq!(total_memory("MemFree: 1 kB\nMemTotal:       2048 kB\n").expect("2 MiB"), 2 << 20);
        assert!(total_memory("MemTotal: much").is_err());
    }

    proptest! {
        #[test]
        fn what_is_admitted_never_exceeds_the_machine(
            of in any::<[u64; 3]>(), less in any::<[u64; 3]>(), asked in proptest::collection::vec((any::<[u64; 3]>(), 0..9_u32), 0..12),
        ) {
            let amounts = |of: [u64; 3]| Amounts { cpus: of[0], memory: of[1], pids: of[2] };
            let machine = Machine { amounts: amounts(of), reserve: amounts(less) };
            let mut ledger = Admission { machine, holders: Vec::new() };
            for (index, (request, replicas)) in asked.into_iter().enumerate() {
                let scaled = request.map(|amount| amount >> (amount % 64));
                let wanted = Holder::new(index.to_string(), replicas, amounts(scaled));
                if ledger.admit(&wanted).is_ok() {
                    ledger.holders.push(wanted);
                }
            }
            for kind in KINDS {
                let sum: u128 = ledger.holders.iter().map(|h| u128::from((kind.of)(&h.request)) * u128::from(h.replicas)).sum();
                prop_assert!(sum <= u128::from((kind.of)(&machine.usable())));
            }
        }
    }
}
