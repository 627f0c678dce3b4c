//! Options as runc takes them: `--name value`, `--name=value`, `-n value`, flags without a value, `--`.

use coracle::{Error, Result};
use std::collections::VecDeque;
use std::fmt::Display;
use std::str::FromStr;

/// An option: its names, the long one first; what its value is called, where it takes one.
pub(crate) struct Choice {
    pub(crate) names: &'static [&'static str],
    pub(crate) value: Option<&'static str>,
    pub(crate) about: &'static str,
}

/// A flag, which is on or off.
pub(crate) const fn flag(names: &'static [&'static str], about: &'static str) -> Choice {
    Choice { names, value: None, about }
}

/// An option with a value.
pub(crate) const fn value(names: &'static [&'static str], value: &'static str, about: &'static str) -> Choice {
    Choice { names, value: Some(value), about }
}

/// What was read: options by their long names, in order, and positions.
#[derive(Default)]
pub(crate) struct Arguments {
    options: Vec<(&'static str, String)>,
    pub(crate) positions: Vec<String>,
}

impl Arguments {
    /// Takes options, and positions; everything from the first position on is one where `greedy` is set.
    pub(crate) fn read(words: &mut VecDeque<String>, choices: &[Choice], greedy: bool) -> Result<Arguments> {
        let mut arguments = Arguments::default();
        while let Some(word) = words.pop_front() {
            if word == "--" {
                break;
            }
            if word.len() < 2 || !word.starts_with('-') {
                arguments.positions.push(word);
                if greedy {
                    break;
                }
                continue;
            }
            let name = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).unwrap_or_default();
            let (name, inline) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (name, None),
            };
            let choice = choices.iter().find(|choice| choice.names.contains(&name));
            let choice = choice.ok_or_else(|| Error::invalid(format!("flag provided but not defined: {word}")))?;
            let value = match (choice.value, inline) {
                (_, Some(value)) => value,
                (None, None) => "true".to_owned(),
                (Some(_), None) => {
                    words.pop_front().ok_or_else(|| Error::invalid(format!("flag needs an argument: -{name}")))?
                }
            };
            if choice.value.is_none() {
                boolean(name, &value)?;
            }
            arguments.options.push((choice.names[0], value));
        }
        arguments.positions.extend(words.drain(..));
        Ok(arguments)
    }

    /// The last value of an option.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.options.iter().rev().find(|(other, _)| *other == name).map(|(_, value)| value.as_str())
    }

    /// Every value of an option.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        self.options.iter().filter(|(other, _)| *other == name).map(|(_, value)| value.clone()).collect()
    }

    /// Whether a flag is on.
    pub(crate) fn on(&self, name: &str) -> bool {
        self.text(name).is_some_and(|value| boolean(name, value).unwrap_or(false))
    }

    /// The last value of an option, read.
    pub(crate) fn parsed<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>> {
        let wrong =
            |text: &str, error: T::Err| Error::invalid(format!("invalid value {text:?} for flag -{name}: {error}"));
        self.text(name).map(|text| text.parse().map_err(|error| wrong(text, error))).transpose()
    }

    /// The only position.
    pub(crate) fn id(&self) -> Result<&str> {
        self.positions.first().map(String::as_str).ok_or_else(|| Error::invalid("container id cannot be empty"))
    }
}

/// As Go's flags are read.
fn boolean(name: &str, text: &str) -> Result<bool> {
    match text {
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
        _ => Err(Error::invalid(format!("invalid boolean value {text:?} for -{name}"))),
    }
}
