//! Turns what the recorder holds into a sentence.

use super::process::ExitStatus;
use crate::plan::Plan;
use crate::plan::layout::{HookEnd, Recorder, State};
use crate::{Error, ErrorKind};
use std::sync::atomic::Ordering;

/// How a start ended, once the socket to the stage has closed.
pub(super) enum Outcome {
    /// The payload is executed.
    Executed,
    /// It waits for its start.
    Parked,
    /// An operation failed.
    Faulted(Error),
    /// The stage ended in the middle of an operation.
    Cut(usize),
}

/// Reads the recorder.
pub(super) fn outcome(recorder: &Recorder, plan: &Plan) -> Outcome {
    let index = recorder.op.load(Ordering::Relaxed) as usize;
    match recorder.state.load(Ordering::Acquire) {
        State::FAULTED => Outcome::Faulted(match hook_failure(recorder) {
            Some((end, said)) => {
                let what = plan.sentence(index).map_or_else(String::new, ToString::to_string);
                explain_hook(&what, end, &said)
            }
            None => explain(plan, index, recorder.errno.load(Ordering::Relaxed)),
        }),
        State::EXECUTING => Outcome::Executed,
        State::PARKED => Outcome::Parked,
        _ => Outcome::Cut(index),
    }
}

/// How a program that was to succeed did not.
pub(super) enum Failure {
    /// It ended so.
    Ended(ExitStatus),
    /// It was killed when its time, in seconds, had run out.
    TimedOut(u64),
}

impl Failure {
    /// The error for `what`; `said` is the end of what the program wrote.
    pub(super) fn explain(&self, what: &str, said: &[u8]) -> Error {
        let (kind, end) = match self {
            Failure::Ended(status) => (ErrorKind::CommandFailed, status.to_string()),
            Failure::TimedOut(seconds) => (ErrorKind::TimedOut, format!("timed out after {seconds} s")),
        };
        let said = String::from_utf8_lossy(said);
        let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let message = match lines.as_slice() {
            [] => format!("{what}: {end}"),
            lines => format!("{what}: {end}; it wrote: {}", lines.join(" / ")),
        };
        Error::new(kind, message)
    }
}

/// The error of a hook that ran in the stage: `end` is one of [`HookEnd`], `said` the last it wrote.
pub(crate) fn explain_hook(what: &str, end: u32, said: &[u8]) -> Error {
    let failure = match end & !HookEnd::KNOWN {
        late if late & HookEnd::TIMED_OUT != 0 => Failure::TimedOut(u64::from(late & HookEnd::LONGEST)),
        status => Failure::Ended(super::process::status_of(status)),
    };
    failure.explain(what, said)
}

/// The end of the hook that failed, and the last it wrote.
fn hook_failure(recorder: &Recorder) -> Option<(u32, Vec<u8>)> {
    let end = recorder.hook_end.load(Ordering::Acquire);
    let length = (recorder.note_length.load(Ordering::Relaxed) as usize).min(recorder.note.len());
    let said = recorder.note[..length].iter().map(|byte| byte.load(Ordering::Relaxed)).collect();
    (end & HookEnd::KNOWN != 0).then_some((end, said))
}

/// The error of a stage that was killed in operation `index`.
pub(super) fn explain_cut(plan: &Plan, index: usize, status: ExitStatus) -> Error {
    let what = plan.sentence(index).map_or_else(String::new, ToString::to_string);
    let error = Error::new(ErrorKind::ResourceExhausted, format!("{what}: the starting process {status}"));
    match status {
        ExitStatus::Signaled(signal) if i32::from(signal) == libc::SIGKILL => {
            error.hint("the memory limit may be too small to start")
        }
        ExitStatus::Signaled(signal) if i32::from(signal) == libc::SIGSYS => error
            .with_kind(ErrorKind::InvalidInput)
            .hint("the seccomp profile forbids a system call that the start still needs"),
        _ => error.with_kind(ErrorKind::Os),
    }
}

fn explain(plan: &Plan, index: usize, errno: i32) -> Error {
    let Some(sentence) = plan.sentence(index) else {
        return Error::os(format!("operation {index} of the start"), errno);
    };
    let mut error = Error::os(sentence.to_string(), errno);
    if index + 1 == plan.len() {
        error = error.with_kind(ErrorKind::Exec);
    }
    match plan.remedy(index, errno) {
        Some(remedy) => error.hint(remedy),
        None => error,
    }
}
