//! From bytes to logical lines: directives, comments, continuations, here-documents.

use crate::{Error, ErrorKind, Result};

/// The largest Dockerfile that is read, in bytes.
pub(crate) const FILE_BUDGET: usize = 1 << 20;
/// The longest instruction after joining its lines, in bytes: what the kernel takes as one argument of a program
/// (`MAX_ARG_STRLEN`, execve(2)), for the shell form is one.
pub(crate) const LINE_BUDGET: usize = 128 << 10;
/// The largest number of instructions in one file.
const INSTRUCTION_BUDGET: usize = 10_000;

/// One instruction as written, its lines joined, comments left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogicalLine {
    /// The line it begins on, from 1.
    pub(crate) line: u32,
    /// The instruction and its arguments, without the escape characters and line ends of continued lines.
    pub(crate) text: String,
    /// The here-documents that follow it.
    pub(crate) heredocs: Vec<Heredoc>,
}

/// A here-document, as the shell writes it (`<<EOF`, `<<-EOF`, `<<"EOF"`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heredoc {
    /// The word that ends it.
    pub(crate) name: String,
    /// The lines between, each with its line end.
    pub(crate) content: String,
    /// Whether variables in it are expanded: not where the word is quoted.
    pub(crate) expand: bool,
}

/// The logical lines of a file and the escape character in force.
#[derive(Debug)]
pub(crate) struct Lexed {
    pub(crate) escape: char,
    pub(crate) lines: Vec<LogicalLine>,
}

/// Splits `bytes` into logical lines. Errors name the line (the caller adds the file).
///
/// Directives (`# escape=`, `# syntax=`, `# check=`) count only before anything else. `syntax` and `check` are inert:
/// no other front end is ever fetched or run.
pub(super) fn lex(bytes: &[u8]) -> Result<Lexed> {
    if bytes.len() > FILE_BUDGET {
        return Err(Error::new(ErrorKind::LimitExceeded, format!("is larger than {FILE_BUDGET} bytes")));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count() + 1;
        at(line, "is not UTF-8")
    })?;
    if let Some(position) = text.find('\0') {
        return Err(at(text[..position].matches('\n').count() + 1, "holds a NUL byte"));
    }
    let lines: Vec<&str> = text.lines().collect();
    let (escape, first) = directives(&lines)?;
    let mut lexer = Lexer { lines, next: first, escape };
    let mut logical = Vec::new();
    while let Some(line) = lexer.next_logical()? {
        if logical.len() == INSTRUCTION_BUDGET {
            let message = format!("more than {INSTRUCTION_BUDGET} instructions");
            return Err(at(line.line as usize, &message).with_kind(ErrorKind::LimitExceeded));
        }
        logical.push(line);
    }
    Ok(Lexed { escape, lines: logical })
}

fn at(line: usize, message: &str) -> Error {
    Error::invalid(message.to_owned()).context(line.to_string())
}

/// The escape character, and the index of the first line after the directives.
fn directives(lines: &[&str]) -> Result<(char, usize)> {
    let mut escape = None;
    let mut seen: Vec<String> = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some((key, value)) = directive(line) else { return Ok((escape.unwrap_or('\\'), index)) };
        if !matches!(key.as_str(), "syntax" | "escape" | "check") {
            return Ok((escape.unwrap_or('\\'), index));
        }
        if seen.contains(&key) {
            return Err(at(index + 1, &format!("the directive {key} is given twice")));
        }
        if key == "escape" {
            escape = Some(match value {
                "\\" => '\\',
                "`" => '`',
                _ => return Err(at(index + 1, &format!("the escape character is '\\' or '`', not {value:?}"))),
            });
        }
        seen.push(key);
    }
    Ok((escape.unwrap_or('\\'), lines.len()))
}

fn directive(line: &str) -> Option<(String, &str)> {
    let (key, value) = line.trim().strip_prefix('#')?.split_once('=')?;
    let (key, value) = (key.trim(), value.trim());
    let word = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (word && !value.is_empty()).then(|| (key.to_ascii_lowercase(), value))
}

struct Lexer<'a> {
    lines: Vec<&'a str>,
    next: usize,
    escape: char,
}

impl<'a> Lexer<'a> {
    fn next_logical(&mut self) -> Result<Option<LogicalLine>> {
        let Some(first) = self.skip_to_instruction() else { return Ok(None) };
        let line = self.next as u32;
        let mut text = String::new();
        let mut part = first.trim_start();
        loop {
            let (content, continued) = self.continuation(part);
            text.push_str(content);
            if text.len() > LINE_BUDGET {
                let message = format!("an instruction is longer than {LINE_BUDGET} bytes");
                return Err(at(line as usize, &message).with_kind(ErrorKind::LimitExceeded));
            }
            if !continued {
                break;
            }
            match self.skip_to_instruction() {
                Some(next) => part = next,
                None => break,
            }
        }
        let text = text.trim_end().to_owned();
        let heredocs = self.heredocs(line, &text)?;
        Ok(Some(LogicalLine { line, text, heredocs }))
    }

