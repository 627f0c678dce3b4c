//! Attached containers: run to the end under this process's eyes.

use super::assembly::{Assembly, Holdings, root_of};
use super::attached::Note;
use super::services::Services;
use super::specification::Specification;
use crate::cgroup::{Stats, Unenforced};
use crate::error::{Context, During};
use crate::launch::{ExitStatus, Process};
use crate::sandbox::Stream;
use crate::store::Snapshot;
use crate::value::Memory;
use crate::{Error, ErrorKind, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{PipeReader, Read};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The most that is kept of each standard stream.
const OUTPUT_BUDGET: usize = 64 << 20;

/// What a container that has run to its end leaves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Output {
    /// How its command ended.
    pub status: ExitStatus,
    /// What it wrote to its standard output; empty where it was streamed.
    pub stdout: Vec<u8>,
    /// What it wrote to its standard error; empty where it was streamed.
    pub stderr: Vec<u8>,
    /// Whether the kernel killed one of its processes for exceeding the memory limit.
    pub oom_killed: bool,
    /// How long its start took, to the exec of the command.
    pub start: Duration,
    /// How long it ran, from the exec to the end.
    pub runtime: Duration,
    /// What its control group counted at its end; `None` where it had none.
    pub stats: Option<Stats>,
    /// Processor time of the command, user and system together.
    pub cpu: Duration,
    /// The most memory that one of its processes had resident.
    pub peak_resident: Memory,
    /// The limits that were not enforced, under [`Policy::BestEffort`](crate::cgroup::Policy::BestEffort).
    pub unenforced: Vec<Unenforced>,
}

