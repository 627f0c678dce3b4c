//! What tells that a container works, and how often it is asked.

use crate::network::Network;
use crate::spec::HealthConfig;
use crate::value::Timestamp;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A health check, run by the container's keeper: it goes on without the program that started the container.
///
/// A check that fails within the start period does not count, unless one has succeeded before. The defaults are Docker's:
/// every 30 s, 30 s each, 3 failures in a row make it unhealthy, 1 success makes it healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    pub(crate) test: HealthTest,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) start_period: Duration,
    pub(crate) retries: u32,
    pub(crate) healthy_after: u32,
}

/// What a health check does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HealthTest {
    /// Runs a command in the container, with its environment, user and confinement; status 0 is healthy.
    Command(Vec<String>),
    /// `GET path` on a port of the container's address; status 200 to 399 is healthy.
    Http {
        /// The TCP port.
        port: u16,
        /// The path, with a leading `/`.
        path: String,
    },
    /// Connects to a port of the container's address.
    Tcp {
        /// The TCP port.
        port: u16,
    },
}

/// Whether a container works, as its checks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HealthState {
    /// It has no health check.
    Unchecked,
    /// Not enough checks have succeeded yet, and not enough have failed.
    Starting,
    /// Its last checks succeeded.
    Healthy,
    /// Its last checks failed.
    Unhealthy,
}

/// What the health checks of a container say.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthReport {
    /// The verdict.
    pub state: HealthState,
    /// Since when.
    pub since: Timestamp,
    /// How many checks in a row have failed.
    pub failures: u32,
    /// What the last failed check found: `connection refused`, `status 503`, `timed out`, `exit status 1: ` and the
    /// first line of what the command wrote. Kept after later successes; printable ASCII, at most 160 bytes.
    pub finding: Option<String>,
}

impl Health {
    /// `GET path` on `port`.
    pub fn http(port: u16, path: impl Into<String>) -> Health {
        Health::of(HealthTest::Http { port, path: path.into() })
    }

    /// A TCP connection to `port`.
    pub fn tcp(port: u16) -> Health {
        Health::of(HealthTest::Tcp { port })
    }

    /// A command in the container.
    pub fn command<A: Into<String>>(command: impl IntoIterator<Item = A>) -> Health {
        Health::of(HealthTest::Command(command.into_iter().map(Into::into).collect()))
    }

    fn of(test: HealthTest) -> Health {
        Health {
            test,
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(30),
            start_period: Duration::ZERO,
            retries: 3,
            healthy_after: 1,
        }
    }

    /// The time from the end of one check to the next, and from the start to the first. Until the first verdict it is
    /// asked more often where the interval is longer: after 50 ms and then after pauses that double to 0.8 s, so that it
    /// is known soon when it works. The failures in between do not count: it is as patient as with the interval alone.
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Health {
        self.interval = interval;
        self
    }

    /// A check that takes longer has failed.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Health {
        self.timeout = timeout;
        self
    }

    /// How long after its start failures do not count.
    #[must_use]
    pub fn start_period(mut self, period: Duration) -> Health {
        self.start_period = period;
        self
    }

    /// How many failures in a row make it unhealthy, 1 or more.
    #[must_use]
    pub fn retries(mut self, failures: u32) -> Health {
        self.retries = failures;
        self
    }

    /// How many successes in a row make it healthy, 1 or more.
    #[must_use]
    pub fn healthy_after(mut self, successes: u32) -> Health {
        self.healthy_after = successes;
        self
    }
}

/// How long a path to ask for may be: more than any server takes.
const PATH_BUDGET: usize = 8192;

impl Health {
    /// Whether the values make sense; names everything that does not.
    pub(crate) fn check(&self, network: Network) -> Result<()> {
        let mut problems = Vec::new();
        for (name, time) in [("interval", self.interval), ("timeout", self.timeout)] {
            if time.is_zero() {
                problems.push(format!("the {name} is 0"));
            }
        }
        for (name, count) in [("retries", self.retries), ("healthy_after", self.healthy_after)] {
            if count == 0 {
                problems.push(format!("{name} is 0, the least is 1"));
            }
        }
        match &self.test {
            HealthTest::Http { port: 0, .. } | HealthTest::Tcp { port: 0 } => problems.push("the port is 0".to_owned()),
            _ => {}
        }
        match &self.test {
            HealthTest::Command(command) if command.first().is_none_or(String::is_empty) => {
                problems.push("the command is empty".to_owned());
            }
            HealthTest::Command(command) if command.iter().any(|argument| argument.contains('\0')) => {
                problems.push("the command holds a NUL byte".to_owned());
            }
            HealthTest::Http { path, .. } => problems.extend(path_problem(path)),
            _ => {}
        }
        let remote = !matches!(self.test, HealthTest::Command(_));
        if remote && network == Network::None {
            problems.push("without a network nobody can connect to the container".to_owned());
        }
        if problems.is_empty() {
            return Ok(());
        }
        let error = Error::invalid(format!("health check: {}", problems.join("; ")));
        Err(if remote && network == Network::None { error.hint("check by a command: Health::command") } else { error })
    }
}

