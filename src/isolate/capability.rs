//! Capabilities: capabilities(7).

use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// One capability of the kernel's, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability(u8);

/// A set of capabilities, as the kernel's bit mask: bit *n* stands for capability number *n*.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CapabilitySet(u64);

/// The names in the order of the kernel's numbers (`linux/capability.h`).
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// Associated constants `Capability::CHOWN` and so on; the number is the position in [`NAMES`].
macro_rules! capabilities {
    ($($constant:ident = $number:literal),* $(,)?) => {
        impl Capability {
            $(#[doc = concat!("`CAP_", stringify!($constant), "`, number ", stringify!($number), ".")]
            pub const $constant: Capability = Capability($number);)*
        }
    };
}

capabilities! {
    CHOWN = 0, DAC_OVERRIDE = 1, DAC_READ_SEARCH = 2, FOWNER = 3, FSETID = 4, KILL = 5, SETGID = 6, SETUID = 7,
    SETPCAP = 8, LINUX_IMMUTABLE = 9, NET_BIND_SERVICE = 10, NET_BROADCAST = 11, NET_ADMIN = 12, NET_RAW = 13,
    IPC_LOCK = 14, IPC_OWNER = 15, SYS_MODULE = 16, SYS_RAWIO = 17, SYS_CHROOT = 18, SYS_PTRACE = 19, SYS_PACCT = 20,
    SYS_ADMIN = 21, SYS_BOOT = 22, SYS_NICE = 23, SYS_RESOURCE = 24, SYS_TIME = 25, SYS_TTY_CONFIG = 26, MKNOD = 27,
    LEASE = 28, AUDIT_WRITE = 29, AUDIT_CONTROL = 30, SETFCAP = 31, MAC_OVERRIDE = 32, MAC_ADMIN = 33, SYSLOG = 34,
    WAKE_ALARM = 35, BLOCK_SUSPEND = 36, AUDIT_READ = 37, PERFMON = 38, BPF = 39, CHECKPOINT_RESTORE = 40,
}

impl Capability {
    /// The kernel's number, 0 to 40.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The kernel's name, `CAP_CHOWN` for example.
    pub fn name(self) -> &'static str {
        NAMES[usize::from(self.0)]
    }
}

/// With or without `CAP_`, in any case: `CAP_CHOWN`, `chown`.
impl FromStr for Capability {
    type Err = Error;

    fn from_str(text: &str) -> Result<Capability> {
        let bare = |name: &'static str| &name["CAP_".len()..];
        let found =
            NAMES.iter().position(|name| name.eq_ignore_ascii_case(text) || bare(name).eq_ignore_ascii_case(text));
        match found {
            Some(number) => Ok(Capability(number as u8)),
            None => Err(Error::invalid(format!("capability {text:?} is not known"))
                .hint("names are those of capabilities(7), CAP_CHOWN or chown for example")),
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl CapabilitySet {
    /// None.
    pub const EMPTY: CapabilitySet = CapabilitySet(0);

    /// All that this crate knows: 41, as of Linux 6.18.
    pub const ALL: CapabilitySet = CapabilitySet((1 << NAMES.len()) - 1);

    /// Docker's default: the 14 that ordinary images expect root to have.
    pub const DEFAULT: CapabilitySet = CapabilitySet::of(&[
        Capability::CHOWN,
        Capability::DAC_OVERRIDE,
        Capability::FSETID,
        Capability::FOWNER,
        Capability::MKNOD,
        Capability::NET_RAW,
        Capability::SETGID,
        Capability::SETUID,
        Capability::SETFCAP,
        Capability::SETPCAP,
        Capability::NET_BIND_SERVICE,
        Capability::SYS_CHROOT,
        Capability::KILL,
        Capability::AUDIT_WRITE,
    ]);

    /// The set of these.
    pub const fn of(capabilities: &[Capability]) -> CapabilitySet {
        let mut set = CapabilitySet::EMPTY;
        let mut index = 0;
        while index < capabilities.len() {
            set = set.with(capabilities[index]);
            index += 1;
        }
        set
    }

    /// The set named by `names`; the name `ALL`, in any case, stands for every capability.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<CapabilitySet> {
        names.into_iter().try_fold(CapabilitySet::EMPTY, |set, name| {
            if name.eq_ignore_ascii_case("ALL") { Ok(CapabilitySet::ALL) } else { Ok(set.with(name.parse()?)) }
        })
    }

    /// The set of a kernel mask; bits of capabilities this crate does not know are dropped.
    pub const fn from_bits(bits: u64) -> CapabilitySet {
        CapabilitySet(bits & CapabilitySet::ALL.0)
    }

    /// The kernel's mask.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// This set and `capability`.
    #[must_use]
    pub const fn with(self, capability: Capability) -> CapabilitySet {
        CapabilitySet(self.0 | 1 << capability.0)
    }

    /// This set without `capability`.
    #[must_use]
    pub const fn without(self, capability: Capability) -> CapabilitySet {
        CapabilitySet(self.0 & !(1 << capability.0))
    }

    /// What is in either.
    #[must_use]
    pub const fn union(self, other: CapabilitySet) -> CapabilitySet {
        CapabilitySet(self.0 | other.0)
    }

    /// What is in both.
    #[must_use]
    pub const fn intersection(self, other: CapabilitySet) -> CapabilitySet {
        CapabilitySet(self.0 & other.0)
    }

    /// What is in this one and not in `other`.
    #[must_use]
    pub const fn difference(self, other: CapabilitySet) -> CapabilitySet {
        CapabilitySet(self.0 & !other.0)
    }

    /// Whether `capability` is in it.
    pub const fn contains(self, capability: Capability) -> bool {
        self.0 & 1 << capability.0 != 0
    }

    /// Whether nothing is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many are in it.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// In the order of the kernel's numbers.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        (0..NAMES.len() as u8).map(Capability).filter(move |&capability| self.contains(capability))
    }

    /// The bounding set of the calling thread: no process it starts can ever have more. The kernel keeps nothing above
    /// its own last capability in it.
    pub fn bounding() -> Result<CapabilitySet> {
        CapabilitySet::of_thread(caps::CapSet::Bounding, "read the bounding set")
    }

    /// The permitted set of the calling thread.
    pub fn permitted() -> Result<CapabilitySet> {
        CapabilitySet::of_thread(caps::CapSet::Permitted, "read the permitted capabilities")
    }

    fn of_thread(which: caps::CapSet, operation: &'static str) -> Result<CapabilitySet> {
        let held = caps::read(None, which)
            .map_err(|error| Error::new(crate::ErrorKind::Unsupported, operation).source_error(error))?;
        Ok(held.into_iter().fold(CapabilitySet::EMPTY, |set, capability| CapabilitySet(set.0 | capability.bitmask())))
    }

    /// Splits into what this host can give and what it lacks, by the bounding set of the calling thread.
    ///
    /// The second is to be reported, never dropped in silence: a program that is refused later cannot say why.
    pub fn available(self) -> Result<(CapabilitySet, CapabilitySet)> {
        let bounding = CapabilitySet::bounding()?;
        Ok((self.intersection(bounding), self.difference(bounding)))
    }
}

/// The five sets of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CapabilitySets {
    /// The ceiling of what an exec can gain.
    pub(crate) bounding: CapabilitySet,
    /// In force.
    pub(crate) effective: CapabilitySet,
    /// Can be put in force.
    pub(crate) permitted: CapabilitySet,
    /// Kept over an exec of a file that has them inheritable.
    pub(crate) inheritable: CapabilitySet,
    /// Kept over an exec of an ordinary file by an ordinary user.
    pub(crate) ambient: CapabilitySet,
}

