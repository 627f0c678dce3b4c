//! Where a copy reads from: a directory of the host, or the files of a stage or image.

use super::ignore::Ignore;
use super::wildcard;
use crate::error::During;
use crate::kernel::{get_xattr, list_xattrs};
use crate::store::{DirectoryEntry, EntryKind, EntryMetadata, MergedView};
use crate::value::Hasher;
use crate::{Digest, Error, ErrorKind, Result};
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// Files to copy from. Paths are absolute in the tree; links never lead out of it.
pub(super) struct Tree {
    view: MergedView,
    ignore: Ignore,
    /// What errors call it.
    name: String,
    hint: &'static str,
}

/// What one source of a copy stands for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Selected {
    /// Canonical.
    pub(super) path: PathBuf,
    /// As it was asked for; empty for the tree itself.
    pub(super) name: OsString,
    pub(super) metadata: EntryMetadata,
}

impl Tree {
    /// The files of a directory of the host.
    pub(super) fn directory(path: &Path, name: String) -> Tree {
        let view = MergedView::new(&[path.to_owned()], None);
        Tree { view, ignore: Ignore::default(), name, hint: "is its name right?" }
    }

    /// The build context at `path`, without what `ignore` excludes.
    pub(super) fn context(path: &Path, ignore: Ignore) -> Tree {
        let tree = Tree::directory(path, "the build context".to_owned());
        let hint =
            if ignore.is_empty() { "paths are relative to the context" } else { "does .dockerignore leave it out?" };
        Tree { ignore, hint, ..tree }
    }

    /// The files of an image.
    pub(super) fn image(view: MergedView, name: String) -> Tree {
        Tree { view, ignore: Ignore::default(), name, hint: "paths are those of the image" }
    }

    /// What `source`, with wildcards, stands for; sorted. Errors: `InvalidInput` where it leads out of the tree, `NotFound`
    /// where nothing matches.
    pub(super) fn select(&self, source: &str) -> Result<Vec<Selected>> {
        let mut candidates = vec![PathBuf::from("/")];
        for name in self.names(source)? {
            let mut next = Vec::new();
            for candidate in candidates {
                if !wildcard::is_pattern(name) {
                    next.push(candidate.join(&*wildcard::literal(name)));
                    continue;
                }
                let entries = self.view.read_dir(&candidate)?.unwrap_or_default();
                let matching =
                    entries.into_iter().filter(|entry| wildcard::matches(name.as_bytes(), entry.name.as_bytes()));
                next.extend(matching.map(|entry| candidate.join(entry.name)));
            }
            candidates = next;
        }
        let mut selected = Vec::new();
        for candidate in candidates {
            selected.extend(self.selected(&candidate)?);
        }
        if selected.is_empty() {
            let message = format!("{} has no {source}", self.name);
            return Err(Error::new(ErrorKind::NotFound, message).hint(self.hint));
        }
        Ok(selected)
    }

    /// Calls `visit` for `selected` and all below it, each directory before what is in it, sorted, with the path below
    /// `selected` and that in the tree.
    pub(super) fn walk(
        &self,
        selected: &Selected,
        visit: &mut dyn FnMut(&Path, &Path, &EntryMetadata) -> Result<()>,
    ) -> Result<()> {
        let mut pending = vec![(PathBuf::new(), selected.path.clone(), selected.metadata)];
        while let Some((below, path, metadata)) = pending.pop() {
            let excluded = self.is_excluded(&path);
            if !excluded {
                visit(&below, &path, &metadata)?;
            }
            if metadata.kind == EntryKind::Directory && (!excluded || self.ignore.has_exceptions()) {
                let entries: Vec<DirectoryEntry> = self.view.read_dir(&path)?.unwrap_or_default();
                let entries = entries.into_iter().rev();
                pending.extend(entries.map(|entry| (below.join(&entry.name), path.join(&entry.name), entry.metadata)));
            }
        }
        Ok(())
    }

    /// Opens a regular file.
    pub(super) fn open(&self, path: &Path) -> Result<File> {
        self.view.open(path)?.ok_or_else(|| self.changed(path))
    }

    /// The text of a symbolic link.
    pub(super) fn read_link(&self, path: &Path) -> Result<PathBuf> {
        self.view.read_link(path)?.ok_or_else(|| self.changed(path))
    }

