//! `deploy`, `restart` and `healthcheck`: how many, how much, when again, how replaced (Compose Deploy Specification).

use super::cursor::{Cursor, Fields};
use super::service::ServiceHealth;
use crate::cgroup::Limits;
use crate::container::{Health, Restart, RestartCondition};
use crate::deploy::{Guard, OnFailure, Request, Rolling};
use std::time::Duration;

/// What the keys around `deploy` say.
pub(super) struct Policy {
    pub(super) replicas: u32,
    pub(super) limits: Limits,
    pub(super) request: Request,
    pub(super) rolling: Rolling,
    /// `None` where the file does not say.
    pub(super) restart: Option<Restart>,
}

/// Reads `deploy`, `restart`, `cpus`, `mem_limit` and `pids_limit` of a service.
pub(super) fn policy(service: &Fields<'_>) -> Policy {
    let known =
        ["mode", "endpoint_mode", "replicas", "resources", "update_config", "rollback_config", "restart_policy"];
    let deploy = service.get("deploy").map(|deploy| deploy.fields(&known, &["labels", "placement", "job_mode"]));
    let get = |key: &str| deploy.as_ref().and_then(|deploy| deploy.get(key));
    for (key, only, why) in
        [("mode", "replicated", "there is one machine"), ("endpoint_mode", "vip", "a service has one stable address")]
    {
        if let Some(value) = get(key)
            && value.text().is_some_and(|text| text != only)
        {
            value.wrong(format!("only {only:?} is supported: {why}"));
        }
    }
    let replicas = get("replicas").and_then(|replicas| replicas.number()).unwrap_or(1);
    let (limits, request) = resources(service, get("resources"));
    let update = get("update_config").map(|update| Update::read(&update, replicas));
    if let Some(rollback) = get("rollback_config") {
        same_as(&rollback, &Update::read(&rollback, replicas), update.as_ref());
    }
    let restart = restart(service, get("restart_policy"));
    let rolling = update.unwrap_or_default().rolling(replicas);
    Policy { replicas, limits, request, rolling, restart }
}

/// Limits stand under `deploy.resources.limits` or, as before, at the service; not in both places.
fn resources(service: &Fields<'_>, resources: Option<Cursor<'_>>) -> (Limits, Request) {
    let resources = resources.map(|resources| resources.fields(&["limits", "reservations"], &[]));
    let part = |key: &str| {
        let part = resources.as_ref().and_then(|resources| resources.get(key))?;
        Some(part.fields(&["cpus", "memory", "pids"], &["devices", "generic_resources"]))
    };
    let (limits, reservations) = (part("limits"), part("reservations"));
    let either = |key: &str, old: &str| {
        let (new, old) = (limits.as_ref().and_then(|limits| limits.get(key)), service.get(old));
        if let (Some(_), Some(old)) = (&new, &old) {
            old.wrong(format!("is also in deploy.resources.limits.{key}: keep one"));
        }
        new.or(old)
    };
    let mut all = Limits::new();
    if let Some(cpus) = either("cpus", "cpus").and_then(|cpus| cpus.cpus()) {
        all = all.cpus(cpus);
    }
    if let Some(memory) = either("memory", "mem_limit").and_then(|memory| memory.memory()) {
        all = all.memory(memory);
    }
    if let Some(pids) = either("pids", "pids_limit").and_then(|pids| pids.number()) {
        all = all.pids(pids);
    }
    let mut request = Request::new();
    let reserved = |key: &str| reservations.as_ref().and_then(|reservations| reservations.get(key));
    if let Some(cpus) = reserved("cpus").and_then(|cpus| cpus.cpus()) {
        request = request.cpus(cpus);
    }
    if let Some(memory) = reserved("memory").and_then(|memory| memory.memory()) {
        request = request.memory(memory);
    }
    if let Some(pids) = reserved("pids").and_then(|pids| pids.number()) {
        request = request.pids(pids);
    }
    (all, request)
}

/// `update_config` or `rollback_config`, with the specification's defaults.
#[derive(Debug, Clone, PartialEq)]
struct Update {
    parallelism: u32,
    start_first: bool,
    /// How long a replica is watched before the next one is replaced: the longer one of `delay` and `monitor`.
    watched: Duration,
    roll_back: bool,
    /// Whether one failure is one too many; without the block there is the patience of every deployment.
    strict: bool,
}

