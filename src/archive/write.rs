//! The archive of a layer: what an overlay's upper directory changes, in the form of an OCI image.

use super::metadata::may_pass;
use super::overlay::{OPAQUE_MARKER, WHITEOUT_PREFIX, is_whiteout};
use super::{Overlay, Summary};
use crate::error::{Context, During};
use crate::kernel::{get_xattr_at, list_xattrs_at, open_beneath, open_regular};
use crate::{Error, ErrorKind, Result};
use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, readlinkat};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat, major, minor};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};

/// The longest path in bytes that any reader takes.
const LONGEST_PATH: usize = 4095;

/// Writes the uncompressed archive of the overlay directory `upper`, which nobody may change meanwhile.
///
/// The same tree gives the same bytes: names are sorted, owners are numbers, times are exact, and nothing of the machine
/// is told. Whiteouts become `.wh.NAME`, opaque directories hold `.wh..wh..opq`; hard links, devices, pipes and the
/// attributes an image may have are kept; sockets, which mean nothing without their process, are dropped. Errors: a name
/// that begins with `.wh.` cannot be told from a whiteout and is `InvalidInput`.
pub(crate) fn write_layer(upper: BorrowedFd<'_>, writer: impl Write) -> Result<Summary> {
    let mut layer = LayerWriter {
        root: upper,
        archive: Builder::new(writer),
        overlay: Overlay::of_this_process(),
        links: HashMap::new(),
        summary: Summary::default(),
    };
    layer.tree()?;
    let mut writer = layer.archive.into_inner().map_err(write_error)?;
    writer.flush().map_err(write_error)?;
    Ok(layer.summary)
}

struct LayerWriter<'upper, W: Write> {
    root: BorrowedFd<'upper>,
    archive: Builder<W>,
    overlay: Overlay,
    /// The first name of every inode that has several.
    links: HashMap<(u64, u64), Vec<u8>>,
    summary: Summary,
}

