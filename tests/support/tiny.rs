//! The smallest program there is: what a start costs is then the start's own.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// exit_group(0).
#[cfg(target_arch = "x86_64")]
const CODE: &[u8] = &[0xb8, 231, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05];
/// exit_group(0).
#[cfg(target_arch = "aarch64")]
const CODE: &[u8] = &[0xc8, 0x0b, 0x80, 0xd2, 0x00, 0x00, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4];

#[cfg(target_arch = "x86_64")]
const MACHINE: u16 = 62;
#[cfg(target_arch = "aarch64")]
const MACHINE: u16 = 183;

/// Writes an executable of about 130 bytes to `path` that exits with 0 at once.
pub fn tiny_program(path: &Path) {
    program(path, CODE);
}

/// Writes an executable to `path` that is this machine code.
pub fn program(path: &Path, code: &[u8]) {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let size = HEADERS + code.len() as u64;
    let mut elf = Vec::new();
    // Elf64_Ehdr (elf(5)): an executable with one program header right behind.
    elf.extend_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    [2, MACHINE].iter().for_each(|half| elf.extend_from_slice(&half.to_le_bytes()));
    elf.extend_from_slice(&1u32.to_le_bytes());
    [BASE + HEADERS, 64, 0].iter().for_each(|wide| elf.extend_from_slice(&wide.to_le_bytes()));
    elf.extend_from_slice(&0u32.to_le_bytes());
    [64u16, 56, 1, 0, 0, 0].iter().for_each(|half| elf.extend_from_slice(&half.to_le_bytes()));
    // Elf64_Phdr: all of the file, readable and executable.
    [1u32, 5].iter().for_each(|word| elf.extend_from_slice(&word.to_le_bytes()));
    [0, BASE, BASE, size, size, 4096].iter().for_each(|wide| elf.extend_from_slice(&wide.to_le_bytes()));
    elf.extend_from_slice(code);
    std::fs::write(path, elf).expect("a file can be written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("a mode can be set");
}
