//! Environment files: `.env` and those of `env_file` (Compose documentation, ".env file syntax").

use super::interpolate::interpolate;
use std::collections::BTreeMap;

/// The largest file that is read, in bytes.
pub(super) const MOST_BYTES: usize = 1 << 20;

/// How many bytes the values of a file may have with their variables replaced.
const MOST_REPLACED: usize = 16 << 20;

/// What is wrong in an environment file, and in which line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    pub(super) line: usize,
    pub(super) message: String,
}

/// The variables of a file. A variable in a value is looked up with `lookup`, then among those above it. A name alone
/// takes its value from `lookup`, or is left out where that has none.
pub(super) fn parse(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, String>, Malformed> {
    let mut variables = BTreeMap::new();
    let mut length = 0;
    let mut lines = Lines { rest: text.strip_prefix('\u{feff}').unwrap_or(text), number: 0 };
    while let Some(line) = lines.next() {
        let number = lines.number;
        let at = |message: String| Malformed { line: number, message };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").map_or(line, str::trim_start);
        let end = line.find(['=', ':']).unwrap_or(line.len());
        let name = line[..end].trim_end();
        check_name(name).map_err(at)?;
        if end == line.len() {
            variables.extend(lookup(name).map(|value| (name.to_owned(), value)));
            continue;
        }
        let known = |name: &str| lookup(name).or_else(|| variables.get(name).cloned());
        let value = value(line[end + 1..].trim_start(), &mut lines, &known).map_err(at)?;
        length += value.len();
        if length > MOST_REPLACED {
            return Err(at(format!("the file is larger than {MOST_REPLACED} bytes with its variables replaced")));
        }
        variables.insert(name.to_owned(), value);
    }
    Ok(variables)
}

fn value(text: &str, lines: &mut Lines<'_>, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    match text.chars().next() {
        Some('\'') => quoted(text, '\'', lines),
        Some('"') => interpolate(&quoted(text, '"', lines)?, lookup),
        _ => {
            // A comment needs a space in front of it.
            let comment =
                text.match_indices('#').find(|(at, _)| text[..*at].is_empty() || text[..*at].ends_with([' ', '\t']));
            let text = comment.map_or(text, |(at, _)| &text[..at]).trim_end();
            interpolate(text, lookup)
        }
    }
}

/// A value in quotes, over several lines where its end is on another one. Within double quotes escapes are replaced, and
/// an escaped dollar is doubled so that it is left alone afterwards.
fn quoted(text: &str, quote: char, lines: &mut Lines<'_>) -> Result<String, String> {
    let mut value = String::new();
    let mut characters = text[1..].chars();
    loop {
        match characters.next() {
            None => {
                value.push('\n');
                characters = lines.next().ok_or_else(|| format!("the quote {quote} is not closed"))?.chars();
            }
            Some(end) if end == quote => {
                let rest = characters.as_str().trim();
                if rest.is_empty() || rest.starts_with('#') {
                    return Ok(value);
                }
                return Err(format!("{rest:?} follows the closing quote"));
            }
            Some('\\') if quote == '\'' => match characters.clone().next() {
                Some('\'') => {
                    characters.next();
                    value.push('\'');
                }
                _ => value.push('\\'),
            },
            Some('\\') => match characters.next() {
                Some('n') => value.push('\n'),
                Some('r') => value.push('\r'),
                Some('t') => value.push('\t'),
                Some('$') => value.push_str("$$"),
                Some(escaped @ ('"' | '\\' | '\'')) => value.push(escaped),
                Some(other) => value.extend(['\\', other]),
                None => value.push('\\'),
            },
            Some(other) => value.push(other),
        }
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let ok = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if ok && name.bytes().next().is_some_and(|first| !first.is_ascii_digit()) {
        return Ok(());
    }
    Err(format!("{name:?} is not the name of a variable"))
}

struct Lines<'text> {
    rest: &'text str,
    /// Of the line that was read last, from 1.
    number: usize,
}

impl<'text> Iterator for Lines<'text> {
    type Item = &'text str;

    fn next(&mut self) -> Option<&'text str> {
        if self.rest.is_empty() {
            return None;
        }
        self.number += 1;
        let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        self.rest = rest;
        Some(line.strip_suffix('\r').unwrap_or(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BTreeMap<String, String>, Malformed> {
        parse(text, &|name| (name == "OTHER").then(|| "other".to_owned()))
    }

    #[test]
    fn values_are_read_as_the_documentation_says() {
        for (line, expected) in [
            ("VAR=VAL", "VAL"),
            ("VAR=\"VAL\"", "VAL"),
            ("VAR='VAL'", "VAL"),
            ("VAR: VAL", "VAL"),
            ("export VAR=VAL", "VAL"),
            ("  VAR = VAL  ", "VAL"),
            ("VAR=VAL # comment", "VAL"),
            ("VAR=VAL# not a comment", "VAL# not a comment"),
            ("VAR=\"VAL # not a comment\"", "VAL # not a comment"),
            ("VAR=\"VAL\" # comment", "VAL"),
            ("VAR='$OTHER'", "$OTHER"),
            ("VAR='${OTHER}'", "${OTHER}"),
            ("VAR=${OTHER}", "other"),
            ("VAR=\"${OTHER}s\"", "others"),
            ("VAR=${MISSING:-default}", "default"),
            ("VAR='Let\\'s go!'", "Let's go!"),
            ("VAR=\"{\\\"hello\\\": \\\"json\\\"}\"", "{\"hello\": \"json\"}"),
            ("VAR=\"some\\tvalue\"", "some\tvalue"),
            ("VAR='some\\tvalue'", "some\\tvalue"),
            ("VAR=some\\tvalue", "some\\tvalue"),
            ("VAR=\"\\$OTHER\"", "$OTHER"),
            ("VAR=\"two\nlines\"", "two\nlines"),
            ("VAR=", ""),
            ("VAR= # comment", ""),
            ("VAR=a=b:c", "a=b:c"),
            ("A=1\nVAR=$A", "1"),
        ] {
            assert_eq!(read(line).unwrap().get("VAR").map(String::as_str), Some(expected), "{line}");
        }
        assert_eq!(read("OTHER\nMISSING\n# x\n\n").unwrap(), BTreeMap::from([("OTHER".into(), "other".into())]));
    }

    #[test]
    fn what_is_wrong_has_its_line() {
        for (text, line) in
            [("A=1\n=2", 2), ("A=1\n1B=2", 2), ("A='x\n\n", 1), ("A=\"x\" y", 1), ("A=${", 1), ("A B=1", 1)]
        {
            assert_eq!(read(text).unwrap_err().line, line, "{text:?}");
        }
    }

    #[test]
    fn bombs_are_stopped() {
        let mut text = "A0=x\n".to_owned();
        for level in 1..=20 {
            text += &format!("A{level}=$A{before}$A{before}\n", before = level - 1);
        }
        text += &"B=$A20\n".repeat(100);
        let malformed = read(&text).unwrap_err();
        assert_eq!(malformed.line, 36, "{}", malformed.message);
        assert!(malformed.message.contains("16777216 bytes"), "{}", malformed.message);
    }
}
