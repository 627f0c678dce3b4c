//! Reading typed values out of the tree, with everything that is wrong collected by line and place.

use super::yaml::{Key, Node, Problem, Value};
use crate::value::parse_duration;
use crate::{Cpus, Memory};
use std::cell::RefCell;
use std::time::Duration;

/// A value and where it is: `service web: ports[0]`.
#[derive(Clone)]
pub(super) struct Cursor<'file> {
    node: &'file Node,
    place: String,
    problems: &'file RefCell<Vec<Problem>>,
}

/// The entries of a map whose keys are known.
pub(super) struct Fields<'file> {
    cursor: Cursor<'file>,
    entries: &'file [(Key, Node)],
}

impl<'file> Cursor<'file> {
    pub(super) fn new(node: &'file Node, problems: &'file RefCell<Vec<Problem>>) -> Cursor<'file> {
        Cursor { node, place: String::new(), problems }
    }

    pub(super) fn line(&self) -> usize {
        self.node.line
    }

    /// Notes what is wrong with this value.
    pub(super) fn wrong(&self, message: impl AsRef<str>) {
        self.wrong_at(self.node.line, message);
    }

    fn wrong_at(&self, line: usize, message: impl AsRef<str>) {
        let message = match self.place.as_str() {
            "" => message.as_ref().to_owned(),
            place => format!("{place}: {}", message.as_ref()),
        };
        self.problems.borrow_mut().push(Problem { line, message });
    }

    pub(super) fn is_null(&self) -> bool {
        self.node.value == Value::Null
    }

    pub(super) fn is_map(&self) -> bool {
        matches!(self.node.value, Value::Map(_))
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self.node.value, Value::List(_))
    }

    /// The text of a scalar; anything else is noted and `None`.
    pub(super) fn text(&self) -> Option<&'file str> {
        match &self.node.value {
            Value::Scalar(text) => Some(text),
            other => {
                self.wrong(format!("is {}, not text", kind_of(other)));
                None
            }
        }
    }

    /// What `parse` makes of the text; its error is noted.
    pub(super) fn parsed<T, E: ToString>(&self, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        parse(self.text()?).map_err(|error| self.wrong(error.to_string())).ok()
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self) -> Option<bool> {
        self.parsed(|text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(format!("{other:?} is neither true nor false")),
        })
    }

    /// A number without sign.
    pub(super) fn number(&self) -> Option<u32> {
        self.parsed(|text| match text.parse::<u32>() {
            Ok(number) if !text.starts_with('+') => Ok(number),
            _ => Err(format!("{text:?} is not a number from 0 to {}", u32::MAX)),
        })
    }

    pub(super) fn duration(&self) -> Option<Duration> {
        self.parsed(parse_duration)
    }

    pub(super) fn memory(&self) -> Option<Memory> {
        self.parsed(str::parse)
    }

    pub(super) fn cpus(&self) -> Option<Cpus> {
        self.parsed(str::parse)
    }

    /// The values of a list; anything else is noted and empty.
    pub(super) fn list(&self) -> Vec<Cursor<'file>> {
        let Value::List(list) = &self.node.value else {
            self.wrong(format!("is {}, not a list", kind_of(&self.node.value)));
            return Vec::new();
        };
        let below = |(index, node)| Cursor { node, place: format!("{}[{index}]", self.place), ..self.clone() };
        list.iter().enumerate().map(below).collect()
    }

    /// The texts of a list.
    pub(super) fn texts(&self) -> Vec<String> {
        self.list().iter().filter_map(Cursor::text).map(str::to_owned).collect()
    }

    /// The texts of a list, or one text that stands for a list of itself.
    pub(super) fn text_or_texts(&self) -> Vec<Cursor<'file>> {
        if self.is_list() { self.list() } else { vec![self.clone()] }
    }

    /// The entries of a map with free keys; anything else is noted and empty.
    pub(super) fn entries(&self) -> Vec<(&'file str, Cursor<'file>)> {
        let Value::Map(entries) = &self.node.value else {
            self.wrong(format!("is {}, not a map", kind_of(&self.node.value)));
            return Vec::new();
        };
        entries.iter().map(|(key, node)| (key.text.as_str(), self.below(&key.text, node))).collect()
    }

    /// A map that has these keys alone, and extensions (`x-...`). Of the others, those that Compose knows are told from
    /// mistakes.
    pub(super) fn fields(&self, known: &[&str], unsupported: &[&str]) -> Fields<'file> {
        let entries: &[(Key, Node)] = match &self.node.value {
            Value::Map(entries) => entries,
            other => {
                self.wrong(format!("is {}, not a map", kind_of(other)));
                &[]
            }
        };
        for (key, _) in entries {
            let text = key.text.as_str();
            if unsupported.contains(&text) {
                self.wrong_at(key.line, format!("the key {text} is not supported"));
            } else if !known.contains(&text) && !text.starts_with("x-") {
                self.wrong_at(key.line, format!("unknown key {text:?}"));
            }
        }
        Fields { cursor: self.clone(), entries }
    }

    /// The same value under a name of its own: `service web` in place of `services.web`.
    pub(super) fn named(self, place: String) -> Cursor<'file> {
        Cursor { place, ..self }
    }

    fn below(&self, key: &str, node: &'file Node) -> Cursor<'file> {
        let place = match self.place.as_str() {
            "" => key.to_owned(),
            // The place of a service or volume itself.
            place if place.contains(' ') && !place.contains(':') => format!("{place}: {key}"),
            place => format!("{place}.{key}"),
        };
        Cursor { node, place, problems: self.problems }
    }
}

impl<'file> Fields<'file> {
    /// The value of `key`, where the map has it.
    pub(super) fn get(&self, key: &str) -> Option<Cursor<'file>> {
        let (_, node) = self.entries.iter().find(|(entry, _)| entry.text == key)?;
        Some(self.cursor.below(key, node))
    }

    /// The text of `key`.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        self.get(key)?.text().map(str::to_owned)
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Scalar(_) => "text",
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
    }
}
