//! How steps change the configuration of the image.

use super::dockerfile::{Command, Healthcheck};
use super::step::{Change, argv};
use crate::spec::{HealthConfig, ImageConfig, RunConfig};
use crate::value::{EnvVar, User};
use crate::{Error, Result};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Component, Path};
use std::time::Duration;

/// Where programs are looked for in an image that does not say.
pub(super) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The most ports of one range.
const RANGE_BUDGET: u16 = 1024;

/// The shell of the shell form: the image's, else `/bin/sh -c`.
pub(super) fn shell_of(config: &ImageConfig) -> Vec<String> {
    let own = config.config.as_ref().and_then(|config| config.shell.clone()).filter(|shell| !shell.is_empty());
    own.unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into()])
}

/// The working directory, `/` where none is set.
pub(super) fn workdir_of(config: &ImageConfig) -> String {
    let own = config.config.as_ref().and_then(|config| config.working_dir.clone());
    own.filter(|directory| directory.starts_with('/')).unwrap_or_else(|| "/".into())
}

/// The variables of the image, in order.
pub(super) fn environment_of(config: &ImageConfig) -> Vec<(String, String)> {
    let entries = config.config.iter().flat_map(|config| config.env.iter().flatten());
    entries.filter_map(|entry| entry.split_once('=')).map(|(name, value)| (name.into(), value.into())).collect()
}

/// `path` below the directory `base`, without `.` and `..`; a `/` at its end stays.
pub(super) fn absolute(base: &str, path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    let joined = if path.starts_with('/') { path.to_owned() } else { format!("{base}/{path}") };
    for component in Path::new(&joined).components() {
        match component {
            Component::Normal(name) => names.extend(name.to_str()),
            Component::ParentDir => drop(names.pop()),
            _ => {}
        }
    }
    let directory = path.ends_with('/') || path == "." || path.ends_with("/.");
    let slash = if directory && !names.is_empty() { "/" } else { "" };
    format!("/{}{slash}", names.join("/"))
}

/// Sets a variable in place of the one of that name.
pub(super) fn set_variable(config: &mut RunConfig, name: &str, value: &str) -> Result<()> {
    let variable = EnvVar::new(name, value)?;
    let list = config.env.get_or_insert_default();
    let present = list.iter_mut().find(|entry| entry.split_once('=').is_some_and(|(other, _)| other == name));
    match present {
        Some(entry) => *entry = variable.to_string(),
        None => list.push(variable.to_string()),
    }
    Ok(())
}

/// Applies `change`. `command_set` says whether the stage has set `CMD` itself: an entry point resets one that it has
/// inherited (Dockerfile reference, "Understand how CMD and ENTRYPOINT interact").
pub(super) fn apply(image: &mut ImageConfig, change: &Change, command_set: &mut bool) -> Result<()> {
    let shell = shell_of(image);
    if let Change::Maintainer(name) = change {
        image.author = Some(name.clone());
        return Ok(());
    }
    let config = image.config.get_or_insert_default();
    match change {
        Change::Env(pairs) => {
            for (name, value) in pairs {
                set_variable(config, name, value)?;
            }
        }
        Change::Label(pairs) => config.labels.get_or_insert_default().extend(pairs.iter().cloned()),
        Change::User(user) => {
            user.parse::<User>()?;
            config.user = Some(user.clone());
        }
        Change::Expose(ports) => {
            let exposed = config.exposed_ports.get_or_insert_default();
            for port in ports {
                expose(exposed, port)?;
            }
        }
        Change::Volume(paths) => {
            let volumes = config.volumes.get_or_insert_default();
            for path in paths {
                if path.trim().is_empty() {
                    return Err(Error::invalid("VOLUME names an empty path"));
                }
                volumes.insert(path.clone(), Value::Object(Map::new()));
            }
        }
        Change::Entrypoint(command) => {
            config.entrypoint = Some(argv(command, &shell)).filter(|words| !words.is_empty());
            if !*command_set {
                config.cmd = None;
            }
        }
        Change::Cmd(command) => {
            config.cmd = Some(argv(command, &shell)).filter(|words| !words.is_empty());
            *command_set = true;
        }
        Change::Shell(shell) => config.shell = Some(shell.clone()),
        Change::StopSignal(signal) => {
            let plain = !signal.is_empty() && signal.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+');
            if !plain {
                return Err(Error::invalid(format!("STOPSIGNAL {signal:?} is neither a name nor a number")));
            }
            config.stop_signal = Some(signal.clone());
        }
        Change::Healthcheck(check) => config.healthcheck = Some(health(check)),
        Change::Onbuild(text) => config.on_build.get_or_insert_default().push(text.clone()),
        Change::Maintainer(_) => {}
    }
    Ok(())
}

