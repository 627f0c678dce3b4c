//! How a keeper looks after a container beyond its first start: checks, restarts, word to the network.

use super::backoff::{Ended, Restarts};
use super::checks::Checks;
use super::clock::since_boot;
use super::constant::*;
use super::files::close;
use super::parent;
use super::program::{Page, Program};
use super::record::{self, End};
use super::verdict::Verdict;
use super::watch::{Watch, Zombie, kills_for_memory, reap, signal};
use super::call::call;
use super::syscall::Errno;
use super::{log, maps, notify};
use crate::plan::layout::{CareOrders, CheckKind, KeeperOrders, Message, RestartCondition, State};
use core::sync::atomic::Ordering;

/// How often a start is looked at: whether its command is executed by now.
const START_TICK: u64 = 5_000_000;

/// How long a container that is unhealthy has to end after its stop signal.
const UNHEALTHY_GRACE: u64 = 10_000_000_000;

/// How soon a record that could not be written is tried again.
const RECORD_TICK: u64 = 1_000_000_000;

/// No deadline.
pub(crate) const NEVER: u64 = u64::MAX;

/// What the container is doing; times in nanoseconds since the machine was started.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Run {
    /// The plan is being carried out.
    Starting,
    /// The command runs since then.
    Executed(u64),
    /// It has ended, and is started again then.
    Resting(u64),
    /// It has ended and stays so.
    Over,
}

/// A container's care.
pub(crate) struct Care {
    orders: CareOrders,
    run: Run,
    checks: Checks,
    restarts: Restarts,
    /// The keeper's end of the socket to the stage at a restart; -1.
    channel: i32,
    /// The page of the runs after the first.
    page: Option<Page>,
    /// Whether it is being stopped because it is unhealthy.
    condemned: bool,
    /// When it is killed because of that.
    kill_at: u64,
    /// How often somebody asked for its stop.
    asked: u32,
    /// Whether the network has been told that it serves.
    ready: bool,
    /// How the run before ended.
    last: Option<End>,
}

impl Care {
    /// The care that the plan orders, at the first start.
    pub(crate) fn begin(program: &Program, keeper: &KeeperOrders) -> Option<Care> {
        let orders = program.care()?;
        let CareOrders { condition, most, delay, longest_delay, .. } = orders;
        let care = Care {
            orders,
            run: Run::Starting,
            checks: Checks::begin(&orders),
            restarts: Restarts::new(condition, most, delay, longest_delay),
            channel: -1,
            page: None,
            condemned: false,
            kill_at: NEVER,
            asked: 0,
            ready: false,
            last: None,
        };
        if Care::restarts(&orders) {
            record::reserve_stop(keeper.directory);
        }
        care.publish(keeper);
        Some(care)
    }

    /// Whether what the payload is given must stay open for another start or a command.
    pub(crate) fn keeps_descriptors(orders: &CareOrders) -> bool {
        Care::restarts(orders) || orders.check == CheckKind::COMMAND
    }

    fn restarts(orders: &CareOrders) -> bool {
        orders.condition != RestartCondition::NEVER || orders.when_unhealthy == 1
    }

    /// Whether the first process may be noted: one of a restart is a target for signals only once its command runs.
    pub(crate) fn is_noteworthy(&self) -> bool {
        matches!(self.run, Run::Executed(_)) || self.run == Run::Starting && self.last.is_none()
    }

    /// Whether the container has ended, for now or for good.
    pub(crate) fn is_at_rest(&self) -> bool {
        matches!(self.run, Run::Resting(_) | Run::Over)
    }

    /// What else to wait for: descriptors and events.
    pub(crate) fn polled(&self) -> [(i32, i16); 2] {
        let check = if self.condemned { (-1, 0) } else { self.checks.polled(&self.orders) };
        [(self.channel, POLLIN), check]
    }

    /// When to look again.
    pub(crate) fn wake_at(&self, now: u64) -> u64 {
        match self.run {
            Run::Starting => now + START_TICK,
            Run::Executed(_) if self.condemned => self.kill_at,
            Run::Executed(_) => self.checks.wake_at(),
            Run::Resting(until) => until,
            Run::Over => now,
        }
    }