    /// The digest of everything that a copy of `selected` takes over: names, kinds, modes, contents; not times. With
    /// `owned`, owners and attributes too.
    pub(super) fn digest(&self, selected: &[Selected], owned: bool) -> Result<Digest> {
        let mut hasher = Hasher::default();
        for selected in selected {
            let name = selected.name.as_bytes();
            let _ = write!(hasher, "source {} {:?}\0", name.len(), selected.metadata.kind);
            hasher.update(name);
            self.walk(selected, &mut |below, path, metadata| {
                let (below, EntryMetadata { kind, mode, uid, gid, .. }) = (below.as_os_str().as_bytes(), metadata);
                let _ = write!(hasher, "\0{} {kind:?} {mode:o}", below.len());
                if owned {
                    let _ = write!(hasher, " {uid} {gid}");
                }
                hasher.update(b"\0");
                hasher.update(below);
                match kind {
                    EntryKind::File => hash_file(&mut hasher, self.open(path)?, owned, path),
                    EntryKind::Symlink => {
                        hasher.update(self.read_link(path)?.as_os_str().as_bytes());
                        Ok(())
                    }
                    EntryKind::Directory | EntryKind::Special => Ok(()),
                }
            })?;
        }
        Ok(hasher.finish())
    }

    fn selected(&self, candidate: &Path) -> Result<Option<Selected>> {
        let Some(path) = self.view.resolve(candidate)? else { return Ok(None) };
        let Some(metadata) = self.view.metadata(&path)? else { return Ok(None) };
        let name = candidate.file_name().unwrap_or_default().to_owned();
        let selected = Selected { path, name, metadata };
        if self.is_excluded(&selected.path) {
            let mut any = false;
            self.walk(&selected, &mut |_, _, _| {
                any = true;
                Ok(())
            })?;
            return Ok(any.then_some(selected));
        }
        Ok(Some(selected))
    }

    /// The components of a path in the tree.
    fn names<'s>(&self, source: &'s str) -> Result<Vec<&'s str>> {
        let mut names = Vec::new();
        for component in Path::new(source).components() {
            match component {
                Component::Normal(name) => names.extend(name.to_str()),
                Component::ParentDir if names.pop().is_none() => {
                    return Err(Error::invalid(format!("{source} is outside {}", self.name))
                        .hint("copy from below it, or build with a directory further up"));
                }
                _ => {}
            }
        }
        Ok(names)
    }

    fn is_excluded(&self, path: &Path) -> bool {
        let relative = path.strip_prefix("/").unwrap_or(path);
        !self.ignore.is_empty() && !relative.as_os_str().is_empty() && self.ignore.excludes(relative)
    }

    fn changed(&self, path: &Path) -> Error {
        Error::new(ErrorKind::NotFound, format!("{} in {} changed while it was read", path.display(), self.name))
    }
}

/// The extended attributes of a file that go with a copy of it: its capabilities and the user's own.
pub(super) fn attributes_of(file: &File) -> Result<Vec<(CString, Vec<u8>)>> {
    let mut attributes = Vec::new();
    for name in list_xattrs(file.as_fd()).during(|| "list extended attributes")? {
        let bytes = name.to_bytes();
        if bytes == b"security.capability" || (bytes.starts_with(b"user.") && !bytes.starts_with(b"user.overlay.")) {
            let value = get_xattr(file.as_fd(), &name).during(|| "read an extended attribute")?;
            attributes.extend(value.map(|value| (name, value)));
        }
    }
    attributes.sort();
    Ok(attributes)
}

fn hash_file(hasher: &mut Hasher, mut file: File, owned: bool, path: &Path) -> Result<()> {
    if owned {
        let _ = write!(hasher, "{:?}\0", attributes_of(&file)?);
    }
    let mut content = Hasher::default();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer).during(|| format!("read {}", path.display()))? {
            0 => break,
            count => content.update(&buffer[..count]),
        }
    }
    let _ = write!(hasher, "{}", content.finish());
    Ok(())
}

/// A path as text, for the sources of a copy.
pub(super) fn text_of(name: &OsStr) -> Result<&str> {
    name.to_str().ok_or_else(|| Error::invalid(format!("path {name:?} is not UTF-8")))
}
