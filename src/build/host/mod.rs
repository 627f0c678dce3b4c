//! Programs of this machine with everything they need to run elsewhere: their ELF closure.

mod elf;
mod install;
mod library;

pub(super) use install::{digest, install};

use crate::error::During;
use crate::{Error, ErrorKind, Result};
use elf::Dynamic;
use library::LibraryPath;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// One name of the closure, in the order of its path: a directory comes before what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostEntry {
    /// Absolute, on the host as in the image.
    pub(crate) path: PathBuf,
    pub(crate) kind: HostEntryKind,
}

/// What a name is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HostEntryKind {
    /// A directory with these permission bits.
    Directory(u32),
    /// A file with these permission bits.
    File(u32),
    /// A symbolic link with this target.
    Link(PathBuf),
}

/// The most files a closure may have.
const FILE_BUDGET: usize = 4096;

/// How many symbolic links one path may lead through (the kernel's MAXSYMLINKS).
const LINK_BUDGET: usize = 40;

/// The longest first line of a script that is read: the kernel's BINPRM_BUF_SIZE.
const SCRIPT_LINE: usize = 256;

/// Everything that `programs` need: themselves, the interpreters of scripts, the dynamic loader, the libraries they
/// name, and the symbolic links and directories on the way, as they are on this machine.
///
/// A program without a slash is looked up in `PATH`. What a program loads by itself while it runs (plug-ins, name
/// service modules, locales) is not seen.
///
/// Errors: `NotFound` naming a missing program or library and where it was looked for, `Unsupported` for what is not
/// an executable of this machine.
pub(crate) fn closure<P: AsRef<OsStr>>(programs: impl IntoIterator<Item = P>) -> Result<Vec<HostEntry>> {
    let mut closure = Closure::default();
    for program in programs {
        let path = find_program(program.as_ref())?;
        closure.add(&path)?;
    }
    closure.follow()?;
    let entries = closure.entries.into_iter();
    Ok(entries.map(|(path, kind)| HostEntry { path, kind }).collect())
}

#[derive(Default)]
struct Closure {
    entries: BTreeMap<PathBuf, HostEntryKind>,
    /// Files whose needs have not been looked at.
    waiting: VecDeque<PathBuf>,
    libraries: LibraryPath,
    seen: BTreeSet<PathBuf>,
}

impl Closure {
    /// Adds `path` with every directory and link that leads to it.
    fn add(&mut self, path: &Path) -> Result<()> {
        let mut links = 0;
        let mut todo: VecDeque<PathBuf> = components(path);
        let mut at = PathBuf::from("/");
        while let Some(next) = todo.pop_front() {
            if next == Path::new("..") {
                at.pop();
                continue;
            }
            let here = at.join(&next);
            let metadata = fs::symlink_metadata(&here).during(|| format!("look at {}", here.display()))?;
            let mode = metadata.mode() & 0o7777;
            if metadata.is_symlink() {
                links += 1;
                if links > LINK_BUDGET {
                    return Err(Error::os(format!("follow {}", path.display()), libc::ELOOP));
                }
                let target = fs::read_link(&here).during(|| format!("read link {}", here.display()))?;
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                components(&target).into_iter().rev().for_each(|part| todo.push_front(part));
                self.entries.insert(here, HostEntryKind::Link(target));
            } else if metadata.is_dir() {
                self.entries.insert(here.clone(), HostEntryKind::Directory(mode));
                at = here;
            } else if metadata.is_file() && todo.is_empty() {
                self.entries.insert(here.clone(), HostEntryKind::File(mode));
                self.enqueue(here)?;
            } else {
                return Err(Error::invalid(format!("{} is neither a file nor a directory", here.display())));
            }
        }
        Ok(())
    }

    fn enqueue(&mut self, file: PathBuf) -> Result<()> {
        if self.seen.insert(file.clone()) {
            if self.seen.len() > FILE_BUDGET {
                return Err(Error::new(ErrorKind::LimitExceeded, format!("more than {FILE_BUDGET} files are needed")));
            }
            self.waiting.push_back(file);
        }
        Ok(())
    }