/// What holds without `update_config`: one at a time, the old one stopped first.
impl Default for Update {
    fn default() -> Update {
        Update { parallelism: 1, start_first: false, watched: Duration::ZERO, roll_back: false, strict: false }
    }
}

impl Update {
    fn read(update: &Cursor<'_>, replicas: u32) -> Update {
        let known = ["parallelism", "delay", "failure_action", "monitor", "max_failure_ratio", "order"];
        let fields = update.fields(&known, &[]);
        let parallelism = fields.get("parallelism").and_then(|parallelism| parallelism.number()).unwrap_or(1);
        let time = |key: &str| fields.get(key).and_then(|time| time.duration()).unwrap_or_default();
        let watched = time("delay").max(time("monitor"));
        if let Some(ratio) = fields.get("max_failure_ratio") {
            ratio.parsed(|text| match text.parse::<f64>() {
                Ok(0.0) => Ok(()),
                _ => Err("only 0 is supported: the first failure is a failure of the revision"),
            });
        }
        let order = |text: &str| match text {
            "start-first" => Ok(true),
            "stop-first" => Ok(false),
            other => Err(format!("{other:?} is neither start-first nor stop-first")),
        };
        let start_first = fields.get("order").and_then(|value| value.parsed(order)).unwrap_or(false);
        let action = |text: &str| match text {
            "rollback" => Ok(true),
            "pause" => Ok(false),
            "continue" => Err("continue is not supported: a revision that fails is not rolled out further".to_owned()),
            other => Err(format!("{other:?} is neither rollback nor pause")),
        };
        let roll_back = fields.get("failure_action").and_then(|value| value.parsed(action)).unwrap_or(false);
        // 0 means all at once.
        let parallelism = if parallelism == 0 { replicas.max(1) } else { parallelism };
        Update { parallelism, start_first, watched, roll_back, strict: true }
    }

    fn rolling(&self, replicas: u32) -> Rolling {
        let at_once = self.parallelism.min(replicas.max(1));
        let rolling = match self.start_first {
            true => Rolling::new().surge(at_once).unavailable(0),
            false => Rolling::new().surge(0).unavailable(at_once),
        };
        let mut guard = Guard::default();
        guard = guard.minimum_healthy_time(guard.minimum_healthy_time.max(self.watched));
        if self.strict {
            guard = guard.crashes(1);
        }
        guard = guard.on_failure(if self.roll_back { OnFailure::RollBack } else { OnFailure::Pause });
        Rolling { guard, ..rolling }
    }
}

/// Gives a replica the time that its health check may take to say something, where that is longer than the default.
pub(super) fn patient(rolling: Rolling, health: &ServiceHealth) -> Rolling {
    let checks = match health {
        ServiceHealth::Own(Health { interval, timeout, start_period, retries, .. }) => {
            interval.saturating_add(*timeout).saturating_mul(*retries).saturating_add(*start_period)
        }
        _ => Duration::ZERO,
    };
    let needed = checks.saturating_add(rolling.guard.minimum_healthy_time).saturating_add(Duration::from_secs(60));
    let (healthy, progress) = (rolling.guard.healthy_deadline, rolling.guard.progress_deadline);
    rolling.healthy_deadline(healthy.max(needed)).progress_deadline(progress.max(needed.saturating_mul(2)))
}

/// A rollback goes as an update does: a block that says otherwise cannot be carried out.
fn same_as(cursor: &Cursor<'_>, rollback: &Update, update: Option<&Update>) {
    let update = update.cloned().unwrap_or_default();
    if rollback.roll_back {
        cursor.wrong("failure_action: a rollback that fails is not rolled back");
    }
    for (key, differs) in [
        ("parallelism", rollback.parallelism != update.parallelism),
        ("order", rollback.start_first != update.start_first),
        ("delay or monitor", rollback.watched != update.watched),
    ] {
        if differs {
            cursor.wrong(format!("{key}: must be that of update_config, since a rollback goes as an update does"));
        }
    }
}

/// `restart`, or `deploy.restart_policy`.
fn restart(service: &Fields<'_>, policy: Option<Cursor<'_>>) -> Option<Restart> {
    let simple = service.get("restart");
    if let (Some(simple), Some(_)) = (&simple, &policy) {
        simple.wrong("is also in deploy.restart_policy: keep one");
    }
    match policy {
        Some(policy) => Some(restart_policy(&policy)),
        None => simple?.parsed(parse_restart),
    }
}

