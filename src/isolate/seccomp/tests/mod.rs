//! The whole way from a profile to what the kernel would decide.

mod containers;
mod kernel;
mod random;
mod runtime_spec;

use super::run::Call;
use super::{Action, Architecture, Condition, Filter, Profile};
use crate::isolate::CapabilitySet;

const PAIRS: [(Architecture, [Architecture; 2]); 2] = [
    (Architecture::X86_64, [Architecture::X86_64, Architecture::X86]),
    (Architecture::Aarch64, [Architecture::Aarch64, Architecture::Arm]),
];

/// Every number that a table could hold, and the edges of everything else.
fn numbers() -> impl Iterator<Item = u32> {
    let edges = [0xf0000u32, 0x4000_0000, 0x4000_0000 + 512, 0x8000_0000, 0xc000_0000];
    (0..1200).chain(edges.into_iter().flat_map(|edge| edge - 16..edge + 600)).chain(u32::MAX - 600..=u32::MAX)
}

fn run(filter: &Filter, architecture: Architecture, number: u32, arguments: [u64; 6]) -> u32 {
    filter.run(&Call { number, architecture: architecture.audit_number(), arguments })
}

#[test]
fn the_default_profile_is_small() {
    let default = Profile::default_for(&CapabilitySet::DEFAULT);
    for (native, limit) in [(Architecture::X86_64, 120), (Architecture::Aarch64, 120)] {
        let alone = default.clone().architectures([]).compile(native).unwrap();
        let both = default.compile(native).unwrap();
        println!(
            "{native}: {} instructions alone, {} with 32 bits",
            alone.instructions().len(),
            both.instructions().len()
        );
        assert!(alone.instructions().len() <= limit, "{alone}");
        assert!(both.instructions().len() <= 2 * limit, "{both}");
        both.verify().unwrap();
    }
}

#[test]
fn foreign_architectures_and_x32_are_killed() {
    let filter = Profile::new(Action::Allow).compile(Architecture::X86_64).unwrap();
    let kill = libc::SECCOMP_RET_KILL_PROCESS;
    for architecture in [Architecture::X86, Architecture::Aarch64, Architecture::Arm] {
        assert_eq!(run(&filter, architecture, 0, [0; 6]), kill);
    }
    for (number, expected) in [
        (0x3fff_ffff, libc::SECCOMP_RET_ALLOW),
        (0x4000_0000, kill),
        (0xffff_fffe, kill),
        // A tracer's "skip this call" is no call of x32.
        (0xffff_ffff, libc::SECCOMP_RET_ALLOW),
    ] {
        assert_eq!(run(&filter, Architecture::X86_64, number, [0; 6]), expected, "{number:#x}");
    }
}

#[test]
fn a_refused_socket_call_has_no_way_round_on_i386() {
    let calls = ["socket", "shmget"].map(|name| name.parse().unwrap());
    let filter = Profile::new(Action::Allow)
        .architectures([Architecture::X86])
        .rule(Action::Errno(1), calls)
        .compile(Architecture::X86_64)
        .unwrap();
    let (refused, allowed) = (libc::SECCOMP_RET_ERRNO | 1, libc::SECCOMP_RET_ALLOW);
    for (number, first, expected) in [
        (359, 0, refused),
        (395, 0, refused),
        (102, 1, refused),
        (102, 2, allowed),
        (117, 23, refused),
        (117, 23 | 1 << 16, refused),
        (117, 24, allowed),
    ] {
        assert_eq!(run(&filter, Architecture::X86, number, [first, 0, 0, 0, 0, 0]), expected, "{number} {first}");
    }
}

#[test]
fn values_that_share_a_half_are_told_apart() {
    use super::{Comparison, Syscall};
    let values = [5, 6, 1 << 32 | 5, 1 << 32 | 7, 5 << 32];
    let read = Syscall::named("read").unwrap();
    let filter = values
        .iter()
        .fold(Profile::new(Action::Allow), |profile, &value| {
            profile.rule_if(Action::Errno(1), [read], [Condition::new(2, Comparison::Equal(value))])
        })
        .compile(Architecture::X86_64)
        .unwrap();
    for high in 0..8 {
        for low in 0..9 {
            let value = high << 32 | low;
            let refused = run(&filter, Architecture::X86_64, 0, [0, 0, value, 0, 0, 0]) != libc::SECCOMP_RET_ALLOW;
            assert_eq!(refused, values.contains(&value), "{value:#x}");
        }
    }
}

#[test]
fn nonsense_is_refused_with_a_reason() {
    use super::{Comparison, Syscall};
    use crate::ErrorKind::{InvalidInput, LimitExceeded};
    let read = || [Syscall::named("read").unwrap()];
    let write = || [Syscall::named("write").unwrap()];
    let new = || Profile::new(Action::Allow);
    let many = (0..2000).fold(new(), |profile, _| profile.rule(Action::Log, read()));
    let large = (0..900u64).fold(new(), |profile, value| {
        profile.rule_if(
            Action::Errno(value as u16),
            Syscall::all().take(8),
            [Condition::new(0, Comparison::Equal(value << 30))],
        )
    });
    for (profile, kind) in [
        (Profile::new(Action::Errno(4096)), InvalidInput),
        (Profile::new(Action::Notify), InvalidInput),
        (new().rule(Action::Notify, write()), InvalidInput),
        (new().rule(Action::Errno(5000), read()), InvalidInput),
        (new().rule_if(Action::Log, read(), [Condition::new(6, Comparison::Equal(0))]), InvalidInput),
        (many, LimitExceeded),
        (large, LimitExceeded),
    ] {
        assert_eq!(profile.compile(Architecture::X86_64).unwrap_err().kind(), kind, "{profile:.200?}");
    }
    assert!(new().rule(Action::Notify, read()).compile(Architecture::X86_64).unwrap().notifies());
}

#[test]
fn a_filter_prints_as_a_listing() {
    use super::{Comparison, Syscall};
    let filter = Profile::new(Action::Allow)
        .rule_if(
            Action::Errno(libc::EPERM as u16),
            [Syscall::named("personality").unwrap()],
            [Condition::new(0, Comparison::MaskedEqual { mask: 0xff, value: 8 })],
        )
        .compile(Architecture::X86_64)
        .unwrap();
    insta::assert_snapshot!(filter, @r"
   0 load architecture
   1 if == 0xc000003e then 2 else 7
   2 load number
   3 if >= 0x87 then 4 else 12
   4 if >= 0x88 then 5 else 8
   5 if >= 0x40000000 then 6 else 12
   6 if >= 0xffffffff then 12 else 7
   7 return kill-process
   8 load argument 0 low
   9 and 0xff
  10 if == 0x8 then 11 else 12
  11 return errno EPERM
  12 return allow
");
    assert_eq!(filter.to_bytes().len(), filter.instructions().len() * 8);
}
