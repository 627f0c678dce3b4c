//! A small world without chance: replicas become ready after 1 s, connections end at once, stops take 0.5 s.

use super::super::model::{
    Action, Condition, Failure, Goal, Happening, Moment, Observed, Replica, RevisionNumber, State,
};
use super::super::next;
use crate::deploy::Strategy;
use crate::value::ContainerId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A deployment on its way, and what it has done so far.
pub(super) struct Course {
    pub(super) state: State,
    pub(super) now: Moment,
    pub(super) observed: Observed,
    /// Revisions whose replicas never become ready.
    pub(super) never_ready: BTreeSet<RevisionNumber>,
    /// Revisions whose replicas end at once for good.
    pub(super) crashing: BTreeSet<RevisionNumber>,
    /// Revisions that cannot be started.
    pub(super) unstartable: BTreeSet<RevisionNumber>,
    /// Connections that every replica out of traffic keeps until told otherwise.
    pub(super) lasting: u32,
    began: Moment,
    due: BTreeMap<ContainerId, (Moment, Condition)>,
    started: u64,
    lines: Vec<String>,
}

impl Course {
    pub(super) fn deploy(revision: RevisionNumber, replicas: u32, strategy: impl Into<Strategy>) -> Course {
        let goal = Goal { revision, replicas, strategy: strategy.into(), drain: Duration::from_secs(5) };
        Course {
            state: State::new(goal, 1_000_000),
            now: 1_000_000,
            observed: Observed::default(),
            never_ready: BTreeSet::new(),
            crashing: BTreeSet::new(),
            unstartable: BTreeSet::new(),
            lasting: 0,
            began: 1_000_000,
            due: BTreeMap::new(),
            started: 0,
            lines: Vec::new(),
        }
    }

    /// A revision that runs completely, with its trace forgotten.
    pub(super) fn running(replicas: u32, strategy: impl Into<Strategy>) -> Course {
        let mut course = Course::deploy(1, replicas, strategy);
        course.run_until_settled();
        course.forget();
        course
    }

    pub(super) fn forget(&mut self) {
        self.lines.clear();
        self.began = self.now;
    }

    /// Wants another revision or number.
    pub(super) fn want(&mut self, revision: RevisionNumber, replicas: u32) {
        let goal = Goal { revision, replicas, ..self.state.goal.clone() };
        self.state.set_goal(goal, self.now);
    }

    /// The replica in a place.
    pub(super) fn at(&mut self, place: u32) -> &mut Replica {
        self.observed.replicas.iter_mut().find(|replica| replica.place == place).expect("a replica in this place")
    }

    /// The machine starts anew: its clock too, and every replica has ended.
    pub(super) fn reboot(&mut self) {
        self.now = 5_000;
        self.began = 0;
        self.due.clear();
        for replica in &mut self.observed.replicas {
            (replica.condition, replica.in_traffic, replica.connections) = (Condition::Ended, false, 0);
        }
    }

    pub(super) fn run_until_settled(&mut self) {
        for _ in 0..2_000 {
            if self.look() {
                return;
            }
        }
        panic!("it never settles:\n{}", self.lines.join("\n"));
    }

    /// Looks as often as asked to for so many milliseconds.
    pub(super) fn run(&mut self, time: Moment) {
        let end = self.now + time;
        while self.now < end {
            self.look();
        }
    }

    pub(super) fn assert_trace(&self, expected: &str) {
        let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        assert_eq!(expected, self.lines, "it went:\n{}", self.lines.join("\n"));
    }

    /// One look, its actions, and the time until the next; true if all is settled.
    pub(super) fn look(&mut self) -> bool {
        let decision = next(&self.state, self.now, &self.observed);
        let mut line = Vec::new();
        for action in &decision.actions {
            line.push(self.describe(action));
        }
        let happenings: Vec<_> = decision.happenings.iter().map(|happening| self.tell(happening)).collect();
        if !happenings.is_empty() {
            line.push(format!("* {}", happenings.join(", ")));
        }
        let text = line.join(", ").replace(", *", " *");
        if !text.is_empty() {
            self.lines.push(format!("{:.1}s  {text}", (self.now - self.began) as f64 / 1000.0));
        }
        self.observed.failed_starts.clear();
        for action in decision.actions {
            self.carry_out(action);
        }
        self.state = decision.state;
        let changes = self.due.values().map(|(at, _)| *at).min();
        let wait = [decision.again_at, changes].into_iter().flatten().min();
        self.now = wait.unwrap_or(self.now + 1_000);
        self.change();
        decision.settled
    }

