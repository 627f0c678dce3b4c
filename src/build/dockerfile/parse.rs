//! One logical line into one instruction.

use super::expand::words;
use super::flag::{Flags, run_mount};
use super::instruction::{Command, CopyInstruction, Healthcheck, Instruction, NAMES, RunInstruction};
use super::line::{Heredoc, LogicalLine};
use super::spelling::nearest;
use crate::value::parse_duration;
use crate::{Error, ErrorKind, Result};
use std::time::Duration;

/// What one line says.
pub(super) enum Parsed {
    From { platform: Option<String>, base: String, name: Option<String> },
    Instruction(Instruction),
}

/// Parses one logical line; the caller adds file and line to its errors. What is probably not meant goes to `warnings`.
pub(super) fn parse(logical: LogicalLine, escape: char, warnings: &mut Vec<String>, file: &str) -> Result<Parsed> {
    let LogicalLine { line, text, heredocs } = logical;
    let (keyword, rest) = text.split_once(char::is_whitespace).unwrap_or((&text, ""));
    let keyword = keyword.to_ascii_uppercase();
    let rest = rest.trim();
    let mut reader = Reader { keyword: &keyword, rest, escape, heredocs, notes: Vec::new() };
    if !NAMES.contains(&keyword.as_str()) {
        return Err(unknown(&keyword));
    }
    if rest.is_empty() {
        return Err(Error::invalid(format!("{keyword} needs an argument")));
    }
    let parsed = if keyword == "FROM" { reader.from() } else { reader.instruction().map(Parsed::Instruction) }?;
    warnings.extend(reader.notes.iter().map(|note| format!("{file}:{line}: {keyword}: {note}")));
    Ok(parsed)
}

/// Parses an instruction that a base image's `ONBUILD` recorded.
pub(crate) fn parse_trigger(text: &str) -> Result<Instruction> {
    let logical = LogicalLine { line: 0, text: text.trim().to_owned(), heredocs: Vec::new() };
    match parse(logical, '\\', &mut Vec::new(), "")? {
        Parsed::Instruction(Instruction::Onbuild(_)) | Parsed::From { .. } => {
            Err(Error::invalid(format!("the base image's trigger {text:?} is not allowed")))
        }
        Parsed::Instruction(instruction) => Ok(instruction),
    }
}

fn unknown(keyword: &str) -> Error {
    let shown: String = keyword.chars().take(40).collect();
    let error = Error::invalid(format!("unknown instruction {shown}"));
    match nearest(keyword, &NAMES) {
        Some(near) => error.hint(format!("did you mean {near}?")),
        None => error.hint(format!("the instructions are {}", NAMES.join(", "))),
    }
}

struct Reader<'t> {
    keyword: &'t str,
    rest: &'t str,
    escape: char,
    heredocs: Vec<Heredoc>,
    notes: Vec<String>,
}

