//! From rules to ranges: what one architecture decides for every number.

use super::multiplexed::multiplexed;
use super::profile::{Action, Condition, Profile};
use super::syscall::Architecture;
use std::collections::HashMap;

/// What becomes of a number: the first check whose conditions all hold, else `otherwise`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Decision<'a> {
    pub(super) checks: Vec<(&'a [Condition], Action)>,
    pub(super) otherwise: Action,
}

/// The numbers of one architecture. Each range reaches up to the next one's start; the first starts at 0.
#[derive(Debug)]
pub(super) struct Ranges<'a> {
    pub(super) decisions: Vec<Decision<'a>>,
    /// The first number, and the index of the decision.
    pub(super) ranges: Vec<(u32, usize)>,
}

/// The bit that marks a number of the x32 variant (`__X32_SYSCALL_BIT`).
const X32: u32 = 0x4000_0000;

/// What a tracer writes to have a call skipped: no call of x32.
const SKIPPED: u32 = u32::MAX;

/// A rule as it concerns one number; sorts by number, then by the order of the rules, direct before multiplexed.
type Entry<'a> = (u32, usize, Option<&'a [Condition]>);

/// What `profile` decides on `architecture`.
pub(super) fn ranges(profile: &Profile, architecture: Architecture) -> Ranges<'_> {
    let mut interned = Interned::default();
    let default = interned.index(Decision { checks: Vec::new(), otherwise: profile.default });
    let entries = entries(profile, architecture);
    let mut ranges = vec![(0, default)];
    for group in entries.chunk_by(|a, b| a.0 == b.0) {
        let number = group[0].0;
        let index = interned.index(decision(profile, group));
        if ranges.last().is_some_and(|&(start, _)| start == number) {
            ranges.pop();
        }
        ranges.push((number, index));
        // The last number of all has none after it; no table holds it.
        ranges.push((number.saturating_add(1), default));
    }
    if architecture == Architecture::X86_64 {
        let foreign = interned.index(Decision { checks: Vec::new(), otherwise: Action::KillProcess });
        ranges.extend([(X32, foreign), (SKIPPED, default)]);
    }
    ranges.dedup_by(|later, earlier| later.1 == earlier.1);
    Ranges { decisions: interned.decisions, ranges }
}

fn entries(profile: &Profile, architecture: Architecture) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry<'_>> = Vec::with_capacity(512);
    for (order, rule) in profile.rules.iter().enumerate() {
        for call in rule.syscalls.iter() {
            if let Some(number) = call.number(architecture) {
                entries.push((number, order, None));
            }
            if architecture != Architecture::X86 {
                continue;
            }
            let unseen = !rule.conditions.is_empty() && matches!(rule.action, Action::Allow | Action::Log);
            if let Some((carrier, operation)) = multiplexed(*call).filter(|_| !unseen)
                && let Some(number) = carrier.number(architecture)
            {
                entries.push((number, order, Some(operation)));
            }
        }
    }
    entries.sort_by_key(|&(number, order, operation)| (number, order, operation.is_some()));
    entries
}

fn decision<'a>(profile: &'a Profile, entries: &[Entry<'a>]) -> Decision<'a> {
    let mut decision = Decision { checks: Vec::new(), otherwise: profile.default };
    for &(_, order, operation) in entries {
        let rule = &profile.rules[order];
        let conditions = operation.unwrap_or(&rule.conditions);
        if conditions.is_empty() {
            decision.otherwise = rule.action;
            break;
        }
        if !decision.checks.iter().any(|(earlier, _)| *earlier == conditions) {
            decision.checks.push((conditions, rule.action));
        }
    }
    while decision.checks.last().is_some_and(|&(_, action)| action == decision.otherwise) {
        decision.checks.pop();
    }
    decision
}

/// Every different decision once.
#[derive(Default)]
struct Interned<'a> {
    decisions: Vec<Decision<'a>>,
    plain: HashMap<Action, usize>,
    checked: HashMap<Decision<'a>, usize>,
}

impl<'a> Interned<'a> {
    fn index(&mut self, decision: Decision<'a>) -> usize {
        let next = self.decisions.len();
        let index = if decision.checks.is_empty() {
            *self.plain.entry(decision.otherwise).or_insert(next)
        } else {
            *self.checked.entry(decision.clone()).or_insert(next)
        };
        if index == next {
            self.decisions.push(decision);
        }
        index
    }
}
