//! The members of a tar archive, read strictly: POSIX.1-2017, pax, "ustar Interchange Format", with the extensions of GNU
//! tar for long names and large numbers.

use super::pax::Pax;
use super::{corrupt, read_error};
use crate::{Error, ErrorKind, Result};
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use tar::{EntryType, Header};

const BLOCK: usize = 512;
/// The longest path in bytes that a system call takes, without its end (PATH_MAX - 1).
const LONGEST_PATH: usize = 4095;
/// The most bytes of one extended header: sixteen attributes of the kernel's largest size.
const EXTENSION_BUDGET: u64 = 1 << 20;

/// How much an archive may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Bytes of the uncompressed archive.
    pub bytes: u64,
    /// Members.
    pub entries: u64,
    /// Components of a path.
    pub depth: usize,
}

impl Budget {
    /// The budget of an archive of `size` bytes as stored: beyond the first 256 MiB its content may be 200 times as
    /// large (deflate reaches 1030 times with nothing but zeros, real layers below 20).
    pub(crate) fn of_compressed(size: u64) -> Budget {
        let default = Budget::default();
        Budget { bytes: default.bytes.min((256 << 20) + size.saturating_mul(200)), ..default }
    }
}

/// 64 GiB, a million members, 256 components.
impl Default for Budget {
    fn default() -> Budget {
        Budget { bytes: 64 << 30, entries: 1_000_000, depth: 256 }
    }
}

/// One member of an archive.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    /// Relative, without `.`, `..` and empty components; empty for the root itself.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// The low twelve bits of the mode.
    pub mode: u32,
    /// The owner; never `u32::MAX`.
    pub uid: u32,
    /// The group; never `u32::MAX`.
    pub gid: u32,
    /// Seconds and nanoseconds since the epoch.
    pub mtime: (i64, u32),
    /// Extended attributes as the archive has them: to be filtered before use.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What a member is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// A regular file of so many bytes.
    File(u64),
    /// A directory.
    Directory,
    /// A symbolic link to any text of 1 to 4095 bytes without NUL.
    Symlink(PathBuf),
    /// Another name of a member, cleaned as [`Member::path`].
    HardLink(PathBuf),
    /// A character device.
    Character { major: u32, minor: u32 },
    /// A block device.
    Block { major: u32, minor: u32 },
    /// A named pipe.
    Fifo,
}

/// Reads an archive member by member.
pub(crate) struct TarReader<R> {
    reader: R,
    budget: Budget,
    consumed: u64,
    entries: u64,
    /// Bytes of the current member's content still to be read, and of the padding after it.
    content: u64,
    padding: u64,
}

impl<R: Read> TarReader<R> {
    /// Reads the uncompressed archive `reader`.
    pub(crate) fn new(reader: R, budget: Budget) -> TarReader<R> {
        TarReader { reader, budget, consumed: 0, entries: 0, content: 0, padding: 0 }
    }

    /// The next member; what was not read of the one before is skipped. `None` at the end, of which everything was read
    /// then.
    pub(crate) fn next_member(&mut self) -> Result<Option<Member>> {
        let mut pax: Option<Pax> = None;
        let (mut long_name, mut long_link) = (None, None);
        loop {
            self.skip_content()?;
            let Some(header) = self.header()? else {
                if pax.is_some() || long_name.is_some() || long_link.is_some() {
                    return Err(corrupt("archive ends after an extended header"));
                }
                return Ok(None);
            };
            self.count_entry()?;
            let size = number(&header.as_old().size)?;
            match header.entry_type() {
                EntryType::XHeader => put(&mut pax, Pax::parse(&self.extension(size)?)?)?,
                EntryType::XGlobalHeader => {
                    if !Pax::parse(&self.extension(size)?)?.is_empty() {
                        return Err(corrupt("archive has a global PAX header that changes its members"));
                    }
                }
                EntryType::GNULongName => put(&mut long_name, until_nul(self.extension(size)?))?,
                EntryType::GNULongLink => put(&mut long_link, until_nul(self.extension(size)?))?,
                _ => {
                    let pax = pax.unwrap_or_default();
                    return self.member(&header, size, pax, long_name, long_link).map(Some);
                }
            }
        }
    }

    /// Reads content of the current member; 0 at its end.
    pub(crate) fn read_content(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let most = usize::try_from(self.content).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let got = self.read_some(&mut buffer[..most])?;
        if got == 0 {
            return Err(corrupt("archive ends within a member"));
        }
        self.content -= got as u64;
        Ok(got)
    }

