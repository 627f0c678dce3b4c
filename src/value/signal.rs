//! Signals by name.

use crate::{Error, Result};

/// The first and the last real-time signal, as programs count them: the kernel's first two are the C library's.
const REAL_TIME: (i32, i32) = (34, 64);

/// The number of a signal from its name (`SIGTERM`, `TERM`, `term`, `RTMIN+3`, `RTMAX-1`) or number.
///
/// # Errors
/// `InvalidInput`: it is neither a name nor a number from 1 to 64.
pub fn parse_signal(text: &str) -> Result<i32> {
    if let Ok(number) = text.parse::<i32>()
        && (1..=REAL_TIME.1).contains(&number)
    {
        return Ok(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(number) = real_time(name) {
        return Ok(number);
    }
    format!("SIG{name}")
        .parse::<nix::sys::signal::Signal>()
        .map(|signal| signal as i32)
        .map_err(|_| Error::invalid(format!("signal {text:?} is neither a name nor a number from 1 to 64")))
}

/// `RTMIN`, `RTMIN+n`, `RTMAX`, `RTMAX-n`.
fn real_time(name: &str) -> Option<i32> {
    let (from, sign, rest) = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => (REAL_TIME.0, '+', rest),
        (_, Some(rest)) => (REAL_TIME.1, '-', rest),
        _ => return None,
    };
    let offset = match rest.strip_prefix(sign) {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse::<i32>().ok()?,
        None if rest.is_empty() => 0,
        _ => return None,
    };
    let number = if sign == '+' { from.checked_add(offset)? } else { from.checked_sub(offset)? };
    (REAL_TIME.0..=REAL_TIME.1).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in
            [("SIGTERM", 15), ("term", 15), ("9", 9), ("SIGRTMIN+3", 37), ("rtmin", 34), ("RTMAX-1", 63), ("64", 64)]
        {
            assert_eq!(parse_signal(text).unwrap(), number, "{text}");
        }
        for text in
            ["", "0", "65", "SIGNOTHING", "-1", "RTMIN+31", "RTMIN++1", "RTMIN-1", "RTMAX-31", "SIG", "SIGSIGHUP"]
        {
            assert!(parse_signal(text).is_err(), "{text}");
        }
    }
}
