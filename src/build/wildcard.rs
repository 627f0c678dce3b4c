//! Wildcards of one name, by the rules of Go's `path.Match`: `*`, `?`, `[a-z]`, `[^a-z]`, and `\` before what is meant
//! literally.

use std::borrow::Cow;

/// Whether `pattern` says more than one name.
pub(super) fn is_pattern(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

/// The name that a pattern without wildcards means.
pub(super) fn literal(pattern: &str) -> Cow<'_, str> {
    if !pattern.contains('\\') {
        return Cow::Borrowed(pattern);
    }
    let mut chars = pattern.chars();
    let mut name = String::new();
    while let Some(c) = chars.next() {
        name.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    Cow::Owned(name)
}

/// The pattern that means nothing but `name`.
pub(super) fn escape(name: &str) -> String {
    let special = |c: char| matches!(c, '*' | '?' | '[' | '\\');
    name.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}

/// Whether `name` matches; in time proportional to the product of the lengths at most.
pub(super) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at_pattern, mut at_name) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(at_pattern) {
            Some(b'*') => {
                star = Some((at_pattern + 1, at_name));
                at_pattern += 1;
                continue;
            }
            Some(_) => name.get(at_name).and_then(|&byte| one(&pattern[at_pattern..], byte)),
            None if at_name == name.len() => return true,
            None => None,
        };
        match (step, star) {
            (Some(length), _) => {
                at_pattern += length;
                at_name += 1;
            }
            (None, Some((after, from))) if from < name.len() => {
                star = Some((after, from + 1));
                (at_pattern, at_name) = (after, from + 1);
            }
            _ => return false,
        }
    }
}

/// The length of the pattern's first element, if it matches `byte`.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [b'[', rest @ ..] => {
            let end = 1 + rest.iter().skip(1).position(|&byte| byte == b']')?;
            let (negated, mut set) = match &rest[..end] {
                [b'^', set @ ..] => (true, set),
                set => (false, set),
            };
            let mut found = false;
            while let [first, tail @ ..] = set {
                set = match tail {
                    [b'-', last, tail @ ..] => {
                        found |= (*first..=*last).contains(&byte);
                        tail
                    }
                    tail => {
                        found |= *first == byte;
                        tail
                    }
                };
            }
            (found != negated).then_some(end + 2)
        }
        [literal, ..] => (*literal == byte).then_some(1),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match() {
        for (pattern, name, result) in [
            ("*.py", "app.py", true),
            ("*.py", "app.pyc", false),
            ("*", "", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYb", false),
            ("?.t[xz]t", "a.tzt", true),
            ("[^a-c]", "b", false),
            ("[^a-c]", "d", true),
            (r"\*", "*", true),
            (r"\*", "x", false),
            ("[", "[", false),
            ("[]", "]", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), result, "{pattern} {name}");
        }
        assert_eq!(literal(&escape("a*[b]\\")), "a*[b]\\");
    }
}
