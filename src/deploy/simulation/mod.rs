//! Thousands of deployments with random mishaps, each judged at every step by an oracle of its own.
//!
//! A seed that breaks a promise is printed with what happened in it; `CORACLE_SEED=17 cargo test --lib simulation` plays
//! it again. `CORACLE_SEEDS=1000000` tries more of them.

mod oracle;
mod random;
mod world;

use super::controller::model::{Action, Decision, Failure, Goal, Happening, Moment, Stage, State};
use super::controller::next;
use super::strategy::{Guard, OnFailure, Rolling, Strategy};
use oracle::{Broken, Oracle};
use random::Random;
use std::collections::BTreeMap;
use std::time::Duration;
use world::{Character, World};

/// So long must it take at most to settle once nothing happens any more: an hour of its time.
const PATIENCE: Moment = 3_600_000;

#[test]
fn ten_thousand_deployments_keep_their_promises() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("CORACLE_SEED") {
        let mut course = Course::new(seed, true);
        return course.run().unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
    }
    let seeds = number("CORACLE_SEEDS").unwrap_or(10_000);
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get()) as u64;
    let parts: Vec<Part> = std::thread::scope(|scope| {
        let part = |thread: u64| move || try_seeds((thread..seeds).step_by(threads as usize));
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(part(thread))).collect();
        running.into_iter().map(|thread| thread.join().expect("a part of the seeds")).collect()
    });
    if let Some((seed, broken)) = parts.iter().filter_map(|part| part.broken.clone()).min() {
        let mut course = Course::new(seed, true);
        let _ = course.run();
        panic!("seed {seed}: {broken}\nreplay: CORACLE_SEED={seed} cargo test --lib simulation -- --nocapture");
    }
    let mut times: BTreeMap<&str, u64> = BTreeMap::new();
    for (what, number) in parts.iter().flat_map(|part| &part.times) {
        *times.entry(what).or_default() += number;
    }
    println!("{times:#?}");
    // A simulation in which nothing goes wrong would show nothing.
    for what in WORTH_SEEING {
        let number = times.get(what).copied().unwrap_or(0);
        assert!(number >= seeds / 200, "{what}: {number} times in {seeds} deployments");
    }
}

const WORTH_SEEING: [&str; 14] = [
    "complete",
    "back: crashed",
    "back: not healthy",
    "back: no progress",
    "back: not started",
    "rolled back",
    "failed",
    "removed",
    "called back",
    "adopted",
    "host died",
    "rebooted",
    "jumped",
    "overtaken",
];

/// What came of some of the seeds.
#[derive(Default)]
struct Part {
    broken: Option<(u64, Broken)>,
    times: BTreeMap<&'static str, u64>,
}

fn try_seeds(seeds: impl Iterator<Item = u64>) -> Part {
    let mut part = Part::default();
    for seed in seeds {
        let mut course = Course::new(seed, false);
        let result = course.run();
        for (what, number) in course.times {
            *part.times.entry(what).or_default() += number;
        }
        if let Err(broken) = result {
            part.broken = Some((seed, broken));
            break;
        }
    }
    part
}

/// One deployment from its beginning to rest.
struct Course {
    random: Random,
    world: World,
    state: State,
    oracle: Oracle,
    revisions: u32,
    jumped: bool,
    loud: bool,
    times: BTreeMap<&'static str, u64>,
}

impl Course {
    fn new(seed: u64, loud: bool) -> Course {
        let mut random = Random::new(seed);
        let goal = random_goal(&mut random, 1);
        let world = World::new(goal.strategy.guard());
        let state = State::new(goal, world.clock());
        let oracle = Oracle::new(&state, world.clock());
        let mut course =
            Course { random, world, state, oracle, revisions: 1, jumped: false, loud, times: BTreeMap::new() };
        course.choose_character(1);
        course
    }

    fn run(&mut self) -> Result<(), Broken> {
        self.tell(|course| format!("{:?}", course.state.goal));
        for _ in 0..self.random.between(5, 60) {
            self.mishap();
            self.look()?;
        }
        self.world.chaos = false;
        self.tell(|_| "quiet from now on".to_owned());
        let end = self.world.time + PATIENCE;
        while !self.look()? {
            if self.world.time > end {
                return Err(format!("it does not settle: {:?}", self.state));
            }
        }
        self.oracle.check_end(&self.world, &self.state, self.jumped)?;
        self.rest()
    }

