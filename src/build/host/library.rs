//! Where the dynamic loader finds libraries: ld.so(8).

use super::elf::{self, Dynamic};
use crate::{Error, ErrorKind, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Configuration files that include each other are followed this deep.
const INCLUDE_DEPTH: usize = 8;

/// The search path of this machine's loader.
#[derive(Debug, Default)]
pub(super) struct LibraryPath {
    directories: OnceLock<Vec<PathBuf>>,
}

impl LibraryPath {
    /// The library `name` that `file`, with these needs, gets.
    pub(super) fn find(&self, name: &str, needs: &Dynamic, file: &Path) -> Result<PathBuf> {
        if name.contains('/') {
            return Ok(PathBuf::from(name));
        }
        let origin = file.parent().unwrap_or(Path::new("/"));
        let first = if needs.runpath.is_empty() { &needs.rpath } else { &needs.runpath };
        let own: Vec<PathBuf> = first.iter().map(|entry| expand(entry, origin)).collect();
        let candidates = own.iter().chain(self.directories()).map(|directory| directory.join(name));
        let matching = |path: &PathBuf| fs::read(path).is_ok_and(|bytes| elf::is_of_this_machine(&bytes));
        let mut candidates = candidates.filter(|path| path.is_file());
        candidates.find(matching).ok_or_else(|| {
            let message = format!("{} needs the library {name}, which this machine does not have", file.display());
            Error::new(ErrorKind::NotFound, message).hint("looked where the dynamic loader looks: ld.so(8)")
        })
    }

    fn directories(&self) -> &[PathBuf] {
        self.directories.get_or_init(|| {
            let mut directories = Vec::new();
            read_configuration(Path::new("/etc/ld.so.conf"), INCLUDE_DEPTH, &mut directories);
            let triple = format!("{}-linux-gnu", std::env::consts::ARCH);
            for base in ["/lib", "/usr/lib"] {
                directories.push(Path::new(base).join(&triple));
            }
            // The last is where musl's loader looks as well.
            directories.extend(["/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib"].map(PathBuf::from));
            directories
        })
    }
}

/// `$ORIGIN`, `$LIB` and `$PLATFORM` of ld.so(8).
fn expand(entry: &str, origin: &Path) -> PathBuf {
    let mut text = entry.to_owned();
    let values = [
        ("ORIGIN", origin.to_string_lossy().into_owned()),
        ("LIB", "lib64".to_owned()),
        ("PLATFORM", std::env::consts::ARCH.to_owned()),
    ];
    for (name, value) in values {
        text = text.replace(&format!("${{{name}}}"), &value).replace(&format!("${name}"), &value);
    }
    PathBuf::from(text)
}

/// ldconfig(8)'s configuration: a directory a line, `include PATTERN`, comments.
fn read_configuration(path: &Path, depth: usize, directories: &mut Vec<PathBuf>) {
    let Ok(text) = fs::read_to_string(path) else { return };
    for line in text.lines().map(|line| line.split('#').next().unwrap_or("").trim()) {
        match line.strip_prefix("include").filter(|rest| rest.starts_with([' ', '\t'])) {
            Some(pattern) if depth > 0 => {
                for file in matching_files(pattern.trim()) {
                    read_configuration(&file, depth - 1, directories);
                }
            }
            None if line.starts_with('/') => directories.push(PathBuf::from(line)),
            _ => {}
        }
    }
}

/// The files that a pattern with at most one `*`, in its last component, names: what the distributions write.
fn matching_files(pattern: &str) -> Vec<PathBuf> {
    let path = Path::new(pattern);
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Vec::new();
    };
    let Some((front, back)) = name.split_once('*') else { return vec![path.to_owned()] };
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.len() >= front.len() + back.len() && name.starts_with(front) && name.ends_with(back)
        })
        .map(|entry| entry.path())
        .collect();
    files.sort();
    files
}
