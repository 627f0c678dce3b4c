//! Signals by name.

use crate::{Error, Result};

/// A signal by name (`SIGTERM`, `TERM`) or number.
pub(super) fn parse_signal(text: &str) -> Result<i32> {
    if let Ok(number) = text.parse::<i32>()
        && (1..=64).contains(&number)
    {
        return Ok(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    if let Some(offset) = name.strip_prefix("SIGRTMIN+").and_then(|offset| offset.parse::<i32>().ok())
        && (0..=30).contains(&offset)
    {
        return Ok(34 + offset);
    }
    name.parse::<nix::sys::signal::Signal>()
        .map(|signal| signal as i32)
        .map_err(|_| Error::invalid(format!("stop signal {text:?} is neither a name nor a number from 1 to 64")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in [("SIGTERM", 15), ("term", 15), ("9", 9), ("SIGRTMIN+3", 37)] {
            assert_eq!(parse_signal(text).unwrap(), number, "{text}");
        }
        for text in ["", "0", "65", "SIGNOTHING", "-1"] {
            assert!(parse_signal(text).is_err(), "{text}");
        }
    }
}