impl CapabilitySets {
    /// `set` up to the bounding set; inheritable and ambient stay empty (CVE-2022-24769).
    pub(crate) fn of(set: CapabilitySet) -> CapabilitySets {
        CapabilitySets { bounding: set, effective: set, permitted: set, ..CapabilitySets::default() }
    }

    /// In the order in which they are read back.
    pub(crate) fn each(self) -> [CapabilitySet; 5] {
        [self.bounding, self.effective, self.permitted, self.inheritable, self.ambient]
    }
}

impl FromIterator<Capability> for CapabilitySet {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> CapabilitySet {
        capabilities.into_iter().fold(CapabilitySet::EMPTY, CapabilitySet::with)
    }
}

/// The names with commas between, `none` or `ALL`.
impl fmt::Display for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            CapabilitySet::EMPTY => f.write_str("none"),
            CapabilitySet::ALL => f.write_str("ALL"),
            set => {
                for (index, capability) in set.iter().enumerate() {
                    write!(f, "{}{capability}", if index == 0 { "" } else { "," })?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_the_kernels() {
        for known in caps::all() {
            let ours: Capability = known.to_string().parse().unwrap();
            assert_eq!(u64::from(ours.number()), u64::from(known.index()), "{known}");
            assert_eq!(ours.name(), known.to_string());
        }
        assert_eq!(caps::all().len(), NAMES.len());
        assert_eq!("sys_admin".parse::<Capability>().unwrap(), Capability::SYS_ADMIN);
        assert_eq!("Cap_Checkpoint_Restore".parse::<Capability>().unwrap(), Capability::CHECKPOINT_RESTORE);
        for bad in ["", "CAP_", "CAP_NOPE", "cap_CAP_CHOWN", "ALL", "chown "] {
            assert!(bad.parse::<Capability>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn dockers_default_has_fourteen() {
        assert_eq!(CapabilitySet::DEFAULT.bits(), 0xa804_25fb);
        assert_eq!(CapabilitySet::DEFAULT.len(), 14);
    }

    #[test]
    fn sets_combine_and_print() {
        let set = CapabilitySet::from_names(["chown", "CAP_KILL"]).unwrap();
        assert_eq!(set.to_string(), "CAP_CHOWN,CAP_KILL");
        assert_eq!(set.iter().collect::<CapabilitySet>(), set);
        assert_eq!(set.without(Capability::KILL), CapabilitySet::of(&[Capability::CHOWN]));
        assert_eq!(CapabilitySet::from_names(["all"]).unwrap(), CapabilitySet::ALL);
        assert_eq!(CapabilitySet::ALL.difference(CapabilitySet::ALL), CapabilitySet::EMPTY);
        assert_eq!(CapabilitySet::from_bits(u64::MAX), CapabilitySet::ALL);
        assert!(CapabilitySet::from_names(["chown", "nope"]).is_err());
    }

    #[test]
    fn what_the_host_lacks_is_reported() {
        let (given, lacking) = CapabilitySet::ALL.available().unwrap();
        assert_eq!(given.union(lacking), CapabilitySet::ALL);
        assert_eq!(given, CapabilitySet::bounding().unwrap());
        assert_eq!(given.intersection(lacking), CapabilitySet::EMPTY);
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap();
        assert_eq!(u64::from_str_radix(line.trim(), 16).unwrap(), given.bits());
    }
}
