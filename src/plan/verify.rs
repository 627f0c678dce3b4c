//! The proof that a plan is sound, made before anything is cloned.
//!
//! The stage trusts what this has checked: it interprets plans without a bound of its own.

use super::layout::{Header, MAGIC, PLAN_BUDGET};
use super::op::{NO_SLOT, Op, OpCode, SLOTS};
use super::phase::Phase;
use super::signature::{Argument, signature};
use std::ops::Range;

/// Why a plan is not sound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Defect {
    #[error("the plan is shorter than its header, not aligned, or larger than {PLAN_BUDGET} bytes")]
    Size,
    #[error("the header names a part that is not within the plan")]
    Header,
    #[error("operation {0} has no known code or phase")]
    Code(usize),
    #[error("operation {0} stands in a phase that is not its own, or behind a later one")]
    Phase(usize),
    #[error("operation {0} uses a slot that nothing has filled")]
    Slot(usize),
    #[error("operation {0} points outside the plan")]
    Bounds(usize),
    #[error("operation {0} sets an argument that it does not have")]
    Unused(usize),
    #[error("the plan does not begin by closing foreign descriptors and end by executing")]
    Ends,
    #[error("the plan does not have its exec close descriptors")]
    Open,
    #[error("operation {0} comes behind the operation that ends the plan")]
    Trailing(usize),
}

/// A plan whose parts have been proved to lie within it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Verified<'a> {
    bytes: &'a [u8],
    header: Header,
}

impl<'a> Verified<'a> {
    /// The number of operations of the start.
    pub(crate) fn len(&self) -> usize {
        self.header.op_count as usize
    }

    /// The number of all operations: those behind the start enter what it made.
    pub(crate) fn whole_len(&self) -> usize {
        self.len() + self.header.enter_count as usize
    }

    /// Operation `index`, below [`whole_len`](Self::whole_len).
    pub(crate) fn op(&self, index: usize) -> Op {
        read_op(self.bytes, self.header.ops as usize + index * size_of::<Op>())
    }

    /// The (slot, descriptor) pairs the plan begins with.
    pub(crate) fn inherited(&self) -> impl Iterator<Item = (u32, u32)> + use<'a> {
        let start = self.header.inherited as usize;
        let bytes = self.bytes;
        (0..self.header.inherited_count as usize)
            .map(move |index| (word(bytes, start + index * 8), word(bytes, start + index * 8 + 4)))
    }

    /// The text at `offset`, which an operation names.
    pub(crate) fn text(&self, offset: u32) -> &'a [u8] {
        text(self.bytes, offset as usize).unwrap_or_default()
    }

    /// The texts of the list at `offset`, which an operation names.
    pub(crate) fn texts(&self, offset: u32) -> Vec<&'a [u8]> {
        texts(self.bytes, offset as usize).unwrap_or_default()
    }
}

/// Proves that `bytes` is a sound plan.
pub(crate) fn verify(bytes: &[u8]) -> Result<Verified<'_>, Defect> {
    let header = read_header(bytes)?;
    let verified = Verified { bytes, header };
    let mut filled = [false; SLOTS];
    let mut previous = None;
    for (slot, descriptor) in verified.inherited() {
        if previous.is_some_and(|previous| previous >= descriptor) || descriptor > i32::MAX as u32 {
            return Err(Defect::Header);
        }
        previous = Some(descriptor);
        if slot == NO_SLOT {
            continue;
        }
        let slot = filled.get_mut(slot as usize).ok_or(Defect::Header)?;
        if std::mem::replace(slot, true) {
            return Err(Defect::Header);
        }
    }
    check_range(&verified, 0..verified.len(), filled)?;
    if header.enter_count > 0 {
        check_range(&verified, verified.len()..verified.whole_len(), filled)?;
    }
    Ok(verified)
}

/// Proves a range of operations, which begins with the slots that are `filled`.
fn check_range(plan: &Verified<'_>, range: Range<usize>, mut filled: [bool; SLOTS]) -> Result<(), Defect> {
    let mut phase = Phase::Fence;
    for index in range.clone() {
        let op = plan.op(index);
        phase = check_phase(index, &op, phase)?;
        check_arguments(index, &op, plan.bytes, &mut filled)?;
    }
    check_ends(plan, range)
}

