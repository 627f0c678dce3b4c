//! The verbs: each reads its options and calls the library.

use crate::arguments::{Argument, Arguments, Log, flag, unknown};
use coracle::runtime::{Create, Runtime};
use coracle::{Error, Result};

/// Reads the global options and runs the verb; the exit code.
pub(crate) fn run(arguments: &mut Arguments, log: &mut Log) -> Result<u8> {
    let mut root = "/run/coracle-runtime".to_owned();
    let mut systemd = false;
    while let Some(argument) = arguments.next() {
        match argument {
            Argument::Option(name, inline) => match name.as_str() {
                "root" => root = arguments.value(&name, inline)?,
                "log" => log.path = Some(arguments.value(&name, inline)?.into()),
                "log-format" => log.json = arguments.value(&name, inline)? == "json",
                "systemd-cgroup" => systemd = flag(&name, inline)?,
                "debug" => drop(flag(&name, inline)?),
                "rootless" => drop(arguments.value(&name, inline)?),
                "version" | "v" => {
                    println!("runtime version {}\nspec: 1.3.0", env!("CARGO_PKG_VERSION"));
                    return Ok(0);
                }
                _ => return Err(unknown("runtime", &name)),
            },
            Argument::Position(verb) => {
                let runtime = Runtime::open(root)?.systemd_cgroup(systemd);
                return dispatch(&verb, &runtime, arguments, log);
            }
        }
    }
    Err(Error::invalid("no verb: create, start, state, kill, delete, run"))
}

fn dispatch(verb: &str, runtime: &Runtime, arguments: &mut Arguments, _log: &mut Log) -> Result<u8> {
    match verb {
        "create" => create(runtime, arguments),
        "run" => run_container(runtime, arguments),
        "start" => runtime.container(&only(verb, arguments)?)?.start().map(|()| 0),
        "state" => state(runtime, &only(verb, arguments)?),
        "kill" => kill(runtime, arguments),
        "delete" => delete(runtime, arguments),
        _ => Err(Error::invalid(format!("no verb {verb:?}"))),
    }
}

/// What create and run have in common.
struct Making {
    bundle: String,
    id: Option<String>,
    detach: bool,
    pid_file: Option<String>,
    preserved: u32,
    no_pivot: bool,
    no_new_keyring: bool,
}

impl Making {
    fn read(verb: &str, arguments: &mut Arguments) -> Result<Making> {
        let mut making = Making {
            bundle: ".".to_owned(),
            id: None,
            detach: false,
            pid_file: None,
            preserved: 0,
            no_pivot: false,
            no_new_keyring: false,
        };
        while let Some(argument) = arguments.next() {
            match argument {
                Argument::Option(name, inline) => match name.as_str() {
                    "bundle" | "b" => making.bundle = arguments.value(&name, inline)?,
                    "pid-file" => making.pid_file = Some(arguments.value(&name, inline)?),
                    "preserve-fds" => making.preserved = number(&name, &arguments.value(&name, inline)?)?,
                    "no-pivot" => making.no_pivot = flag(&name, inline)?,
                    "no-new-keyring" => making.no_new_keyring = flag(&name, inline)?,
                    "detach" | "d" if verb == "run" => making.detach = flag(&name, inline)?,
                    _ => return Err(unknown(verb, &name)),
                },
                Argument::Position(id) if making.id.is_none() => making.id = Some(id),
                Argument::Position(more) => {
                    return Err(Error::invalid(format!("{verb} takes one id, not {more:?} too")));
                }
            }
        }
        Ok(making)
    }

    fn builder<'a>(&self, runtime: &'a Runtime) -> Result<Create<'a>> {
        let id = self.id.as_ref().ok_or_else(|| Error::invalid("an id is missing"))?;
        let create = runtime
            .create(id, &self.bundle)
            .preserve_fds(self.preserved)
            .no_pivot(self.no_pivot)
            .no_new_keyring(self.no_new_keyring);
        Ok(match &self.pid_file {
            Some(path) => create.pid_file(path),
            None => create,
        })
    }
}

fn create(runtime: &Runtime, arguments: &mut Arguments) -> Result<u8> {
    Making::read("create", arguments)?.builder(runtime)?.create().map(|_| 0)
}

fn run_container(runtime: &Runtime, arguments: &mut Arguments) -> Result<u8> {
    let making = Making::read("run", arguments)?;
    let mut running = making.builder(runtime)?.run()?;
    if making.detach {
        running.detach();
        return Ok(0);
    }
    let exit = running.wait()?;
    running.container().delete(true)?;
    Ok(exit.status.code().unwrap_or(u8::MAX))
}

fn state(runtime: &Runtime, id: &str) -> Result<u8> {
    let state = runtime.container(id)?.state()?;
    println!("{}", serde_json::to_string_pretty(&state).map_err(|error| Error::invalid("state").source_error(error))?);
    Ok(0)
}

fn kill(runtime: &Runtime, arguments: &mut Arguments) -> Result<u8> {
    let (mut all, mut positions) = (false, Vec::new());
    while let Some(argument) = arguments.next() {
        match argument {
            Argument::Option(name, inline) if name == "all" || name == "a" => all = flag(&name, inline)?,
            Argument::Option(name, _) => return Err(unknown("kill", &name)),
            Argument::Position(position) => positions.push(position),
        }
    }
    let [id, signal @ ..] = positions.as_slice() else { return Err(Error::invalid("an id is missing")) };
    let signal = signal.first().map_or(Ok(15), |signal| signal_number(signal))?;
    runtime.container(id)?.kill(signal, all).map(|()| 0)
}

fn delete(runtime: &Runtime, arguments: &mut Arguments) -> Result<u8> {
    let (mut force, mut ids) = (false, Vec::new());
    while let Some(argument) = arguments.next() {
        match argument {
            Argument::Option(name, inline) if name == "force" || name == "f" => force = flag(&name, inline)?,
            Argument::Option(name, _) => return Err(unknown("delete", &name)),
            Argument::Position(id) => ids.push(id),
        }
    }
    for id in &ids {
        match runtime.container(id) {
            Err(error) if force && error.kind() == coracle::ErrorKind::NotFound => {}
            container => container?.delete(force)?,
        }
    }
    Ok(0)
}

fn only(verb: &str, arguments: &mut Arguments) -> Result<String> {
    match arguments.rest().as_slice() {
        [id] if !id.starts_with('-') => Ok(id.clone()),
        _ => Err(Error::invalid(format!("{verb} takes one id"))),
    }
}

fn number(name: &str, text: &str) -> Result<u32> {
    text.parse().map_err(|_| Error::invalid(format!("option --{name} takes a number, not {text:?}")))
}

/// A signal by number, or by name with or without SIG.
fn signal_number(text: &str) -> Result<i32> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let upper = text.to_uppercase();
    let name = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    name.parse::<nix::sys::signal::Signal>()
        .map(|signal| signal as i32)
        .map_err(|_| Error::invalid(format!("unknown signal {text:?}")))
}