    /// Goes on with whatever is due; `words` is how often somebody asked to look for a stop. The end to be recorded,
    /// where it is over.
    pub(crate) fn step(
        &mut self,
        program: &mut Program,
        keeper: &KeeperOrders,
        watch: &mut Watch,
        words: u32,
    ) -> Option<End> {
        self.converse(program, watch.pid);
        let now = since_boot();
        if words > 0 && record::exists(keeper.directory, c"stop") {
            self.stop(program, watch);
        }
        if self.run == Run::Starting && program.recorder().state.load(Ordering::Acquire) == State::EXECUTING {
            self.executed(program, now);
        }
        if let Run::Resting(until) = self.run
            && now >= until
        {
            self.start_again(program, keeper, watch, now);
        }
        if let Run::Executed(_) = self.run {
            self.check(program, keeper, watch, now);
            if now >= self.kill_at {
                signal(watch.pid, SIGKILL);
                self.kill_at = NEVER;
            }
        }
        if self.run == Run::Over { self.last } else { None }
    }

    /// Another child of the keeper has ended.
    pub(crate) fn child_ended(&mut self, program: &Program, zombie: Zombie) {
        let header = program.header();
        self.checks.child_ended(zombie, header.op_count + header.enter_count - 1);
    }

    /// The first process has ended; the end to be recorded, where no restart follows.
    pub(crate) fn ended(&mut self, program: &Program, keeper: &KeeperOrders, watch: &mut Watch, end: End) -> Option<End> {
        let now = since_boot();
        self.checks.stop();
        self.tell(program, false);
        self.close_channel();
        let ran = match self.run {
            Run::Executed(since) => now - since,
            _ => 0,
        };
        let never_ran = end.fault.is_some();
        let failed = end.status != 0 || end.unknown || never_ran;
        let unhealthy = self.condemned || self.checks.verdict() == Verdict::Unhealthy;
        let unhealthy = unhealthy && self.orders.when_unhealthy == 1;
        (self.condemned, self.kill_at) = (false, NEVER);
        if record::exists(keeper.directory, c"stop") {
            // A start that was cut off because of it is no run of its own.
            return Some(if never_ran && self.asked > 0 { self.last.unwrap_or(end) } else { end });
        }
        if never_ran && self.last.is_none() {
            // The host has been told that the start failed.
            return Some(end);
        }
        let Some(pause) = self.restarts.pause_after(Ended { failed, unhealthy, ran }) else { return Some(end) };
        self.last = Some(end);
        self.run = Run::Resting(now.saturating_add(pause));
        self.checks.rest();
        self.publish(keeper);
        self.note_rest(keeper, watch);
        // Whoever marked it before that record was to be seen has signalled nobody.
        if record::exists(keeper.directory, c"stop") { self.last } else { None }
    }

    /// Notes that there is no process for now; only then its number may be given free.
    fn note_rest(&mut self, keeper: &KeeperOrders, watch: &mut Watch) -> bool {
        let Some(last) = &self.last else { return true };
        if watch.pid == 0 {
            return true;
        }
        let noted = record::rested(keeper.directory, last)
            .and_then(|()| record::running(keeper.directory, 0, false))
            .is_ok();
        if noted {
            reap(watch.pid);
            (watch.pid, watch.recorded) = (0, 0);
        }
        noted
    }

    /// Somebody wants it to stop and has found no process to tell.
    fn stop(&mut self, program: &Program, watch: &Watch) {
        self.asked += 1;
        match self.run {
            Run::Resting(_) => self.run = Run::Over,
            // Its command was executed in the meantime. Who asks again has lost patience.
            _ if program.recorder().state.load(Ordering::Acquire) == State::EXECUTING && self.asked == 1 => {
                signal(watch.pid, self.orders.stop_signal as usize);
            }
            _ => signal(watch.pid, SIGKILL),
        }
    }

    fn executed(&mut self, program: &Program, now: u64) {
        self.run = Run::Executed(now);
        self.checks.executed(now);
        if self.checks.verdict() == Verdict::Unchecked {
            self.tell(program, true);
        }
    }