    fn member(
        &mut self,
        header: &Header,
        size: u64,
        pax: Pax,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<Member> {
        let raw = pax.path.or(long_name).unwrap_or_else(|| header.path_bytes().into_owned());
        let link = pax.link.or(long_link).unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned());
        let path = self.clean(&raw)?;
        let size = pax.size.unwrap_or(size);
        let kind = self.kind(header, &path, raw.ends_with(b"/"), size, &link)?;
        if path.as_os_str().is_empty() && kind != Kind::Directory {
            return Err(corrupt("archive has a root that is no directory"));
        }
        if !matches!(kind, Kind::File(_)) && size != 0 {
            return Err(corrupt(format!("archive member {path:?} has content but is no file")));
        }
        self.content = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
        let old = header.as_old();
        let mtime = match pax.mtime {
            Some(time) => time,
            None => (number(&old.mtime)?.try_into().map_err(|_| corrupt("archive has a time out of range"))?, 0),
        };
        Ok(Member {
            path,
            kind,
            mode: number(&old.mode)? as u32 & 0o7777,
            uid: id(pax.uid.map_or_else(|| number(&old.uid), Ok)?)?,
            gid: id(pax.gid.map_or_else(|| number(&old.gid), Ok)?)?,
            mtime,
            xattrs: pax.xattrs,
        })
    }

    fn kind(&self, header: &Header, path: &Path, slash: bool, size: u64, link: &[u8]) -> Result<Kind> {
        let device = || -> Result<(u32, u32)> {
            let ustar = header.as_ustar().map(|ustar| (&ustar.dev_major, &ustar.dev_minor));
            let gnu = header.as_gnu().map(|gnu| (&gnu.dev_major, &gnu.dev_minor));
            let (major, minor) = ustar.or(gnu).ok_or_else(|| corrupt("archive has a device without numbers"))?;
            let part = |field| u32::try_from(number(field)?).map_err(|_| corrupt("archive has a device out of range"));
            Ok((part(major)?, part(minor)?))
        };
        Ok(match header.entry_type() {
            // The oldest tars write a directory as a file whose name ends in a slash.
            EntryType::Regular | EntryType::Continuous if slash => Kind::Directory,
            EntryType::Regular | EntryType::Continuous => Kind::File(size),
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => {
                if link.is_empty() || link.len() > LONGEST_PATH || link.contains(&0) {
                    return Err(corrupt(format!("archive has a malformed symbolic link {path:?}")));
                }
                Kind::Symlink(PathBuf::from(OsStr::from_bytes(link)))
            }
            EntryType::Link => Kind::HardLink(self.clean(link)?),
            EntryType::Char => device().map(|(major, minor)| Kind::Character { major, minor })?,
            EntryType::Block => device().map(|(major, minor)| Kind::Block { major, minor })?,
            EntryType::Fifo => Kind::Fifo,
            EntryType::GNUSparse => {
                return Err(Error::new(ErrorKind::Unsupported, format!("archive has a sparse file {path:?}"))
                    .hint("write the archive without --sparse"));
            }
            other => {
                let byte = other.as_byte();
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("archive member {path:?} has the unknown type {:?}", char::from(byte)),
                ));
            }
        })
    }

    /// A path as members may have it. A leading `/` means the root of the archive; `..` means harm.
    fn clean(&self, raw: &[u8]) -> Result<PathBuf> {
        let shown = || String::from_utf8_lossy(&raw[..raw.len().min(200)]).into_owned();
        if raw.is_empty() || raw.contains(&0) || raw.len() > LONGEST_PATH {
            return Err(corrupt(format!("archive member has an empty or overlong name {:?}", shown())));
        }
        let mut path = PathBuf::new();
        let mut depth = 0;
        for component in raw.split(|&byte| byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => return Err(corrupt(format!("archive member {:?} leads out of the archive", shown()))),
                _ => {
                    path.push(OsStr::from_bytes(component));
                    depth += 1;
                }
            }
        }
        if depth > self.budget.depth {
            return Err(exceeded(format!("archive member {:?} is deeper than {} names", shown(), self.budget.depth)));
        }
        Ok(path)
    }

    /// The next header block, checksum verified; `None` at the end of the archive.
    fn header(&mut self) -> Result<Option<Header>> {
        let mut header = Header::new_old();
        match self.fill(header.as_mut_bytes())? {
            0 => return Ok(None),
            BLOCK => {}
            _ => return Err(corrupt("archive ends within a header")),
        }
        let bytes = header.as_bytes();
        if bytes.iter().all(|&byte| byte == 0) {
            return self.end().map(|()| None);
        }
        let sum: u64 = bytes.iter().map(|&byte| u64::from(byte)).sum();
        let stated = &header.as_old().cksum;
        let sum = sum - stated.iter().map(|&byte| u64::from(byte)).sum::<u64>() + 8 * u64::from(b' ');
        if number(stated)? != sum {
            return Err(corrupt("archive has a header with a wrong checksum"));
        }
        Ok(Some(header))
    }

    /// After the first block of zeros there are zeros only.
    fn end(&mut self) -> Result<()> {
        let mut buffer = [0; 16 << 10];
        loop {
            let got = self.read_some(&mut buffer)?;
            if got == 0 {
                return Ok(());
            }
            if buffer[..got].iter().any(|&byte| byte != 0) {
                return Err(corrupt("archive goes on after its end"));
            }
        }
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > EXTENSION_BUDGET {
            return Err(exceeded(format!(
                "archive has an extended header of {size} bytes, more than {EXTENSION_BUDGET}"
            )));
        }
        let mut bytes = vec![0; size as usize];
        if self.fill(&mut bytes)? != bytes.len() {
            return Err(corrupt("archive ends within an extended header"));
        }
        self.padding = size.wrapping_neg() % BLOCK as u64;
        Ok(bytes)
    }

    fn skip_content(&mut self) -> Result<()> {
        let mut rest = self.content.saturating_add(self.padding);
        (self.content, self.padding) = (0, 0);
        let mut buffer = [0; 16 << 10];
        while rest > 0 {
            let most = rest.min(buffer.len() as u64) as usize;
            let got = self.read_some(&mut buffer[..most])?;
            if got == 0 {
                return Err(corrupt("archive ends within a member"));
            }
            rest -= got as u64;
        }
        Ok(())
    }

    fn count_entry(&mut self) -> Result<()> {
        self.entries += 1;
        if self.entries > self.budget.entries {
            return Err(exceeded(format!("archive has more than {} members", self.budget.entries)));
        }
        Ok(())
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_some(&mut buffer[filled..])? {
                0 => break,
                got => filled += got,
            }
        }
        Ok(filled)
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let got = loop {
            match self.reader.read(buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => break other.map_err(read_error)?,
            }
        };
        self.consumed += got as u64;
        if self.consumed > self.budget.bytes {
            return Err(exceeded(format!("archive is larger than {} bytes unpacked", self.budget.bytes)));
        }
        Ok(got)
    }
}