/// A piece of output as it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunk<'a> {
    /// Of the standard output.
    Stdout(&'a [u8]),
    /// Of the standard error.
    Stderr(&'a [u8]),
}

/// Takes the output as it comes.
pub(crate) type OnOutput<'a> = &'a mut dyn FnMut(Chunk<'_>);

/// Runs a container to its end. Its snapshot goes with it.
pub(crate) fn run(
    services: &Arc<Services>,
    specification: &Specification,
    snapshot: Snapshot,
    timeout: Option<Duration>,
    on_output: Option<OnOutput<'_>>,
) -> Result<Output> {
    let result = run_in(services, specification, &snapshot, timeout, on_output);
    result.context(|| {
        format!("container {}", specification.name.as_ref().map_or(specification.id.as_str(), |name| name.as_str()))
    })
}

/// As [`run`], and leaves the snapshot to the caller.
pub(crate) fn run_in(
    services: &Arc<Services>,
    specification: &Specification,
    snapshot: &Snapshot,
    timeout: Option<Duration>,
    on_output: Option<OnOutput<'_>>,
) -> Result<Output> {
    let note = Note::make(services, &specification.id)?;
    let mut assembly = Assembly::make(services, specification, &mut |holdings: &Holdings| note.write(holdings))?;
    // Beside the snapshot: what the container writes into them must not fill what a reboot ends, which is memory.
    let files = snapshot.upper().parent().unwrap_or(note.directory());
    assembly.write_files(specification, files)?;
    let root = root_of(snapshot.lower(), snapshot.upper(), snapshot.work());
    let (stdout, stdout_writer) = std::io::pipe().during(|| "create a pipe")?;
    let (stderr, stderr_writer) = std::io::pipe().during(|| "create a pipe")?;
    let sandbox = assembly
        .sandbox(specification, root, files)?
        .stdout(Stream::Descriptor(stdout_writer.into()))
        .stderr(Stream::Descriptor(stderr_writer.into()));
    let mut process = sandbox.spawn().map_err(|error| explain_out_of_memory(&assembly, error))?;
    let begin = Instant::now();
    let deadline = timeout.map(|timeout| begin + timeout);
    let (kept, in_time) = collect(&mut process, [stdout, stderr], deadline, on_output)?;
    let exit = process.wait()?;
    let group = assembly.cgroup();
    let [stdout, stderr] = kept;
    let output = Output {
        status: exit.status,
        stdout,
        stderr,
        oom_killed: group.as_ref().is_some_and(|group| group.oom_kills().is_ok_and(|kills| kills > 0)),
        start: process.start_duration(),
        runtime: begin.elapsed(),
        stats: group.as_ref().and_then(|group| group.stats().ok()),
        cpu: exit.user + exit.system,
        peak_resident: exit.peak_resident,
        unenforced: std::mem::take(&mut assembly.unenforced),
    };
    assembly.undo()?;
    if in_time {
        return Ok(output);
    }
    Err(Error::new(ErrorKind::TimedOut, format!("did not end within {:?} and was killed", timeout.unwrap_or_default())))
}

/// A start that was killed for its memory says so.
pub(crate) fn explain_out_of_memory(assembly: &Assembly, error: Error) -> Error {
    match assembly.cgroup().and_then(|group| group.out_of_memory()) {
        Some(explanation) => explanation.source_error(error),
        None => error,
    }
}

/// Reads both streams to their ends, or until the command has ended and what is in the pipes is read: a process that
/// left the container with one of them would keep it open for ever. Kills at the deadline; whether it was kept.
fn collect(
    process: &mut Process,
    pipes: [PipeReader; 2],
    deadline: Option<Instant>,
    mut on_output: Option<OnOutput<'_>>,
) -> Result<([Vec<u8>; 2], bool)> {
    let mut kept = [Vec::new(), Vec::new()];
    let mut pipes = pipes.map(Some);
    let mut buffer = vec![0; 64 << 10];
    let mut in_time = true;
    loop {
        let (ready, ended) = wait_ready(process, &pipes, deadline.filter(|_| in_time))?;
        if ready == [false; 2] && ended {
            return Ok((kept, in_time));
        }
        for index in (0..2).filter(|&index| ready[index]) {
            let Some(pipe) = &mut pipes[index] else { continue };
            let count = pipe.read(&mut buffer).during(|| "read the container's output")?;
            if count == 0 {
                pipes[index] = None;
                continue;
            }
            let bytes = &buffer[..count];
            match &mut on_output {
                Some(on_output) if index == 0 => on_output(Chunk::Stdout(bytes)),
                Some(on_output) => on_output(Chunk::Stderr(bytes)),
                None => {
                    let room = OUTPUT_BUDGET.saturating_sub(kept[index].len()).min(count);
                    kept[index].extend_from_slice(&bytes[..room]);
                }
            }
        }
        if in_time && deadline.is_some_and(|deadline| Instant::now() >= deadline) && !ended {
            in_time = false;
            process.kill(libc::SIGKILL)?;
        }
    }
}

/// Which pipes can be read (or have ended), and whether the process has ended.
fn wait_ready(
    process: &Process,
    pipes: &[Option<PipeReader>; 2],
    deadline: Option<Instant>,
) -> Result<([bool; 2], bool)> {
    let mut polled = vec![PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    let open: Vec<usize> = (0..2).filter(|&index| pipes[index].is_some()).collect();
    polled.extend(pipes.iter().flatten().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
    let timeout = match deadline {
        None => PollTimeout::NONE,
        Some(deadline) => {
            let left = deadline.saturating_duration_since(Instant::now());
            let millis = left.as_millis().min(3_600_000) as i32 + i32::from(!left.is_zero());
            PollTimeout::try_from(millis).unwrap_or(PollTimeout::ZERO)
        }
    };
    match poll(&mut polled, timeout) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => {}
        Err(errno) => return Err(Error::os("wait for the container", errno as i32)),
    }
    let is_ready = |polled: &PollFd<'_>| polled.any().unwrap_or(false);
    let mut ready = [false; 2];
    for (entry, &index) in polled[1..].iter().zip(&open) {
        ready[index] = is_ready(entry);
    }
    Ok((ready, is_ready(&polled[0])))
}
