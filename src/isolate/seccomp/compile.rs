//! From decisions to a program: the architecture, then a balanced tree over the numbers, then checks of arguments.

use super::assembler::{Assembler, Label};
use super::decision::{Decision, Ranges, ranges};
use super::filter::{ARCHITECTURE, EQUAL, Filter, GREATER, GREATER_OR_EQUAL, NUMBER, argument_low};
use super::profile::{Action, Comparison, Condition, Profile};
use super::syscall::{Architecture, Syscall};
use crate::{Error, ErrorKind, Result};

/// Rules, and calls times conditions over all rules, that a profile may have: far above any real one, and little enough
/// that compiling stays in the milliseconds.
const MAX_RULES: usize = 1024;
const MAX_CHECKS: usize = 1 << 15;

/// The program of `profile` for a kernel of the architecture `native`.
pub(super) fn compile(profile: &Profile, native: Architecture) -> Result<Filter> {
    validate(profile)?;
    let mut architectures = vec![native];
    for &architecture in &profile.architectures {
        if architecture.runs_on(native) && !architectures.contains(&architecture) {
            architectures.push(architecture);
        }
    }
    let mut assembler = Assembler::default();
    let mut notifies = false;
    let mut entries = Vec::new();
    // Written from the end: the native architecture comes to stand first, next to the dispatch.
    for &architecture in architectures.iter().rev() {
        let ranges = ranges(profile, architecture);
        notifies |= ranges.decisions.iter().any(Decision::notifies);
        entries.push((architecture, emit_ranges(&mut assembler, &ranges, architecture.is_64_bit())?));
    }
    let mut next = assembler.ret(Action::KillProcess);
    for &(architecture, entry) in &entries {
        next = assembler.branch(EQUAL, architecture.audit_number(), entry, next);
    }
    assembler.load(ARCHITECTURE, next);
    within_limit(&assembler)?;
    Ok(Filter { instructions: assembler.finish(), flags: profile.flags, notifies })
}

fn validate(profile: &Profile) -> Result<()> {
    let checks: usize =
        profile.rules.iter().map(|rule| rule.syscalls.len().saturating_mul(1 + rule.conditions.len())).sum();
    within_budget(profile.rules.len(), checks)?;
    let actions = std::iter::once(profile.default).chain(profile.rules.iter().map(|rule| rule.action));
    for action in actions {
        if let Action::Errno(errno @ 4096..) = action {
            return Err(Error::invalid(format!("seccomp errno {errno} is above 4095")));
        }
    }
    let write = Syscall::named("write");
    let unreachable = profile.default == Action::Notify
        || profile
            .rules
            .iter()
            .any(|rule| rule.action == Action::Notify && rule.syscalls.iter().any(|&call| Some(call) == write));
    if unreachable {
        return Err(Error::invalid("seccomp action notify cannot be the default or the answer to write")
            .hint("the process that hands over the notification descriptor would wait for itself"));
    }
    for condition in profile.rules.iter().flat_map(|rule| rule.conditions.iter()) {
        if condition.argument > 5 {
            return Err(Error::invalid(format!("seccomp argument {} is above 5", condition.argument)));
        }
    }
    Ok(())
}

/// Whether so many rules and checks are within what a profile may have.
pub(super) fn within_budget(rules: usize, checks: usize) -> Result<()> {
    if rules <= MAX_RULES && checks <= MAX_CHECKS {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::LimitExceeded,
        format!("a seccomp profile may have {MAX_RULES} rules with {MAX_CHECKS} checks in all"),
    ))
}

fn within_limit(assembler: &Assembler) -> Result<()> {
    if assembler.len() <= Filter::MAX_INSTRUCTIONS {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::LimitExceeded,
        format!("the seccomp profile needs more than {} instructions, the kernel's limit", Filter::MAX_INSTRUCTIONS),
    ))
}

