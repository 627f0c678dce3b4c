//! One pattern: Go's `filepath.Match`, and `**` for any number of directories.

use crate::{Error, Result};

/// A pattern over a whole path with `/` between its names.
#[derive(Debug, Clone)]
pub(super) struct Pattern(Vec<Token>);

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Literal(char),
    /// `?`: one character but `/`.
    One,
    /// `*`: any number of characters but `/`.
    Name,
    /// `**/`, or `**` before anything: nothing, or anything that ends with `/`.
    Directories,
    /// `**` at the end: anything.
    Rest,
    /// `[a-z]`, `[^a-z]`.
    Class(bool, Vec<(char, char)>),
}

impl Pattern {
    /// Reads a pattern; a class that is not closed or empty is an error.
    pub(super) fn parse(text: &str) -> Result<Pattern> {
        let mut chars = text.chars().peekable();
        let mut tokens = Vec::new();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' if chars.next_if_eq(&'*').is_some() => {
                    chars.next_if_eq(&'/');
                    if chars.peek().is_some() { Token::Directories } else { Token::Rest }
                }
                '*' => Token::Name,
                '?' => Token::One,
                '[' => class(&mut chars).ok_or_else(|| {
                    Error::invalid(format!("pattern {text:?} has a '[' without its ']'")).hint("write [[] for a '['")
                })?,
                '\\' => Token::Literal(chars.next().unwrap_or('\\')),
                c => Token::Literal(c),
            });
        }
        Ok(Pattern(tokens))
    }

    /// Whether the pattern matches all of `path`. All ways are followed at once: the time is at most proportional to the
    /// product of the two lengths.
    pub(super) fn matches(&self, path: &str) -> bool {
        let mut now = States::new(self.0.len());
        self.enter(&mut now, 0);
        for c in path.chars() {
            let mut next = States::new(self.0.len());
            for (at, token) in self.0.iter().enumerate() {
                if now.before[at] {
                    self.step(&mut next, at, token, c);
                } else if now.within[at] {
                    self.step_within(&mut next, at, c);
                }
            }
            now = next;
        }
        now.before[self.0.len()]
    }

    fn step(&self, next: &mut States, at: usize, token: &Token, c: char) {
        match token {
            Token::Literal(literal) if *literal == c => self.enter(next, at + 1),
            Token::One if c != '/' => self.enter(next, at + 1),
            Token::Class(negated, ranges)
                if c != '/' && ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated =>
            {
                self.enter(next, at + 1);
            }
            Token::Name if c != '/' => self.enter(next, at),
            Token::Rest => self.enter(next, at),
            Token::Directories => self.step_within(next, at, c),
            _ => {}
        }
    }

    /// Inside `**/`: everything goes on, a `/` may be its end.
    fn step_within(&self, next: &mut States, at: usize, c: char) {
        next.within[at] = true;
        if c == '/' {
            self.enter(next, at + 1);
        }
    }

    /// Comes to stand before the token `at`, and before the next ones where it may match nothing.
    fn enter(&self, states: &mut States, mut at: usize) {
        while !std::mem::replace(&mut states.before[at], true) {
            match self.0.get(at) {
                Some(Token::Name | Token::Rest | Token::Directories) => at += 1,
                _ => return,
            }
        }
    }
}

/// Where in a pattern a match may stand.
struct States {
    /// Before each token, and behind the last.
    before: Vec<bool>,
    /// In the middle of a `**/`.
    within: Vec<bool>,
}

impl States {
    fn new(tokens: usize) -> States {
        States { before: vec![false; tokens + 1], within: vec![false; tokens] }
    }
}

fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Token> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        let low = match chars.next()? {
            ']' if !ranges.is_empty() => return Some(Token::Class(negated, ranges)),
            ']' => return None,
            '\\' => chars.next()?,
            c => c,
        };
        let mut high = low;
        if chars.next_if_eq(&'-').is_some() {
            high = match chars.next()? {
                ']' => return None,
                '\\' => chars.next()?,
                c => c,
            };
        }
        ranges.push((low, high));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_gos() {
        for (pattern, path, expected) in [
            ("a*", "abc", true),
            ("a*", "ab/c", false),
            ("a*/b", "axx/b", true),
            ("a?c", "a/c", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a]b", "/b", false),
            ("[\\]a]", "]", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("**/x", "x", true),
            ("**/x", "a/b/x", true),
            ("**/x", "ax", false),
            ("a/**/x", "a/x", true),
            ("a/**/x", "a/b/c/x", true),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("a**b", "ac/b", true),
            ("**/*.rs", "src/a.rs", true),
            ("ä?", "äö", true),
            (".", "x", false),
            ("", "", true),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(path), expected, "{pattern} {path}");
        }
        for bad in ["[", "[]", "[a", "[a-]", "[^"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = Pattern::parse(&"**/a*".repeat(50)).unwrap();
        assert!(!pattern.matches(&"a/".repeat(500)));
    }
}
