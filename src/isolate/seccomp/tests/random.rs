//! Random profiles against an evaluator that knows nothing of trees.

use super::{Action, Architecture, Condition, PAIRS, Profile, run};
use crate::isolate::seccomp::multiplexed::multiplexed;
use crate::isolate::seccomp::{Comparison, Syscall};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

type Rule = (Action, Vec<Syscall>, Vec<Condition>);

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        select(vec![Action::KillProcess, Action::KillThread, Action::Trap, Action::Log, Action::Allow]),
        (0u16..4096).prop_map(Action::Errno),
        any::<u16>().prop_map(Action::Trace),
    ]
}

/// Few different values, so that conditions meet; both halves of the word.
fn value() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..4, (0u64..3, 0u64..3).prop_map(|(high, low)| high << 32 | low), any::<u64>(), Just(u64::MAX)]
}

fn comparison() -> impl Strategy<Value = Comparison> {
    (0..7, value(), value()).prop_map(|(kind, value, mask)| match kind {
        0 => Comparison::NotEqual(value),
        1 => Comparison::Less(value),
        2 => Comparison::LessOrEqual(value),
        3 => Comparison::Equal(value),
        4 => Comparison::GreaterOrEqual(value),
        5 => Comparison::Greater(value),
        _ => Comparison::MaskedEqual { mask, value },
    })
}

fn rule() -> impl Strategy<Value = Rule> {
    let calls = prop_oneof![
        vec(select(Syscall::all().collect::<Vec<_>>()), 0..30),
        vec(
            select(
                ["read", "socket", "socketcall", "ipc", "shmget", "clone"].map(|name| name.parse().unwrap()).to_vec()
            ),
            1..4
        ),
    ];
    let condition = (0u8..3, comparison()).prop_map(|(argument, comparison)| Condition::new(argument, comparison));
    (action(), calls, vec(condition, 0..4))
}

fn holds(condition: &Condition, arguments: &[u64; 6]) -> bool {
    let argument = arguments[usize::from(condition.argument)];
    match condition.comparison {
        Comparison::NotEqual(value) => argument != value,
        Comparison::Less(value) => argument < value,
        Comparison::LessOrEqual(value) => argument <= value,
        Comparison::Equal(value) => argument == value,
        Comparison::GreaterOrEqual(value) => argument >= value,
        Comparison::Greater(value) => argument > value,
        Comparison::MaskedEqual { mask, value } => argument & mask == value & mask,
    }
}

fn matches(rule: &Rule, architecture: Architecture, number: u32, arguments: &[u64; 6]) -> bool {
    let (action, calls, conditions) = rule;
    let hold = |conditions: &[Condition]| conditions.iter().all(|condition| holds(condition, arguments));
    calls.iter().any(|call| {
        let direct = call.number(architecture) == Some(number) && hold(conditions);
        let carried = architecture == Architecture::X86
            && (conditions.is_empty() || !matches!(action, Action::Allow | Action::Log))
            && multiplexed(*call)
                .is_some_and(|(carrier, operation)| carrier.number(architecture) == Some(number) && hold(operation));
        direct || carried
    })
}

fn compare(default: Action, rules: &[Rule], samples: &[(Index, i8, [u64; 3])]) -> Result<(), TestCaseError> {
    let profile = rules.iter().fold(
        Profile::new(default).architectures([Architecture::X86, Architecture::Arm]),
        |profile, (action, calls, conditions)| {
            profile.rule_if(*action, calls.iter().copied(), conditions.iter().copied())
        },
    );
    for (native, architectures) in PAIRS {
        let filter = match profile.compile(native) {
            Ok(filter) => filter,
            Err(error) => {
                prop_assert_eq!(error.kind(), crate::ErrorKind::LimitExceeded);
                continue;
            }
        };
        prop_assert_eq!(filter.verify(), Ok(()));
        for architecture in architectures {
            let named: Vec<u32> = rules
                .iter()
                .flat_map(|(_, calls, _)| calls)
                .filter_map(|call| call.number(architecture))
                .chain([102, 117])
                .collect();
            for (index, step, first) in samples {
                let number = index.get(&named).saturating_add_signed(i32::from(*step));
                let keep = if architecture.is_64_bit() { u64::MAX } else { u64::from(u32::MAX) };
                let arguments = [first[0] & keep, first[1] & keep, first[2] & keep, 0, 0, 0];
                let decided = rules.iter().find(|rule| matches(rule, architecture, number, &arguments));
                let expected = decided.map_or(default, |rule| rule.0).return_value();
                let got = run(&filter, architecture, number, arguments);
                prop_assert_eq!(got, expected, "{} {} {:x?}\n{}", architecture, number, arguments, filter);
            }
        }
    }
    Ok(())
}

fn samples() -> impl Strategy<Value = Vec<(Index, i8, [u64; 3])>> {
    vec((any::<Index>(), prop_oneof![4 => Just(0i8), 1 => -1i8..=1], [value(), value(), value()]), 200)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn few_rules_decide_as_written(default in action(), rules in vec(rule(), 0..12), samples in samples()) {
        compare(default, &rules, &samples)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]

    /// So many that jumps need detours.
    #[test]
    fn many_rules_decide_as_written(default in action(), rules in vec(rule(), 40..90), samples in samples()) {
        compare(default, &rules, &samples)?;
    }
}
