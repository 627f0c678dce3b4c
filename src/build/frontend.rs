//! From the instructions of a Dockerfile to steps: variables are replaced here.

use super::dockerfile::{CopyInstruction, Dockerfile, Instruction, Located, RunInstruction, RunMount, parse_trigger};
use super::step::{Action, Base, Change, Copy, Origin, Run, Step, StepMount};
use super::variable::{Arguments, Scope};
use crate::error::Context;
use crate::network::Network;
use crate::{Error, Platform, Reference, Result};

/// A Dockerfile with what the caller gave to it.
pub(super) struct Frontend {
    pub(super) file: Dockerfile,
    pub(super) arguments: Arguments,
}

impl Frontend {
    /// Evaluates the arguments before the first `FROM`.
    pub(super) fn new(file: Dockerfile, mut arguments: Arguments) -> Result<Frontend> {
        for (line, name, default) in &file.arguments {
            arguments
                .declare_global(name, default.as_deref(), file.escape)
                .context(|| format!("{}:{line}", file.name))?;
        }
        Ok(Frontend { file, arguments })
    }

    /// The stage to build: the named one, else the last.
    pub(super) fn target(&self, name: Option<&str>) -> Result<usize> {
        let count = self.file.stages.len();
        let Some(name) = name else { return Ok(count - 1) };
        self.file.stage(name, count).ok_or_else(|| {
            let names: Vec<&str> = self.file.stages.iter().filter_map(|stage| stage.name.as_deref()).collect();
            let error = Error::invalid(format!("{} has no stage {name:?}", self.file.name));
            if names.is_empty() { error } else { error.hint(format!("it has {}", names.join(", "))) }
        })
    }

    /// Where the stage `index` begins, and for which platform.
    pub(super) fn base(&self, index: usize) -> Result<(Base, Option<Platform>)> {
        let stage = &self.file.stages[index];
        let context = || format!("{}:{}", self.file.name, stage.line);
        let evaluate = || {
            let name = self.arguments.expand_base(&stage.base, self.file.escape)?;
            if name.is_empty() {
                return Err(Error::invalid(format!("FROM {}: is empty once its variables are replaced", stage.base))
                    .hint("give the ARG before FROM a default, or a build argument"));
            }
            let platform = stage
                .platform
                .as_deref()
                .map(|platform| self.arguments.expand_base(platform, self.file.escape)?.parse::<Platform>());
            let base = match (name.as_str(), self.named_stage(&name, index)) {
                ("scratch", _) => Base::Scratch,
                (_, Some(stage)) => Base::Stage(stage),
                (name, None) => Base::Image(name.parse()?),
            };
            Ok((base, platform.transpose()?))
        };
        evaluate().context(context)
    }

    /// The stages that `target` needs, itself included, in their order.
    pub(super) fn needed(&self, target: usize) -> Result<Vec<usize>> {
        let mut needed = vec![false; target + 1];
        needed[target] = true;
        for index in (0..=target).rev() {
            if !needed[index] {
                continue;
            }
            if let (Base::Stage(base), _) = self.base(index)? {
                needed[base] = true;
            }
            for located in &self.file.stages[index].instructions {
                for from in origins(&located.instruction) {
                    if let Some(stage) = self.file.stage(from, index) {
                        needed[stage] = true;
                    }
                }
            }
        }
        Ok((0..=target).filter(|&index| needed[index]).collect())
    }

    /// The steps of the stage `index`, after the triggers that its base recorded (Dockerfile reference, "ONBUILD").
    pub(super) fn steps(
        &mut self,
        index: usize,
        environment: Vec<(String, String)>,
        triggers: &[String],
    ) -> Result<Vec<Step>> {
        let mut scope = Scope { escape: self.file.escape, environment, arguments: Vec::new() };
        let (line, mut steps) = (self.file.stages[index].line, Vec::new());
        let mut all: Vec<Located> = Vec::new();
        for trigger in triggers {
            let place = || format!("{}:{line}: ONBUILD of the base image", self.file.name);
            let instruction = parse_trigger(trigger).context(place)?;
            all.push(Located { line, text: trigger.clone(), instruction });
        }
        all.extend(self.file.stages[index].instructions.iter().cloned());
        for located in all {
            let place = format!("{}:{}", self.file.name, located.line);
            let action = self.action(index, &located.instruction, &mut scope).context(|| place.clone())?;
            steps.extend(action.map(|action| Step { place, text: one_line(&located.text), action }));
        }
        Ok(steps)
    }

    fn named_stage(&self, name: &str, before: usize) -> Option<usize> {
        let lower = name.to_ascii_lowercase();
        self.file.stages[..before].iter().rposition(|stage| stage.name.as_deref() == Some(lower.as_str()))
    }

