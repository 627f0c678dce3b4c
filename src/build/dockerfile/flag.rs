//! The flags between an instruction's name and its arguments, and the options of `--mount`.

use super::expand::{expand, split_word};
use super::instruction::RunMount;
use super::spelling::nearest;
use crate::{Error, ErrorKind, Result};

/// The flags of one instruction; what is not taken is an error.
pub(super) struct Flags {
    flags: Vec<(String, Option<String>)>,
}

impl Flags {
    /// Takes the leading words that begin with `--`; a bare `--` ends them.
    pub(super) fn take(mut text: &str, escape: char) -> (Flags, &str) {
        let mut flags = Vec::new();
        while let Some((word, rest)) = split_word(text, escape) {
            let Some(flag) = word.strip_prefix("--") else { break };
            text = rest;
            if flag.is_empty() {
                break;
            }
            flags.push(match flag.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (flag.to_owned(), None),
            });
        }
        (Flags { flags }, text.trim_start())
    }

    /// The value of a flag that may be given once.
    pub(super) fn value(&mut self, name: &str) -> Result<Option<String>> {
        let mut values = self.values(name)?;
        match values.len() {
            0 | 1 => Ok(values.pop()),
            _ => Err(Error::invalid(format!("--{name} is given more than once"))),
        }
    }

    /// The values of a flag that may be given again and again.
    pub(super) fn values(&mut self, name: &str) -> Result<Vec<String>> {
        let taken = self.flags.extract_if(.., |flag| flag.0 == name);
        taken.map(|(name, value)| value.ok_or_else(|| Error::invalid(format!("--{name} needs a value")))).collect()
    }

    /// Takes a flag that is on or off and changes nothing here.
    pub(super) fn ignore_switch(&mut self, name: &str) -> Result<()> {
        for (_, value) in self.flags.extract_if(.., |flag| flag.0 == name) {
            if !matches!(value.as_deref(), None | Some("true" | "false")) {
                return Err(Error::invalid(format!("--{name} is true or false")));
            }
        }
        Ok(())
    }

    /// An error for the first flag left over: one of `unsupported`, or unknown beside `known`.
    pub(super) fn finish(self, instruction: &str, known: &[&str], unsupported: &[&str]) -> Result<()> {
        let Some((name, _)) = self.flags.into_iter().next() else { return Ok(()) };
        if unsupported.contains(&name.as_str()) {
            return Err(Error::new(ErrorKind::Unsupported, format!("{instruction} --{name} is not supported")));
        }
        let error = Error::invalid(format!("{instruction} has no flag --{name}"));
        Err(match nearest(&name, known) {
            Some(near) => error.hint(format!("did you mean --{near}?")),
            None if known.is_empty() => error,
            None => error.hint(format!("it has --{}", known.join(", --"))),
        })
    }
}

/// Reads the value of `RUN --mount=`.
pub(super) fn run_mount(text: &str, escape: char) -> Result<RunMount> {
    let text = expand(text, escape, &|_| None)?;
    let mut options = MountOptions::parse(&text)?;
    let mount = match options.take(&["type"]).as_deref().unwrap_or("bind") {
        "bind" => RunMount::Bind {
            from: options.take(&["from"]),
            source: options.take(&["source", "src"]).unwrap_or_else(|| "/".into()),
            target: options.target()?.ok_or_else(|| Error::invalid("--mount=type=bind needs a target"))?,
        },
        "tmpfs" => RunMount::Tmpfs {
            target: options.target()?.ok_or_else(|| Error::invalid("--mount=type=tmpfs needs a target"))?,
        },
        "secret" => {
            let target = options.target()?;
            let named = target.as_deref().and_then(|target| target.rsplit('/').next()).map(str::to_owned);
            let id = options.take(&["id"]).or(named).filter(|id| !id.is_empty());
            let id = id.ok_or_else(|| Error::invalid("--mount=type=secret needs an id or a target"))?;
            if id.contains('/') || id == "." || id == ".." {
                return Err(Error::invalid(format!("the secret id {id:?} is not a plain name")));
            }
            RunMount::Secret { id, target, required: options.switch("required")? }
        }
        other @ ("cache" | "ssh") => {
            return Err(Error::new(ErrorKind::Unsupported, format!("RUN --mount=type={other} is not supported"))
                .hint("bind, secret and tmpfs are"));
        }
        other => return Err(Error::invalid(format!("RUN --mount has no type {other:?}"))),
    };
    // Binds are read-only: what a step writes there would be lost anyway.
    if matches!(mount, RunMount::Bind { .. }) {
        options.switch("readonly")?;
        options.switch("ro")?;
    }
    options.finish()?;
    Ok(mount)
}

struct MountOptions(Vec<(String, Option<String>)>);

impl MountOptions {
    fn parse(text: &str) -> Result<MountOptions> {
        let options = text.split(',').map(|option| match option.split_once('=') {
            Some((name, value)) => (name.trim().to_ascii_lowercase(), Some(value.to_owned())),
            None => (option.trim().to_ascii_lowercase(), None),
        });
        Ok(MountOptions(options.collect()))
    }

    fn take(&mut self, names: &[&str]) -> Option<String> {
        let position = self.0.iter().position(|(name, value)| names.contains(&name.as_str()) && value.is_some())?;
        self.0.remove(position).1
    }

    fn target(&mut self) -> Result<Option<String>> {
        match self.take(&["target", "dst", "destination"]) {
            Some(target) if target.is_empty() || target == "/" => {
                Err(Error::invalid("--mount cannot cover the root directory"))
            }
            target => Ok(target),
        }
    }

    fn switch(&mut self, name: &str) -> Result<bool> {
        let Some(position) = self.0.iter().position(|option| option.0 == name) else { return Ok(false) };
        match self.0.remove(position).1.as_deref() {
            None | Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(other) => Err(Error::invalid(format!("--mount option {name} is true or false, not {other:?}"))),
        }
    }

    fn finish(self) -> Result<()> {
        match self.0.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => {
                Err(Error::new(ErrorKind::Unsupported, format!("RUN --mount option {name:?} is not supported")))
            }
        }
    }
}
