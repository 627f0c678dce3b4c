//! Writes plans: an operation and the sentence for its failure are pushed together, so that none can lack one.

use super::calls::{EXECUTE, SystemCall, calls};
use super::layout::{Header, MAGIC, NO_DRILL, PLAN_BUDGET, Role};
use super::op::{NO_SLOT, Op, OpCode, SLOTS, Tolerate};
use super::phase::Phase;
use super::verify::{Verified, verify};
use crate::error::{Error, ErrorKind, Result};
use std::borrow::Cow;
use std::fmt;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

/// A register of the plan that holds a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot(u32);

/// What an operation does, for the person who reads of its failure.
///
/// In two parts, put together only when somebody reads it: most starts succeed.
#[derive(Debug, Clone)]
pub(crate) struct Sentence {
    /// "mount proc on "
    verb: Cow<'static, str>,
    /// "/proc"
    object: Object,
}

/// What several operations may work on.
#[derive(Debug, Clone)]
enum Object {
    Known(&'static str),
    Shared(Arc<str>),
}

impl From<&'static str> for Sentence {
    fn from(text: &'static str) -> Sentence {
        Sentence { verb: Cow::Borrowed(text), object: Object::Known("") }
    }
}

impl From<String> for Sentence {
    fn from(text: String) -> Sentence {
        Sentence { verb: Cow::Owned(text), object: Object::Known("") }
    }
}

impl From<(&'static str, &'static str)> for Sentence {
    fn from((verb, object): (&'static str, &'static str)) -> Sentence {
        Sentence { verb: Cow::Borrowed(verb), object: Object::Known(object) }
    }
}

impl From<(&'static str, &Arc<str>)> for Sentence {
    fn from((verb, object): (&'static str, &Arc<str>)) -> Sentence {
        Sentence { verb: Cow::Borrowed(verb), object: Object::Shared(object.clone()) }
    }
}

impl From<(String, &Arc<str>)> for Sentence {
    fn from((verb, object): (String, &Arc<str>)) -> Sentence {
        Sentence { verb: Cow::Owned(verb), object: Object::Shared(object.clone()) }
    }
}

impl fmt::Display for Sentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let object = match &self.object {
            Object::Known(text) => text,
            Object::Shared(text) => &**text,
        };
        write!(f, "{}{object}", self.verb)
    }
}

/// What to do when operation `op` fails with `errno`.
#[derive(Debug, Clone)]
struct Hint {
    op: usize,
    errno: i32,
    remedy: &'static str,
}

/// A plan in the making.
pub(crate) struct Builder {
    phase: Phase,
    ops: Vec<Op>,
    sentences: Vec<Sentence>,
    hints: Vec<Hint>,
    arena: Vec<u8>,
    slots: u32,
    /// Slots that are empty again.
    free: Vec<Slot>,
    inherited: Vec<(u32, OwnedFd)>,
    preserved: Vec<(u32, i32)>,
    /// Where the second range begins.
    enter: Option<usize>,
}

/// A plan that has been verified, with what it needs to run.
#[derive(Debug)]
pub(crate) struct Plan {
    bytes: Vec<u8>,
    sentences: Vec<Sentence>,
    hints: Vec<Hint>,
    inherited: Vec<OwnedFd>,
    preserved: Vec<i32>,
    starts: usize,
}

/// Where the arena begins: texts are addressed before it is known how many operations there will be, so it comes first.
const ARENA: usize = size_of::<Header>().next_multiple_of(8);

impl Builder {
    /// An empty plan.
    pub(crate) fn new() -> Builder {
        Builder {
            phase: Phase::Fence,
            ops: Vec::with_capacity(128),
            sentences: Vec::with_capacity(128),
            hints: Vec::with_capacity(64),
            arena: Vec::with_capacity(8192),
            slots: 0,
            free: Vec::new(),
            inherited: Vec::new(),
            preserved: Vec::new(),
            enter: None,
        }
    }