    /// One look, and the time until the next; true if all is settled.
    fn look(&mut self) -> Result<bool, Broken> {
        let now = self.world.clock();
        let observed = self.world.observe();
        let made = next(&self.state, now, &observed);
        if self.dies() {
            self.tell(|_| "the host dies before the decision is durable".to_owned());
            self.be_down();
            return Ok(false);
        }
        self.tell(|_| format!("{:?} {:?}", made.actions, made.happenings));
        self.oracle.look(&self.state, now, &observed, &made)?;
        self.count_up(&made);
        self.state = made.state;
        self.heal(&made.happenings);
        for action in &made.actions {
            if self.dies() {
                self.tell(|_| format!("the host dies before {action:?}"));
                self.be_down();
                return Ok(false);
            }
            self.act(action);
        }
        if made.again_at.is_none()
            && !made.settled
            && matches!(self.state.stage, Stage::Rolling | Stage::RollingBack { .. })
        {
            return Err("it is not done, and does not want to be asked again".to_owned());
        }
        let wanted = made.again_at.map_or(Moment::MAX, |at| self.world.time + (at - now));
        let change = self.world.next_change().map_or(Moment::MAX, |at| at.max(self.world.time) + 1);
        let late = if self.random.chance(20) { self.random.between(0, 300) } else { 0 };
        let mut until = wanted.min(change).min(self.world.time + PATIENCE / 4) + late;
        if self.world.chaos && self.random.chance(30) {
            until = until.min(self.world.time + self.random.between(1, 5_000));
        }
        let failed = matches!(self.state.stage, Stage::Failed { .. });
        if made.settled && !self.world.chaos && (failed || change == Moment::MAX) {
            return Ok(true);
        }
        self.world.pass(until, &mut self.random);
        Ok(false)
    }

    fn count_up(&mut self, made: &Decision) {
        for happening in &made.happenings {
            let what = match happening {
                Happening::Complete { .. } => "complete",
                Happening::RollingBack { because: Failure::Crashed { .. }, .. } => "back: crashed",
                Happening::RollingBack { because: Failure::NotHealthy { .. }, .. } => "back: not healthy",
                Happening::RollingBack { because: Failure::NoProgress { .. }, .. } => "back: no progress",
                Happening::RollingBack { because: Failure::NotStarted { .. }, .. } => "back: not started",
                Happening::RolledBack { .. } => "rolled back",
                Happening::Failed { .. } => "failed",
                Happening::Removed => "removed",
                _ => continue,
            };
            self.note(what);
        }
        for known in &made.state.known {
            match self.state.known.iter().find(|before| before.id == known.id) {
                Some(before) if before.leaving_since.is_some() && known.leaving_since.is_none() => {
                    self.note("called back");
                }
                None if known.revision != self.state.goal.revision => self.note("adopted"),
                _ => {}
            }
        }
    }

    fn note(&mut self, what: &'static str) {
        *self.times.entry(what).or_default() += 1;
    }

    fn act(&mut self, action: &Action) {
        self.world.carry_out(action, &mut self.random);
    }

    fn dies(&mut self) -> bool {
        self.world.chaos && self.random.chance(4)
    }

    /// The world goes on without anybody who looks.
    fn be_down(&mut self) {
        self.note("host died");
        self.world.failed_starts.clear();
        let until = self.world.time + self.random.between(0, 20_000);
        self.world.pass(until, &mut self.random);
    }

    /// What was once complete is good from then on, or there would be no rest.
    fn heal(&mut self, happenings: &[Happening]) {
        for happening in happenings {
            if let Happening::Complete { revision } = happening
                && let Some(character) = self.world.characters.get_mut(revision)
                && (!character.is_fatal(self.jumped) || self.state.goal.replicas == 0)
            {
                *character = Character::Good;
            }
        }
    }