fn read_header(bytes: &[u8]) -> Result<Header, Defect> {
    if bytes.len() < size_of::<Header>() || !bytes.len().is_multiple_of(8) || bytes.len() > PLAN_BUDGET {
        return Err(Defect::Size);
    }
    let field = |index: usize| word(bytes, index * 4);
    let header = Header {
        magic: field(0),
        size: field(1),
        ops: field(2),
        op_count: field(3),
        inherited: field(4),
        inherited_count: field(5),
        status: field(6),
        role: field(7),
        orders: field(8),
        orders_size: field(9),
        drill_op: field(10),
        drill_errno: field(11),
        enter_count: field(12),
        reserved: field(13),
    };
    let within = |offset: u32, count: u32, size: usize, alignment: u32| {
        offset.is_multiple_of(alignment)
            && (offset as usize) >= size_of::<Header>()
            && (count as usize)
                .checked_mul(size)
                .and_then(|size| size.checked_add(offset as usize))
                .is_some_and(|end| end <= bytes.len())
    };
    let sound = header.magic == MAGIC
        && header.size as usize == bytes.len()
        && header
            .op_count
            .checked_add(header.enter_count)
            .is_some_and(|count| within(header.ops, count, size_of::<Op>(), 8))
        && within(header.inherited, header.inherited_count, 8, 4)
        && header.inherited_count as usize <= 2 * SLOTS
        && (header.orders == 0 || within(header.orders, header.orders_size, 1, 8));
    if sound { Ok(header) } else { Err(Defect::Header) }
}

fn check_phase(index: usize, op: &Op, reached: Phase) -> Result<Phase, Defect> {
    let code = OpCode::from_number(op.code).ok_or(Defect::Code(index))?;
    let phase = *Phase::ALL.get(op.phase as usize).ok_or(Defect::Code(index))?;
    let (first, last) = signature(code).phases;
    if phase < reached || phase < first || phase > last {
        return Err(Defect::Phase(index));
    }
    Ok(phase)
}

fn check_arguments(index: usize, op: &Op, bytes: &[u8], filled: &mut [bool; SLOTS]) -> Result<(), Defect> {
    let code = OpCode::from_number(op.code).ok_or(Defect::Code(index))?;
    let kinds = signature(code).arguments;
    for (position, &argument) in op.arguments.iter().enumerate() {
        let count = op.arguments.get(position + 1).copied().unwrap_or(0);
        let array = |size: usize, alignment: usize| {
            let end = (count as usize).checked_mul(size).and_then(|size| size.checked_add(argument as usize));
            (argument as usize).is_multiple_of(alignment) && end.is_some_and(|end| end <= bytes.len())
        };
        let sound = match kinds.get(position).copied().unwrap_or(Argument::Unused) {
            Argument::Unused if argument != 0 => return Err(Defect::Unused(index)),
            Argument::Unused | Argument::Number(_) | Argument::Count => true,
            Argument::Input => {
                if !filled.get(argument as usize).copied().unwrap_or(false) {
                    return Err(Defect::Slot(index));
                }
                true
            }
            Argument::Last => {
                let slot = filled.get_mut(argument as usize).ok_or(Defect::Slot(index))?;
                if !std::mem::replace(slot, false) {
                    return Err(Defect::Slot(index));
                }
                true
            }
            Argument::Output if argument == NO_SLOT => true,
            Argument::Output => {
                *filled.get_mut(argument as usize).ok_or(Defect::Slot(index))? = true;
                true
            }
            Argument::Text => text(bytes, argument as usize).is_some(),
            Argument::Texts => argument % 8 == 0 && texts(bytes, argument as usize).is_some(),
            Argument::Bytes => array(1, 1),
            Argument::Words => array(4, 4),
            Argument::Filter => array(8, 8) && (1..=4096).contains(&count),
        };
        if !sound {
            return Err(Defect::Bounds(index));
        }
    }
    Ok(())
}

fn check_ends(plan: &Verified<'_>, range: Range<usize>) -> Result<(), Defect> {
    let code_is = |index: usize, code: OpCode| plan.op(index).code == code as u16;
    let (first, last) = (range.start, range.end.wrapping_sub(1));
    if range.len() < 2 || !code_is(first, OpCode::CloseOthers) || !code_is(last, OpCode::Execute) {
        return Err(Defect::Ends);
    }
    // What a payload would get is the socket to the parent, among others.
    if !(first..last).any(|index| code_is(index, OpCode::CloseOnExec)) {
        return Err(Defect::Open);
    }
    match (first..last).find(|&index| code_is(index, OpCode::Execute)) {
        Some(index) => Err(Defect::Trailing(index + 1)),
        None => Ok(()),
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    if let Some(source) = bytes.get(at..at + 4) {
        word.copy_from_slice(source);
    }
    u32::from_ne_bytes(word)
}

fn read_op(bytes: &[u8], at: usize) -> Op {
    let first = word(bytes, at).to_ne_bytes();
    Op {
        code: u16::from_ne_bytes([first[0], first[1]]),
        phase: first[2],
        tolerate: first[3],
        arguments: std::array::from_fn(|index| word(bytes, at + 4 + index * 4)),
    }
}

fn text(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let rest = bytes.get(at..)?;
    let end = rest.iter().position(|&byte| byte == 0)?;
    Some(&rest[..end])
}

fn texts(bytes: &[u8], mut at: usize) -> Option<Vec<&[u8]>> {
    let mut list = Vec::new();
    loop {
        let entry = bytes.get(at..at.checked_add(8)?)?;
        match u64::from_ne_bytes(entry.try_into().ok()?) {
            0 => return Some(list),
            offset => list.push(text(bytes, usize::try_from(offset).ok()?)?),
        }
        at += 8;
    }
}
