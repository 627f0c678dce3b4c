//! The YAML of a Compose file as a tree that knows its lines, within a budget.

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use std::borrow::Cow;
use std::collections::HashMap;

/// The largest file that is read, in bytes.
const MOST_BYTES: usize = 1 << 20;
/// The deepest nesting, aliases followed. Compose files need fewer than ten.
const DEEPEST: usize = 32;
/// The most values, each alias counted with all it stands for: what stops a bomb of aliases.
const MOST_NODES: usize = 50_000;
/// A text counts once more for so many bytes: an alias of a long one costs no less than what it copies.
const BYTES_OF_A_NODE: usize = 256;

/// What is wrong with a file, and in which line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Problem {
    pub(super) line: usize,
    pub(super) message: String,
}

/// A value and the line it begins in, from 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    /// The text, quoted or not; what is not quoted and says so is [`Null`](Self::Null).
    Scalar(String),
    List(Vec<Node>),
    /// In the order of the file; no key twice.
    Map(Vec<(Key, Node)>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    pub(super) line: usize,
    pub(super) text: String,
}

/// Reads the one document of `text`; an empty file is null. What is wrong besides, in a tree that can be read on, is
/// added to `problems`.
pub(super) fn parse(text: &str, problems: &mut Vec<Problem>) -> Result<Node, Problem> {
    if text.len() > MOST_BYTES {
        return Err(problem(1, format!("the file is larger than {MOST_BYTES} bytes")));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut loader = Loader { problems, open: Vec::new(), anchors: HashMap::new(), nodes: 0, root: None };
    let mut parser = Parser::new_from_str(text);
    while let Some(next) = parser.next_event() {
        let (event, span) =
            next.map_err(|error| problem(error.marker().line(), format!("malformed YAML: {}", error.info())))?;
        loader.event(event, span)?;
    }
    Ok(loader.root.unwrap_or(Node { line: 1, value: Value::Null }))
}

fn problem(line: usize, message: impl Into<String>) -> Problem {
    Problem { line: line.max(1), message: message.into() }
}

/// A list or map that is not finished.
struct Open {
    line: usize,
    anchor: usize,
    /// How many values are in it so far, itself included.
    nodes: usize,
    /// How deep the deepest value in it is below it.
    depth: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<(Key, Node)>, lines: HashMap<String, usize>, merged: Vec<Node>, key: Option<Key> },
}

struct Loader<'problems> {
    problems: &'problems mut Vec<Problem>,
    open: Vec<Open>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    root: Option<Node>,
}

struct Anchored {
    node: Node,
    nodes: usize,
    depth: usize,
}