impl<W: Write> LayerWriter<'_, W> {
    /// Walks in order of names, each directory before what is in it, with one descriptor open at a time: a tree may be
    /// deeper than the limit of open files.
    fn tree(&mut self) -> Result<()> {
        let mut levels = vec![self.level(PathBuf::new())?];
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.names.next() else {
                levels.pop();
                continue;
            };
            let path = level.path.join(&name);
            let directory = match level.directory.take() {
                Some(directory) => directory,
                None => open_level(self.root, &level.path)?,
            };
            let below = self.entry(&directory, &name, &path).context(|| format!("archive {}", path.display()))?;
            if below {
                let below = self.level(path)?;
                levels.push(below);
            } else {
                level.directory = Some(directory);
            }
        }
        Ok(())
    }

    fn level(&mut self, path: PathBuf) -> Result<Level> {
        let directory = open_level(self.root, &path)?;
        if self.overlay.is_opaque(directory.as_fd())? {
            self.marker(&path.join(OsStr::from_bytes(OPAQUE_MARKER)))?;
        }
        let names = sorted_names(&directory)?.into_iter();
        Ok(Level { path, names, directory: Some(directory) })
    }

    /// Writes one entry; whether it is a directory, to be walked.
    fn entry(&mut self, directory: &OwnedFd, name: &OsStr, path: &Path) -> Result<bool> {
        if path.as_os_str().len() > LONGEST_PATH {
            return Err(Error::new(ErrorKind::LimitExceeded, format!("path is longer than {LONGEST_PATH} bytes")));
        }
        if name.as_bytes().starts_with(WHITEOUT_PREFIX) {
            return Err(Error::invalid("a file whose name begins with \".wh.\" cannot be in a layer")
                .hint("remove or rename it"));
        }
        let stat = fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW).during(|| "inspect")?;
        if is_whiteout(&stat) {
            let marker = [WHITEOUT_PREFIX, name.as_bytes()].concat();
            return self.marker(&path.with_file_name(OsString::from_vec(marker))).map(|()| false);
        }
        let mut header = header_of(&stat);
        let mut records = self.records(directory, name, &stat, &mut header)?;
        match stat.st_mode & libc::S_IFMT {
            libc::S_IFDIR => {
                header.set_entry_type(EntryType::Directory);
                let mut slashed = path.as_os_str().as_bytes().to_vec();
                slashed.push(b'/');
                self.append(&mut header, &slashed, &[], &mut records, io::empty())?;
                return Ok(true);
            }
            _ if stat.st_nlink > 1 => {
                let identity = (stat.st_dev, stat.st_ino);
                if let Some(first) = self.links.get(&identity).cloned() {
                    header.set_entry_type(EntryType::Link);
                    records.retain(|(key, _)| !key.starts_with("SCHILY."));
                    self.append(&mut header, path.as_os_str().as_bytes(), &first, &mut records, io::empty())?;
                    return Ok(false);
                }
                self.links.insert(identity, path.as_os_str().as_bytes().to_vec());
            }
            _ => {}
        }
        self.leaf(directory, name, path, &stat, header, records)?;
        Ok(false)
    }

    fn leaf(
        &mut self,
        directory: &OwnedFd,
        name: &OsStr,
        path: &Path,
        stat: &FileStat,
        mut header: Header,
        mut records: Records,
    ) -> Result<()> {
        let path = path.as_os_str().as_bytes();
        let mut link = Vec::new();
        match stat.st_mode & libc::S_IFMT {
            libc::S_IFREG => return self.file(directory, name, path, header, records),
            libc::S_IFLNK => {
                header.set_entry_type(EntryType::Symlink);
                link = readlinkat(directory, name).during(|| "read link")?.into_vec();
            }
            libc::S_IFCHR | libc::S_IFBLK => {
                let is_character = stat.st_mode & libc::S_IFMT == libc::S_IFCHR;
                header.set_entry_type(if is_character { EntryType::Char } else { EntryType::Block });
                let narrow = |number: u64| {
                    u32::try_from(number).ok().filter(|number| *number < 1 << 21).ok_or_else(|| {
                        Error::new(ErrorKind::Unsupported, "device numbers are too large for an archive")
                    })
                };
                header.set_device_major(narrow(major(stat.st_rdev))?).map_err(write_error)?;
                header.set_device_minor(narrow(minor(stat.st_rdev))?).map_err(write_error)?;
            }
            libc::S_IFIFO => header.set_entry_type(EntryType::Fifo),
            _ => {
                self.summary.drop_one("socket");
                return Ok(());
            }
        }
        self.append(&mut header, path, &link, &mut records, io::empty())
    }

    fn file(
        &mut self,
        directory: &OwnedFd,
        name: &OsStr,
        path: &[u8],
        mut header: Header,
        mut records: Records,
    ) -> Result<()> {
        let fd = open_regular(directory.as_fd(), name).during(|| "open")?;
        let file =
            File::from(fd.ok_or_else(|| Error::new(ErrorKind::InUse, "file was exchanged while it was archived"))?);
        let size = fstat(&file).during(|| "inspect")?.st_size.unsigned_abs();
        header.set_entry_type(EntryType::Regular);
        if size < 1 << 33 {
            header.set_size(size);
        } else {
            records.push(("size".to_owned(), size.to_string().into_bytes()));
        }
        self.summary.bytes += size;
        self.append(&mut header, path, &[], &mut records, Exactly { file, rest: size })
    }

    fn marker(&mut self, path: &Path) -> Result<()> {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o600);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(0);
        self.append(&mut header, path.as_os_str().as_bytes(), &[], &mut Vec::new(), io::empty())
    }

    /// What the header cannot say goes into records: fractions of a second, large owners, attributes.
    fn records(&self, directory: &OwnedFd, name: &OsStr, stat: &FileStat, header: &mut Header) -> Result<Records> {
        let mut records = Records::new();
        if stat.st_mtime_nsec != 0 || !(0..1 << 33).contains(&stat.st_mtime) {
            records.push(("mtime".to_owned(), decimal_time(stat.st_mtime, stat.st_mtime_nsec).into_bytes()));
        } else {
            header.set_mtime(stat.st_mtime.unsigned_abs());
        }
        for (key, id) in [("uid", stat.st_uid), ("gid", stat.st_gid)] {
            if id >= 1 << 21 {
                records.push((key.to_owned(), id.to_string().into_bytes()));
            } else if key == "uid" {
                header.set_uid(u64::from(id));
            } else {
                header.set_gid(u64::from(id));
            }
        }
        let mut keys = list_xattrs_at(directory.as_fd(), name).during(|| "list extended attributes")?;
        if keys.iter().any(|key| self.overlay.refers_elsewhere(key)) {
            return Err(Error::new(ErrorKind::Unsupported, "content is in a lower layer (metacopy or redirect_dir)")
                .hint("mount the overlay with metacopy=off,redirect_dir=off"));
        }
        keys.retain(|key| may_pass(key.to_bytes()));
        keys.sort();
        for key in keys {
            let value = get_xattr_at(directory.as_fd(), name, &key).during(|| "read an extended attribute")?;
            if let (Some(value), Ok(key)) = (value, key.to_str()) {
                records.push((format!("SCHILY.xattr.{key}"), value));
            }
        }
        Ok(records)
    }

    fn append(
        &mut self,
        header: &mut Header,
        path: &[u8],
        link: &[u8],
        records: &mut Records,
        content: impl Read,
    ) -> Result<()> {
        if let Some(rest) = place(path, &mut header.as_old_mut().name) {
            records.push(("path".to_owned(), rest));
        }
        if let Some(rest) = place(link, &mut header.as_old_mut().linkname) {
            records.push(("linkpath".to_owned(), rest));
        }
        let borrowed = records.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        self.archive.append_pax_extensions(borrowed).map_err(write_error)?;
        header.set_cksum();
        self.archive.append(header, content).map_err(write_error)?;
        self.summary.entries += 1;
        Ok(())
    }
}

