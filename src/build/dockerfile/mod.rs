//! The Dockerfile: what a file says, checked as far as it can be without the images it names.
//!
//! The reference is Docker's "Dockerfile reference". Parser directives other than `escape` are inert: a `# syntax=` line
//! never fetches or runs another front end.

mod expand;
mod flag;
mod instruction;
mod line;
mod parse;
mod spelling;

pub(crate) use expand::expand;
pub(crate) use instruction::{Command, CopyInstruction, Healthcheck, Instruction, Located, RunInstruction, RunMount};
pub(crate) use line::FILE_BUDGET;
pub(crate) use parse::parse_trigger;

use crate::error::Context;
use crate::{Error, Result};
use parse::Parsed;

/// A parsed Dockerfile.
#[derive(Debug)]
pub(crate) struct Dockerfile {
    /// What errors call it.
    pub(crate) name: String,
    /// The escape character in force.
    pub(crate) escape: char,
    /// The `ARG` instructions before the first `FROM`: names and defaults, with their lines.
    pub(crate) arguments: Vec<(u32, String, Option<String>)>,
    /// At least one.
    pub(crate) stages: Vec<Stage>,
    /// What is legal but probably not meant, one line each.
    pub(crate) warnings: Vec<String>,
}

/// One `FROM` and what follows it.
#[derive(Debug)]
pub(crate) struct Stage {
    /// The line of its `FROM`.
    pub(crate) line: u32,
    /// The `FROM` as written.
    pub(crate) text: String,
    /// The name after `AS`, in lower case.
    pub(crate) name: Option<String>,
    /// The base as written, variables not replaced.
    pub(crate) base: String,
    pub(crate) platform: Option<String>,
    pub(crate) instructions: Vec<Located>,
}

impl Dockerfile {
    /// Parses `bytes`; errors begin with `name:line`.
    pub(crate) fn parse(name: &str, bytes: &[u8]) -> Result<Dockerfile> {
        let mut dockerfile = Dockerfile {
            name: name.to_owned(),
            escape: '\\',
            arguments: Vec::new(),
            stages: Vec::new(),
            warnings: Vec::new(),
        };
        // The lexer's errors carry the line as their context, so `name:line: what`.
        let lexed = line::lex(bytes).map_err(|error| prefixed(name, error))?;
        dockerfile.escape = lexed.escape;
        for logical in lexed.lines {
            let line = logical.line;
            dockerfile.push(logical).context(|| format!("{name}:{line}"))?;
        }
        if dockerfile.stages.is_empty() {
            return Err(Error::invalid(format!("{name}: no FROM instruction: there is nothing to build")));
        }
        dockerfile.check_sources()?;
        Ok(dockerfile)
    }

    /// The stage with this name or index, among those before `before`.
    pub(crate) fn stage(&self, name: &str, before: usize) -> Option<usize> {
        let stages = &self.stages[..before.min(self.stages.len())];
        let lower = name.to_ascii_lowercase();
        if let Some(found) = stages.iter().rposition(|stage| stage.name.as_deref() == Some(lower.as_str())) {
            return Some(found);
        }
        name.parse::<usize>().ok().filter(|&index| index < stages.len() && !name.starts_with('+'))
    }

    fn push(&mut self, logical: line::LogicalLine) -> Result<()> {
        let (line, text) = (logical.line, logical.text.clone());
        match parse::parse(logical, self.escape, &mut self.warnings, &self.name)? {
            Parsed::From { platform, base, name } => {
                self.stages.push(Stage { line, text, name, base, platform, instructions: Vec::new() });
            }
            Parsed::Instruction(instruction) => match (self.stages.last_mut(), instruction) {
                (Some(stage), instruction) => stage.instructions.push(Located { line, text, instruction }),
                (None, Instruction::Arg(arguments)) => {
                    self.arguments.extend(arguments.into_iter().map(|(name, default)| (line, name, default)));
                }
                (None, _) => {
                    let keyword = text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
                    return Err(Error::invalid(format!("{keyword} comes before the first FROM"))
                        .hint("only ARG may stand before FROM"));
                }
            },
        }
        Ok(())
    }

    /// A number as source of a `COPY` that is no earlier stage can only be a mistake.
    fn check_sources(&self) -> Result<()> {
        for (index, stage) in self.stages.iter().enumerate() {
            for located in &stage.instructions {
                let Instruction::Copy(CopyInstruction { from: Some(from), .. }) = &located.instruction else {
                    continue;
                };
                let number = from.bytes().all(|byte| byte.is_ascii_digit());
                let own = stage.name.as_deref() == Some(from.to_ascii_lowercase().as_str());
                if self.stage(from, index).is_none() && (number || own) {
                    let message = format!("{}:{}: COPY --from={from}: no earlier stage", self.name, located.line);
                    return Err(Error::invalid(message));
                }
            }
        }
        Ok(())
    }
}

/// `name:line: message` where the error has a line as context, else `name: message`.
fn prefixed(name: &str, error: Error) -> Error {
    let kind = error.kind();
    let text = error.to_string();
    let separator = if text.starts_with(|c: char| c.is_ascii_digit()) { ":" } else { ": " };
    Error::new(kind, format!("{name}{separator}{text}"))
}

#[cfg(test)]
mod tests;