fn exceeded(message: String) -> Error {
    Error::new(ErrorKind::LimitExceeded, message)
}

/// Two extended headers of one kind before one member would be read differently by different readers.
fn put<T>(slot: &mut Option<T>, value: T) -> Result<()> {
    if slot.replace(value).is_some() {
        return Err(corrupt("archive has two extended headers of one kind for one member"));
    }
    Ok(())
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    bytes
}

fn id(number: u64) -> Result<u32> {
    // The last number means "leave as it is" to chown(2).
    u32::try_from(number).ok().filter(|&id| id != u32::MAX).ok_or_else(|| corrupt("archive has an owner out of range"))
}

/// A number of a header: octal digits between spaces and NULs (none is 0), or GNU's big-endian form behind a byte 0x80.
fn number(field: &[u8]) -> Result<u64> {
    let bad = || corrupt("archive has a header with a malformed number");
    if field[0] & 0x80 != 0 {
        if field[0] != 0x80 {
            return Err(bad());
        }
        return field[1..].iter().try_fold(0u64, |number, &byte| {
            number.checked_mul(256).map(|number| number | u64::from(byte)).ok_or_else(bad)
        });
    }
    let is_blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| *byte != b' ').unwrap_or(field.len());
    let digits = field[start..].iter().take_while(|byte| !is_blank(byte)).count();
    if !field[start + digits..].iter().all(is_blank) {
        return Err(bad());
    }
    field[start..start + digits].iter().try_fold(0u64, |number, &byte| match byte {
        b'0'..=b'7' => number.checked_mul(8).map(|number| number | u64::from(byte - b'0')).ok_or_else(bad),
        _ => Err(bad()),
    })
}
