//! Memory shared with the stage: the sealed program itself, and the plan with its recorder.

use crate::error::During;
use crate::kernel;
use crate::plan::Plan;
use crate::plan::layout::{RECORDER_SIZE, Recorder};
use crate::{Error, Result};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// The stage, compiled by `build.rs`.
const STAGE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/stage"));

/// The stage in memory that nobody can change any more: what `/proc/PID/exe` of a start leads to, in place of the
/// host's binary (CVE-2019-5736).
pub(super) fn sealed_stage() -> Result<OwnedFd> {
    let memory = kernel::create_memfd(c"coracle-stage", true).during(|| "create memory for the stage")?;
    let mut file = File::from(memory);
    file.write_all(STAGE).during(|| "write the stage into memory")?;
    let seals = nix::fcntl::SealFlag::all();
    nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_ADD_SEALS(seals)).during(|| "seal the stage")?;
    Ok(file.into())
}

/// A plan in memory that the stage maps, and the recorder page in front of it.
#[derive(Debug)]
pub(crate) struct PlanMemory {
    file: File,
    recorder: *const Recorder,
    reusable: bool,
}

/// Memory that held a larger plan than this goes back to the machine.
const REUSE_LIMIT: usize = 64 << 10;

// SAFETY: the page is only reached through its atomics, and the mapping belongs to this value.
unsafe impl Send for PlanMemory {}
// SAFETY: as above.
unsafe impl Sync for PlanMemory {}

impl PlanMemory {
    pub(crate) fn new(plan: &Plan) -> Result<PlanMemory> {
        let file = File::from(kernel::create_memfd(c"coracle-plan", false).during(|| "create memory for the plan")?);
        write(&file, plan)?;
        // SAFETY: a fresh shared mapping of the first page of a file that is larger than that.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                RECORDER_SIZE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if page == libc::MAP_FAILED {
            return Err(Error::os("map the recorder", nix::errno::Errno::last_raw()));
        }
        let reusable = plan.bytes().len() <= REUSE_LIMIT;
        Ok(PlanMemory { file, recorder: page.cast(), reusable })
    }

    /// Takes another plan. No process of the one before may be alive.
    pub(super) fn renew(mut self, plan: &Plan) -> Result<PlanMemory> {
        self.recorder().clear();
        write(&self.file, plan)?;
        self.reusable = plan.bytes().len() <= REUSE_LIMIT;
        Ok(self)
    }

    /// Whether it is worth keeping for another plan.
    pub(super) fn is_reusable(&self) -> bool {
        self.reusable
    }

    /// What the stage has written down.
    pub(crate) fn recorder(&self) -> &Recorder {
        // SAFETY: the page is mapped until this value is dropped and holds only atomics.
        unsafe { &*self.recorder }
    }
}

impl AsFd for PlanMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for PlanMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this size and is reached through this value only.
        unsafe { libc::munmap(self.recorder.cast_mut().cast(), RECORDER_SIZE) };
    }
}

fn write(file: &File, plan: &Plan) -> Result<()> {
    file.write_all_at(plan.bytes(), RECORDER_SIZE as u64).during(|| "write the plan into memory")
}
