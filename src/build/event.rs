//! What a build tells while it goes on.

use std::fmt;

/// A piece of news of a build; its display is one line for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildEvent {
    /// A step begins, or was found in the cache.
    Step {
        /// Which, from 1.
        number: usize,
        /// Of how many.
        total: usize,
        /// The instruction.
        text: String,
        /// Whether its result was there already.
        cached: bool,
    },
    /// A line that the command of a step wrote, on either stream.
    Output(String),
    /// What is legal but probably not meant.
    Warning(String),
}

impl fmt::Display for BuildEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildEvent::Step { number, total, text, cached } => {
                write!(f, "[{number}/{total}] {text}{}", if *cached { " (cached)" } else { "" })
            }
            BuildEvent::Output(line) => f.write_str(line),
            BuildEvent::Warning(text) => write!(f, "warning: {text}"),
        }
    }
}