/// `8000`, `8000/udp` or `8000-8010/tcp`.
fn expose(exposed: &mut BTreeMap<String, Value>, text: &str) -> Result<()> {
    let bad = || Error::invalid(format!("EXPOSE {text}: not of the form port[-port][/tcp|/udp|/sctp]"));
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last): (u16, u16) = (first.parse().map_err(|_| bad())?, last.parse().map_err(|_| bad())?);
    if first == 0 || last < first || last - first >= RANGE_BUDGET || !["tcp", "udp", "sctp"].contains(&&*protocol) {
        return Err(bad());
    }
    exposed.extend((first..=last).map(|port| (format!("{port}/{protocol}"), Value::Object(Map::new()))));
    Ok(())
}

fn health(check: &Healthcheck) -> HealthConfig {
    let Healthcheck::Check { command, interval, timeout, start_period, start_interval, retries } = check else {
        return HealthConfig { test: Some(vec!["NONE".into()]), ..HealthConfig::default() };
    };
    let test = match command {
        Command::Exec(words) => [&["CMD".to_owned()], words.as_slice()].concat(),
        Command::Shell(line) => vec!["CMD-SHELL".into(), line.clone()],
    };
    let nanoseconds = |duration: &Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let mut other = Map::new();
    if !start_interval.is_zero() {
        other.insert("StartInterval".into(), nanoseconds(start_interval).into());
    }
    HealthConfig {
        test: Some(test),
        interval: nanoseconds(interval),
        timeout: nanoseconds(timeout),
        start_period: nanoseconds(start_period),
        retries: *retries,
        other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Platform;

    #[test]
    fn paths_are_relative_to_the_working_directory() {
        for (base, path, result) in [
            ("/", "srv", "/srv"),
            ("/srv", ".", "/srv/"),
            ("/srv", "../x/./y/", "/x/y/"),
            ("/srv", "/", "/"),
            ("/srv", "../../..", "/"),
            ("/srv/", "a", "/srv/a"),
        ] {
            assert_eq!(absolute(base, path), result, "{base} {path}");
        }
    }

    #[test]
    fn an_entry_point_resets_an_inherited_command() {
        let mut image = ImageConfig::new(&Platform::host());
        let command = Change::Cmd(Command::Shell("serve".into()));
        let entry = Change::Entrypoint(Command::Exec(vec!["/entry".into()]));
        let mut set = false;
        apply(&mut image, &command, &mut set).unwrap();
        apply(&mut image, &entry, &mut set).unwrap();
        assert_eq!(image.config.as_ref().unwrap().cmd.as_ref().unwrap(), &["/bin/sh", "-c", "serve"]);
        apply(&mut image, &entry, &mut false).unwrap();
        assert_eq!(image.config.as_ref().unwrap().cmd, None);
    }

    #[test]
    fn ports_are_checked() {
        let mut exposed = BTreeMap::new();
        for good in ["80", "53/UDP", "9000-9002/tcp"] {
            expose(&mut exposed, good).unwrap();
        }
        assert_eq!(exposed.into_keys().collect::<Vec<_>>(), ["53/udp", "80/tcp", "9000/tcp", "9001/tcp", "9002/tcp"]);
        for bad in ["", "0", "65536", "9-8", "80/icmp", "1-65535", "x"] {
            assert!(expose(&mut BTreeMap::new(), bad).is_err(), "{bad}");
        }
    }
}
