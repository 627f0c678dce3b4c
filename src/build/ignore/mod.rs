//! `.dockerignore`: what the build context leaves out.

mod pattern;

use crate::error::{Context, During};
use crate::kernel::InRoot;
use crate::{Error, ErrorKind, Result};
use pattern::Pattern;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path};

/// The largest file that is read, in bytes.
const FILE_BUDGET: u64 = 1 << 20;
/// The most patterns of one file: every file of the context is held against each.
const PATTERN_BUDGET: usize = 2000;

/// The patterns of one `.dockerignore`, in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    pattern: Pattern,
    /// Whether it began with `!`: what it matches stays.
    exception: bool,
}

impl Ignore {
    /// The patterns for a build of `dockerfile` in `context`: those of the file beside the Dockerfile that is called as it
    /// is with `.dockerignore` added, else of `.dockerignore` in the context, else none.
    pub(super) fn load(context: &Path, dockerfile: &Path) -> Result<Ignore> {
        let mut beside = dockerfile.as_os_str().to_owned();
        beside.push(".dockerignore");
        if let Some(bytes) = read(File::open(&beside), Path::new(&beside))? {
            return Ignore::parse(&Path::new(&beside).display().to_string(), &bytes);
        }
        let name = Path::new(".dockerignore");
        // The context is somebody else's data: a link in it must not make a file of the host readable.
        let file = InRoot::open(context)?.open_at(name, libc::O_RDONLY | libc::O_NONBLOCK, 0).map(File::from);
        match read(file, &context.join(name))? {
            Some(bytes) => Ignore::parse(".dockerignore", &bytes),
            None => Ok(Ignore::default()),
        }
    }

    /// Reads one pattern a line; a line that begins with `#` is a comment. Errors begin with `name:line`.
    pub(super) fn parse(name: &str, bytes: &[u8]) -> Result<Ignore> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut rules = Vec::new();
        for (index, line) in String::from_utf8_lossy(bytes).lines().enumerate() {
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let place = || format!("{name}:{}", index + 1);
            if rules.len() == PATTERN_BUDGET {
                let message = format!("more than {PATTERN_BUDGET} patterns");
                return Err(Error::new(ErrorKind::LimitExceeded, message).context(place()));
            }
            let line = line.trim();
            let (exception, text) = match line.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, line),
            };
            if text.is_empty() {
                return Err(Error::invalid("'!' without a pattern").context(place()));
            }
            rules.push(Rule { pattern: Pattern::parse(&cleaned(text)).context(place)?, exception });
        }
        Ok(Ignore { rules })
    }

    /// Whether there are no patterns.
    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether something in a directory that is left out may stay.
    pub(super) fn has_exceptions(&self) -> bool {
        self.rules.iter().any(|rule| rule.exception)
    }

    /// Whether `path`, relative to the context, is left out. A pattern that matches a directory matches what is in it; of
    /// the patterns that match, the last one counts. So a directory may be left out and something in it not.
    pub(super) fn excludes(&self, path: &Path) -> bool {
        let text = path.to_string_lossy();
        let prefixes = ends(&text);
        self.rules.iter().fold(false, |excluded, rule| {
            // Only a rule that would change the answer is worth matching.
            if excluded == rule.exception && prefixes.iter().any(|&end| rule.pattern.matches(&text[..end])) {
                !rule.exception
            } else {
                excluded
            }
        })
    }
}

/// Where the path and each of its parents end.
fn ends(path: &str) -> Vec<usize> {
    let mut ends = vec![path.len()];
    ends.extend(path.match_indices('/').map(|(index, _)| index).filter(|&index| index > 0));
    ends
}

/// Without `.`, doubled and trailing slashes, without a leading slash, `a/../` gone: as Go's `filepath.Clean`.
fn cleaned(text: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for component in Path::new(text).components() {
        match component {
            Component::Normal(name) => names.extend(name.to_str()),
            Component::ParentDir if names.last().is_some_and(|&last| last != "..") => drop(names.pop()),
            Component::ParentDir if !text.starts_with('/') => names.push(".."),
            _ => {}
        }
    }
    names.join("/")
}