impl Reader<'_> {
    fn instruction(&mut self) -> Result<Instruction> {
        Ok(match self.keyword {
            "ARG" => Instruction::Arg(self.arguments()?),
            "ENV" => Instruction::Env(self.pairs()?),
            "LABEL" => Instruction::Label(self.pairs()?),
            "WORKDIR" => Instruction::Workdir(self.rest.to_owned()),
            "USER" => Instruction::User(self.rest.to_owned()),
            "COPY" | "ADD" => Instruction::Copy(self.copy()?),
            "RUN" => Instruction::Run(self.run()?),
            "EXPOSE" => Instruction::Expose(self.plain_words()),
            "VOLUME" => Instruction::Volume(json(self.rest).unwrap_or_else(|| self.plain_words())),
            "ENTRYPOINT" => Instruction::Entrypoint(self.command(self.rest)),
            "CMD" => Instruction::Cmd(self.command(self.rest)),
            "SHELL" => match json(self.rest) {
                Some(shell) if !shell.is_empty() => Instruction::Shell(shell),
                _ => return Err(Error::invalid("SHELL needs a JSON array: SHELL [\"/bin/sh\", \"-c\"]")),
            },
            "STOPSIGNAL" => Instruction::StopSignal(self.rest.to_owned()),
            "HEALTHCHECK" => Instruction::Healthcheck(self.healthcheck()?),
            "MAINTAINER" => {
                self.notes.push("is deprecated, write LABEL org.opencontainers.image.authors=".into());
                Instruction::Maintainer(self.rest.to_owned())
            }
            _ => Instruction::Onbuild(self.onbuild()?),
        })
    }

    fn plain_words(&self) -> Vec<String> {
        words(self.rest, self.escape).into_iter().map(str::to_owned).collect()
    }

    fn from(&mut self) -> Result<Parsed> {
        let (mut flags, rest) = Flags::take(self.rest, self.escape);
        let platform = flags.value("platform")?;
        flags.finish("FROM", &["platform"], &[])?;
        let words = words(rest, self.escape);
        let (base, name) = match words.as_slice() {
            [base] => (*base, None),
            [base, keyword, name] if keyword.eq_ignore_ascii_case("as") => (*base, Some(stage_name(name)?)),
            _ => return Err(Error::invalid("FROM is: FROM [--platform=os/architecture] image [AS name]")),
        };
        Ok(Parsed::From { platform, base: base.to_owned(), name })
    }

    fn arguments(&self) -> Result<Vec<(String, Option<String>)>> {
        let words = words(self.rest, self.escape);
        words
            .into_iter()
            .map(|word| {
                let (name, default) = match word.split_once('=') {
                    Some((name, default)) => (name, Some(default.to_owned())),
                    None => (word, None),
                };
                let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                if name.is_empty() || !plain || name.starts_with(|c: char| c.is_ascii_digit()) {
                    return Err(Error::invalid(format!("ARG {name:?} is not a name of letters, digits and '_'")));
                }
                Ok((name.to_owned(), default))
            })
            .collect()
    }

    /// `name=value ...`, or the old form `name the rest`.
    fn pairs(&mut self) -> Result<Vec<(String, String)>> {
        let words = words(self.rest, self.escape);
        let keyword = self.keyword;
        let first = words.first().copied().unwrap_or_default();
        if !first.contains('=') {
            let value = self.rest[first.len()..].trim_start();
            if value.is_empty() {
                return Err(Error::invalid(format!("{keyword} {first} has no value"))
                    .hint(format!("write {keyword} {first}=value")));
            }
            self.notes.push(format!("the form \"{keyword} name value\" is old, write {keyword} name=value"));
            return Ok(vec![(first.to_owned(), value.to_owned())]);
        }
        words
            .into_iter()
            .map(|word| match word.split_once('=') {
                Some(("", _)) => Err(Error::invalid(format!("{keyword} {word}: the name is empty"))),
                Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
                None => Err(Error::invalid(format!("{keyword} {word}: not of the form name=value"))
                    .hint("quote a value that holds blanks")),
            })
            .collect()
    }

    fn copy(&mut self) -> Result<CopyInstruction> {
        let keyword = self.keyword;
        let add = keyword == "ADD";
        let (mut flags, rest) = Flags::take(self.rest, self.escape);
        let from = if add { None } else { flags.value("from")? };
        let (chown, chmod) = (flags.value("chown")?, flags.value("chmod")?);
        // A layer made without looking at those below: here every layer is applied alike.
        flags.ignore_switch("link")?;
        let unsupported = ["exclude", "parents", "checksum", "keep-git-dir", "unpack"];
        flags.finish(keyword, if add { &["chown", "chmod"] } else { &["from", "chown", "chmod"] }, &unsupported)?;
        if from.as_deref().is_some_and(|from| from.contains('$')) {
            return Err(Error::invalid("COPY --from does not replace variables")
                .hint("name a stage with FROM $image AS name, then COPY --from=name"));
        }
        let mut words = json(rest).unwrap_or_else(|| words(rest, self.escape).into_iter().map(str::to_owned).collect());
        let target = words.pop().filter(|_| !words.is_empty()).ok_or_else(|| {
            Error::invalid(format!("{keyword} needs at least one source and a target")).hint("COPY . . copies all")
        })?;
        let inline = std::mem::take(&mut self.heredocs);
        if !inline.is_empty() {
            words.retain(|word| !word.contains("<<"));
        }
        if let Some(url) = words.iter().find(|word| is_remote(word)) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("{keyword} {url}: remote sources are not supported"),
            )
            .hint("fetch it in a RUN step, or before the build"));
        }
        if words.len() + inline.len() > 1 && !target.ends_with('/') && target != "." && target != ".." {
            return Err(Error::invalid(format!("{keyword} of several sources needs a target that ends with '/'"))
                .hint(format!("write {target}/")));
        }
        Ok(CopyInstruction { add, from, chown, chmod, sources: words, inline, target })
    }

    fn run(&mut self) -> Result<RunInstruction> {
        let (mut flags, rest) = Flags::take(self.rest, self.escape);
        let mounts = flags.values("mount")?.iter().map(|mount| run_mount(mount, self.escape)).collect::<Result<_>>()?;
        let isolated = match flags.value("network")?.as_deref() {
            None | Some("default") => None,
            Some("none") => Some(true),
            Some("host") => Some(false),
            Some(other) => {
                return Err(Error::invalid(format!("RUN --network is default, none or host, not {other:?}")));
            }
        };
        flags.finish("RUN", &["mount", "network"], &["security", "device"])?;
        if rest.is_empty() {
            return Err(Error::invalid("RUN needs a command"));
        }
        let heredocs = std::mem::take(&mut self.heredocs);
        let command = if heredocs.is_empty() { self.command(rest) } else { script(rest, &heredocs)? };
        Ok(RunInstruction { command, mounts, isolated })
    }

    fn command(&mut self, text: &str) -> Command {
        if let Some(words) = json(text).filter(|words| !words.is_empty()) {
            return Command::Exec(words);
        }
        if text.starts_with('[') && text.ends_with(']') && !text.starts_with("[ ") && !text.starts_with("[[") {
            self.notes.push("is taken as a shell line: for the exec form, quote with \" (JSON)".into());
        }
        Command::Shell(text.to_owned())
    }

    fn healthcheck(&mut self) -> Result<Healthcheck> {
        let (mut flags, rest) = Flags::take(self.rest, self.escape);
        if rest.eq_ignore_ascii_case("none") {
            flags.finish("HEALTHCHECK NONE", &[], &[])?;
            return Ok(Healthcheck::None);
        }
        let (keyword, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        if !keyword.eq_ignore_ascii_case("cmd") || command.trim().is_empty() {
            return Err(Error::invalid("HEALTHCHECK is: HEALTHCHECK [flags] CMD command, or HEALTHCHECK NONE"));
        }
        let mut duration = |name: &str| -> Result<Duration> {
            flags.value(name)?.map_or(Ok(Duration::ZERO), |text| parse_duration(&text))
        };
        let (interval, timeout) = (duration("interval")?, duration("timeout")?);
        let (start_period, start_interval) = (duration("start-period")?, duration("start-interval")?);
        let retries = flags.value("retries")?.map_or(Ok(0), |text| {
            text.parse().map_err(|_| Error::invalid(format!("HEALTHCHECK --retries={text} is not a number")))
        })?;
        let known = ["interval", "timeout", "start-period", "start-interval", "retries"];
        flags.finish("HEALTHCHECK", &known, &[])?;
        let command = self.command(command.trim());
        Ok(Healthcheck::Check { command, interval, timeout, start_period, start_interval, retries })
    }

    fn onbuild(&mut self) -> Result<String> {
        let keyword = self.rest.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        if matches!(keyword.as_str(), "ONBUILD" | "FROM" | "MAINTAINER") {
            return Err(Error::invalid(format!("ONBUILD {keyword} is not allowed")));
        }
        // Checked now, recorded as text.
        let nested = LogicalLine { line: 0, text: self.rest.to_owned(), heredocs: Vec::new() };
        parse(nested, self.escape, &mut Vec::new(), "")?;
        Ok(self.rest.to_owned())
    }
}

