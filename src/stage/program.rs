//! The plan as the stage sees it: mapped memory, slots, the recorder.

use super::constant::*;
use super::call::call;
use super::syscall::Errno;
use crate::plan::layout::{CareOrders, Header, KeeperOrders, MAGIC, RECORDER_SIZE, Recorder, Role};
use crate::plan::op::{NO_SLOT, Op, SLOTS};
use core::sync::atomic::Ordering;

/// A mapped plan.
pub(crate) struct Program {
    base: *const u8,
    recorder: *const Recorder,
    slots: [i32; SLOTS],
    /// Where a fault is told once the parent is gone.
    pub(crate) outcome: i32,
}

/// The value of a slot that holds nothing.
pub(crate) const EMPTY: i32 = -1;

impl Program {
    /// Maps the plan of `size` bytes on `descriptor`, behind the recorder: shared with the parent, which writes it anew for
    /// each start; a keeper's as a private copy, since it outlives the parent.
    pub(crate) fn map(descriptor: i32, size: usize) -> Result<Program, Errno> {
        // SAFETY: fresh mappings at addresses the kernel chooses; the parent made the file at least this large.
        let (recorder, base) = unsafe {
            let shared = map(RECORDER_SIZE + size, MAP_SHARED, descriptor, 0)?;
            let plan = shared + RECORDER_SIZE;
            let own = (*(plan as *const Header)).role == Role::SETUP;
            let base = if own { plan } else { map(size, MAP_PRIVATE, descriptor, RECORDER_SIZE)? };
            (shared as *const Recorder, base as *const u8)
        };
        let mut program = Program { base, recorder, slots: [EMPTY; SLOTS], outcome: EMPTY };
        let header = program.header();
        if header.magic != MAGIC {
            return Err(EINVAL);
        }
        for index in 0..header.inherited_count as usize {
            let (slot, descriptor) = program.inherited(index);
            if slot != NO_SLOT {
                program.fill(slot, descriptor);
            }
        }
        Ok(program)
    }

    /// The head of the plan.
    pub(crate) fn header(&self) -> &Header {
        // SAFETY: the mapping begins with a header and stays for the life of the process.
        unsafe { &*self.base.cast::<Header>() }
    }

    /// The page shared with the parent.
    pub(crate) fn recorder(&self) -> &Recorder {
        // SAFETY: the page is mapped for the life of the process and holds only atomics.
        unsafe { &*self.recorder }
    }

    /// Operation `index`; the parent has verified that it lies within the plan.
    pub(crate) fn op(&self, index: usize) -> Op {
        // SAFETY: the verifier has proved offset, count and alignment.
        unsafe { *self.base.add(self.header().ops as usize).cast::<Op>().add(index) }
    }

    /// Pair `index` of the inherited (slot, descriptor) list.
    pub(crate) fn inherited(&self, index: usize) -> (u32, i32) {
        // SAFETY: the verifier has proved offset, count and alignment.
        unsafe {
            let pair = self.base.add(self.header().inherited as usize).cast::<u32>().add(index * 2);
            (*pair, *pair.add(1) as i32)
        }
    }

    /// The keeper's orders.
    pub(crate) fn orders(&self) -> KeeperOrders {
        // SAFETY: the builder of a keeper's plan has put them there, aligned to 8, and the verifier proved the bounds.
        unsafe { *self.address(self.header().orders).cast::<KeeperOrders>() }
    }

    /// How the keeper looks after the container beyond its first start, where it does.
    pub(crate) fn care(&self) -> Option<CareOrders> {
        let offset = self.orders().care;
        // SAFETY: the builder of a keeper's plan has put them there, aligned to 8.
        (offset != 0).then(|| unsafe { *self.address(offset).cast::<CareOrders>() })
    }

    /// Lets go of the page shared with the parent for one of this process and its children.
    pub(crate) fn replace_recorder(&mut self, page: Page) {
        self.recorder = page.0;
    }

    /// The `size` bytes at `offset`.
    pub(crate) fn bytes(&self, offset: u32, size: u32) -> &[u8] {
        // SAFETY: the builder of a keeper's plan has put them there.
        unsafe { core::slice::from_raw_parts(self.address(offset), size as usize) }
    }

