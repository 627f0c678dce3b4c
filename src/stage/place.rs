//! Places in a root: found, and made where they are missing, with every link followed within the root alone.

use super::call::call;
use super::constant::*;
use super::files::{Node, check_device, close, is_directory, make_node, open_below, open_straight, status};
use super::syscall::Errno;
use crate::plan::op::Landing;

/// The longest path that is taken apart: the kernel's PATH_MAX.
pub(crate) const PATH_MAX: usize = 4096;

/// How many links that lead to nothing are followed for one path: as many as the kernel follows (path_resolution(7)).
const LINK_BUDGET: u32 = 40;

/// Opens a directory below `root`, making each missing component with `mode`.
pub(crate) fn make_directories(root: i32, path: &[u8], mode: u32) -> Result<i32, Errno> {
    match with_text(path, |whole| open_below(root, whole, O_PATH | O_DIRECTORY, 0)) {
        Err(ENOENT) => make(root, path, mode, None),
        other => other,
    }
}

/// Opens the place for `mount` at `path` below `root`, made as a directory or a file like what is mounted there; whether
/// it was made.
pub(crate) fn mount_point(root: i32, path: &[u8], mount: i32, landing: u32) -> Result<(i32, bool), Errno> {
    if landing & (Landing::OVER_LINK | Landing::NO_LINK) != 0 {
        return Ok((named_place(root, path, mount, landing & Landing::OVER_LINK != 0)?, false));
    }
    let open = |path: *const u8| {
        if landing & Landing::STRAIGHT != 0 {
            open_straight(root, path, O_PATH | O_DIRECTORY)
        } else {
            open_below(root, path, O_PATH, 0)
        }
    };
    match with_text(path, open) {
        Err(ENOENT) => {}
        other => return other.map(|place| (place, false)),
    }
    let file = if is_directory(mount, c"".as_ptr().cast())? { None } else { Some(0o644) };
    let made = make(root, path, 0o755, file)?;
    if landing & Landing::STRAIGHT == 0 {
        return Ok((made, true));
    }
    // Whatever has been made meanwhile: no link leads there.
    close(made);
    with_text(path, open).map(|place| (place, true))
}

/// Opens the last component of `path` itself, even where it is a link, or refuses one.
fn named_place(root: i32, path: &[u8], mount: i32, link: bool) -> Result<i32, Errno> {
    let (parent, name) = split(path);
    let directory = make_directories(root, parent, 0o755)?;
    let opened = with_text(name, |name| {
        // SAFETY: the name is NUL-terminated and holds no slash.
        let open = || unsafe { call!(OPENAT, directory, name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0) };
        match open() {
            Err(ENOENT) => {}
            other => return other,
        }
        if is_directory(mount, c"".as_ptr().cast())? {
            // SAFETY: as above.
            unsafe { call!(MKDIRAT, directory, name, 0o755) }?;
        } else {
            make_node(directory, name, S_IFREG | 0o644, 0)?;
        }
        open()
    });
    close(directory);
    let place = opened? as i32;
    match status(place, c"".as_ptr().cast()) {
        Ok(found) if !link && found[7] & S_IFMT == S_IFLNK => {
            close(place);
            Err(ELOOP)
        }
        Err(errno) => {
            close(place);
            Err(errno)
        }
        Ok(_) => Ok(place),
    }
}

/// Makes a device, or finds the same there (runtime-spec, config-linux, "Devices").
pub(crate) fn make_device(root: i32, path: &[u8], node: &Node) -> Result<(), Errno> {
    let (parent, name) = split(path);
    let directory = if parent == b"." { root } else { make_directories(root, parent, 0o755)? };
    let made = with_text(name, |name| {
        match make_node(directory, name, node.mode, node.device) {
            Err(EEXIST) => return check_device(directory, name, node.mode & S_IFMT, node.device),
            other => other?,
        }
        if node.owner == (0, 0) {
            return Ok(());
        }
        give_device(directory, name, node)
    });
    if directory != root {
        close(directory);
    }
    made
}

/// Gives the device `name` its owner: by descriptor, once it is seen to be the one, since others may share the directory.
fn give_device(directory: i32, name: *const u8, node: &Node) -> Result<(), Errno> {
    // SAFETY: the name is NUL-terminated; no link is followed.
    let opened = unsafe { call!(OPENAT, directory, name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0) }? as i32;
    let empty = c"".as_ptr().cast();
    let given = check_device(opened, empty, node.mode & S_IFMT, node.device).and_then(|()| {
        // SAFETY: an empty, NUL-terminated path.
        unsafe { call!(FCHOWNAT, opened, empty, node.owner.0, node.owner.1, AT_EMPTY_PATH) }.map(drop)
    });
    close(opened);
    given
}

/// The directory of a path and the name in it.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let end = path.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
    let path = &path[..end];
    let at = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    if at == 0 { (b".", path) } else { (&path[..at], &path[at..]) }
}

