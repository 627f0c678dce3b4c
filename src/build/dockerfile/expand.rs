//! Words, quotes and variables, by the rules of the Dockerfile reference ("Environment replacement").

use super::line::LINE_BUDGET;
use crate::{Error, ErrorKind, Result};

/// How deep `${a:-${b:-...}}` may nest.
const DEPTH_BUDGET: usize = 32;

/// Expands the variables in `text`, removes quotes and escape characters.
///
/// Knows `$name`, `${name}`, and with a word `:-`, `-`, `:+`, `+`, `:?`, `?`. Single quotes keep everything, double
/// quotes all but variables. An unknown variable is empty. The result is at most 128 KiB, so that a file cannot grow
/// by doubling a variable again and again.
pub(crate) fn expand<'v>(text: &str, escape: char, lookup: &dyn Fn(&str) -> Option<&'v str>) -> Result<String> {
    let mut expander = Expander { rest: text, escape, lookup, depth: 0 };
    let mut out = String::new();
    expander.run(None, &mut out)?;
    Ok(out)
}

/// Splits off the first word of `text`: blanks inside quotes or after the escape character do not end it. Quotes and
/// escapes stay; [`expand`] removes them.
pub(super) fn split_word(text: &str, escape: char) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let mut quote = None;
    let mut escaped = false;
    for (index, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (None | Some('"'), c) if c == escape => escaped = true,
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, c) if c.is_whitespace() => return Some((&text[..index], &text[index..])),
            _ => {}
        }
    }
    (!text.is_empty()).then_some((text, ""))
}

/// All words of `text`.
pub(super) fn words(mut text: &str, escape: char) -> Vec<&str> {
    let mut words = Vec::new();
    while let Some((word, rest)) = split_word(text, escape) {
        words.push(word);
        text = rest;
    }
    words
}

struct Expander<'t, 'l, 'v> {
    rest: &'t str,
    escape: char,
    lookup: &'l dyn Fn(&str) -> Option<&'v str>,
    depth: usize,
}

impl<'t> Expander<'t, '_, '_> {
    /// Expands up to the end or, inside braces, up to and with `stop`.
    fn run(&mut self, stop: Option<char>, out: &mut String) -> Result<()> {
        while let Some(c) = self.take() {
            match c {
                c if Some(c) == stop => return Ok(()),
                '\'' => self.single_quoted(out)?,
                '"' => self.double_quoted(out)?,
                '$' => self.variable(out)?,
                c if c == self.escape => out.extend(self.take()),
                c => out.push(c),
            }
            if out.len() > LINE_BUDGET {
                let message = format!("is longer than {LINE_BUDGET} bytes after its variables are replaced");
                return Err(Error::new(ErrorKind::LimitExceeded, message));
            }
        }
        match stop {
            Some(stop) => Err(Error::invalid(format!("a variable is not closed by '{stop}'"))),
            None => Ok(()),
        }
    }

