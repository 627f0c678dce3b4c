//! Rows: a field of the specification, a change to a configuration, and what is seen from inside.

use crate::case::{Case, Outcome};
use crate::peer::Peer;
use serde_json::Value;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

type Change = Box<dyn Fn(&mut Value, &Case) + Send + Sync>;
type Steps = Box<dyn Fn(&Case, &dyn Fn(&str) -> Value) + Send + Sync>;

/// One row of the table.
pub struct Row {
    /// The field, as `linux.resources.memory.limit`.
    pub field: &'static str,
    /// What the row is about, unique with the field.
    pub name: String,
    changes: Vec<Change>,
    script: String,
    expected: Expected,
    without: Vec<(Peer, &'static str)>,
    base: Option<fn(&str) -> Value>,
    ordinary: bool,
}

enum Expected {
    /// Exactly this, without blanks at the ends, and the exit code.
    Prints(String, i32),
    /// The runtime refuses: one line with all of these parts.
    Refuses(Vec<String>),
    /// What the steps find.
    Steps(Steps),
}

impl Row {
    /// A row about `field`; it only has to run where nothing is expected.
    pub fn new(field: &'static str, name: impl Into<String>) -> Row {
        let expected = Expected::Prints(String::new(), 0);
        Row {
            field,
            name: name.into(),
            changes: Vec::new(),
            script: ":".into(),
            expected,
            without: Vec::new(),
            base: None,
            ordinary: false,
        }
    }

    /// Merges a JSON merge patch (RFC 7396) into the configuration.
    pub fn patch(self, patch: Value) -> Row {
        self.edit(move |config, _| merge(config, &patch))
    }

    /// Changes the configuration, and the case around it.
    pub fn edit(mut self, change: impl Fn(&mut Value, &Case) + Send + Sync + 'static) -> Row {
        self.changes.push(Box::new(change));
        self
    }

    /// Adds a mount.
    pub fn mount(self, mount: Value) -> Row {
        self.push("/mounts", mount)
    }

    /// Adds an entry to the list at a JSON pointer.
    pub fn push(self, list: &'static str, entry: Value) -> Row {
        self.edit(move |config, _| push(config, list, entry.clone()))
    }

    /// What runs inside.
    pub fn script(mut self, script: impl Into<String>) -> Row {
        self.script = script.into();
        self
    }

    /// The output, exactly but for blanks at its ends.
    pub fn prints(mut self, text: impl Into<String>) -> Row {
        self.expected = Expected::Prints(text.into(), 0);
        self
    }

    /// The output and the exit code.
    pub fn exits(mut self, text: impl Into<String>, code: i32) -> Row {
        self.expected = Expected::Prints(text.into(), code);
        self
    }

    /// The runtime refuses it with one line that holds these parts.
    pub fn refuses(mut self, parts: &[&str]) -> Row {
        self.expected = Expected::Refuses(parts.iter().map(|part| (*part).to_owned()).collect());
        self
    }

    /// More than one command: the function gets the case and makes the changed configuration around a script.
    pub fn steps(mut self, steps: impl Fn(&Case, &dyn Fn(&str) -> Value) + Send + Sync + 'static) -> Row {
        self.expected = Expected::Steps(Box::new(steps));
        self
    }

    /// Starts from another configuration than Docker's.
    pub fn instead(mut self, base: fn(&str) -> Value) -> Row {
        self.base = Some(base);
        self
    }

    /// Only where root does not run it: root may do what it is about.
    pub fn for_ordinary_user(mut self) -> Row {
        self.ordinary = true;
        self
    }

    /// Not for that runtime, and why.
    pub fn not(mut self, peer: Peer, why: &'static str) -> Row {
        self.without.push((peer, why));
        self
    }

    /// Not for those of Debian 12.
    pub fn newer(self) -> Row {
        self.not(Peer::Runc, "newer than 1.1").not(Peer::Crun, "newer than 1.8")
    }