impl Decision<'_> {
    fn notifies(&self) -> bool {
        self.otherwise == Action::Notify || self.checks.iter().any(|&(_, action)| action == Action::Notify)
    }
}

/// One architecture: loads the number and finds the decision.
fn emit_ranges(assembler: &mut Assembler, ranges: &Ranges<'_>, wide: bool) -> Result<Label> {
    let mut labels = Vec::with_capacity(ranges.decisions.len());
    for decision in &ranges.decisions {
        labels.push(emit_decision(assembler, decision, wide));
        within_limit(assembler)?;
    }
    let root = emit_tree(assembler, &ranges.ranges, &mut Leaves { ranges, labels });
    Ok(assembler.load(NUMBER, root))
}

/// Where each decision stands.
struct Leaves<'a> {
    ranges: &'a Ranges<'a>,
    labels: Vec<Label>,
}

impl Leaves<'_> {
    fn label(&mut self, assembler: &mut Assembler, decision: usize) -> Label {
        let known = &self.ranges.decisions[decision];
        self.labels[decision] = match known.checks.is_empty() {
            true => assembler.ret(known.otherwise),
            false => assembler.shared(self.labels[decision]),
        };
        self.labels[decision]
    }
}

fn emit_tree(assembler: &mut Assembler, ranges: &[(u32, usize)], leaves: &mut Leaves<'_>) -> Label {
    match *ranges {
        [(_, decision)] => leaves.label(assembler, decision),
        // A single number between two ranges of one decision takes one comparison, not two.
        [(_, before), (number, alone), (after, behind)] if before == behind && after - number == 1 => {
            let alone = leaves.label(assembler, alone);
            let rest = leaves.label(assembler, before);
            assembler.branch(EQUAL, number, alone, rest)
        }
        _ => {
            let middle = split(ranges);
            let upper = emit_tree(assembler, &ranges[middle..], leaves);
            let lower = emit_tree(assembler, &ranges[..middle], leaves);
            assembler.branch(GREATER_OR_EQUAL, ranges[middle].0, upper, lower)
        }
    }
}

/// Half of the ranges, such that both halves can be cut into threes where that is near the middle.
fn split(ranges: &[(u32, usize)]) -> usize {
    let middle = ranges.len() / 2;
    let odd = middle - 1 + middle % 2;
    if ranges.len() > 3 && odd > 0 { odd } else { middle }
}

fn emit_decision(assembler: &mut Assembler, decision: &Decision<'_>, wide: bool) -> Label {
    let mut next = assembler.ret(decision.otherwise);
    let possible = |conditions: &[Condition]| conditions.iter().all(|condition| !never(condition, wide));
    let checks: Vec<_> = decision.checks.iter().filter(|(conditions, _)| possible(conditions)).collect();
    // Questions for one value each of the same argument load it once.
    for group in checks.chunk_by(|a, b| a.1 == b.1 && same_word(a.0, b.0)).rev() {
        let action = assembler.ret(group[0].1);
        next = match group {
            [(conditions, _)] => conditions
                .iter()
                .rev()
                .fold(action, |then, condition| emit_condition(assembler, condition, wide, then, next)),
            _ => emit_values(assembler, group, wide, action, next),
        };
    }
    next
}

/// The argument and the value, where the conditions are one question for a value.
fn single_value(conditions: &[Condition]) -> Option<(u8, u64)> {
    match *conditions {
        [Condition { argument, comparison: Comparison::Equal(value) }] => Some((argument, value)),
        _ => None,
    }
}

fn same_word(a: &[Condition], b: &[Condition]) -> bool {
    let word = |conditions| single_value(conditions).map(|(argument, value)| (argument, value >> 32));
    word(a).is_some() && word(a) == word(b)
}

