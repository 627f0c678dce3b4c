//! Mounts from descriptor to descriptor: no path of a container reaches a mount as a string.

use super::constant::*;
use super::copy::{copy_up, take_mode};
use super::files::{check_filesystem, close, is_directory, open_below, open_own};
use super::place::mount_point;
use super::program::Program;
use super::call::call;
use super::syscall::Errno;
use crate::plan::op::{Landing, Reach};

/// mount_setattr(2)'s argument.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// A detached copy of the mount at `descriptor`.
pub(crate) fn clone_mount(descriptor: i32, recursive: bool) -> Result<i32, Errno> {
    let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: an empty, NUL-terminated path.
    unsafe { call!(OPEN_TREE, descriptor, c"".as_ptr(), flags) }.map(|mount| mount as i32)
}

/// A detached copy of the mount at a path of the host, which the parent chose.
pub(crate) fn clone_host(path: *const u8, flags: u32) -> Result<i32, Errno> {
    let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flags as usize;
    // SAFETY: the path is NUL-terminated.
    unsafe { call!(OPEN_TREE, AT_FDCWD, path, flags) }.map(|mount| mount as i32)
}

/// A file system context of the named type.
pub(crate) fn open_filesystem(name: *const u8) -> Result<i32, Errno> {
    // SAFETY: the name is NUL-terminated.
    unsafe { call!(FSOPEN, name, FSOPEN_CLOEXEC) }.map(|context| context as i32)
}

/// Sets an option of a file system context.
pub(crate) fn filesystem_option(context: i32, key: *const u8, value: *const u8) -> Result<(), Errno> {
    // SAFETY: both texts are NUL-terminated.
    unsafe { call!(FSCONFIG, context, FSCONFIG_SET_STRING, key, value, 0) }.map(drop)
}

/// Sets a flag of a file system context.
pub(crate) fn filesystem_flag(context: i32, key: *const u8) -> Result<(), Errno> {
    // SAFETY: the key is NUL-terminated.
    unsafe { call!(FSCONFIG, context, FSCONFIG_SET_FLAG, key, 0, 0) }.map(drop)
}

/// Creates the file system and mounts it, detached.
pub(crate) fn mount_filesystem(program: &Program, context: i32, attributes: u32) -> Result<i32, Errno> {
    program.part(0);
    // SAFETY: plain numbers.
    unsafe { call!(FSCONFIG, context, FSCONFIG_CMD_CREATE, 0, 0, 0) }?;
    program.part(1);
    // SAFETY: plain numbers.
    let mount = unsafe { call!(FSMOUNT, context, FSMOUNT_CLOEXEC, attributes) }?;
    close(context);
    Ok(mount as i32)
}

/// Takes up the file system of the mount at `place`, to change it.
pub(crate) fn pick_filesystem(place: i32) -> Result<i32, Errno> {
    // SAFETY: an empty, NUL-terminated path.
    unsafe { call!(FSPICK, place, c"".as_ptr(), FSPICK_CLOEXEC | FSPICK_EMPTY_PATH) }.map(|context| context as i32)
}

/// Changes a file system that was taken up.
pub(crate) fn reconfigure_filesystem(context: i32) -> Result<(), Errno> {
    // SAFETY: plain numbers.
    unsafe { call!(FSCONFIG, context, FSCONFIG_CMD_RECONFIGURE, 0, 0, 0) }.map(drop)
}

/// mount(2) on a path of the engine's own, for kernels whose overlay takes no layers one by one; the new mount, opened.
pub(crate) fn mount_by_path(kind: *const u8, target: *const u8, flags: u32, data: *const u8) -> Result<i32, Errno> {
    // SAFETY: all texts are NUL-terminated.
    unsafe { call!(MOUNT, kind, target, kind, flags, data) }?;
    super::files::open_host(target, O_PATH | O_DIRECTORY)
}

/// Attaches a detached mount.
pub(crate) fn attach(mount: i32, target: i32) -> Result<(), Errno> {
    let empty = c"".as_ptr();
    // SAFETY: empty, NUL-terminated paths.
    unsafe { call!(MOVE_MOUNT, mount, empty, target, empty, MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) }.map(drop)
}

