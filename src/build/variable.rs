//! The variables of a Dockerfile: build arguments and their scopes, and the replacement of variables.

use super::dockerfile::expand;
use crate::{Error, Platform, Result};
use std::collections::{BTreeMap, BTreeSet};

/// Build arguments that need no `ARG`, reach the commands, and are no part of the cache's keys or the image's history
/// (Dockerfile reference, "Predefined ARGs").
pub(super) const PREDEFINED: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// What the caller and the lines before the first `FROM` say.
#[derive(Debug, Clone, Default)]
pub(super) struct Arguments {
    /// Given by the caller.
    pub(super) given: BTreeMap<String, String>,
    /// Of the platform: usable in `FROM`, and in a stage that declares them.
    platform: BTreeMap<String, String>,
    /// Declared before the first `FROM`.
    global: BTreeMap<String, String>,
    /// Every name that was declared anywhere.
    pub(super) declared: BTreeSet<String>,
}

/// The variables of one stage.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    pub(super) escape: char,
    /// `ENV` of the base image and of the stage so far.
    pub(super) environment: Vec<(String, String)>,
    /// Build arguments that the stage has declared, in that order.
    pub(super) arguments: Vec<(String, String)>,
}

impl Arguments {
    pub(super) fn new(given: BTreeMap<String, String>, target: &Platform) -> Arguments {
        let mut platform = BTreeMap::new();
        for (prefix, of) in [("TARGET", target), ("BUILD", &Platform::host())] {
            let variant = of.variant.clone().unwrap_or_default();
            let values = [of.to_string(), of.os.clone(), of.architecture.clone(), variant];
            let names = ["PLATFORM", "OS", "ARCH", "VARIANT"].map(|name| format!("{prefix}{name}"));
            platform.extend(names.into_iter().zip(values));
        }
        Arguments { given, platform, ..Arguments::default() }
    }

    /// Declares an argument before the first `FROM`.
    pub(super) fn declare_global(&mut self, name: &str, default: Option<&str>, escape: char) -> Result<()> {
        self.declared.insert(name.to_owned());
        let default = default.map(|default| self.expand_base(default, escape)).transpose()?;
        if let Some(value) = self.given.get(name).cloned().or(default) {
            self.global.insert(name.to_owned(), value);
        }
        Ok(())
    }

    /// Replaces the variables in a `FROM`.
    pub(super) fn expand_base(&self, text: &str, escape: char) -> Result<String> {
        expand(text, escape, &|name| self.global.get(name).or_else(|| self.platform.get(name)).map(String::as_str))
    }

    /// What a declaration in a stage gives: the caller's value, the default, or what the name has before the first
    /// `FROM`.
    pub(super) fn declare(&mut self, scope: &mut Scope, name: &str, default: Option<&str>) -> Result<()> {
        self.declared.insert(name.to_owned());
        let value = match (self.given.get(name), default) {
            (Some(given), _) => Some(given.clone()),
            (None, Some(default)) => Some(scope.expand(default)?),
            (None, None) => self.global.get(name).or_else(|| self.platform.get(name)).cloned(),
        };
        scope.arguments.retain(|(other, _)| other != name);
        scope.arguments.extend(value.map(|value| (name.to_owned(), value)));
        Ok(())
    }

    /// The arguments of the caller that nothing declares.
    pub(super) fn unused(&self) -> Vec<&str> {
        let names = self.given.keys().map(String::as_str);
        names.filter(|name| !self.declared.contains(*name) && !PREDEFINED.contains(name)).collect()
    }
}

impl Scope {
    /// Replaces variables, removes quotes. `ENV` wins over `ARG`.
    pub(super) fn expand(&self, text: &str) -> Result<String> {
        expand(text, self.escape, &|name| self.value(name))
    }

    /// Replaces variables and nothing else: quotes mean nothing in a here-document.
    pub(super) fn expand_document(&self, text: &str) -> Result<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['$', self.escape]) {
            out.push_str(&rest[..at]);
            rest = &rest[at..];
            let mut chars = rest.chars();
            let (first, second) = (chars.next(), chars.next());
            if first == Some(self.escape) {
                match second {
                    Some(c) if c == '$' || c == self.escape => out.push(c),
                    other => out.extend(first.into_iter().chain(other)),
                }
                rest = chars.as_str();
                continue;
            }
            let length = variable_length(rest)
                .ok_or_else(|| Error::invalid("a variable in the here-document is not closed by '}'"))?;
            out.push_str(&self.expand(&rest[..length])?);
            rest = &rest[length..];
        }
        out.push_str(rest);
        Ok(out)
    }

    fn value(&self, name: &str) -> Option<&str> {
        let find = |list: &'_ [(String, String)]| list.iter().rposition(|(other, _)| other == name);
        find(&self.environment)
            .map(|at| self.environment[at].1.as_str())
            .or_else(|| find(&self.arguments).map(|at| self.arguments[at].1.as_str()))
    }
}

/// The length of `$name` or `${...}` at the beginning of `text`; `None` where it has no end.
fn variable_length(text: &str) -> Option<usize> {
    if !text[1..].starts_with('{') {
        let name = text[1..].find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        return Some(name.map_or(text.len(), |length| length + 1));
    }
    let mut depth = 0;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return Some(at + 1),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Scope { escape: '\\', environment: vec![pair("A", "env")], arguments: vec![pair("A", "arg"), pair("B", "b")] }
    }

    #[test]
    fn the_environment_wins_and_documents_keep_quotes() {
        assert_eq!(scope().expand("$A \"$B\" $C").unwrap(), "env b ");
        let text = "'$A' \"${B}\" \\$A \\n ${C:-{x}} it's $";
        assert_eq!(scope().expand_document(text).unwrap(), "'env' \"b\" $A \\n {x} it's $");
        assert!(scope().expand_document("${A").is_err());
    }

    #[test]
    fn a_stage_sees_what_it_declares() {
        let given = BTreeMap::from([("V".to_owned(), "2".to_owned()), ("TYPO".to_owned(), String::new())]);
        let mut arguments = Arguments::new(given, &"linux/arm64/v8".parse().unwrap());
        arguments.declare_global("V", Some("1"), '\\').unwrap();
        arguments.declare_global("G", Some("g$V"), '\\').unwrap();
        assert_eq!(arguments.expand_base("x:$V-$G-$TARGETARCH", '\\').unwrap(), "x:2-g2-arm64");
        let mut scope = scope();
        assert_eq!(scope.expand("$V$G$TARGETOS").unwrap(), "");
        for (name, default) in [("V", Some("3")), ("G", None), ("TARGETOS", None), ("NONE", None)] {
            arguments.declare(&mut scope, name, default).unwrap();
        }
        assert_eq!(scope.expand("$V-$G-$TARGETOS-$NONE").unwrap(), "2-g2-linux-");
        assert_eq!(arguments.unused(), ["TYPO"]);
    }
}
