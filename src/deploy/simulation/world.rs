//! The replicas as they really are, whoever looks: they start, become ready, fall ill, crash, drain and stop.

use super::random::Random;
use crate::deploy::Guard;
use crate::deploy::controller::model::{Action, Condition, Moment, Observed, Replica, RevisionNumber};
use crate::value::ContainerId;
use std::collections::BTreeMap;

/// How the replicas of a revision behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Character {
    /// Ready within 3 s.
    Good,
    /// Ready within a time that may be longer than the deadline.
    Slow,
    /// Never ready.
    Sick,
    /// Ready at times, never for the minimum healthy time.
    Flapping,
    /// Crashes before it has been ready for the minimum healthy time.
    Crashing,
    /// Cannot be started.
    Absent,
}

impl Character {
    /// Whether a revision like this can never become complete. Flapping may go unseen between two looks, and where the
    /// clock jumped, a short time may count as a long one.
    pub(super) fn is_fatal(self, jumped: bool) -> bool {
        match self {
            Character::Sick | Character::Absent => true,
            Character::Crashing => !jumped,
            Character::Good | Character::Slow | Character::Flapping => false,
        }
    }
}

/// What will happen to a replica next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Ready,
    Unready,
    /// Its command ends; its keeper starts it again, or not.
    Crash,
    StartAgain,
    Stopped,
}

/// A replica and its fate.
#[derive(Debug, Clone)]
pub(super) struct Body {
    pub(super) replica: Replica,
    pub(super) told: bool,
    /// Since when it gets no new connections, by the world's time.
    pub(super) out_since: Moment,
    next: Option<(Moment, Change)>,
    connections_until: Moment,
}

/// All replicas, and the time.
#[derive(Debug)]
pub(super) struct World {
    pub(super) bodies: Vec<Body>,
    pub(super) characters: BTreeMap<RevisionNumber, Character>,
    pub(super) failed_starts: Vec<(RevisionNumber, String)>,
    /// Milliseconds that really passed.
    pub(super) time: Moment,
    /// The machine's clock is ahead of them by so much.
    pub(super) offset: i64,
    /// Whether chance still strikes.
    pub(super) chaos: bool,
    minimum_healthy_time: Moment,
    healthy_deadline: Moment,
    started: u64,
}

impl World {
    pub(super) fn new(guard: &Guard) -> World {
        let mut world = World {
            bodies: Vec::new(),
            characters: BTreeMap::new(),
            failed_starts: Vec::new(),
            time: 0,
            offset: 1_000_000,
            chaos: true,
            minimum_healthy_time: 0,
            healthy_deadline: 0,
            started: 0,
        };
        world.mind(guard);
        world
    }

    /// What is slow and what is flapping depends on what is asked for.
    pub(super) fn mind(&mut self, guard: &Guard) {
        self.minimum_healthy_time = guard.minimum_healthy_time.as_millis() as Moment;
        self.healthy_deadline = guard.healthy_deadline.as_millis() as Moment;
    }

    /// What the machine's clock says.
    pub(super) fn clock(&self) -> Moment {
        (self.time as i64 + self.offset) as Moment
    }

    pub(super) fn observe(&mut self) -> Observed {
        let replicas = self.bodies.iter().map(|body| body.replica.clone()).collect();
        Observed { replicas, failed_starts: std::mem::take(&mut self.failed_starts) }
    }

    /// When the next replica changes by itself in a way that a watcher is told of.
    pub(super) fn next_change(&self) -> Option<Moment> {
        self.bodies.iter().filter_map(|body| body.next.map(|(at, _)| at)).min()
    }

    /// Lets the time pass until then.
    pub(super) fn pass(&mut self, until: Moment, random: &mut Random) {
        while let Some(at) = self.next_change().filter(|at| *at <= until) {
            self.time = self.time.max(at);
            let index = self.bodies.iter().position(|body| body.next.is_some_and(|(when, _)| when == at));
            if let Some(index) = index {
                self.change(index, random);
            }
        }
        self.time = self.time.max(until);
        for body in &mut self.bodies {
            let dead = matches!(body.replica.condition, Condition::Ended | Condition::Restarting);
            if dead || (!body.replica.in_traffic && self.time >= body.connections_until) {
                body.replica.connections = 0;
            }
        }
    }

    /// Carries out what the controller wants; a start may fail.
    pub(super) fn carry_out(&mut self, action: &Action, random: &mut Random) {
        match action {
            Action::Route(ids) => self.route(ids, random),
            Action::Start { revision, place } => self.start(*revision, *place, random),
            Action::Stop(id) => {
                let (time, slow) = (self.time, random.between(10, 2_000));
                if let Some(body) = self.bodies.iter_mut().find(|body| body.replica.id == *id && !body.told) {
                    body.told = true;
                    body.next = Some((time + slow, Change::Stopped));
                }
            }
            Action::Remove(id) => self.bodies.retain(|body| body.replica.id != *id),
        }
    }

