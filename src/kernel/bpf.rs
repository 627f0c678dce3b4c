//! Programs of the kind `BPF_PROG_TYPE_CGROUP_DEVICE`: bpf(2).

use super::descriptor;
use nix::errno::Errno;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

// Commands and numbers of linux/bpf.h.
const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const PROG_QUERY: libc::c_int = 16;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 1 << 1;
const REPLACE: u32 = 1 << 2;

/// The kernel takes no more for one group and kind (`BPF_CGROUP_MAX_PROGS`).
const MOST_PROGRAMS: usize = 64;

/// A loaded program that decides about access to devices.
#[derive(Debug)]
pub(crate) struct DeviceProgram(OwnedFd);

#[repr(C)]
#[derive(Default)]
struct Load {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    expected_attach_type: u32,
}

#[repr(C)]
#[derive(Default)]
struct Attachment {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
    replaced: u32,
}

#[repr(C)]
#[derive(Default)]
struct Query {
    target: u32,
    kind: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
}

#[repr(C)]
#[derive(Default)]
struct ById {
    id: u32,
    next: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct Info {
    program: u32,
    length: u32,
    info: u64,
}

/// struct bpf_prog_info up to its name.
#[repr(C)]
#[derive(Default)]
struct ProgramInfo {
    before_name: [u64; 8],
    name: [u8; 16],
}

impl DeviceProgram {
    /// Has the kernel verify and load `instructions` under a `name` of at most 15 letters, digits and `_`.
    pub(crate) fn load(name: &CStr, instructions: &[u64]) -> io::Result<DeviceProgram> {
        let count = u32::try_from(instructions.len()).map_err(|_| Errno::E2BIG)?;
        let attributes = Load {
            kind: TYPE_CGROUP_DEVICE,
            instruction_count: count,
            instructions: instructions.as_ptr() as u64,
            license: c"Apache-2.0".as_ptr() as u64,
            name: padded(name)?,
            expected_attach_type: ATTACH_CGROUP_DEVICE,
            ..Load::default()
        };
        // SAFETY: the pointers are those of the live slice with its length, and of a constant that ends in NUL.
        let fd = unsafe { bpf(PROG_LOAD, &attributes) }?;
        Ok(DeviceProgram(descriptor(fd)?))
    }

    /// Puts the program on a version 2 group, beside those that are on it.
    pub(crate) fn attach(&self, group: BorrowedFd<'_>) -> io::Result<()> {
        self.change(PROG_ATTACH, group, ALLOW_MULTI, 0)
    }

    /// Puts the program on a group in the place of `old`: at no moment is there neither.
    pub(crate) fn replace(&self, group: BorrowedFd<'_>, old: &DeviceProgram) -> io::Result<()> {
        self.change(PROG_ATTACH, group, ALLOW_MULTI | REPLACE, old.0.as_raw_fd())
    }

    /// Takes the program off a group.
    pub(crate) fn detach(&self, group: BorrowedFd<'_>) -> io::Result<()> {
        self.change(PROG_DETACH, group, 0, 0)
    }

    fn change(&self, command: libc::c_int, group: BorrowedFd<'_>, flags: u32, replaced: RawFd) -> io::Result<()> {
        let attributes = Attachment {
            target: group.as_raw_fd() as u32,
            program: self.0.as_raw_fd() as u32,
            kind: ATTACH_CGROUP_DEVICE,
            flags,
            replaced: replaced as u32,
        };
        // SAFETY: the attributes hold no pointers.
        unsafe { bpf(command, &attributes) }.map(drop)
    }

    /// The programs that are on a group itself, not on those above it.
    pub(crate) fn attached(group: BorrowedFd<'_>) -> io::Result<Vec<DeviceProgram>> {
        let mut ids = [0u32; MOST_PROGRAMS];
        let mut query = Query {
            target: group.as_raw_fd() as u32,
            kind: ATTACH_CGROUP_DEVICE,
            ids: ids.as_mut_ptr() as u64,
            count: MOST_PROGRAMS as u32,
            ..Query::default()
        };
        // SAFETY: the pointer and the count describe the live array; the kernel writes the count back into `query`.
        unsafe { bpf_mut(PROG_QUERY, &mut query) }?;
        let mut programs = Vec::new();
        for &id in ids.iter().take(query.count as usize) {
            // SAFETY: the attributes hold no pointers.
            match unsafe { bpf(PROG_GET_FD_BY_ID, &ById { id, ..ById::default() }) } {
                Ok(fd) => programs.push(DeviceProgram(descriptor(fd)?)),
                // Taken off in between.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(programs)
    }

    /// Whether it was loaded under this name.
    pub(crate) fn is_named(&self, name: &CStr) -> bool {
        let mut found = ProgramInfo::default();
        let attributes = Info {
            program: self.0.as_raw_fd() as u32,
            length: size_of::<ProgramInfo>() as u32,
            info: (&raw mut found) as u64,
        };
        // SAFETY: the pointer and the length describe the live structure.
        unsafe { bpf(OBJ_GET_INFO_BY_FD, &attributes) }.is_ok() && padded(name).is_ok_and(|name| name == found.name)
    }
}

fn padded(name: &CStr) -> io::Result<[u8; 16]> {
    let mut padded = [0; 16];
    let bytes = name.to_bytes_with_nul();
    padded.get_mut(..bytes.len()).ok_or(Errno::EINVAL)?.copy_from_slice(bytes);
    Ok(padded)
}

/// # Safety
/// Pointers among the attributes must be good for what the command does with them.
unsafe fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_long> {
    // SAFETY: the pointer and the size describe the live attributes, which the caller vouches for; commands that
    // write into them go through `bpf_mut`.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    Ok(Errno::result(result)?)
}

/// # Safety
/// As [`bpf`].
unsafe fn bpf_mut<T>(command: libc::c_int, attributes: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: as above; the kernel writes no more than the size.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    Ok(Errno::result(result)?)
}