    fn check(&self, peer: Peer) -> Result<(), String> {
        let case = Case::new(peer);
        let configuration = |script: &str| {
            let mut config = self.base.map_or_else(|| case.config(script), |base| base(script));
            self.changes.iter().for_each(|change| change(&mut config, &case));
            config
        };
        let result = match &self.expected {
            Expected::Steps(steps) => guarded(|| steps(&case, &configuration)),
            _ => {
                guarded(|| case.run(&configuration(&self.script), &[])).and_then(|outcome| self.judge(&case, &outcome))
            }
        };
        result?;
        let left = case.end();
        if left.is_empty() || peer != Peer::Ours { Ok(()) } else { Err(format!("left behind: {left:?}")) }
    }

    fn judge(&self, case: &Case, outcome: &Outcome) -> Result<(), String> {
        let (out, code) = (outcome.stdout.trim(), outcome.code());
        let holds = match &self.expected {
            Expected::Prints(text, wanted) => out == case.fill(text) && code == *wanted,
            Expected::Refuses(parts) => return refused(case, outcome, parts),
            Expected::Steps(_) => true,
        };
        if holds { Ok(()) } else { Err(format!("exit {code}, stdout {out:?}, stderr {:?}", outcome.stderr.trim())) }
    }
}

/// Whether the runtime said no as it should: one line, in the log too, and nothing is left.
pub fn refused(case: &Case, outcome: &Outcome, parts: &[String]) -> Result<(), String> {
    let (line, code) = (outcome.stderr.trim(), outcome.code());
    let said = format!("exit {code}, stdout {:?}, stderr {line:?}", outcome.stdout.trim());
    if code == 0 || code == -1 {
        return Err(format!("was not refused: {said}"));
    }
    if case.peer != Peer::Ours {
        return Ok(());
    }
    let left = case.traces();
    if !left.is_empty() {
        return Err(format!("left behind by a refusal: {left:?}; {said}"));
    }
    if line.lines().count() != 1 || !outcome.stdout.is_empty() {
        return Err(format!("not one line: {said}"));
    }
    if let Some(part) = parts.iter().map(|part| case.fill(part)).find(|part| !line.contains(part)) {
        return Err(format!("does not say {part:?}: {said}"));
    }
    let log = case.last_log();
    let logged = log["level"] == "error"
        && log["time"].is_string()
        && log["msg"].as_str().is_some_and(|text| line.contains(text));
    if logged { Ok(()) } else { Err(format!("the log says {log}, not {line:?}")) }
}

/// Checks all rows on a few threads and reports every one that fails.
pub fn check(rows: Vec<Row>) {
    let peer = Peer::current();
    let only = std::env::var("CORACLE_ROW").unwrap_or_default();
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let name = format!("{}: {}", row.field, row.name);
                    let not_here = row.ordinary && nix::unistd::geteuid().is_root();
                    if not_here || row.without.iter().any(|(without, _)| *without == peer) || !name.contains(&only) {
                        continue;
                    }
                    if let Err(why) = row.check(peer) {
                        failures.lock().expect("no panic while held").push(format!("{name}\n      {why}"));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no panic while held");
    assert!(failures.is_empty(), "{} of {} rows fail:\n{}\n", failures.len(), rows.len(), failures.join("\n"));
}

/// Merges as RFC 7396 says.
pub fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = Value::Object(serde_json::Map::new());
    }
    let object = into.as_object_mut().expect("made one above");
    for (name, value) in fields {
        if value.is_null() {
            object.remove(name);
        } else {
            merge(object.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Adds an entry to the list at a JSON pointer.
pub fn push(config: &mut Value, list: &str, entry: Value) {
    config.pointer_mut(list).and_then(Value::as_array_mut).expect("a list").push(entry);
}

/// What the function gives, or the words it panicked with.
pub fn guarded<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(body)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
    })
}
