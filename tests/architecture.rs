//! The house rules that no compiler checks: who may use whom, how long a file may be, where `unsafe` may stand.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Every room and the rooms below it that it may use. `error` is open to all, `value` to all
/// above it.
const ROOMS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("kernel", &[]),
    ("value", &["kernel"]),
    ("spec", &[]),
    ("plan", &[]),
    ("stage", &["plan"]),
    ("launch", &["kernel", "plan", "stage"]),
    ("isolate", &["kernel", "spec", "plan", "launch"]),
    ("cgroup", &["kernel"]),
    ("sandbox", &["kernel", "plan", "launch", "isolate", "cgroup"]),
    ("network", &["kernel"]),
    ("runtime", &["kernel", "spec", "plan", "launch", "isolate", "cgroup", "sandbox", "network"]),
    ("archive", &["kernel", "spec"]),
    ("store", &["kernel", "spec", "archive"]),
    ("registry", &["kernel", "spec", "store"]),
    ("volume", &["kernel", "store"]),
    (
        "container",
        &[
            "kernel", "spec", "plan", "stage", "launch", "isolate", "cgroup", "sandbox", "archive", "store", "network",
            "volume",
        ],
    ),
    (
        "build",
        &[
            "kernel",
            "spec",
            "launch",
            "isolate",
            "cgroup",
            "sandbox",
            "archive",
            "store",
            "registry",
            "network",
            "container",
        ],
    ),
    ("deploy", &["kernel", "spec", "cgroup", "store", "network", "volume", "container"]),
    (
        "engine",
        &[
            "kernel",
            "spec",
            "isolate",
            "cgroup",
            "sandbox",
            "store",
            "registry",
            "network",
            "volume",
            "container",
            "build",
            "deploy",
        ],
    ),
    ("compose", &["launch", "cgroup", "network", "volume", "container", "build", "deploy", "engine"]),
    ("kubernetes", &["cgroup", "network", "container", "deploy"]),
];

/// Files of `src` that stand above all rooms.
const ABOVE: [&str; 3] = ["lib", "manual", "fuzz"];

/// Rooms in which `unsafe` may stand.
const WALL: [&str; 3] = ["kernel", "launch", "stage"];

const LONGEST: usize = 500;

#[test]
fn rooms_use_only_rooms_below() {
    let allowed: BTreeMap<&str, &[&str]> = ROOMS.iter().copied().collect();
    let exported = exported_names();
    let mut wrong = Vec::new();
    for source in sources(&["src"]) {
        let room = source.room();
        if ABOVE.contains(&room.as_str()) {
            continue;
        }
        let Some(below) = allowed.get(room.as_str()) else {
            wrong.push(format!("{}: the room {room} has no row in ROOMS", source.name));
            continue;
        };
        for (line, used) in source.rooms_used(&exported) {
            let open = used == room || used == "error" || (used == "value" && room != "kernel");
            if !open && !below.contains(&used.as_str()) {
                wrong.push(format!("{}:{line}: {room} may not use {used}", source.name));
            }
        }
    }
    report(&wrong);
}

#[test]
fn the_table_of_rooms_points_downwards() {
    let mut above = BTreeSet::new();
    for (room, below) in ROOMS {
        assert!(below.iter().all(|used| above.contains(used)), "{room} uses a room that stands above it");
        above.insert(room);
    }
}

#[test]
fn the_core_of_the_plan_needs_nothing() {
    let mut wrong = Vec::new();
    for source in sources(&["src/plan"]).into_iter().filter(|source| {
        let file = source.path.file_name().unwrap_or_default();
        file == "op.rs" || file == "phase.rs"
    }) {
        for (number, line) in source.lines_outside_tests() {
            if line.contains("std::")
                || line.contains("alloc::")
                || line.contains("nix::")
                || line.contains("crate::error")
            {
                wrong.push(format!("{}:{number}: {}", source.name, line.trim()));
            }
        }
    }
    report(&wrong);
}

#[test]
fn no_file_is_longer_than_500_lines() {
    let long: Vec<String> = sources(&["src", "tests", "benches", "examples", "fuzz/fuzz_targets"])
        .iter()
        .filter(|source| source.text.lines().count() > LONGEST)
        .map(|source| format!("{}: {} lines", source.name, source.text.lines().count()))
        .collect();
    report(&long);
}

