//! The thread from which containers are started.
//!
//! A child inherits from the *thread* that clones it: processors, scheduling, memory policy, security filters. And the
//! death of that thread is what PR_SET_PDEATHSIG reports. So starts happen from one thread that nobody else touches
//! and that lives as long as its engine, with every signal blocked.

use super::memory::{PlanMemory, sealed_stage};
use super::spawn::{Spawn, Spawned, Stack};
use crate::error::During;
use crate::plan::Plan;
use crate::stage::syscall::Errno;
use crate::{Error, ErrorKind, Result};
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// A launch thread and the sealed stage.
#[derive(Debug)]
pub(crate) struct Launcher {
    jobs: Mutex<Sender<Job>>,
    stage: OwnedFd,
    process: u32,
    /// Memory of starts that have ended, for the next ones.
    spare: Mutex<Vec<PlanMemory>>,
}

/// How much of it is kept.
const SPARES: usize = 2;

/// A start that the launch thread is to make; the asker waits, so what it borrows stays alive.
struct Job {
    spawn: *const Spawn<'static>,
    answer: SyncSender<Result<Spawned, Errno>>,
    /// The stage's end of the socket: closed here once the stage has its copy, so that whoever reads the other end sees
    /// the stage's end, or that there never was one.
    _socket: OwnedFd,
}

// SAFETY: the pointer leads to a value of a thread that waits for the answer.
unsafe impl Send for Job {}

/// A start that the launch thread has been asked for.
///
/// The asker need not wait for it: what it hears on the socket, if only its end, comes after.
pub(super) struct Pending<'a> {
    spawn: Box<Spawn<'a>>,
    result: Option<Receiver<Result<Spawned, Errno>>>,
}

impl Pending<'_> {
    /// Waits until the stage has been executed.
    pub(super) fn wait(mut self) -> Result<Spawned> {
        self.settle().unwrap_or_else(|| Err(gone()))
    }

    fn settle(&mut self) -> Option<Result<Spawned>> {
        let namespaces = self.spawn.namespaces;
        let received = self.result.take()?.recv();
        Some(received.map_err(|_| gone()).and_then(|result| result.map_err(|errno| clone_error(errno, namespaces))))
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        // The launch thread reads what this borrows until it has answered.
        if let Some(Ok(spawned)) = self.settle() {
            spawned.kill();
        }
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Os, "the launch thread has ended")
}

impl Launcher {
    /// Starts a launch thread; it inherits the namespaces of the calling one.
    pub(crate) fn new() -> Result<Arc<Launcher>> {
        let stage = sealed_stage()?;
        let stack = Stack::new().map_err(|errno| Error::os("map a stack", errno))?;
        let (jobs, queue) = channel::<Job>();
        std::thread::Builder::new()
            .name("coracle-launch".into())
            .stack_size(128 << 10)
            .spawn(move || {
                let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None);
                while let Ok(job) = queue.recv() {
                    // SAFETY: the asker waits for the answer and keeps the value alive until it has it.
                    let result = unsafe { (*job.spawn).run(&stack) };
                    let _ = job.answer.send(result);
                }
            })
            .during(|| "start the launch thread")?;
        Ok(Arc::new(Launcher { jobs: Mutex::new(jobs), stage, process: std::process::id(), spare: Mutex::default() }))
    }

    /// The one for starts that belong to no engine; lives as long as the process.
    pub(crate) fn shared() -> Result<Arc<Launcher>> {
        static SHARED: Mutex<Option<Arc<Launcher>>> = Mutex::new(None);
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        match &*shared {
            // A fork of the host has the value but not the thread.
            Some(launcher) if launcher.process == std::process::id() => Ok(launcher.clone()),
            _ => Ok(shared.insert(Launcher::new()?).clone()),
        }
    }

    /// Memory that holds `plan`.
    pub(super) fn memory(&self, plan: &Plan) -> Result<PlanMemory> {
        // The memory is shared with whoever forked this process.
        self.check_process()?;
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.map_or_else(|| PlanMemory::new(plan), |memory| memory.renew(plan))
    }

    /// Keeps the memory of a start all of whose processes have ended.
    pub(super) fn recycle(&self, memory: PlanMemory) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARES && memory.is_reusable() && self.check_process().is_ok() {
            spare.push(memory);
        }
    }

    fn check_process(&self) -> Result<()> {
        if self.process == std::process::id() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unsupported, "this engine was opened before the process forked")
            .hint("open an engine in each process"))
    }

    /// Asks for the start that `build` describes (it is handed the stage). `socket` is the stage's end of the socket.
    pub(super) fn begin<'a>(
        &'a self,
        socket: OwnedFd,
        build: impl FnOnce(std::os::fd::BorrowedFd<'a>) -> Spawn<'a>,
    ) -> Result<Pending<'a>> {
        self.check_process()?;
        let spawn = Box::new(build(self.stage.as_fd()));
        let (answer, result) = sync_channel(1);
        let job = Job { spawn: (&raw const *spawn).cast(), answer, _socket: socket };
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).send(job).map_err(|_| gone())?;
        Ok(Pending { spawn, result: Some(result) })
    }
}

fn clone_error(errno: Errno, namespaces: u64) -> Error {
    let error = Error::os("clone the container's first process", errno);
    match errno {
        libc::EPERM if namespaces != 0 => {
            error.hint("creating namespaces needs CAP_SYS_ADMIN: run as root, or use a user namespace")
        }
        libc::ENOSPC => error.hint("a limit of namespaces is reached: see /proc/sys/user/max_*_namespaces"),
        libc::EAGAIN => error.hint("a limit of processes is reached: see pids.max and RLIMIT_NPROC"),
        _ => error,
    }
}