/// Opens `path`, making directories with `mode` and, where there is a mode for one, a file at its end.
fn make(root: i32, path: &[u8], mode: u32, file: Option<u32>) -> Result<i32, Errno> {
    let mut whole = Path::new();
    whole.append(path)?;
    for _ in 0..LINK_BUDGET {
        match walk(root, &whole, mode, file)? {
            Walk::There(opened) => return Ok(opened),
            Walk::Elsewhere(next) => whole = next,
        }
    }
    Err(ELOOP)
}

/// Where a walk has led.
enum Walk {
    There(i32),
    /// A link on the way leads to nothing: the path goes on behind it.
    Elsewhere(Path),
}

fn walk(root: i32, whole: &Path, mode: u32, file: Option<u32>) -> Result<Walk, Errno> {
    let path = whole.bytes();
    let mut prefix = Path::new();
    prefix.append(b"/")?;
    let mut directory = open_below(root, c".".as_ptr().cast(), O_PATH | O_DIRECTORY, 0)?;
    let mut at = 0;
    while let Some((start, end)) = next_component(path, at) {
        let component = &path[start..end];
        let parent = prefix.length;
        prefix.append(component)?;
        let last = next_component(path, end).is_none();
        let new = if last { file.map_or(New::Directory(mode), New::File) } else { New::Directory(mode) };
        let opened = open_or_make(root, directory, &prefix, component, new);
        if opened == Err(ENOENT) {
            let next = behind_link(directory, component, &prefix.bytes()[..parent], &path[end..]);
            close(directory);
            return next.map(Walk::Elsewhere);
        }
        close(directory);
        directory = opened?;
        prefix.append(b"/")?;
        at = end;
    }
    Ok(Walk::There(directory))
}

/// Begin and end of the component at or behind `from`.
fn next_component(path: &[u8], from: usize) -> Option<(usize, usize)> {
    let start = from + path[from..].iter().position(|&byte| byte != b'/')?;
    let end = path[start..].iter().position(|&byte| byte == b'/').map_or(path.len(), |length| start + length);
    Some((start, end))
}

/// What is made where nothing is.
#[derive(Clone, Copy)]
enum New {
    Directory(u32),
    File(u32),
}

/// Opens `prefix` below `root`; makes its last component in `parent` first where it is missing. ENOENT: it is a link
/// that leads to nothing.
fn open_or_make(root: i32, parent: i32, prefix: &Path, component: &[u8], new: New) -> Result<i32, Errno> {
    let flags = if matches!(new, New::File(_)) { O_PATH } else { O_PATH | O_DIRECTORY };
    match open_below(root, prefix.as_ptr(), flags, 0) {
        Err(ENOENT) => {}
        other => return other,
    }
    with_text(component, |name| {
        let made = match new {
            // SAFETY: the name is NUL-terminated and holds no slash.
            New::Directory(mode) => unsafe { call!(MKDIRAT, parent, name, mode) }.map(drop),
            New::File(mode) => make_node(parent, name, S_IFREG | mode, 0),
        };
        match made {
            Ok(()) | Err(EEXIST) => Ok(()),
            Err(errno) => Err(errno),
        }
    })?;
    open_below(root, prefix.as_ptr(), flags, 0)
}

/// The path that goes on where the link `name` in `directory` leads: in the directory `before` of the link, or at the
/// root.
fn behind_link(directory: i32, name: &[u8], before: &[u8], rest: &[u8]) -> Result<Path, Errno> {
    let mut target = [0u8; PATH_MAX];
    let length = with_text(name, |name| {
        // SAFETY: the name is NUL-terminated, the buffer live and its size passed.
        unsafe { call!(READLINKAT, directory, name, target.as_mut_ptr(), target.len()) }
    });
    // Something that was no link: it went away in between.
    let length = length.map_err(|errno| if errno == EINVAL { ENOENT } else { errno })?;
    let target = target.get(..length).ok_or(ENAMETOOLONG)?;
    let mut next = Path::new();
    if target.first() != Some(&b'/') {
        next.append(before)?;
    }
    next.append(target)?;
    next.append(rest)?;
    Ok(next)
}

/// Calls with a NUL-terminated copy of `text`.
fn with_text<T>(text: &[u8], call: impl FnOnce(*const u8) -> Result<T, Errno>) -> Result<T, Errno> {
    let mut path = Path::new();
    path.append(text)?;
    call(path.as_ptr())
}

/// A path that grows.
struct Path {
    text: [u8; PATH_MAX],
    length: usize,
}

impl Path {
    fn new() -> Path {
        Path { text: [0; PATH_MAX], length: 0 }
    }

    fn append(&mut self, text: &[u8]) -> Result<(), Errno> {
        let end = self.length + text.len();
        if end >= PATH_MAX {
            return Err(ENAMETOOLONG);
        }
        self.text[self.length..end].copy_from_slice(text);
        self.length = end;
        self.text[end] = 0;
        Ok(())
    }

    fn bytes(&self) -> &[u8] {
        &self.text[..self.length]
    }

    fn as_ptr(&self) -> *const u8 {
        self.text.as_ptr()
    }
}