#[test]
fn every_room_has_a_name_that_says_something() {
    let empty = ["util", "utils", "common", "misc", "helper", "helpers"];
    let wrong: Vec<String> = sources(&["src"])
        .iter()
        .filter(|source| source.path.with_extension("").iter().any(|part| empty.iter().any(|name| part == *name)))
        .map(|source| source.name.clone())
        .collect();
    report(&wrong);
}

#[test]
fn unsafe_stands_behind_the_wall_only_and_says_why_it_is_sound() {
    let mut wrong = Vec::new();
    for source in sources(&["src", "tests", "benches", "examples"]) {
        let lines: Vec<&str> = source.text.lines().collect();
        for (number, line) in source.code.lines().enumerate() {
            let Some(next) = after_word(line, "unsafe") else { continue };
            if source.name.starts_with("src/") && !WALL.contains(&source.room().as_str()) {
                wrong.push(format!("{}:{}: unsafe outside {}", source.name, number + 1, WALL.join(", ")));
            }
            let block = next.is_empty() || next.starts_with('{') || next.starts_with("impl");
            let above = &lines[number.saturating_sub(8)..=number];
            if block && !above.iter().any(|line| line.contains("SAFETY:")) {
                wrong.push(format!("{}:{}: unsafe without a SAFETY comment", source.name, number + 1));
            }
        }
    }
    report(&wrong);
}

#[test]
fn nothing_is_left_for_later() {
    // Spelt in two parts, so that this file does not find itself.
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];
    let phrases =
        [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("#[ign", "ore"), concat!("(dead", "_code")];
    let mut wrong = Vec::new();
    for source in sources(&["src", "tests", "benches", "examples", "fuzz/fuzz_targets"]) {
        for (number, line) in source.text.lines().enumerate() {
            let word = words.iter().any(|word| after_word(line, word).is_some());
            if word || phrases.iter().any(|phrase| line.contains(phrase)) {
                wrong.push(format!("{}:{}: {}", source.name, number + 1, line.trim()));
            }
        }
    }
    report(&wrong);
}

#[test]
fn nothing_unwraps_outside_tests_and_nothing_changes_the_host_process() {
    let process_state = [
        "set_current_dir",
        "set_var(",
        "remove_var(",
        "::umask(",
        " umask(",
        "::chdir(",
        "setrlimit(",
        "sigaction(",
        "libc::signal(",
    ];
    let mut wrong = Vec::new();
    for source in sources(&["src"]) {
        let room = source.room();
        for (number, line) in source.lines_outside_tests() {
            if line.contains(".unwrap()") {
                wrong.push(format!("{}:{number}: unwrap: return an error", source.name));
            }
            let guest = !["stage", "plan", "fuzz", "manual"].contains(&room.as_str());
            if guest && process_state.iter().any(|call| line.contains(call)) {
                wrong.push(format!("{}:{number}: changes the host process: {}", source.name, line.trim()));
            }
            if line.contains("process::Command") && !["launch", "isolate", "network"].contains(&room.as_str()) {
                wrong.push(format!("{}:{number}: starts a program", source.name));
            }
        }
    }
    report(&wrong);
}

#[test]
fn every_fuzz_target_is_listed_and_exists() {
    let manifest = std::fs::read_to_string(top().join("fuzz/Cargo.toml")).expect("fuzz/Cargo.toml can be read");
    let listed: BTreeSet<String> = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")?.strip_suffix(".rs\""))
        .map(str::to_owned)
        .collect();
    let there: BTreeSet<String> = sources(&["fuzz/fuzz_targets"])
        .iter()
        .filter_map(|source| Some(source.path.file_stem()?.to_str()?.to_owned()))
        .collect();
    assert_eq!(listed, there, "the rows of fuzz/Cargo.toml and the files of fuzz/fuzz_targets");
}

/// One file: as written, and with comments and the insides of literals blanked.
struct Source {
    path: PathBuf,
    name: String,
    text: String,
    code: String,
}

impl Source {
    /// The first part of the module path: `kernel` of `src/kernel/file.rs`.
    fn room(&self) -> String {
        let within = self.name.trim_start_matches("src/");
        within.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned()
    }

