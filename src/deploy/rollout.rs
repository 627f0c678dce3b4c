//! A change of a deployment under way, driven by whoever iterates over it.

use super::controller::model::Stage;
use super::event::{Outcome, RolloutEvent};
use super::runner::{Look, Runner};
use super::wait::Watch;
use crate::value::Name;
use crate::{Error, ErrorKind, Result};
use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

/// A rollout, a rollback, a change of scale or a removal, under way.
///
/// It goes on while somebody iterates over it or calls [`finish`](Self::finish); each item is something that happened.
/// Dropped before its end it stays where it is, with traffic flowing, until [`Engine::resume`](crate::Engine::resume), a
/// [`Supervisor`](crate::Supervisor) or the next change goes on with it. The same holds when the process is killed.
#[must_use = "a rollout goes on only while it is iterated over or finished"]
pub struct Rollout {
    runner: Runner,
    watch: Watch,
    waiting: VecDeque<RolloutEvent>,
    outcome: Option<Outcome>,
    settled: bool,
}

impl Rollout {
    pub(crate) fn new(runner: Runner, begun: impl IntoIterator<Item = RolloutEvent>) -> Rollout {
        let waiting = begun.into_iter().collect();
        Rollout { runner, watch: Watch::new(), waiting, outcome: None, settled: false }
    }

    /// The deployment's name.
    pub fn name(&self) -> &Name {
        self.runner.name()
    }

    /// Goes on to the end; how it ended.
    ///
    /// # Errors
    /// What the kernel, the store or the network refuse. The deployment stays where it is, as if this had been dropped.
    pub fn finish(mut self) -> Result<Outcome> {
        for event in &mut self {
            event?;
        }
        Ok(self.outcome())
    }

    /// How it ended; before its end how it would count as ended now.
    pub fn outcome(&self) -> Outcome {
        let state = &self.runner.record().state;
        self.outcome.clone().unwrap_or_else(|| match &state.stage {
            // Nothing was left to do, or the scale alone has changed.
            Stage::Failed { failed, because } => Outcome::Failed { failed: *failed, because: because.clone() },
            _ => Outcome::Complete(state.goal.revision),
        })
    }

    /// Goes on for at most `limit`, and hands over what happens; whether it has ended.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn advance(&mut self, limit: Duration, mut on_event: impl FnMut(RolloutEvent)) -> Result<bool> {
        let end = Instant::now() + limit;
        loop {
            while let Some(event) = self.take_waiting() {
                on_event(event);
            }
            if self.settled {
                return Ok(true);
            }
            let pause = self.look()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(self.settled && self.waiting.is_empty());
            }
            if self.waiting.is_empty() && !self.settled {
                self.watch.wait(self.runner.replicas(), pause.min(left))?;
            }
        }
    }

    fn take_waiting(&mut self) -> Option<RolloutEvent> {
        let event = self.waiting.pop_front()?;
        if let Some(outcome) = event.outcome() {
            self.outcome = Some(outcome);
        }
        Some(event)
    }

    fn look(&mut self) -> Result<Duration> {
        let Look { events, settled, pause, error } = self.runner.look()?;
        self.waiting.extend(events);
        self.settled = settled;
        error.map_or(Ok(pause), Err)
    }

    fn step(&mut self) -> Result<Option<RolloutEvent>> {
        loop {
            if let Some(event) = self.take_waiting() {
                return Ok(Some(event));
            }
            if self.settled {
                return Ok(None);
            }
            let pause = self.look()?;
            if self.waiting.is_empty() && !self.settled {
                self.watch.wait(self.runner.replicas(), pause)?;
            }
        }
    }
}

impl fmt::Debug for Rollout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = &self.runner.record().state;
        f.debug_struct("Rollout").field("name", self.name()).field("stage", &state.stage).finish_non_exhaustive()
    }
}

/// What happens, until it has ended.
impl Iterator for Rollout {
    type Item = Result<RolloutEvent>;

    fn next(&mut self) -> Option<Result<RolloutEvent>> {
        let step = self.step();
        if step.is_err() {
            // The caller may go on; it begins with a new look.
            self.watch = Watch::new();
        }
        step.transpose()
    }
}

/// The outcome as a result: only a complete revision is a success.
impl Outcome {
    /// The number of the revision that is live.
    ///
    /// # Errors
    /// `CommandFailed` where the revision failed, with the reason.
    pub fn complete(self) -> Result<u32> {
        match self {
            Outcome::Complete(revision) => Ok(revision),
            other => Err(Error::new(ErrorKind::CommandFailed, other.to_string())),
        }
    }
}