    fn change(&mut self) {
        for replica in &mut self.observed.replicas {
            if !replica.in_traffic {
                replica.connections = replica.connections.min(self.lasting);
            }
            if self.due.get(&replica.id).is_some_and(|(at, _)| *at <= self.now)
                && let Some((_, condition)) = self.due.remove(&replica.id)
            {
                replica.condition = condition;
            }
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Route(ids) => {
                for replica in &mut self.observed.replicas {
                    replica.in_traffic = ids.contains(&replica.id);
                    replica.connections = if replica.in_traffic { 3 } else { replica.connections };
                }
            }
            Action::Start { revision, .. } if self.unstartable.contains(&revision) => {
                self.observed.failed_starts.push((revision, "no such image".to_owned()));
            }
            Action::Start { revision, place } => {
                self.started += 1;
                let id: ContainerId = format!("{:016x}", self.started).parse().expect("an id");
                let condition = if self.crashing.contains(&revision) { Condition::Ended } else { Condition::Ready };
                if !self.never_ready.contains(&revision) {
                    self.due.insert(id.clone(), (self.now + 1_000, condition));
                }
                self.observed.replicas.push(Replica {
                    id,
                    revision,
                    place,
                    condition: Condition::Starting,
                    restarts: 0,
                    in_traffic: false,
                    connections: 0,
                    finding: self.never_ready.contains(&revision).then(|| "status 503".to_owned()),
                });
            }
            Action::Stop(id) => {
                self.due.insert(id, (self.now + 500, Condition::Ended));
            }
            Action::Remove(id) => self.observed.replicas.retain(|replica| replica.id != id),
        }
    }

    fn name(&self, id: &ContainerId) -> String {
        let replica = self.observed.replicas.iter().find(|replica| replica.id == *id);
        replica.map_or_else(|| id.to_string(), |replica| format!("r{}/{}", replica.revision, replica.place))
    }

    fn blame(&self, because: &Failure) -> String {
        match because {
            Failure::Crashed { crashes, .. } => format!("{crashes} crashes"),
            Failure::NotHealthy { replica, finding } => {
                format!("{} not healthy ({})", self.name(replica), finding.as_deref().unwrap_or("no finding"))
            }
            Failure::NoProgress { finding: Some(finding) } => format!("no progress ({finding})"),
            Failure::NoProgress { .. } => "no progress".to_owned(),
            Failure::NotStarted { error } => error.clone(),
        }
    }

    fn describe(&self, action: &Action) -> String {
        match action {
            Action::Route(ids) => {
                let names: Vec<_> = ids.iter().map(|id| self.name(id)).collect();
                format!("route [{}]", names.join(" "))
            }
            Action::Start { revision, place } => format!("start r{revision}/{place}"),
            Action::Stop(id) => format!("stop {}", self.name(id)),
            Action::Remove(id) => format!("remove {}", self.name(id)),
        }
    }

    fn tell(&self, happening: &Happening) -> String {
        match happening {
            Happening::Available { id, .. } => format!("available {}", self.name(id)),
            Happening::Crashed { id, .. } => format!("crashed {}", self.name(id)),
            Happening::Unready { id, .. } => format!("unready {}", self.name(id)),
            Happening::Leaving { id, .. } => format!("leaving {}", self.name(id)),
            Happening::Complete { revision } => format!("complete r{revision}"),
            Happening::RollingBack { failed, to, because } => {
                format!("rolling back r{failed} to r{to}: {}", self.blame(because))
            }
            Happening::RolledBack { failed, to, .. } => format!("rolled back r{failed} to r{to}"),
            Happening::Failed { failed, because } => format!("failed r{failed}: {}", self.blame(because)),
            Happening::Removed => "removed".to_owned(),
        }
    }
}