/// What would make of the path more, or something else, than one request line.
fn path_problem(path: &str) -> Option<String> {
    if !path.starts_with('/') {
        return Some(format!("path {path:?} does not begin with /"));
    }
    if path.len() > PATH_BUDGET {
        return Some(format!("the path is longer than {PATH_BUDGET} bytes"));
    }
    let bad = path.chars().find(|character| !character.is_ascii_graphic())?;
    Some(format!("path {path:?} holds {bad:?}, which must be percent-encoded"))
}

/// The keeper is outside of the container's limits: no image may keep it, and who forks for it, busy.
const SHORTEST_INTERVAL_OF_AN_IMAGE: Duration = Duration::from_millis(100);

/// The health check of an image, with Docker's defaults; `None` where it has none or switches an inherited one off.
pub(crate) fn of_image(config: &HealthConfig, shell: Option<&[String]>) -> Result<Option<Health>> {
    let test = config.test.as_deref().unwrap_or_default();
    let command = match test.split_first().map(|(kind, rest)| (kind.as_str(), rest)) {
        None | Some(("NONE", [])) => return Ok(None),
        Some(("CMD", command)) if !command.is_empty() => command.to_vec(),
        Some(("CMD-SHELL", [script])) => {
            let default = ["/bin/sh".to_owned(), "-c".to_owned()];
            [shell.unwrap_or(&default), std::slice::from_ref(script)].concat()
        }
        _ => {
            return Err(Error::invalid(format!("{test:?} is neither NONE nor CMD nor CMD-SHELL"))
                .hint("choose another one with .health(..), or none with .no_health()"));
        }
    };
    let mut health = Health::command(command);
    let or = |nanoseconds: u64, default| if nanoseconds == 0 { default } else { Duration::from_nanos(nanoseconds) };
    health.interval = or(config.interval, health.interval).max(SHORTEST_INTERVAL_OF_AN_IMAGE);
    health.timeout = or(config.timeout, health.timeout);
    health.start_period = or(config.start_period, health.start_period);
    if config.retries > 0 {
        health.retries = u32::try_from(config.retries).unwrap_or(u32::MAX);
    }
    Ok(Some(health))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_error_names_all_that_is_wrong() {
        let health = Health::http(0, "x").every(Duration::ZERO).timeout(Duration::ZERO).retries(0).healthy_after(0);
        let error = health.check(Network::None).unwrap_err();
        let parts =
            ["interval is 0", "timeout is 0", "retries is 0", "healthy_after is 0", "port is 0", "\"x\"", "network"];
        assert!(parts.iter().all(|part| error.to_string().contains(part)), "{error}");
        assert!(error.remedy().unwrap().contains("command"), "{error}");
        for path in ["", "x", "/a\r\nb", "/a\n", "/\0", "/a b", "/ü"] {
            assert!(Health::http(1, path).check(Network::Bridge).is_err(), "{path:?}");
        }
        for command in [&[][..], &[""], &["true", "a\0b"]] {
            assert!(Health::command(command.iter().copied()).check(Network::None).is_err(), "{command:?}");
        }
        assert!(Health::http(80, "/a?b=%20").check(Network::Host).is_ok());
        assert!(Health::command(["true"]).check(Network::None).is_ok());
    }

    #[test]
    fn an_images_check_is_read_as_docker_does() {
        let config = |test: &[&str]| HealthConfig {
            test: Some(test.iter().map(|text| (*text).to_owned()).collect()),
            ..HealthConfig::default()
        };
        for test in [&[][..], &["NONE"]] {
            assert_eq!(of_image(&config(test), None).unwrap(), None);
        }
        let health = of_image(&config(&["CMD", "a", "b"]), None).unwrap().unwrap();
        assert_eq!(health, Health::command(["a", "b"]));
        let health = of_image(&config(&["CMD-SHELL", "a b"]), None).unwrap().unwrap();
        assert_eq!(health.test, HealthTest::Command(vec!["/bin/sh".into(), "-c".into(), "a b".into()]));
        let shell = ["/bin/ash".to_owned(), "-ec".to_owned()];
        let mut timed = config(&["CMD-SHELL", "a"]);
        (timed.interval, timed.timeout, timed.start_period, timed.retries) = (1_500_000_000, 2, 3, 4);
        let health = of_image(&timed, Some(&shell)).unwrap().unwrap();
        assert_eq!(health.test, HealthTest::Command(vec!["/bin/ash".into(), "-ec".into(), "a".into()]));
        assert_eq!((health.interval, health.retries), (Duration::from_millis(1500), 4));
        assert_eq!((health.timeout, health.start_period), (Duration::from_nanos(2), Duration::from_nanos(3)));
        timed.interval = 1;
        assert_eq!(of_image(&timed, None).unwrap().unwrap().interval, SHORTEST_INTERVAL_OF_AN_IMAGE);
        for test in [&["CMD"][..], &["CMD-SHELL"], &["CMD-SHELL", "a", "b"], &["NONE", "x"], &["x"]] {
            assert!(of_image(&config(test), None).unwrap_err().remedy().is_some(), "{test:?}");
        }
    }
}