    /// The `N` words at `offset`, where there are as many.
    pub(crate) fn words<const N: usize>(&self, offset: u32, count: u32) -> Option<&[u32; N]> {
        // SAFETY: the verifier has proved that `count` words lie there, aligned.
        (count as usize == N).then(|| unsafe { &*self.address(offset).cast::<[u32; N]>() })
    }

    /// The address of what lies at `offset`.
    pub(crate) fn address(&self, offset: u32) -> *const u8 {
        // SAFETY: the verifier has proved that the offset lies within the plan.
        unsafe { self.base.add(offset as usize) }
    }

    /// The text at `offset`, without its NUL.
    pub(crate) fn text(&self, offset: u32) -> &[u8] {
        let start = self.address(offset);
        let mut length = 0;
        // SAFETY: the verifier has proved that a NUL follows within the plan.
        unsafe {
            while *start.add(length) != 0 {
                length += 1;
            }
            core::slice::from_raw_parts(start, length)
        }
    }

    /// The texts of the list at `offset`, before [`pointers`](Self::pointers) has changed it.
    pub(crate) fn texts(&self, offset: u32) -> impl Iterator<Item = *const u8> {
        let mut entry = self.address(offset).cast::<usize>();
        core::iter::from_fn(move || {
            // SAFETY: the verifier has proved that the list ends with 0 within the plan.
            let text = unsafe { *entry };
            if text == 0 {
                return None;
            }
            // SAFETY: the list has not ended.
            entry = unsafe { entry.add(1) };
            Some(self.address(text as u32))
        })
    }

    /// Turns the list of text offsets at `offset` into a list of pointers, in place, once.
    pub(crate) fn pointers(&mut self, offset: u32) -> *const usize {
        let list = self.address(offset) as *mut usize;
        let mut entry = list;
        // SAFETY: the verifier has proved that the list ends within the plan; the mapping is private and writable.
        unsafe {
            while *entry != 0 {
                *entry += self.base as usize;
                entry = entry.add(1);
            }
        }
        list
    }

    /// The descriptor in `slot`, or [`EMPTY`].
    pub(crate) fn slot(&self, slot: u32) -> i32 {
        self.slots.get(slot as usize).copied().unwrap_or(EMPTY)
    }

    /// Puts a descriptor into `slot`; what the plan has no slot for is closed.
    pub(crate) fn fill(&mut self, slot: u32, descriptor: i32) {
        match self.slots.get_mut(slot as usize) {
            Some(place) if slot != NO_SLOT => *place = descriptor,
            _ => super::files::close(descriptor),
        }
    }

    /// Closes what `slot` holds.
    pub(crate) fn empty(&mut self, slot: u32) {
        if let Some(place) = self.slots.get_mut(slot as usize)
            && *place != EMPTY
        {
            super::files::close(core::mem::replace(place, EMPTY));
        }
    }

    /// Notes that operation `index` runs.
    pub(crate) fn record(&self, index: usize) {
        self.recorder().op.store(index as u32, Ordering::Relaxed);
    }

    /// Notes which part of the operation runs.
    pub(crate) fn part(&self, part: u32) {
        self.recorder().part.store(part, Ordering::Relaxed);
    }
}

/// A recorder shared with the children that are forked while it is mapped.
#[derive(Clone, Copy)]
pub(crate) struct Page(*const Recorder);

impl Page {
    /// A page of zeroes, which stays for the life of the process.
    pub(crate) fn new() -> Result<Page, Errno> {
        let kind = MAP_SHARED | MAP_ANONYMOUS;
        // SAFETY: a fresh mapping.
        let page = unsafe { call!(MMAP, 0, RECORDER_SIZE, PROT_READ | PROT_WRITE, kind, -1isize, 0) }?;
        Ok(Page(page as *const Recorder))
    }

    pub(crate) fn recorder(&self) -> &Recorder {
        // SAFETY: the page is mapped for the life of the process and holds only atomics.
        unsafe { &*self.0 }
    }
}

/// # Safety
/// As mmap: `size` bytes must lie behind `offset`.
unsafe fn map(size: usize, kind: usize, descriptor: i32, offset: usize) -> Result<usize, Errno> {
    // SAFETY: a fresh mapping.
    unsafe { call!(MMAP, 0, size, PROT_READ | PROT_WRITE, kind | MAP_POPULATE, descriptor, offset) }
}