fn emit_values(
    assembler: &mut Assembler,
    group: &[&(&[Condition], Action)],
    wide: bool,
    then: Label,
    otherwise: Label,
) -> Label {
    let values = group.iter().filter_map(|(conditions, _)| single_value(conditions));
    let mut place = otherwise;
    let mut word = (0, 0);
    for (argument, value) in values.rev() {
        place = assembler.branch(EQUAL, value as u32, then, place);
        word = (argument, (value >> 32) as u32);
    }
    let (argument, high) = word;
    place = assembler.load(argument_low(argument), place);
    if wide {
        place = assembler.branch(EQUAL, high, place, otherwise);
        place = assembler.load(argument_low(argument) + 4, place);
    }
    place
}

/// Whether a condition cannot hold of an argument of 32 bits.
fn never(condition: &Condition, wide: bool) -> bool {
    let high = |value: u64| value >> 32 != 0;
    match condition.comparison {
        _ if wide => false,
        Comparison::Equal(value) | Comparison::GreaterOrEqual(value) | Comparison::Greater(value) => high(value),
        Comparison::MaskedEqual { mask, value } => high(mask & value),
        Comparison::NotEqual(_) | Comparison::Less(_) | Comparison::LessOrEqual(_) => false,
    }
}

/// Goes on at `then` where the condition holds.
fn emit_condition(
    assembler: &mut Assembler,
    condition: &Condition,
    wide: bool,
    then: Label,
    otherwise: Label,
) -> Label {
    let argument = condition.argument;
    match condition.comparison {
        Comparison::Equal(value) => emit_masked(assembler, argument, u64::MAX, value, wide, then, otherwise),
        Comparison::NotEqual(value) => emit_masked(assembler, argument, u64::MAX, value, wide, otherwise, then),
        Comparison::MaskedEqual { mask, value } => {
            emit_masked(assembler, argument, mask, mask & value, wide, then, otherwise)
        }
        Comparison::Greater(value) => emit_order(assembler, argument, GREATER, value, wide, then, otherwise),
        Comparison::LessOrEqual(value) => emit_order(assembler, argument, GREATER, value, wide, otherwise, then),
        Comparison::GreaterOrEqual(value) => {
            emit_order(assembler, argument, GREATER_OR_EQUAL, value, wide, then, otherwise)
        }
        Comparison::Less(value) => emit_order(assembler, argument, GREATER_OR_EQUAL, value, wide, otherwise, then),
    }
}

fn emit_masked(
    assembler: &mut Assembler,
    argument: u8,
    mask: u64,
    value: u64,
    wide: bool,
    then: Label,
    otherwise: Label,
) -> Label {
    let (low, high) = (argument_low(argument), argument_low(argument) + 4);
    if !wide && value >> 32 != 0 {
        return otherwise;
    }
    let mut place = emit_word(assembler, low, mask as u32, value as u32, then, otherwise);
    if wide {
        place = emit_word(assembler, high, (mask >> 32) as u32, (value >> 32) as u32, place, otherwise);
    }
    place
}

fn emit_word(assembler: &mut Assembler, offset: u32, mask: u32, value: u32, then: Label, otherwise: Label) -> Label {
    if mask == 0 {
        return then;
    }
    let mut place = assembler.branch(EQUAL, value, then, otherwise);
    if then == otherwise {
        return place;
    }
    if mask != u32::MAX {
        place = assembler.and(mask, place);
    }
    assembler.load(offset, place)
}

/// `code` is the comparison of the low words, which counts where the high ones are equal.
fn emit_order(
    assembler: &mut Assembler,
    argument: u8,
    code: u16,
    value: u64,
    wide: bool,
    then: Label,
    otherwise: Label,
) -> Label {
    let (low, high) = (argument_low(argument), argument_low(argument) + 4);
    let value_high = (value >> 32) as u32;
    if !wide && value_high != 0 {
        return otherwise;
    }
    let place = assembler.branch(code, value as u32, then, otherwise);
    let mut place = assembler.load(low, place);
    if wide {
        place = assembler.branch(EQUAL, value_high, place, otherwise);
        place = assembler.branch(GREATER, value_high, then, place);
        place = assembler.load(high, place);
    }
    place
}
