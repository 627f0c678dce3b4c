//! What a keeper does beyond one start: health checks, restarts, word to the network.

use super::enter::Enter;
use crate::launch::IdMap;
use crate::plan::Builder;
use crate::plan::layout::{CareOrders, CheckKind, RestartCondition};
use std::net::SocketAddrV4;
use std::time::Duration;

/// How a detached sandbox is looked after.
#[derive(Debug, Default)]
pub(crate) struct CareTask {
    pub(crate) check: Option<CheckTask>,
    pub(crate) restart: RestartTask,
    /// Asks the command to stop.
    pub(crate) stop_signal: i32,
}

/// A health check.
#[derive(Debug)]
pub(crate) struct CheckTask {
    pub(crate) kind: CheckTaskKind,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) start_period: Duration,
    pub(crate) retries: u32,
    pub(crate) healthy_after: u32,
}

/// What the keeper asks.
#[derive(Debug)]
pub(crate) enum CheckTaskKind {
    /// Whether the address takes a connection.
    Connect(SocketAddrV4),
    /// Whether the address answers these bytes with a status line of HTTP that means success.
    Request(SocketAddrV4, Vec<u8>),
    /// Whether the command, run inside, ends with 0.
    Command(Vec<String>),
}

/// When it is started again.
#[derive(Debug, Default)]
pub(crate) struct RestartTask {
    /// One of [`RestartCondition`].
    pub(crate) condition: u32,
    pub(crate) most: Option<u32>,
    pub(crate) delay: Duration,
    pub(crate) longest_delay: Duration,
    pub(crate) when_unhealthy: bool,
}

impl CareTask {
    /// Whether there is anything to do.
    fn is_idle(&self) -> bool {
        self.check.is_none() && self.restart.condition == RestartCondition::NEVER && !self.restart.when_unhealthy
    }

    /// The command that is to be run inside.
    pub(super) fn inside(&self) -> Option<&[String]> {
        match &self.check {
            Some(CheckTask { kind: CheckTaskKind::Command(command), .. }) => Some(command),
            _ => None,
        }
    }

    /// Puts the orders into the plan; their offset, 0 for none.
    pub(super) fn lower(&self, plan: &mut Builder, with: &With<'_>) -> u32 {
        if self.is_idle() && with.ready.is_empty() && with.unready.is_empty() {
            return 0;
        }
        let RestartTask { condition, most, delay, longest_delay, when_unhealthy } = &self.restart;
        let mut orders = CareOrders {
            delay: nanoseconds(*delay),
            longest_delay: nanoseconds(*longest_delay),
            condition: *condition,
            most: most.unwrap_or(u32::MAX),
            when_unhealthy: u32::from(*when_unhealthy),
            stop_signal: self.stop_signal as u32,
            target: with.enter.map_or(-1, |enter| enter.target),
            output: with.enter.map_or(-1, |enter| enter.output),
            check: CheckKind::NONE,
            through_payload: u32::from(with.init && with.id_map.is_some()),
            ..CareOrders::default()
        };
        if let Some(check) = &self.check {
            lower_check(plan, check, &mut orders);
        }
        (orders.ready, orders.ready_size) = sized(plan, with.ready);
        (orders.unready, orders.unready_size) = sized(plan, with.unready);
        if let Some(map) = with.id_map {
            let [users, groups] = map.texts();
            orders.id_maps = [plan.text(users), plan.text(groups)];
            orders.deny_setgroups = u32::from(IdMap::needs_denial());
        }
        plan.bytes(&to_bytes(&orders))
    }
}

/// What the orders need to know of the rest of the plan.
pub(super) struct With<'a> {
    pub(super) ready: &'a [u8],
    pub(super) unready: &'a [u8],
    pub(super) enter: Option<Enter>,
    pub(super) id_map: Option<&'a IdMap>,
    pub(super) init: bool,
}

fn lower_check(plan: &mut Builder, check: &CheckTask, orders: &mut CareOrders) {
    (orders.interval, orders.timeout) = (nanoseconds(check.interval), nanoseconds(check.timeout));
    orders.start_period = nanoseconds(check.start_period);
    (orders.retries, orders.healthy_after) = (check.retries, check.healthy_after);
    let mut connect = |address: &SocketAddrV4| {
        orders.address = u32::from_ne_bytes(address.ip().octets());
        orders.port = u32::from(address.port().to_be());
    };
    match &check.kind {
        CheckTaskKind::Connect(address) => {
            connect(address);
            orders.check = CheckKind::TCP;
        }
        CheckTaskKind::Request(address, request) => {
            connect(address);
            orders.check = CheckKind::HTTP;
            (orders.request, orders.request_size) = sized(plan, request);
        }
        CheckTaskKind::Command(_) => orders.check = CheckKind::COMMAND,
    }
}

fn sized(plan: &mut Builder, bytes: &[u8]) -> (u32, u32) {
    if bytes.is_empty() { (0, 0) } else { (plan.bytes(bytes), bytes.len() as u32) }
}

/// Longer than a machine runs, and short enough to be added to.
const FOREVER: u64 = u64::MAX / 4;

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(FOREVER).min(FOREVER)
}

fn to_bytes(orders: &CareOrders) -> Vec<u8> {
    let CareOrders { interval, timeout, start_period, delay, longest_delay, .. } = *orders;
    let wide = [interval, timeout, start_period, delay, longest_delay];
    let words = [
        orders.check,
        orders.address,
        orders.port,
        orders.request,
        orders.request_size,
        orders.retries,
        orders.healthy_after,
        orders.condition,
        orders.most,
        orders.when_unhealthy,
        orders.stop_signal,
        orders.ready,
        orders.ready_size,
        orders.unready,
        orders.unready_size,
        orders.id_maps[0],
        orders.id_maps[1],
        orders.deny_setgroups,
        orders.target as u32,
        orders.output as u32,
        orders.through_payload,
        orders.reserved,
    ];
    let wide = wide.iter().flat_map(|number| number.to_ne_bytes());
    wide.chain(words.iter().flat_map(|number| number.to_ne_bytes())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_have_the_layout_the_keeper_reads() {
        let orders =
            CareOrders { longest_delay: 5, check: 6, unready_size: 7, through_payload: 8, ..Default::default() };
        let bytes = to_bytes(&orders);
        assert_eq!(bytes.len(), size_of::<CareOrders>());
        for (at, expected) in [
            (std::mem::offset_of!(CareOrders, longest_delay), 5),
            (std::mem::offset_of!(CareOrders, check), 6),
            (std::mem::offset_of!(CareOrders, unready_size), 7),
            (std::mem::offset_of!(CareOrders, through_payload), 8),
        ] {
            assert_eq!(bytes[at], expected);
        }
    }

    #[test]
    fn no_duration_overflows() {
        assert_eq!(nanoseconds(Duration::MAX), FOREVER);
        assert_eq!(nanoseconds(Duration::from_millis(1)), 1_000_000);
    }
}