fn read(file: io::Result<File>, path: &Path) -> Result<Option<Vec<u8>>> {
    let operation = || format!("read {}", path.display());
    let file = match file {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        other => other.during(operation)?,
    };
    let mut bytes = Vec::new();
    file.take(FILE_BUDGET + 1).read_to_end(&mut bytes).during(operation)?;
    if bytes.len() as u64 > FILE_BUDGET {
        let message = format!("{} is larger than {FILE_BUDGET} bytes", path.display());
        return Err(Error::new(ErrorKind::LimitExceeded, message));
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excluded(patterns: &str, path: &str) -> bool {
        Ignore::parse(".dockerignore", patterns.as_bytes()).unwrap().excludes(Path::new(path))
    }

    #[test]
    fn the_documented_patterns_mean_what_the_reference_says() {
        for (patterns, path, expected) in [
            ("*/temp*", "somedir/temporary.txt", true),
            ("*/temp*", "somedir/temp", true),
            ("*/temp*", "temp", false),
            ("*/*/temp*", "somedir/subdir/temporary.txt", true),
            ("temp?", "tempa", true),
            ("temp?", "temp", false),
            ("**/*.go", "main.go", true),
            ("**/*.go", "a/b/main.go", true),
            ("*.md\n!README.md", "README.md", false),
            ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", true),
            ("*.md\nREADME-secret.md\n!README*.md", "README-secret.md", false),
            ("/foo/bar", "foo/bar", true),
            ("foo/bar/", "foo/bar/deep/file", true),
            ("./foo//bar", "foo/bar", true),
            ("foo/../bar", "bar", true),
            ("../outside", "outside", false),
            ("# comment\n  \n  spaced  ", "spaced", true),
            ("#name", "#name", false),
            ("node_modules", "web/node_modules", false),
            ("**/node_modules", "web/node_modules/x/y.js", true),
            ("*\n!src", "src/main.rs", false),
            ("*\n!src/main.rs", "src", true),
            ("*\n!src/main.rs", "src/main.rs", false),
            ("*\n!src\nsrc/*.bak", "src/a.bak", true),
            (".", "anything", false),
            ("**", "a/b", true),
            (".git", ".gitignore", false),
        ] {
            assert_eq!(excluded(patterns, path), expected, "{patterns:?} {path}");
        }
    }

    #[test]
    fn errors_name_the_line() {
        let refused = |text: &str| Ignore::parse(".dockerignore", text.as_bytes()).unwrap_err();
        assert_eq!(refused("a\n!\n").to_string(), ".dockerignore:2: '!' without a pattern");
        assert!(refused("a\n\n[x").to_string().starts_with(".dockerignore:3: "));
        assert_eq!(refused(&"a\n".repeat(PATTERN_BUDGET + 1)).kind(), ErrorKind::LimitExceeded);
    }

    #[test]
    fn the_file_beside_the_dockerfile_comes_first_and_no_link_leads_out() {
        let scratch = tempfile::tempdir().unwrap();
        let context = scratch.path().join("context");
        std::fs::create_dir(&context).unwrap();
        let dockerfile = context.join("web.Dockerfile");
        assert!(Ignore::load(&context, &dockerfile).unwrap().is_empty());
        std::fs::write(scratch.path().join("secret"), "[").unwrap();
        std::os::unix::fs::symlink("../secret", context.join(".dockerignore")).unwrap();
        assert!(Ignore::load(&context, &dockerfile).unwrap().is_empty());
        std::fs::remove_file(context.join(".dockerignore")).unwrap();
        std::fs::write(context.join(".dockerignore"), "a").unwrap();
        assert!(Ignore::load(&context, &dockerfile).unwrap().excludes(Path::new("a")));
        std::fs::write(context.join("web.Dockerfile.dockerignore"), "b").unwrap();
        let beside = Ignore::load(&context, &dockerfile).unwrap();
        assert!(beside.excludes(Path::new("b")) && !beside.excludes(Path::new("a")));
    }

    proptest::proptest! {
        #[test]
        fn no_file_panics(text in "[-a-b*?!/.\\[\\]\\\\^\n]{0,60}", path in "[a-b/.]{0,20}") {
            if let Ok(ignore) = Ignore::parse("x", text.as_bytes()) {
                ignore.excludes(Path::new(&path));
            }
        }
    }
}