    /// Starts the same plan once more: in the same network, control groups and log, with fresh namespaces of all other
    /// kinds on the files that it left. What the host did at the first start the keeper does now.
    fn start_again(&mut self, program: &mut Program, keeper: &KeeperOrders, watch: &mut Watch, now: u64) {
        // Whoever has found the number of a run that could not be noted as ended has signalled nobody.
        if record::exists(keeper.directory, c"stop") {
            self.run = Run::Over;
            return;
        }
        if !self.note_rest(keeper, watch) {
            self.run = Run::Resting(now + RECORD_TICK);
            return;
        }
        // And once more behind the note, from which on one who stops tells this keeper.
        if record::exists(keeper.directory, c"stop") {
            self.run = Run::Over;
            return;
        }
        self.restarts.note();
        self.run = Run::Starting;
        if let Err(errno) = self.try_start(program, keeper, watch) {
            // As a run that failed at once: the machine may have no process left for the moment.
            let failed = End { status: 127 << 8, fault: Some((errno, 0)), finished: log::now(), ..LOST };
            self.last = Some(failed);
            let _ = record::rested(keeper.directory, &failed);
            self.run = match self.restarts.pause_after(Ended { failed: true, unhealthy: true, ran: 0 }) {
                Some(pause) => Run::Resting(now.saturating_add(pause)),
                None => Run::Over,
            };
        }
        self.publish(keeper);
    }

    fn try_start(&mut self, program: &mut Program, keeper: &KeeperOrders, watch: &mut Watch) -> Result<(), Errno> {
        // The host may still read the page of the first run.
        let page = match self.page {
            Some(page) => page,
            None => *self.page.insert(Page::new()?),
        };
        page.recorder().clear();
        program.replace_recorder(page);
        watch.kills = kills_for_memory(keeper.oom_file);
        let mut pair = [-1i32; 2];
        // SAFETY: room for two descriptors.
        unsafe { call!(SOCKETPAIR, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair.as_mut_ptr()) }?;
        // The stage waits for answers.
        // SAFETY: F_SETFL of the child's end.
        let _ = unsafe { call!(FCNTL, pair[1], F_SETFL, 0) };
        let started = watch.start(program, keeper, Some(pair[1]));
        close(pair[1]);
        self.channel = pair[0];
        if started.is_err() {
            self.close_channel();
        }
        started
    }

    /// Answers the stage of a restart, as the host did at the first start.
    fn converse(&mut self, program: &Program, pid: u32) {
        while self.channel >= 0 {
            match parent::receive(self.channel) {
                Ok(Some(message @ (Message::MAPS | Message::READY))) => {
                    if message == Message::MAPS && maps::write_maps(program, &self.orders, pid).is_err() {
                        signal(pid, SIGKILL);
                    }
                    let _ = parent::send(self.channel, Message::GO, None);
                }
                Ok(Some(_)) => {}
                Ok(None) => self.close_channel(),
                Err(_) => return,
            }
        }
    }

    fn close_channel(&mut self) {
        if self.channel >= 0 {
            close(self.channel);
            self.channel = -1;
        }
    }

    fn check(&mut self, program: &mut Program, keeper: &KeeperOrders, watch: &Watch, now: u64) {
        // One that is being stopped for its health is not asked any more: it could not take the verdict back.
        if self.condemned || !self.checks.step(program, keeper, &self.orders, watch.pid, now) {
            return;
        }
        self.publish(keeper);
        match self.checks.verdict() {
            Verdict::Healthy => self.tell(program, true),
            Verdict::Unhealthy => {
                self.tell(program, false);
                if self.orders.when_unhealthy == 1 && self.restarts.is_left() {
                    signal(watch.pid, self.orders.stop_signal as usize);
                    (self.condemned, self.kill_at) = (true, now + UNHEALTHY_GRACE);
                }
            }
            _ => {}
        }
    }

    /// Tells the network whether it serves, where that is news.
    fn tell(&mut self, program: &Program, ready: bool) {
        if ready == self.ready {
            return;
        }
        self.ready = ready;
        let CareOrders { ready: join, ready_size, unready: leave, unready_size, .. } = self.orders;
        let (message, size) = if ready { (join, ready_size) } else { (leave, unready_size) };
        if message != 0 {
            notify::send(program.bytes(message, size));
        }
    }

    /// Writes what readers want to know, where there is more to know than that it runs.
    fn publish(&self, keeper: &KeeperOrders) {
        if self.orders.check != CheckKind::NONE || Care::restarts(&self.orders) {
            self.checks.publish(keeper.directory, self.restarts.count());
        }
    }
}

/// Nothing known.
const LOST: End = End {
    status: 0,
    unknown: false,
    out_of_memory: false,
    fault: None,
    processor: [0; 2],
    peak_resident: 0,
    finished: [0; 2],
};