    /// Numbered code lines before the tests of the file, which may use any room.
    fn lines_outside_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut lines: Vec<&str> = self.code.lines().collect();
        let tests = lines.windows(2).position(|pair| {
            pair[0].contains("cfg(test)") && pair[1].contains("mod ") && pair[1].trim_end().ends_with('{')
        });
        lines.truncate(tests.unwrap_or(lines.len()));
        if Path::new(&self.name).with_extension("").iter().any(|part| part == "tests") {
            lines.clear();
        }
        lines.into_iter().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// The rooms named by `crate::`, with their lines; a name that lib.rs exports counts as its room.
    fn rooms_used(&self, exported: &BTreeMap<String, String>) -> Vec<(usize, String)> {
        let code: String = self.lines_outside_tests().map(|(_, line)| format!("{line}\n")).collect();
        let mut used = Vec::new();
        for (at, _) in code.match_indices("crate::") {
            let line = code[..at].matches('\n').count() + 1;
            for name in first_names(&code[at + "crate::".len()..]) {
                used.push((line, exported.get(&name).cloned().unwrap_or(name)));
            }
        }
        used
    }
}

/// The first segments after `crate::`: one, or those of a group in braces.
fn first_names(rest: &str) -> Vec<String> {
    let name =
        |text: &str| -> String { text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    let Some(group) = rest.strip_prefix('{') else { return vec![name(rest)] };
    let (mut names, mut depth, mut start) = (Vec::new(), 1, 0);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if (character == ',' && depth == 1) || depth == 0 {
            names.push(name(&group[start..at]));
            start = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    names.retain(|name| !name.is_empty() && name != "self");
    names
}

/// What lib.rs exports: name to room.
fn exported_names() -> BTreeMap<String, String> {
    let lib = code_of(&std::fs::read_to_string(top().join("src/lib.rs")).expect("src/lib.rs can be read"));
    let mut names = BTreeMap::new();
    for (at, _) in lib.match_indices("pub use ") {
        let statement = lib[at + "pub use ".len()..].split(';').next().unwrap_or_default();
        let (room, rest) = statement.split_once("::").unwrap_or((statement, ""));
        for name in rest.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|name| !name.is_empty()) {
            names.insert(name.to_owned(), room.to_owned());
        }
    }
    names
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(below: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = below.iter().map(|name| top().join(name)).collect();
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source can be read");
                let name = path.strip_prefix(top()).unwrap_or(&path).to_string_lossy().into_owned();
                found.push(Source { code: code_of(&text), path, name, text });
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// The text with comments and the insides of string and character literals replaced by blanks, line for line.
fn code_of(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_or_comment(&bytes[at..], at > 0 && is_word(bytes[at - 1])).map_or(at, |length| at + length);
        if end > at {
            code.extend(bytes[at..end].iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }));
            at = end;
        } else {
            code.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&code).into_owned()
}

/// The length of the comment or literal that starts here, if one does.
fn literal_or_comment(rest: &[u8], within_word: bool) -> Option<usize> {
    let find = |from: usize, what: &[u8]| {
        rest[from..]
            .windows(what.len())
            .position(|window| window == what)
            .map_or(rest.len(), |at| from + at + what.len())
    };
    match rest {
        [b'/', b'/', ..] => Some(rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())),
        [b'/', b'*', ..] => Some(find(2, b"*/")),
        [b'r', b'"' | b'#', ..] if !within_word => {
            let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
            let close: Vec<u8> = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
            (rest.get(1 + hashes) == Some(&b'"')).then(|| find(2 + hashes, &close))
        }
        [b'"', ..] => {
            let mut at = 1;
            while at < rest.len() && rest[at] != b'"' {
                at += if rest[at] == b'\\' { 2 } else { 1 };
            }
            Some((at + 1).min(rest.len()))
        }
        [b'\'', b'\\', ..] => Some(find(3, b"'")),
        [b'\'', _, b'\'', ..] => Some(3),
        _ => None,
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// What follows `word` in the line, where it stands there as a whole word.
fn after_word<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    line.match_indices(word).find_map(|(at, _)| {
        let before = at == 0 || !is_word(line.as_bytes()[at - 1]);
        let rest = &line[at + word.len()..];
        (before && !rest.bytes().next().is_some_and(is_word)).then(|| rest.trim_start())
    })
}

fn report(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}
