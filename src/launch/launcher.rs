//! The thread from which containers are started.
//!
//! A child inherits from the *thread* that clones it: processors, scheduling, memory policy, security filters. And the
//! death of that thread is what PR_SET_PDEATHSIG reports. So starts happen from one thread that nobody else touches
//! and that lives as long as its engine, with every signal blocked.

use super::memory::sealed_stage;
use super::spawn::{Spawn, Spawned};
use crate::error::During;
use crate::stage::syscall::Errno;
use crate::{Error, ErrorKind, Result};
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};

/// A launch thread and the sealed stage.
#[derive(Debug)]
pub(crate) struct Launcher {
    jobs: Mutex<Sender<Job>>,
    stage: OwnedFd,
    process: u32,
}

/// A start that the launch thread is to make; the asker waits, so what it borrows stays alive.
struct Job {
    spawn: *const Spawn<'static>,
    answer: SyncSender<Result<Spawned, Errno>>,
}

// SAFETY: the pointer leads to a value of a thread that waits for the answer.
unsafe impl Send for Job {}

impl Launcher {
    /// Starts a launch thread; it inherits the namespaces of the calling one.
    pub(crate) fn new() -> Result<Arc<Launcher>> {
        let stage = sealed_stage()?;
        let (jobs, queue) = channel::<Job>();
        std::thread::Builder::new()
            .name("coracle-launch".into())
            .stack_size(128 << 10)
            .spawn(move || {
                let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None);
                while let Ok(job) = queue.recv() {
                    // SAFETY: the asker waits for the answer and keeps the value alive until it has it.
                    let result = unsafe { (*job.spawn).run() };
                    let _ = job.answer.send(result);
                }
            })
            .during(|| "start the launch thread")?;
        Ok(Arc::new(Launcher { jobs: Mutex::new(jobs), stage, process: std::process::id() }))
    }

    /// The one for starts that belong to no engine; lives as long as the process.
    pub(crate) fn shared() -> Result<Arc<Launcher>> {
        static SHARED: Mutex<Option<Arc<Launcher>>> = Mutex::new(None);
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match &*shared {
            // A fork of the host has the value but not the thread.
            Some(launcher) if launcher.process == std::process::id() => Ok(launcher.clone()),
            _ => Ok(shared.insert(Launcher::new()?).clone()),
        }
    }

    /// Makes the start `build` describes (it is handed the stage) and returns when the stage has been executed.
    pub(super) fn spawn<'a>(&'a self, build: impl FnOnce(std::os::fd::BorrowedFd<'a>) -> Spawn<'a>) -> Result<Spawned> {
        if self.process != std::process::id() {
            return Err(Error::new(ErrorKind::Unsupported, "this engine was opened before the process forked")
                .hint("open an engine in each process"));
        }
        let spawn = build(self.stage.as_fd());
        let (answer, result) = sync_channel(1);
        let job = Job { spawn: (&raw const spawn).cast(), answer };
        let gone = || Error::new(ErrorKind::Os, "the launch thread has ended");
        self.jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).send(job).map_err(|_| gone())?;
        result.recv().map_err(|_| gone())?.map_err(|errno| clone_error(errno, spawn.namespaces))
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