impl Loader<'_> {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let line = span.start.line();
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && !self.is_text(tag, line);
                let null = plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let nodes = 1 + text.len() / BYTES_OF_A_NODE;
                let value = if null { Value::Null } else { Value::Scalar(text.into_owned()) };
                self.count(nodes, line)?;
                self.finished(Node { line, value }, anchor, nodes, 0)
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(tag, line);
                self.begin(line, anchor, Content::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(tag, line);
                self.begin(
                    line,
                    anchor,
                    Content::Map { entries: Vec::new(), lines: HashMap::new(), merged: Vec::new(), key: None },
                )
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => self.alias(anchor, line),
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(problem(line, "there is a second document: a Compose file is one"))
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, line: usize, anchor: usize, content: Content) -> Result<(), Problem> {
        if self.open.len() >= DEEPEST {
            return Err(problem(line, format!("nested more than {DEEPEST} deep")));
        }
        self.count(1, line)?;
        self.open.push(Open { line, anchor, nodes: 1, depth: 0, content });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Problem> {
        let Some(Open { line, anchor, nodes, depth, content }) = self.open.pop() else { return Ok(()) };
        let value = match content {
            Content::List(list) => Value::List(list),
            Content::Map { mut entries, mut lines, merged, .. } => {
                for source in merged {
                    self.merge(&mut entries, &mut lines, source);
                }
                Value::Map(entries)
            }
        };
        self.finished(Node { line, value }, anchor, nodes, depth)
    }

    fn alias(&mut self, anchor: usize, line: usize) -> Result<(), Problem> {
        let Some(Anchored { nodes, depth, .. }) = self.anchors.get(&anchor) else {
            return Err(problem(line, "the alias stands within what it stands for"));
        };
        if self.open.len() + depth > DEEPEST {
            return Err(problem(line, format!("nested more than {DEEPEST} deep, with its aliases")));
        }
        let (nodes, depth) = (*nodes, *depth);
        self.count(nodes, line)?;
        let Some(Anchored { node, .. }) = self.anchors.get(&anchor) else { return Ok(()) };
        let node = node.clone();
        self.finished(node, 0, nodes, depth)
    }

    /// Puts a value where it belongs.
    fn finished(&mut self, node: Node, anchor: usize, nodes: usize, depth: usize) -> Result<(), Problem> {
        if anchor > 0 {
            // The copy that is kept counts as well: memory is what the budget is for.
            self.count(nodes, node.line)?;
            self.anchors.insert(anchor, Anchored { node: node.clone(), nodes, depth });
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        open.nodes += nodes;
        open.depth = open.depth.max(depth + 1);
        match &mut open.content {
            Content::List(list) => list.push(node),
            Content::Map { entries, lines, merged, key } => match key.take() {
                None => *key = Some(key_of(node)?),
                Some(key) if key.text == "<<" => merged.push(Node { line: key.line, ..node }),
                Some(key) => match lines.get(&key.text) {
                    Some(first) => {
                        let message = format!("{:?} is there twice; first in line {first}", key.text);
                        self.problems.push(problem(key.line, message));
                    }
                    None => {
                        lines.insert(key.text.clone(), key.line);
                        entries.push((key, node));
                    }
                },
            },
        }
        Ok(())
    }

    fn count(&mut self, nodes: usize, line: usize) -> Result<(), Problem> {
        self.nodes += nodes;
        match self.nodes > MOST_NODES {
            true => Err(problem(line, format!("more than {MOST_NODES} values, aliases followed"))),
            false => Ok(()),
        }
    }

    /// The merge key: a map, or a list of maps of which an earlier one wins. What is written out wins over all.
    fn merge(&mut self, entries: &mut Vec<(Key, Node)>, lines: &mut HashMap<String, usize>, source: Node) {
        match source.value {
            Value::Map(more) => {
                for (key, node) in more {
                    if !lines.contains_key(&key.text) {
                        lines.insert(key.text.clone(), key.line);
                        entries.push((key, node));
                    }
                }
            }
            Value::List(list) if list.iter().all(|node| matches!(node.value, Value::Map(_))) => {
                list.into_iter().for_each(|node| self.merge(entries, lines, node));
            }
            _ => self.problems.push(problem(source.line, "<<: is not a map or a list of maps")),
        }
    }

    /// Whether the tag says that this is text.
    fn is_text(&mut self, tag: Option<Cow<'_, Tag>>, line: usize) -> bool {
        match tag {
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => true,
            tag => {
                self.refuse_tag(tag, line);
                false
            }
        }
    }

    fn refuse_tag(&mut self, tag: Option<Cow<'_, Tag>>, line: usize) {
        if let Some(tag) = tag {
            self.problems.push(problem(line, format!("the tag {tag} is not supported")));
        }
    }
}

fn key_of(node: Node) -> Result<Key, Problem> {
    match node.value {
        Value::Scalar(text) => Ok(Key { line: node.line, text }),
        _ => Err(problem(node.line, "a key is not text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        let mut problems = Vec::new();
        match parse(text, &mut problems) {
            Err(problem) => format!("{}: {}", problem.line, problem.message),
            Ok(_) => problems.iter().map(|problem| format!("{}: {}", problem.line, problem.message)).collect(),
        }
    }

    #[test]
    fn aliases_and_merge_keys_are_resolved() {
        let text = "base: &base {a: 1, b: 2}\nother: &other\n  b: 3\n  c: 4\nmerged:\n  <<: [*base, *other]\n  a: 0\n";
        let root = parse(text, &mut Vec::new()).unwrap();
        let Value::Map(entries) = root.value else { panic!() };
        let Value::Map(merged) = &entries[2].1.value else { panic!() };
        let shown: Vec<String> = merged
            .iter()
            .map(|(key, node)| match &node.value {
                Value::Scalar(text) => format!("{}={text}@{}", key.text, node.line),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(shown, ["a=0@7", "b=2@1", "c=4@4"]);
    }

    #[test]
    fn bombs_are_stopped() {
        let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..10 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            laughs += &format!("a{level}: &a{level} [{aliases}]\n");
        }
        assert_eq!(message(&laughs), "5: more than 50000 values, aliases followed");
        let mut chain = String::from("a0: &a0 [x]\n");
        for level in 1..100 {
            chain += &format!("a{level}: &a{level} [*a{}]\n", level - 1);
        }
        assert_eq!(message(&chain), "32: nested more than 32 deep, with its aliases");
        for (open, line) in [("[", 1), ("{a: ", 1), ("- ", 1), ("? ", 1)] {
            let text = open.repeat((1 << 20) / open.len());
            // The scanner has a limit of its own.
            let expected = [
                format!("{line}: nested more than 32 deep"),
                format!("{line}: malformed YAML: recursion limit exceeded"),
            ];
            assert!(expected.contains(&message(&text)), "{open:?}: {}", message(&text));
        }
        assert_eq!(message(&"x".repeat((1 << 20) + 1)), "1: the file is larger than 1048576 bytes");
        assert_eq!(message(&"- a\n".repeat(60_000)), "50000: more than 50000 values, aliases followed");
        let copies = format!("- &a {}\n{}", "x".repeat(500_000), "- *a\n".repeat(40_000));
        assert_eq!(message(&copies), "25: more than 50000 values, aliases followed");
        assert_eq!(message("a: &a [*a]"), "1: the alias stands within what it stands for");
    }

    #[test]
    fn what_is_no_tree_of_texts_is_refused_with_its_line() {
        for (text, expected) in [
            ("a: 1\nb: 2\na: 3\n", "3: \"a\" is there twice; first in line 1"),
            ("a: !reset\n", "1: the tag !reset is not supported"),
            ("a: 1\n---\nb: 2\n", "2: there is a second document: a Compose file is one"),
            ("? [a]\n: 1\n", "1: a key is not text"),
            ("a: 1\n<<: 2\n", "2: <<: is not a map or a list of maps"),
        ] {
            assert_eq!(message(text), expected, "{text:?}");
        }
        assert!(message("a: [1\nb: 2").starts_with("2: malformed YAML: "), "{}", message("a: [1\nb: 2"));
        assert!(message("a: \t- b\n c: *x").contains("malformed YAML"));
    }
}