    /// The next line that is neither empty nor a comment; inside an instruction both are skipped, too.
    fn skip_to_instruction(&mut self) -> Option<&'a str> {
        while let Some(&line) = self.lines.get(self.next) {
            self.next += 1;
            let trimmed = line.trim_start();
            if !trimmed.is_empty() && !trimmed.starts_with('#') {
                return Some(line);
            }
        }
        None
    }

    /// A line ends in a continuation where its last character but blanks is one escape character, not two.
    fn continuation(&self, line: &'a str) -> (&'a str, bool) {
        let trimmed = line.trim_end_matches([' ', '\t', '\r']);
        match trimmed.strip_suffix(self.escape) {
            Some(content) if !content.ends_with(self.escape) => (content, true),
            _ => (line.trim_end_matches('\r'), false),
        }
    }

    fn heredocs(&mut self, line: u32, text: &str) -> Result<Vec<Heredoc>> {
        let keyword = text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        if !matches!(keyword.as_str(), "RUN" | "COPY" | "ADD") {
            return Ok(Vec::new());
        }
        let starts: Vec<HeredocStart> = text.split_whitespace().filter_map(heredoc_start).collect();
        starts.into_iter().map(|start| self.heredoc(line, start)).collect()
    }

    fn heredoc(&mut self, line: u32, start: HeredocStart) -> Result<Heredoc> {
        let mut content = String::new();
        while let Some(&next) = self.lines.get(self.next) {
            self.next += 1;
            let next = if start.strip_tabs { next.trim_start_matches('\t') } else { next };
            if next.trim_end_matches('\r') == start.name {
                return Ok(Heredoc { name: start.name, content, expand: start.expand });
            }
            content.push_str(next);
            content.push('\n');
        }
        Err(at(line as usize, &format!("the here-document <<{} does not end", start.name)))
    }
}

struct HeredocStart {
    name: String,
    strip_tabs: bool,
    expand: bool,
}

/// Reads `3<<-"EOF"`; a here-string (`<<<`) or a shift inside a word is none.
fn heredoc_start(word: &str) -> Option<HeredocStart> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let (strip_tabs, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let unquoted = ['"', '\''].iter().find_map(|&quote| rest.strip_prefix(quote)?.strip_suffix(quote));
    let name = unquoted.unwrap_or(rest);
    let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    plain.then(|| HeredocStart { name: name.to_owned(), strip_tabs, expand: unquoted.is_none() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<(u32, String)> {
        lex(source.as_bytes()).unwrap().lines.into_iter().map(|line| (line.line, line.text)).collect()
    }

    #[test]
    fn lines_are_joined_and_keep_their_number() {
        let source = "\u{feff}# comment\n\nFROM a\r\nRUN one \\\n# inside\n\n   two \\  \n three\\\\\nCMD x \\";
        assert_eq!(texts(source), [(3, "FROM a".into()), (4, "RUN one    two  three\\\\".into()), (9, "CMD x".into())]);
    }

    #[test]
    fn directives_count_only_at_the_top() {
        let lexed = lex(b"# syntax=docker/dockerfile:1\n# Escape = `\nRUN a `\nb\\\nRUN c").unwrap();
        assert_eq!(lexed.escape, '`');
        assert_eq!(lexed.lines[0].text, "RUN a b\\");
        assert_eq!(lex(b"# hello\n# escape=`\nRUN a").unwrap().escape, '\\');
        assert_eq!(lex(b"\n# escape=`\nRUN a").unwrap().escape, '\\');
        assert!(lex(b"# escape=x\n").is_err());
        assert!(lex(b"# escape=`\n# escape=`\n").is_err());
    }

    #[test]
    fn heredocs_follow_their_instruction() {
        let lexed =
            lex(b"RUN <<EOF\n# no comment\na \\\nEOF\nRUN cat <<-'X' <<<y\n\ti\n\tX\nRUN echo $((1<<2))").unwrap();
        assert_eq!(lexed.lines[0].heredocs[0].content, "# no comment\na \\\n");
        let second = &lexed.lines[1].heredocs;
        assert_eq!((second.len(), second[0].content.as_str(), second[0].expand), (1, "i\n", false));
        assert!(lexed.lines[2].heredocs.is_empty());
        assert_eq!(lex(b"\nRUN <<EOF\nx").unwrap_err().to_string(), "2: the here-document <<EOF does not end");
    }

    #[test]
    fn budgets_hold() {
        let kind = |bytes: &[u8]| lex(bytes).unwrap_err().kind();
        assert_eq!(kind(&vec![b'#'; FILE_BUDGET + 1]), ErrorKind::LimitExceeded);
        assert_eq!(kind(format!("RUN {}", "x".repeat(LINE_BUDGET)).as_bytes()), ErrorKind::LimitExceeded);
        assert_eq!(kind("RUN\n".repeat(INSTRUCTION_BUDGET + 1).as_bytes()), ErrorKind::LimitExceeded);
        assert_eq!(lex(b"FROM a\nRUN \xff").unwrap_err().to_string(), "2: is not UTF-8");
    }
}