/// Changes the attributes and the propagation of a mount.
pub(crate) fn set_attributes(mount: i32, recursive: bool, set: u32, clear: u32, propagation: u32) -> Result<(), Errno> {
    let attributes = MountAttributes {
        set: u64::from(set),
        clear: u64::from(clear),
        propagation: u64::from(propagation),
        user_namespace: 0,
    };
    let flags = AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    let size = size_of::<MountAttributes>();
    // SAFETY: an empty, NUL-terminated path; the argument is live and its size passed.
    unsafe { call!(MOUNT_SETATTR, mount, c"".as_ptr(), flags, &raw const attributes, size) }.map(drop)
}

/// Attaches a detached mount on a path of a file system in which nobody but the engine can change one.
pub(crate) fn attach_below(mount: i32, directory: i32, path: *const u8) -> Result<(), Errno> {
    let empty = c"".as_ptr();
    // SAFETY: both texts are NUL-terminated.
    unsafe { call!(MOVE_MOUNT, mount, empty, directory, path, MOVE_MOUNT_F_EMPTY_PATH) }.map(drop)
}

/// Attaches a detached mount at a path of a root, made where missing: the place is opened once, within the root, and
/// what was opened is what is mounted on. EXDEV: it lies in a /proc (CVE-2019-16884).
pub(crate) fn attach_at(program: &Program, mount: i32, root: i32, path: &[u8], landing: u32) -> Result<(), Errno> {
    program.part(0);
    let (place, made) = mount_point(root, path, mount, landing)?;
    let result = settle(program, mount, place, landing & if made { !Landing::TAKE_MODE } else { !0 });
    close(place);
    result
}

fn settle(program: &Program, mount: i32, place: i32, landing: u32) -> Result<(), Errno> {
    program.part(1);
    if landing & Landing::ON_PROC == 0 && check_filesystem(place, PROC_SUPER_MAGIC).is_ok() {
        return Err(EXDEV);
    }
    if landing & Landing::TAKE_MODE != 0 {
        take_mode(place, mount)?;
    }
    if landing & Landing::COPY_UP != 0 {
        copy_up(place, mount)?;
    }
    program.part(2);
    attach(mount, place)
}

/// What is at a path, for the operations that change it in place.
struct Place {
    directory: i32,
    path: *const u8,
    opened: bool,
}

