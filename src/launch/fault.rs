//! Turns what the recorder holds into a sentence.

use super::process::ExitStatus;
use crate::plan::Plan;
use crate::plan::layout::{Recorder, State};
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
        State::FAULTED => Outcome::Faulted(explain(plan, index, recorder.errno.load(Ordering::Relaxed))),
        State::EXECUTING => Outcome::Executed,
        State::PARKED => Outcome::Parked,
        _ => Outcome::Cut(index),
    }
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