    /// A running replica crashes now.
    pub(super) fn crash(&mut self, random: &mut Random) {
        let time = self.time;
        if let Some(body) = self.strike(random) {
            body.next = Some((time, Change::Crash));
        }
    }

    /// A replica that starts never comes to its end.
    pub(super) fn hang(&mut self, random: &mut Random) {
        if let Some(body) = self.strike(random)
            && body.replica.condition == Condition::Starting
        {
            body.next = None;
        }
    }

    /// A ready replica falls ill for a while.
    pub(super) fn sicken(&mut self, random: &mut Random) {
        let well = random.between(200, 8_000);
        let time = self.time;
        if let Some(body) = self.strike(random)
            && body.replica.condition == Condition::Ready
        {
            body.replica.condition = Condition::Unhealthy;
            body.next = Some((time + well, Change::Ready));
        }
    }

    /// The machine starts anew: every replica has ended, and its clock begins at nearly 0.
    pub(super) fn reboot(&mut self, random: &mut Random) {
        self.offset = random.between(1, 30_000) as i64 - self.time as i64;
        for body in &mut self.bodies {
            body.replica.condition = Condition::Ended;
            body.replica.in_traffic = false;
            body.replica.connections = 0;
            body.next = None;
        }
    }

    fn strike(&mut self, random: &mut Random) -> Option<&mut Body> {
        let running = |body: &Body| {
            !body.told
                && matches!(body.replica.condition, Condition::Ready | Condition::Starting | Condition::Unhealthy)
        };
        let indices: Vec<usize> = (0..self.bodies.len()).filter(|&index| running(&self.bodies[index])).collect();
        random.pick(&indices).map(|&index| &mut self.bodies[index])
    }

    fn route(&mut self, ids: &[ContainerId], random: &mut Random) {
        for body in &mut self.bodies {
            let (was, is) = (body.replica.in_traffic, ids.contains(&body.replica.id));
            body.replica.in_traffic = is;
            if is {
                body.replica.connections = random.between(0, 3) as u32;
            } else if was {
                body.out_since = self.time;
                let lasts = if random.chance(20) { 60_000 } else { random.between(0, 3_000) };
                body.connections_until = self.time + lasts;
            }
        }
    }

    fn start(&mut self, revision: RevisionNumber, place: u32, random: &mut Random) {
        let character = self.characters.get(&revision).copied().unwrap_or(Character::Good);
        if character == Character::Absent || (self.chaos && random.chance(1)) {
            self.failed_starts.push((revision, "no such image".to_owned()));
            return;
        }
        self.started += 1;
        let next = self.fate(character, random);
        let id = format!("{:016x}", self.started).parse().expect("an id");
        let replica = Replica {
            id,
            revision,
            place,
            condition: Condition::Starting,
            restarts: 0,
            in_traffic: false,
            connections: 0,
            finding: None,
        };
        let out_since = self.time;
        self.bodies.push(Body { replica, told: false, out_since, next, connections_until: 0 });
    }

    /// What happens to a replica that has been started.
    fn fate(&self, character: Character, random: &mut Random) -> Option<(Moment, Change)> {
        let longest = if self.chaos { self.healthy_deadline * 3 / 2 } else { self.healthy_deadline / 2 };
        let (wait, change) = match character {
            Character::Good => (random.between(0, 3_000.min(self.healthy_deadline / 3)), Change::Ready),
            Character::Slow => (random.between(100, longest), Change::Ready),
            Character::Flapping => (random.between(10, 2_000), Change::Ready),
            Character::Crashing => {
                (random.between(10, 2_000), if random.chance(50) { Change::Ready } else { Change::Crash })
            }
            Character::Sick | Character::Absent => return None,
        };
        Some((self.time + wait, change))
    }

    fn change(&mut self, index: usize, random: &mut Random) {
        let time = self.time;
        let revision = self.bodies[index].replica.revision;
        let character = self.characters.get(&revision).copied().unwrap_or(Character::Good);
        let short = random.between(0, self.minimum_healthy_time.saturating_sub(1));
        let fate = self.fate(character, random);
        let body = &mut self.bodies[index];
        let Some((_, change)) = body.next.take() else { return };
        match change {
            Change::Ready => {
                body.replica.condition = Condition::Ready;
                body.next = match character {
                    Character::Flapping => Some((time + short, Change::Unready)),
                    Character::Crashing => Some((time + short, Change::Crash)),
                    _ => None,
                };
            }
            Change::Unready => {
                body.replica.condition = Condition::Unhealthy;
                body.next = Some((time + random.between(10, 1_000), Change::Ready));
            }
            Change::Crash if random.chance(50) => body.replica.condition = Condition::Ended,
            Change::Crash => {
                body.replica.condition = Condition::Restarting;
                body.next = Some((time + random.between(10, 1_000), Change::StartAgain));
            }
            Change::StartAgain => {
                body.replica.condition = Condition::Starting;
                body.replica.restarts += 1;
                body.next = fate;
            }
            Change::Stopped => body.replica.condition = Condition::Ended,
        }
    }
}