    /// What follows is a range of its own: it brings another process into the container that the operations so far
    /// start. It begins again with the first phase, and with the slots that the parent fills.
    pub(crate) fn begin_enter(&mut self) {
        self.enter = Some(self.ops.len());
        self.free.clear();
        self.phase = Phase::Fence;
    }

    /// The operations that follow belong to `phase`.
    pub(crate) fn phase(&mut self, phase: Phase) {
        self.phase = phase;
    }

    /// A slot that is not filled yet.
    pub(crate) fn slot(&mut self) -> Slot {
        if let Some(slot) = self.free.pop() {
            return slot;
        }
        self.slots += 1;
        Slot(self.slots - 1)
    }

    /// Closes a slot, which is then free for something else: a plan has a limited number, and so has a process.
    pub(crate) fn release(&mut self, slot: Slot) {
        self.push(OpCode::Close, &[slot.into()], "close a descriptor");
        self.free.push(slot);
    }

    /// A slot filled with a descriptor of the parent, which the plan keeps open.
    pub(crate) fn inherit(&mut self, descriptor: OwnedFd) -> Slot {
        // Not one that was used before: it is filled from the start.
        let slot = Slot(self.slots);
        self.slots += 1;
        self.inherited.push((slot.0, descriptor));
        slot
    }

    /// Keeps this descriptor of the caller's open, under its number, for the payload.
    pub(crate) fn preserve(&mut self, number: i32) {
        let slot = self.slot();
        self.preserved.push((slot.0, number));
    }

    /// Keeps a descriptor of the parent open for the keeper alone; its number there.
    pub(crate) fn keep(&mut self, descriptor: OwnedFd) -> i32 {
        let number = descriptor.as_raw_fd();
        self.inherited.push((NO_SLOT, descriptor));
        number
    }

    /// Appends an operation; `what` is what a person reads when it fails.
    pub(crate) fn push(&mut self, code: OpCode, arguments: &[u32], what: impl Into<Sentence>) -> &mut Builder {
        let mut op = Op { code: code as u16, phase: self.phase as u8, tolerate: Tolerate::NONE, arguments: [0; 7] };
        op.arguments[..arguments.len()].copy_from_slice(arguments);
        self.ops.push(op);
        self.sentences.push(what.into());
        self
    }

    /// The operation just pushed shrugs off these errnos.
    pub(crate) fn tolerate(&mut self, errnos: u8) -> &mut Builder {
        if let Some(op) = self.ops.last_mut() {
            op.tolerate = errnos;
        }
        self
    }

    /// The remedy for a failure of the operation just pushed with `errno`.
    pub(crate) fn hint(&mut self, errno: i32, hint: &'static str) -> &mut Builder {
        self.hints.push(Hint { op: self.ops.len().saturating_sub(1), errno, remedy: hint });
        self
    }

    /// The number of operations so far.
    pub(crate) fn len(&self) -> usize {
        self.ops.len()
    }

    /// The system calls that the operations from `first` on make, and that of the exec, which is still to come.
    pub(crate) fn calls_from(&self, first: usize) -> impl Iterator<Item = SystemCall> {
        self.ops.iter().skip(first).flat_map(calls).chain([EXECUTE])
    }

    /// Puts a text into the plan; it must not hold a NUL byte (the verifier would see a shorter text).
    pub(crate) fn text(&mut self, text: impl AsRef<[u8]>) -> u32 {
        let offset = (ARENA + self.arena.len()) as u32;
        self.arena.extend_from_slice(text.as_ref());
        self.arena.push(0);
        offset
    }