    fn take(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn single_quoted(&mut self, out: &mut String) -> Result<()> {
        let end = self.rest.find('\'').ok_or_else(|| Error::invalid("a single quote is not closed"))?;
        out.push_str(&self.rest[..end]);
        self.rest = &self.rest[end + 1..];
        Ok(())
    }

    fn double_quoted(&mut self, out: &mut String) -> Result<()> {
        while let Some(c) = self.take() {
            match c {
                '"' => return Ok(()),
                '$' => self.variable(out)?,
                c if c == self.escape => match self.peek() {
                    Some(next) if next == '"' || next == '$' || next == self.escape => out.extend(self.take()),
                    _ => out.push(c),
                },
                c => out.push(c),
            }
        }
        Err(Error::invalid("a double quote is not closed"))
    }

    fn variable(&mut self, out: &mut String) -> Result<()> {
        if self.peek() != Some('{') {
            let name = self.name();
            match name {
                "" => out.push('$'),
                name => out.push_str((self.lookup)(name).unwrap_or_default()),
            }
            return Ok(());
        }
        self.take();
        let name = self.name();
        if name.is_empty() {
            return Err(Error::invalid("${} names no variable"));
        }
        let value = (self.lookup)(name);
        let mut modifier = self.take();
        let empty_is_unset = modifier == Some(':');
        if empty_is_unset {
            modifier = self.take();
        }
        let present = value.filter(|value| !(empty_is_unset && value.is_empty()));
        match modifier {
            Some('}') if !empty_is_unset => out.push_str(value.unwrap_or_default()),
            Some('-') => {
                let word = self.word()?;
                out.push_str(present.unwrap_or(&word));
            }
            Some('+') => {
                let word = self.word()?;
                out.push_str(present.map_or("", |_| &word));
            }
            Some('?') => {
                let word = self.word()?;
                let missing = || Error::invalid(format!("variable {name}: {}", or_default(&word)));
                out.push_str(present.ok_or_else(missing)?);
            }
            Some(other) => {
                return Err(Error::invalid(format!("${{{name}: modifier {other:?} is not supported"))
                    .hint("of the modifiers, :- - :+ + :? ? are known"));
            }
            None => return Err(Error::invalid("a variable is not closed by '}'")),
        }
        Ok(())
    }

    fn word(&mut self) -> Result<String> {
        if self.depth == DEPTH_BUDGET {
            return Err(Error::new(ErrorKind::LimitExceeded, format!("more than {DEPTH_BUDGET} nested variables")));
        }
        self.depth += 1;
        let mut word = String::new();
        self.run(Some('}'), &mut word)?;
        self.depth -= 1;
        Ok(word)
    }

    /// Takes a name: a letter or `_` and what follows of letters, digits, `_`; or digits.
    fn name(&mut self) -> &'t str {
        let rest = self.rest;
        let digits = rest.starts_with(|c: char| c.is_ascii_digit());
        let end = rest
            .find(|c: char| if digits { !c.is_ascii_digit() } else { !(c.is_ascii_alphanumeric() || c == '_') })
            .unwrap_or(rest.len());
        self.rest = &rest[end..];
        &rest[..end]
    }
}

fn or_default(word: &str) -> &str {
    if word.is_empty() { "is not set" } else { word }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> Result<String> {
        expand(text, '\\', &|name| match name {
            "foo" => Some("/bar"),
            "empty" => Some(""),
            "x_1" => Some("one"),
            _ => None,
        })
    }

    #[test]
    fn variables_follow_the_reference() {
        for (text, result) in [
            ("$foo ${foo} ${foo}/x $foox", "/bar /bar /bar/x "),
            (r"\$foo \${foo}", "$foo ${foo}"),
            ("${none:-d} ${empty:-d} ${empty-d} ${foo:-d}", "d d  /bar"),
            ("${none:+a} ${empty:+a} ${empty+a} ${foo:+a}", "  a a"),
            ("${none:-${foo}/y}z", "/bar/yz"),
            ("'$foo' \"$foo\"", "$foo /bar"),
            (r#""a\"b" "a\nb" a\nb"#, r#"a"b a\nb anb"#),
            ("$x_1-$ a$", "one-$ a$"),
            ("${none:-'}'}", "}"),
            ("a\\", "a"),
        ] {
            assert_eq!(run(text).unwrap(), result, "{text}");
        }
    }

    #[test]
    fn what_is_not_closed_is_an_error() {
        for text in ["${foo", "${", "${}", "'a", "\"a", "${foo:-", "${foo:}", "${foo%x}", "${none:?gone}", "${none?}"] {
            assert!(run(text).is_err(), "{text}");
        }
        assert_eq!(run("${none:?gone}").unwrap_err().to_string(), "variable none: gone");
    }

    #[test]
    fn growth_and_depth_are_bounded() {
        let big = "x".repeat(LINE_BUDGET);
        let doubled = expand("$a$a", '\\', &|_| Some(big.as_str())).unwrap_err();
        assert_eq!(doubled.kind(), ErrorKind::LimitExceeded);
        let deep = "${none:-".repeat(40) + &"}".repeat(40);
        assert_eq!(run(&deep).unwrap_err().kind(), ErrorKind::LimitExceeded);
    }

    #[test]
    fn words_keep_quotes_together() {
        assert_eq!(words(r#"a="b c" d\ e 'f g' h"#, '\\'), [r#"a="b c""#, r"d\ e", "'f g'", "h"]);
    }
}