    fn action(&mut self, index: usize, instruction: &Instruction, scope: &mut Scope) -> Result<Option<Action>> {
        let change = match instruction {
            Instruction::Arg(list) => {
                for (name, default) in list {
                    self.arguments.declare(scope, name, default.as_deref())?;
                }
                return Ok(None);
            }
            Instruction::Copy(copy) => return self.copy(index, copy, scope).map(|copy| Some(Action::Copy(copy))),
            Instruction::Run(run) => return self.run(index, run, scope).map(|run| Some(Action::Run(run))),
            Instruction::Workdir(path) => return Ok(Some(Action::Workdir(nonempty("WORKDIR", scope.expand(path)?)?))),
            Instruction::Env(list) => {
                let list = pairs(list, scope)?;
                scope.environment.extend(list.iter().cloned());
                Change::Env(list)
            }
            Instruction::Label(list) => Change::Label(pairs(list, scope)?),
            Instruction::User(user) => Change::User(nonempty("USER", scope.expand(user)?)?),
            Instruction::Expose(ports) => {
                let ports: Vec<String> = ports.iter().map(|port| scope.expand(port)).collect::<Result<_>>()?;
                Change::Expose(ports.iter().flat_map(|ports| ports.split_whitespace()).map(str::to_owned).collect())
            }
            Instruction::Volume(paths) => {
                Change::Volume(paths.iter().map(|path| scope.expand(path)).collect::<Result<_>>()?)
            }
            Instruction::Entrypoint(command) => Change::Entrypoint(command.clone()),
            Instruction::Cmd(command) => Change::Cmd(command.clone()),
            Instruction::Shell(shell) => Change::Shell(shell.clone()),
            Instruction::StopSignal(signal) => Change::StopSignal(scope.expand(signal)?),
            Instruction::Healthcheck(check) => Change::Healthcheck(check.clone()),
            Instruction::Maintainer(name) => Change::Maintainer(name.clone()),
            Instruction::Onbuild(text) => Change::Onbuild(text.clone()),
        };
        Ok(Some(Action::Change(change)))
    }

    fn copy(&self, index: usize, copy: &CopyInstruction, scope: &Scope) -> Result<Copy> {
        let keyword = if copy.add { "ADD" } else { "COPY" };
        let mode = copy.chmod.as_deref().map(|mode| parse_mode(keyword, &scope.expand(mode)?)).transpose()?;
        let inline = copy.inline.iter().map(|document| {
            let content =
                if document.expand { scope.expand_document(&document.content)? } else { document.content.clone() };
            Ok((document.name.clone(), content))
        });
        Ok(Copy {
            origin: self.origin(index, copy.from.as_deref())?,
            sources: copy.sources.iter().map(|source| scope.expand(source)).collect::<Result<_>>()?,
            inline: inline.collect::<Result<_>>()?,
            target: nonempty(keyword, scope.expand(&copy.target)?)?,
            owner: copy.chown.as_deref().map(|owner| scope.expand(owner)).transpose()?,
            mode,
            extract: copy.add,
        })
    }

    fn run(&self, index: usize, run: &RunInstruction, scope: &Scope) -> Result<Run> {
        let mounts = run.mounts.iter().map(|mount| {
            Ok(match mount.clone() {
                RunMount::Bind { from, source, target } => {
                    StepMount::Bind { origin: self.origin(index, from.as_deref())?, source, target }
                }
                RunMount::Secret { id, target, required } => StepMount::Secret { id, target, required },
                RunMount::Tmpfs { target } => StepMount::Tmpfs { target },
            })
        });
        let network = run.isolated.map(|isolated| if isolated { Network::None } else { Network::Host });
        // ENV wins: an argument of the same name is not seen.
        let hidden = |name: &String| scope.environment.iter().any(|(other, _)| other == name);
        let arguments = scope.arguments.iter().filter(|(name, _)| !hidden(name)).cloned().collect();
        Ok(Run { command: run.command.clone(), arguments, mounts: mounts.collect::<Result<_>>()?, network })
    }

    fn origin(&self, index: usize, from: Option<&str>) -> Result<Origin> {
        let Some(from) = from else { return Ok(Origin::Context) };
        match self.file.stage(from, index) {
            Some(stage) => Ok(Origin::Stage(stage)),
            None => Ok(Origin::Image(from.parse::<Reference>()?)),
        }
    }
}

/// The stages and images that an instruction reads from.
fn origins(instruction: &Instruction) -> Vec<&str> {
    match instruction {
        Instruction::Copy(copy) => copy.from.as_deref().into_iter().collect(),
        Instruction::Run(run) => {
            let binds = run.mounts.iter().filter_map(|mount| match mount {
                RunMount::Bind { from, .. } => from.as_deref(),
                _ => None,
            });
            binds.collect()
        }
        _ => Vec::new(),
    }
}

fn pairs(list: &[(String, String)], scope: &Scope) -> Result<Vec<(String, String)>> {
    // All values are those from before the instruction.
    list.iter().map(|(name, value)| Ok((scope.expand(name)?, scope.expand(value)?))).collect()
}

fn nonempty(keyword: &str, text: String) -> Result<String> {
    match text.is_empty() {
        true => Err(Error::invalid(format!("{keyword}: the argument is empty once its variables are replaced"))),
        false => Ok(text),
    }
}

fn parse_mode(keyword: &str, text: &str) -> Result<u32> {
    let octal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| octal && *mode <= 0o7777)
        .ok_or_else(|| Error::invalid(format!("{keyword} --chmod={text} is not an octal mode like 755")))
}

/// For people: on one line, of moderate length.
pub(super) fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line: String = words.join(" ").chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match line.char_indices().nth(200) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}