/// A directory on the way down; closed while something below it is walked.
struct Level {
    path: PathBuf,
    names: std::vec::IntoIter<OsString>,
    directory: Option<OwnedFd>,
}

type Records = Vec<(String, Vec<u8>)>;

/// A header with what every kind of entry has.
fn header_of(stat: &FileStat) -> Header {
    let mut header = Header::new_ustar();
    header.set_mode(stat.st_mode & 0o7777);
    header.set_size(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// Puts `text` into a field of the header, as much as fits; the whole text where that was not all of it.
fn place(text: &[u8], field: &mut [u8; 100]) -> Option<Vec<u8>> {
    let fits = text.len().min(field.len());
    field.fill(0);
    field[..fits].copy_from_slice(&text[..fits]);
    (fits < text.len()).then(|| text.to_vec())
}

fn decimal_time(seconds: i64, nanoseconds: i64) -> String {
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    let sign = if total < 0 { "-" } else { "" };
    let total = total.unsigned_abs();
    let text = format!("{sign}{}.{:09}", total / 1_000_000_000, total % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn open_level(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd> {
    let shown = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    open_beneath(root, shown, libc::O_RDONLY | libc::O_DIRECTORY)
        .during(|| format!("open directory {path:?} of the layer"))
}

fn sorted_names(directory: &OwnedFd) -> Result<Vec<OsString>> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut listing = Dir::openat(directory, ".", flags, Mode::empty()).during(|| "list a directory of the layer")?;
    let mut names = Vec::new();
    for entry in listing.iter() {
        let entry = entry.during(|| "list a directory of the layer")?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// A file of which exactly so many bytes are read: what its header has promised.
struct Exactly {
    file: File,
    rest: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.rest.min(buffer.len() as u64) as usize;
        let got = self.file.read(&mut buffer[..most])?;
        if got == 0 && most > 0 {
            return Err(io::Error::other(Error::new(ErrorKind::InUse, "file was cut while it was archived")));
        }
        self.rest -= got as u64;
        Ok(got)
    }
}

fn write_error(error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(errno) => Error::os("write archive", errno),
        None => error
            .downcast::<Error>()
            .unwrap_or_else(|error| Error::new(ErrorKind::Os, "write archive").source_error(error)),
    }
}

#[cfg(test)]
mod tests;
