//! A command written as one string, split into words as a shell does it.

/// Splits `text` by the quoting rules of POSIX shells (Shell Command Language, "Quoting"): nothing is expanded. What only a
/// shell could carry out is an error, since there is none.
pub(super) fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        Some('\'') => break,
                        Some(inner) => word.push(inner),
                        None => return Err("a single quote is not closed".to_owned()),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        Some('"') => break,
                        Some('\\') => match characters.next() {
                            Some('\n') => {}
                            Some(escaped @ ('"' | '\\' | '$' | '`')) => word.push(escaped),
                            Some(other) => word.extend(['\\', other]),
                            None => return Err("a double quote is not closed".to_owned()),
                        },
                        Some(inner) => word.push(inner),
                        None => return Err("a double quote is not closed".to_owned()),
                    }
                }
            }
            '\\' => match characters.next() {
                Some('\n') => {}
                Some(escaped) => word.get_or_insert_default().push(escaped),
                None => return Err("it ends with a backslash".to_owned()),
            },
            ';' | '&' | '|' | '<' | '>' => {
                return Err(format!(
                    "{character:?} is for a shell, and none runs: quote it, or write [\"/bin/sh\", \"-c\", \"...\"]"
                ));
            }
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_a_shell() {
        for (text, expected) in [
            ("", &[][..]),
            ("  a  b\n\tc ", &["a", "b", "c"]),
            ("a 'b c' \"d e\"", &["a", "b c", "d e"]),
            ("a'b'\"c\"d", &["abcd"]),
            ("'' \"\"", &["", ""]),
            (r#"a\ b "c\"d\e\\" 'f\'"#, &["a b", "c\"d\\e\\", "f\\"]),
            ("a \\\nb", &["a", "b"]),
            ("sh -c 'a && b | c'", &["sh", "-c", "a && b | c"]),
            ("#a $B *", &["#a", "$B", "*"]),
        ] {
            assert_eq!(split(text).unwrap(), expected, "{text}");
        }
        for text in ["'a", "\"a", "a\\", "a && b", "a | b", "a > b", "a; b"] {
            assert!(split(text).is_err(), "{text}");
        }
    }
}