    /// Adds what the files need, and what those need.
    fn follow(&mut self) -> Result<()> {
        while let Some(file) = self.waiting.pop_front() {
            let bytes = fs::read(&file).during(|| format!("read {}", file.display()))?;
            if let Some(rest) = bytes.strip_prefix(b"#!") {
                self.follow_script(&file, rest)?;
            } else if let Some(dynamic) =
                elf::read(&bytes).map_err(|error| error.context(file.display().to_string()))?
            {
                self.follow_dynamic(&file, &dynamic)?;
            }
        }
        Ok(())
    }

    fn follow_script(&mut self, file: &Path, rest: &[u8]) -> Result<()> {
        let line = rest.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(&line[..line.len().min(SCRIPT_LINE)]).into_owned();
        let mut words = line.split_whitespace();
        let interpreter =
            words.next().ok_or_else(|| Error::invalid(format!("script {} names no interpreter", file.display())))?;
        self.add(&find_program(OsStr::new(interpreter))?)?;
        if Path::new(interpreter).file_name() == Some(OsStr::new("env")) {
            // Options and assignments of env(1) stand before the program.
            let program = words.find(|word| !word.starts_with('-') && !word.contains('='));
            if let Some(program) = program {
                self.add(&find_program(OsStr::new(program))?)?;
            }
        }
        Ok(())
    }

    fn follow_dynamic(&mut self, file: &Path, dynamic: &Dynamic) -> Result<()> {
        if let Some(interpreter) = &dynamic.interpreter {
            self.add(interpreter)?;
        }
        for name in &dynamic.needed {
            let found = self.libraries.find(name, dynamic, file)?;
            self.add(&found)?;
        }
        Ok(())
    }
}

fn components(path: &Path) -> VecDeque<PathBuf> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(PathBuf::from(name)),
            Component::ParentDir => Some(PathBuf::from("..")),
            _ => None,
        })
        .collect()
}

fn find_program(program: &OsStr) -> Result<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        let path = PathBuf::from(program);
        if !path.is_absolute() {
            return Err(Error::invalid(format!("program {} is neither a name nor an absolute path", path.display())));
        }
        if !path.exists() {
            let message = format!("this machine has no program {}", path.display());
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        return Ok(path);
    }
    let search = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let found = std::env::split_paths(&search).map(|directory| directory.join(program)).find(|path| path.is_file());
    found.ok_or_else(|| {
        let message = format!("this machine has no program {}", Path::new(program).display());
        Error::new(ErrorKind::NotFound, message).hint(format!("looked in {}", search.to_string_lossy()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(entries: &[HostEntry]) -> Vec<&Path> {
        entries.iter().map(|entry| entry.path.as_path()).collect()
    }

    #[test]
    fn a_dynamic_program_comes_with_loader_and_libraries() {
        let entries = closure(["/bin/sh"]).unwrap();
        let names: Vec<String> = paths(&entries).iter().map(|path| path.display().to_string()).collect();
        assert!(names.iter().any(|name| name.contains("ld-linux") || name.contains("ld-musl")), "{names:?}");
        assert!(names.iter().any(|name| name.contains("libc")), "{names:?}");
        for (index, entry) in entries.iter().enumerate() {
            let parent = entry.path.parent().unwrap();
            let earlier = &entries[..index];
            assert!(parent == Path::new("/") || earlier.iter().any(|entry| entry.path == parent), "{entry:?}");
        }
    }

    #[test]
    fn a_script_brings_its_interpreter() {
        let scratch = tempfile::tempdir().unwrap();
        let script = scratch.path().join("script");
        std::fs::write(&script, "#!/usr/bin/env -S cat\n").unwrap();
        let entries = closure([&script]).unwrap();
        let found = paths(&entries);
        assert!(found.iter().any(|path| path.ends_with("env")) && found.iter().any(|path| path.ends_with("cat")));
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = closure(["no-such-program-here"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("no-such-program-here") && error.remedy().unwrap().contains("looked in"));
    }
}