    fn mishap(&mut self) {
        match self.random.between(0, 39) {
            0..=2 => self.world.crash(&mut self.random),
            3..=5 => self.world.sicken(&mut self.random),
            6 => {
                self.jumped = true;
                self.note("jumped");
                self.world.offset += self.random.between(1_000, 100_000_000) as i64;
                self.tell(|_| "the clock jumps".to_owned());
            }
            7 if self.random.chance(50) => {
                self.world.reboot(&mut self.random);
                self.note("rebooted");
                self.tell(|_| "the machine starts anew".to_owned());
            }
            8..=10 => self.roll(),
            11..=12 => self.scale(),
            13 if self.random.chance(10) => {
                self.state.remove();
                self.oracle.remove();
                self.tell(|_| "it is to be removed".to_owned());
            }
            // In a proven revision it is for the health check to have it started again.
            14..=15 if matches!(self.state.stage, Stage::Rolling | Stage::RollingBack { .. }) => {
                self.world.hang(&mut self.random);
            }
            _ => {}
        }
    }

    fn roll(&mut self) {
        if self.state.stage == Stage::Removing {
            return;
        }
        if self.state.stage == Stage::Rolling {
            self.note("overtaken");
        }
        self.revisions += 1;
        let goal = random_goal(&mut self.random, self.revisions);
        self.choose_character(self.revisions);
        self.world.mind(goal.strategy.guard());
        self.state.set_goal(goal, self.world.clock());
        self.oracle.set_goal(&self.state, self.world.clock());
        self.tell(|course| format!("{:?}", course.state.goal));
    }

    fn scale(&mut self) {
        if self.state.stage == Stage::Removing {
            return;
        }
        let goal = Goal { replicas: self.random.between(0, 5) as u32, ..self.state.goal.clone() };
        self.state.set_goal(goal, self.world.clock());
        self.oracle.set_goal(&self.state, self.world.clock());
        self.tell(|course| format!("{} replicas", course.state.goal.replicas));
    }

    fn choose_character(&mut self, revision: u32) {
        let characters = [
            Character::Good,
            Character::Good,
            Character::Good,
            Character::Slow,
            Character::Sick,
            Character::Flapping,
            Character::Crashing,
            Character::Absent,
        ];
        // Without a good one there is nothing to roll back to.
        let good = revision == 1 && self.random.chance(60);
        let characters = if good { &characters[..1] } else { &characters[..] };
        let character = *self.random.pick(characters).unwrap_or(&Character::Good);
        self.world.characters.insert(revision, character);
        self.tell(|_| format!("revision {revision} is {character:?}"));
    }

    /// What is settled stays so, and is left alone.
    fn rest(&mut self) -> Result<(), Broken> {
        // A revision that failed and is left as it is may go on flapping.
        if matches!(self.state.stage, Stage::Failed { .. }) {
            return Ok(());
        }
        let observed = self.world.observe();
        let again = next(&self.state, self.world.clock() + 1, &observed);
        let said = again.happenings.iter().any(|happening| *happening != Happening::Removed);
        if !again.settled || !again.actions.is_empty() || said {
            return Err(format!("it does not rest: {again:?}"));
        }
        Ok(())
    }

    fn tell(&self, what: impl FnOnce(&Course) -> String) {
        if self.loud {
            println!("{:>9} {}", self.world.time, what(self));
        }
    }
}

fn random_goal(random: &mut Random, revision: u32) -> Goal {
    let seconds = |random: &mut Random, low, high| Duration::from_secs(random.between(low, high));
    let guard = Guard::default()
        .minimum_healthy_time(Duration::from_millis(random.between(1, 3_000)))
        .healthy_deadline(seconds(random, 5, 60))
        .progress_deadline(seconds(random, 10, 120))
        .crashes(random.between(1, 5) as u32)
        .on_failure(if random.chance(85) { OnFailure::RollBack } else { OnFailure::Pause });
    let (surge, unavailable) = (random.between(0, 2) as u32, random.between(0, 2) as u32);
    let rolling = Rolling { surge, unavailable: if surge == 0 { unavailable.max(1) } else { unavailable }, guard };
    let strategy = if random.chance(80) { rolling.into() } else { Strategy::Recreate(guard) };
    Goal { revision, replicas: random.between(1, 5) as u32, strategy, drain: seconds(random, 0, 20) }
}