    /// Puts bytes into the plan, aligned to 8.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> u32 {
        self.align();
        let offset = (ARENA + self.arena.len()) as u32;
        self.arena.extend_from_slice(bytes);
        offset
    }

    /// Puts a list of texts into the plan.
    pub(crate) fn texts<T: AsRef<[u8]>>(&mut self, texts: impl IntoIterator<Item = T>) -> u32 {
        let offsets: Vec<u32> = texts.into_iter().map(|text| self.text(text)).collect();
        let mut list = Vec::with_capacity(offsets.len() * 8 + 8);
        for offset in offsets {
            list.extend_from_slice(&u64::from(offset).to_ne_bytes());
        }
        list.extend_from_slice(&0u64.to_ne_bytes());
        self.bytes(&list)
    }

    /// Closes the plan over the socket to the parent and verifies it.
    pub(crate) fn finish(self, status: &OwnedFd) -> Result<Plan> {
        self.finish_as(Role::SETUP, &[], status)
    }

    /// Closes the plan for another role of the stage, with that role's orders.
    pub(crate) fn finish_as(mut self, role: u32, orders: &[u8], status: &OwnedFd) -> Result<Plan> {
        if self.slots as usize > SLOTS {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                "the configuration needs more descriptors than a plan has slots",
            ));
        }
        let orders_at = if orders.is_empty() { 0 } else { self.bytes(orders) };
        let owned = self.inherited.iter().map(|(slot, descriptor)| (*slot, descriptor.as_raw_fd()));
        let mut pairs: Vec<(u32, i32)> = owned.chain(self.preserved.iter().copied()).collect();
        pairs.sort_by_key(|&(_, number)| number);
        let inherited_count = pairs.len() as u32;
        let pairs: Vec<u8> =
            pairs.iter().flat_map(|&(slot, number)| [slot, number as u32]).flat_map(u32::to_ne_bytes).collect();
        let inherited_at = self.bytes(&pairs);
        self.align();
        let ops_at = ARENA + self.arena.len();
        let size = ops_at + self.ops.len() * size_of::<Op>();
        let starts = self.enter.unwrap_or(self.ops.len());
        let header = [
            MAGIC,
            size as u32,
            ops_at as u32,
            starts as u32,
            inherited_at,
            inherited_count,
            status.as_raw_fd() as u32,
            role,
            orders_at,
            orders.len() as u32,
            NO_DRILL,
            0,
            (self.ops.len() - starts) as u32,
            0,
        ];
        if size > PLAN_BUDGET {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("arguments and environment take {size} bytes, more than {PLAN_BUDGET}"),
            ));
        }
        let mut bytes = Vec::with_capacity(size);
        header.iter().for_each(|field| bytes.extend_from_slice(&field.to_ne_bytes()));
        bytes.resize(ARENA, 0);
        bytes.extend_from_slice(&self.arena);
        self.ops.iter().for_each(|op| write_op(op, &mut bytes));
        let inherited = self.inherited.into_iter().map(|(_, descriptor)| descriptor).collect();
        let preserved = self.preserved.into_iter().map(|(_, number)| number).collect();
        let plan = Plan { bytes, sentences: self.sentences, hints: self.hints, inherited, preserved, starts };
        plan.verified()?;
        Ok(plan)
    }

    fn align(&mut self) {
        self.arena.resize(self.arena.len().next_multiple_of(8), 0);
    }
}

impl Plan {
    /// The bytes for the stage.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The descriptors that must be open in the stage under the same numbers.
    pub(crate) fn inherited(&self) -> impl Iterator<Item = i32> {
        self.inherited.iter().map(AsRawFd::as_raw_fd).chain(self.preserved.iter().copied())
    }

    /// What operation `index` does.
    pub(crate) fn sentence(&self, index: usize) -> Option<&Sentence> {
        self.sentences.get(index)
    }