/// A JSON array of strings.
fn json(text: &str) -> Option<Vec<String>> {
    if !text.starts_with('[') {
        return None;
    }
    serde_json::from_str(text).ok()
}

/// A `RUN` with here-documents: a lone one is the script itself, else the shell reads them as it does anywhere.
fn script(line: &str, heredocs: &[Heredoc]) -> Result<Command> {
    if let ([only], true) = (heredocs, line.starts_with("<<") && !line.contains(char::is_whitespace)) {
        if only.content.starts_with("#!") {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "a here-document with an interpreter line is not supported",
            )
            .hint("write RUN interpreter <<EOF"));
        }
        return Ok(Command::Shell(only.content.clone()));
    }
    let bodies = heredocs.iter().map(|heredoc| format!("\n{}{}", heredoc.content, heredoc.name));
    Ok(Command::Shell(line.to_owned() + &bodies.collect::<String>()))
}

fn is_remote(source: &str) -> bool {
    ["http://", "https://", "ftp://", "git://", "git@", "ssh://"].iter().any(|scheme| source.starts_with(scheme))
}

fn stage_name(name: &str) -> Result<String> {
    let name = name.to_ascii_lowercase();
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if plain && name.starts_with(|c: char| c.is_ascii_lowercase()) && name != "scratch" && name != "context" {
        return Ok(name);
    }
    Err(Error::invalid(format!("stage name {name:?} is not a letter and then letters, digits, '_', '.' or '-'")))
}