impl Place {
    /// On a file system of the engine's own the path leads to the same thing however often it is followed. Everywhere
    /// else it is followed once: past no link and no other mount, or within the root.
    fn find(root: i32, path: *const u8, reach: u32) -> Result<Option<(Place, bool)>, Errno> {
        let opened = match reach {
            Reach::OWN => None,
            Reach::IN_ROOT => Some(open_below(root, path, O_PATH, 0)),
            _ => Some(open_own(root, path, O_PATH)),
        };
        let place = match opened {
            None => Place { directory: root, path, opened: false },
            Some(Err(ENOENT | ENOTDIR)) => return Ok(None),
            Some(opened) => Place { directory: opened?, path: c"".as_ptr().cast(), opened: true },
        };
        match is_directory(place.directory, place.path) {
            Ok(directory) => Ok(Some((place, directory))),
            Err(ENOENT | ENOTDIR) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    fn attach(&self, mount: i32) -> Result<(), Errno> {
        let (empty, flags) = (c"".as_ptr(), MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
        // SAFETY: both texts are NUL-terminated.
        unsafe { call!(MOVE_MOUNT, mount, empty, self.directory, self.path, flags) }.map(drop)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.opened {
            close(self.directory);
        }
    }
}

/// Hides a path of the mount `root` under an empty file or directory kept in `covers`: one that the engine made, never
/// `/dev/null` by path (CVE-2025-31133).
pub(crate) fn mask(program: &Program, root: i32, path: *const u8, covers: i32, reach: u32) -> Result<(), Errno> {
    program.part(0);
    let Some((place, directory)) = Place::find(root, path, reach)? else { return Ok(()) };
    let name = if directory { c"directory" } else { c"file" };
    program.part(1);
    // SAFETY: the name is NUL-terminated.
    let mount = unsafe { call!(OPEN_TREE, covers, name.as_ptr(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC) }? as i32;
    program.part(2);
    let result = place.attach(mount);
    close(mount);
    result
}

/// Makes a path of the mount `root` read-only by a bind of itself.
pub(crate) fn make_read_only(program: &Program, root: i32, path: *const u8, reach: u32) -> Result<(), Errno> {
    program.part(0);
    let Some((place, _)) = Place::find(root, path, reach)? else { return Ok(()) };
    program.part(1);
    let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW;
    // SAFETY: the path is NUL-terminated.
    let mount = unsafe { call!(OPEN_TREE, place.directory, place.path, flags) }? as i32;
    program.part(2);
    let result = set_attributes(mount, true, MOUNT_ATTR_RDONLY as u32, 0, 0).and_then(|()| place.attach(mount));
    close(mount);
    result
}

/// Binds the file `name` of the directory `source`, without following a link, over one made in the engine's own
/// `directory`.
pub(crate) fn bind_file(program: &Program, directory: i32, name: *const u8, source: i32) -> Result<(), Errno> {
    program.part(0);
    super::files::make_node(directory, name, S_IFREG | 0o666, 0)?;
    let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW;
    program.part(1);
    // SAFETY: the name is NUL-terminated.
    let mount = unsafe { call!(OPEN_TREE, source, name, flags) }? as i32;
    program.part(2);
    let result = attach_below(mount, directory, name);
    close(mount);
    result
}

/// Makes `root` the root and lets go of the old one, which lies on top of it for a moment.
pub(crate) fn pivot_root(program: &Program, root: i32) -> Result<(), Errno> {
    super::files::change_directory(root)?;
    let here = c".".as_ptr();
    program.part(0);
    // SAFETY: NUL-terminated paths.
    unsafe { call!(PIVOT_ROOT, here, here) }?;
    program.part(1);
    let own = mount_id(root, c"")?;
    // Whatever is stacked on the old root hides it from umount2 and has to go first. `..` leads from the root to the top
    // of the stack: were anything left there, it would lead the container out.
    let mut layers = 0;
    while mount_id(AT_FDCWD as i32, c"..")? != own {
        layers += 1;
        if layers > STACK_BUDGET {
            return Err(ELOOP);
        }
        // SAFETY: a NUL-terminated path.
        unsafe { call!(UMOUNT2, here, MNT_DETACH) }?;
    }
    // The working directory is the new root since before the pivot.
    Ok(())
}

/// Makes `root` the root and leaves the old one, `host`, where it is, for namespaces whose root cannot be changed. The
/// old root's /proc and /sys are taken out of sight: as long as they are whole, the kernel lets a container mount new
/// ones without what is masked in its own.
pub(crate) fn change_root(program: &Program, root: i32, host: i32, hide: bool) -> Result<(), Errno> {
    if hide {
        super::files::change_directory(host)?;
        for (part, name) in [c"proc", c"sys"].into_iter().enumerate() {
            program.part(part as u32);
            // SAFETY: a NUL-terminated path.
            match unsafe { call!(UMOUNT2, name.as_ptr(), MNT_DETACH | UMOUNT_NOFOLLOW) } {
                Ok(_) | Err(ENOENT) => {}
                // Locked by the user namespace that it came from, or not mounted at all.
                Err(EINVAL | EPERM) => cover(name)?,
                Err(errno) => return Err(errno),
            }
        }
    }
    program.part(2);
    super::files::change_directory(root)?;
    // SAFETY: a NUL-terminated path.
    unsafe { call!(CHROOT, c".".as_ptr()) }.map(drop)
}

/// Mounts an empty file system over a directory in the working directory.
fn cover(name: &core::ffi::CStr) -> Result<(), Errno> {
    let (kind, flags) = (c"tmpfs".as_ptr(), MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC);
    // SAFETY: all texts are NUL-terminated.
    unsafe { call!(MOUNT, kind, name.as_ptr(), kind, flags, 0) }.map(drop)
}

/// How many mounts are let go of on top of one another.
const STACK_BUDGET: u32 = 64;

/// The number of the mount that `path` leads to.
fn mount_id(directory: i32, path: &core::ffi::CStr) -> Result<u64, Errno> {
    let mut statx = [0u64; 32];
    // SAFETY: struct statx has 256 bytes; stx_mnt_id is its word 18.
    unsafe { call!(STATX, directory, path.as_ptr(), AT_EMPTY_PATH, STATX_MNT_ID, statx.as_mut_ptr()) }?;
    Ok(statx[18])
}