    /// What to do when operation `index` fails with `errno`.
    pub(crate) fn remedy(&self, index: usize, errno: i32) -> Option<&'static str> {
        self.hints.iter().find(|hint| (hint.op, hint.errno) == (index, errno)).map(|hint| hint.remedy)
    }

    /// The errnos for which operation `index` has a remedy, and the remedies.
    pub(crate) fn remedies(&self, index: usize) -> impl Iterator<Item = (i32, &'static str)> {
        self.hints.iter().filter(move |hint| hint.op == index).map(|hint| (hint.errno, hint.remedy))
    }

    /// The number of operations of the start.
    pub(crate) fn len(&self) -> usize {
        self.starts
    }

    /// Makes operation `op` fail with `errno` (0: the stage is killed there): how tests reach every step.
    #[cfg(test)]
    pub(crate) fn drill(&mut self, op: u32, errno: u32) {
        let at = std::mem::offset_of!(Header, drill_op);
        self.bytes[at..at + 4].copy_from_slice(&op.to_ne_bytes());
        self.bytes[at + 4..at + 8].copy_from_slice(&errno.to_ne_bytes());
    }

    /// The plan as the verifier sees it; for listings.
    pub(crate) fn verified(&self) -> Result<Verified<'_>> {
        verify(&self.bytes).map_err(|defect| Error::invalid("the plan of the start is not sound").source_error(defect))
    }
}

/// Conversions of arguments.
impl From<Slot> for u32 {
    fn from(slot: Slot) -> u32 {
        slot.0
    }
}

impl Slot {
    /// The argument that names no slot.
    pub(crate) const NONE: Slot = Slot(NO_SLOT);
}

fn write_op(op: &Op, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&op.code.to_ne_bytes());
    bytes.extend_from_slice(&[op.phase, op.tolerate]);
    op.arguments.iter().for_each(|argument| bytes.extend_from_slice(&argument.to_ne_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::layout::Header;

    fn status() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    fn small() -> Builder {
        let mut plan = Builder::new();
        plan.push(OpCode::CloseOthers, &[], "close");
        plan.phase(Phase::EarlyFilter);
        plan.push(OpCode::CloseOnExec, &[3], "have the exec close the others");
        plan.phase(Phase::Exec);
        let (arguments, environment) = (plan.texts(["true"]), plan.texts(["A=b"]));
        let candidates = plan.texts(["/bin/true"]);
        plan.push(OpCode::Execute, &[arguments, environment, candidates], "execute true");
        plan
    }

    #[test]
    fn a_plan_prints_as_text() {
        let plan = small().finish(&status()).unwrap();
        assert_eq!(
            plan.verified().unwrap().to_string(),
            "Fence:\n  close-others\nEarlyFilter:\n  close-on-exec 3\nExec:\n  execute [\"true\"] [\"A=b\"] [\"/bin/true\"]\n"
        );
    }

    #[test]
    fn unsound_plans_are_refused() {
        let mut early = Builder::new();
        early.push(OpCode::CloseOthers, &[], "close");
        early.phase(Phase::Mount);
        early.push(OpCode::Attach, &[0, 1], "attach nothing");
        assert!(early.finish(&status()).is_err());
        let mut backwards = Builder::new();
        backwards.phase(Phase::Exec);
        backwards.push(OpCode::CloseOthers, &[], "close");
        assert!(backwards.finish(&status()).is_err());
        assert!(Builder::new().finish(&status()).is_err());
    }

    #[test]
    fn no_changed_word_makes_the_verifier_read_outside() {
        let plan = small().finish(&status()).unwrap();
        let bytes = plan.bytes();
        for at in (0..bytes.len()).step_by(4) {
            for value in [0, 1, 8, 0xffff, u32::MAX, u32::MAX - 7, bytes.len() as u32, bytes.len() as u32 - 4] {
                let mut changed = bytes.to_vec();
                changed[at..at + 4].copy_from_slice(&value.to_ne_bytes());
                if let Ok(verified) = verify(&changed) {
                    let _ = verified.to_string();
                }
            }
        }
        for length in 0..size_of::<Header>() + 8 {
            assert!(verify(&bytes[..length.min(bytes.len())]).is_err());
        }
    }
}
