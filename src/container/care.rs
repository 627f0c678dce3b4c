//! A container's health check and restart rule as its keeper's task.

use super::health::{Health, HealthTest};
use super::restart::{Restart, RestartCondition};
use super::specification::Specification;
use crate::network::Network;
use crate::plan::layout::RestartCondition as Condition;
use crate::sandbox::{CareTask, CheckTask, CheckTaskKind, RestartTask};
use crate::{Error, Result};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

/// The shortest pause before a restart.
const SHORTEST_DELAY: Duration = Duration::from_millis(10);

/// The task of the keeper of `specification`, whose container has `address` on the bridge.
pub(crate) fn task(specification: &Specification, address: Option<Ipv4Addr>) -> Result<CareTask> {
    let address = match specification.network {
        Network::Host => Some(Ipv4Addr::LOCALHOST),
        _ => address,
    };
    let check = specification.health.as_ref().map(|health| check(health, address)).transpose()?;
    let Restart { condition, most, delay, longest_delay, unhealthy } = specification.restart;
    let condition = match condition {
        RestartCondition::Never => Condition::NEVER,
        RestartCondition::OnFailure => Condition::ON_FAILURE,
        RestartCondition::Always => Condition::ALWAYS,
    };
    // What ends at once and is started at once would cost the host as much as it likes.
    let (delay, longest_delay) = (delay.max(SHORTEST_DELAY), longest_delay.max(SHORTEST_DELAY));
    let restart = RestartTask { condition, most, delay, longest_delay, when_unhealthy: unhealthy };
    Ok(CareTask { check, restart, stop_signal: specification.stop_signal })
}

fn check(health: &Health, address: Option<Ipv4Addr>) -> Result<CheckTask> {
    let place = |port: u16| {
        let address = address.ok_or_else(|| Error::invalid("health check: the container has no address"))?;
        Ok::<SocketAddrV4, Error>(SocketAddrV4::new(address, port))
    };
    let kind = match &health.test {
        HealthTest::Command(command) => CheckTaskKind::Command(command.clone()),
        HealthTest::Tcp { port } => CheckTaskKind::Connect(place(*port)?),
        HealthTest::Http { port, path } => {
            let place = place(*port)?;
            CheckTaskKind::Request(place, request(place, path))
        }
    };
    let Health { interval, timeout, start_period, retries, healthy_after, .. } = *health;
    Ok(CheckTask { kind, interval, timeout, start_period, retries, healthy_after })
}

/// The request of an HTTP check; [`Health::check`] has made sure that the path is one.
fn request(place: SocketAddrV4, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {place}\r\nUser-Agent: coracle\r\nAccept: */*\r\nConnection: close\r\n\r\n")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_of_http() {
        let place = SocketAddrV4::new(Ipv4Addr::new(10, 1, 2, 3), 8000);
        let text = String::from_utf8(request(place, "/ready?x=1")).unwrap();
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(lines[..2], ["GET /ready?x=1 HTTP/1.1", "Host: 10.1.2.3:8000"]);
        assert_eq!(lines[lines.len() - 2..], ["", ""]);
    }

    #[test]
    fn a_check_of_an_address_needs_one() {
        assert!(check(&Health::tcp(80), None).is_err());
        assert!(check(&Health::command(["true"]), None).is_ok());
    }
}
