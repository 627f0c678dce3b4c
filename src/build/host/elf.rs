//! What an ELF file says of its needs: generic ABI, "Program Loading and Dynamic Linking".

use crate::{Error, ErrorKind, Result};
use object::Endianness;
use object::elf::{DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_STRSZ, DT_STRTAB, FileHeader64};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The dynamic part of an executable or a library.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Dynamic {
    /// The dynamic loader.
    pub(super) interpreter: Option<PathBuf>,
    /// The libraries it names.
    pub(super) needed: Vec<String>,
    /// Where to look first, if there is no `runpath`.
    pub(super) rpath: Vec<String>,
    /// Where to look first.
    pub(super) runpath: Vec<String>,
}

/// Reads the needs of a file; `None` for what is no ELF file.
///
/// Errors: `Unsupported` for another class or machine than this one's, `InvalidInput` for a damaged file.
pub(super) fn read(bytes: &[u8]) -> Result<Option<Dynamic>> {
    if !bytes.starts_with(b"\x7fELF") {
        return Ok(None);
    }
    let header = FileHeader64::<Endianness>::parse(bytes).map_err(|_| foreign())?;
    let endian = header.endian().map_err(|_| foreign())?;
    if header.e_machine.get(endian) != MACHINE {
        return Err(foreign());
    }
    read_dynamic(header, endian, bytes).map(Some)
}

/// Whether a file is an ELF file of this machine.
pub(super) fn is_of_this_machine(bytes: &[u8]) -> bool {
    matches!(read(bytes), Ok(Some(_)))
}

#[cfg(target_arch = "x86_64")]
const MACHINE: object::elf::Machine = object::elf::EM_X86_64;
#[cfg(target_arch = "aarch64")]
const MACHINE: object::elf::Machine = object::elf::EM_AARCH64;

fn foreign() -> Error {
    Error::new(ErrorKind::Unsupported, "is an ELF file of another machine or of 32 bits")
}

fn read_dynamic(header: &FileHeader64<Endianness>, endian: Endianness, bytes: &[u8]) -> Result<Dynamic> {
    let damaged = |what: &'static str| move |_| Error::invalid(format!("is a damaged ELF file: {what}"));
    let segments = header.program_headers(endian, bytes).map_err(damaged("program headers"))?;
    let mut found = Dynamic::default();
    for segment in segments {
        if let Some(path) = segment.interpreter(endian, bytes).map_err(damaged("interpreter"))? {
            found.interpreter = Some(PathBuf::from(OsStr::from_bytes(path)));
        }
    }
    for segment in segments {
        let Some(entries) = segment.dynamic(endian, bytes).map_err(damaged("dynamic section"))? else { continue };
        let value = |tag| entries.iter().find(|entry| entry.tag(endian) == tag).map(|entry| entry.val(endian));
        let (Some(address), Some(size)) = (value(DT_STRTAB), value(DT_STRSZ)) else { continue };
        let table = segments.iter().find_map(|segment| segment.data_range(endian, bytes, address, size).ok().flatten());
        let table = table.ok_or_else(|| Error::invalid("is a damaged ELF file: string table"))?;
        for entry in entries {
            let Some(text) = text_at(table, entry.val(endian)) else { continue };
            match entry.tag(endian) {
                DT_NEEDED => found.needed.push(text),
                DT_RPATH => found.rpath = split(&text),
                DT_RUNPATH => found.runpath = split(&text),
                _ => {}
            }
        }
    }
    Ok(found)
}

fn text_at(table: &[u8], offset: u64) -> Option<String> {
    let rest = table.get(usize::try_from(offset).ok()?..)?;
    let end = rest.iter().position(|&byte| byte == 0)?;
    Some(String::from_utf8_lossy(&rest[..end]).into_owned())
}

fn split(text: &str) -> Vec<String> {
    text.split(':').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}