fn parse_restart(text: &str) -> Result<Restart, String> {
    match text.split_once(':').unwrap_or((text, "")) {
        ("no" | "false", "") => Ok(Restart::never()),
        // A container that was stopped stays so in both cases, and none is started again after a reboot.
        ("always" | "unless-stopped", "") => Ok(Restart::always()),
        ("on-failure", "") if !text.ends_with(':') => Ok(Restart::on_failure()),
        ("on-failure", most) => match most.parse() {
            Ok(most) if most > 0 => Ok(Restart::on_failure().most(most)),
            _ => Err(format!("{most:?} is not a number of restarts from 1")),
        },
        _ => Err(format!("{text:?} is none of no, always, unless-stopped and on-failure[:N]")),
    }
}

fn restart_policy(policy: &Cursor<'_>) -> Restart {
    let fields = policy.fields(&["condition", "delay", "max_attempts", "window"], &[]);
    let condition = |text: &str| match text {
        "none" => Ok(RestartCondition::Never),
        "on-failure" => Ok(RestartCondition::OnFailure),
        "any" => Ok(RestartCondition::Always),
        other => Err(format!("{other:?} is none of none, on-failure and any")),
    };
    let condition =
        fields.get("condition").and_then(|value| value.parsed(condition)).unwrap_or(RestartCondition::Always);
    let mut restart = match condition {
        RestartCondition::Never => Restart::never(),
        RestartCondition::OnFailure => Restart::on_failure(),
        RestartCondition::Always => Restart::always(),
    };
    if let Some(delay) = fields.get("delay").and_then(|delay| delay.duration()) {
        restart = restart.delay(delay, delay);
    }
    if let Some(most) = fields.get("max_attempts").and_then(|most| most.number()) {
        restart = restart.most(most);
    }
    if let Some(window) = fields.get("window")
        && window.duration().is_some_and(|window| window != Duration::from_secs(10))
    {
        window.wrong("only 10s is supported: a command that has run for 10 s has started");
    }
    restart
}

/// `healthcheck`.
pub(super) fn health(check: &Cursor<'_>) -> ServiceHealth {
    let known = ["test", "interval", "timeout", "start_period", "retries", "disable"];
    let fields = check.fields(&known, &["start_interval"]);
    if fields.get("disable").and_then(|disable| disable.boolean()) == Some(true) {
        return ServiceHealth::Disabled;
    }
    let Some(test) = fields.get("test") else {
        check.wrong("test is missing");
        return ServiceHealth::Image;
    };
    let Some(command) = test_command(&test) else { return ServiceHealth::Disabled };
    let mut health = Health::command(command);
    let time = |key: &str| fields.get(key).and_then(|time| Some((time.duration()?, time)));
    for (key, set) in [("interval", Health::every as fn(Health, Duration) -> Health), ("timeout", Health::timeout)] {
        if let Some((duration, cursor)) = time(key) {
            match duration.is_zero() {
                true => cursor.wrong("0 is too short"),
                false => health = set(health, duration),
            }
        }
    }
    if let Some((duration, _)) = time("start_period") {
        health = health.start_period(duration);
    }
    if let Some(retries) = fields.get("retries")
        && let Some(number) = retries.number()
    {
        match number {
            0 => retries.wrong("0 is too few"),
            number => health = health.retries(number),
        }
    }
    ServiceHealth::Own(health)
}

/// The command of a `test`; `None` for `NONE`, and where it is wrong.
fn test_command(test: &Cursor<'_>) -> Option<Vec<String>> {
    let shell = |script: &str| vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()];
    if !test.is_list() {
        return test.text().map(shell);
    }
    let texts = test.texts();
    match texts.iter().map(String::as_str).collect::<Vec<&str>>().as_slice() {
        ["NONE"] => None,
        ["CMD", command @ ..] if !command.is_empty() => Some(command.iter().map(|word| (*word).to_owned()).collect()),
        ["CMD-SHELL", script] => Some(shell(script)),
        _ => {
            test.wrong("is none of [NONE], [CMD, ...] and [CMD-SHELL, script]");
            None
        }
    }
}
