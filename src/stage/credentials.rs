//! Who the payload is and what it may do.

use super::constant::*;
use super::program::Program;
use super::call::call;
use super::syscall::Errno;

/// Takes on user and group 0 of the user namespace, without supplementary groups where the kernel lets them go.
pub(crate) fn become_root() -> Result<(), Errno> {
    // SAFETY: plain numbers.
    unsafe {
        call!(SETRESGID, 0, 0, 0)?;
        call!(SETRESUID, 0, 0, 0)?;
        match call!(SETGROUPS, 0, 0) {
            // setgroups is denied where an unprivileged user made the maps.
            Ok(_) | Err(EPERM) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

/// Takes on a user and a group; permitted capabilities stay until they are set.
pub(crate) fn set_ids(user: u32, group: u32) -> Result<(), Errno> {
    // SAFETY: plain numbers.
    unsafe {
        call!(SETRESGID, group, group, group)?;
        if user == 0 {
            return call!(SETRESUID, 0, 0, 0).map(drop);
        }
        call!(PRCTL, PR_SET_KEEPCAPS, 1)?;
        call!(SETRESUID, user, user, user)?;
        call!(PRCTL, PR_SET_KEEPCAPS, 0).map(drop)
    }
}

/// Sets the supplementary groups.
pub(crate) fn set_groups(groups: *const u8, count: u32) -> Result<(), Errno> {
    // SAFETY: the verifier has proved that `count` words lie at `groups`.
    unsafe { call!(SETGROUPS, count, groups) }.map(drop)
}

/// Drops from the bounding set every capability that is not in `kept`.
pub(crate) fn drop_bounding(kept: u64) -> Result<(), Errno> {
    for capability in 0..CAPABILITIES {
        if kept & (1 << capability) != 0 {
            continue;
        }
        // SAFETY: plain numbers.
        match unsafe { call!(PRCTL, PR_CAPBSET_DROP, capability) } {
            Ok(_) => {}
            // One past the last capability the kernel knows.
            Err(EINVAL) => return Ok(()),
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Sets effective, permitted and inheritable capabilities, and clears the ambient ones.
pub(crate) fn set_capabilities(effective: u64, permitted: u64, inheritable: u64) -> Result<(), Errno> {
    let header = [CAPABILITY_VERSION_3, 0];
    let low = |mask: u64| mask as u32;
    let high = |mask: u64| (mask >> 32) as u32;
    let sets =
        [low(effective), low(permitted), low(inheritable), high(effective), high(permitted), high(inheritable)];
    // SAFETY: header and data have the shape of version 3.
    unsafe {
        call!(PRCTL, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)?;
        call!(CAPSET, header.as_ptr(), sets.as_ptr()).map(drop)
    }
}

/// Raises ambient capabilities.
pub(crate) fn raise_ambient(mask: u64) -> Result<(), Errno> {
    for capability in (0..CAPABILITIES).filter(|capability| mask & (1 << capability) != 0) {
        // SAFETY: plain numbers.
        unsafe { call!(PRCTL, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) }?;
    }
    Ok(())
}

/// Fails with EPROTO unless the five sets are those of `expected`, two words each: bounding, effective, permitted,
/// inheritable, ambient.
pub(crate) fn check_capabilities(expected: &[u32; 10]) -> Result<(), Errno> {
    let header = [CAPABILITY_VERSION_3, 0];
    let mut sets = [0u32; 6];
    // SAFETY: header and data have the shape of version 3.
    unsafe { call!(CAPGET, header.as_ptr(), sets.as_mut_ptr()) }?;
    let [effective, permitted, inheritable] = [0, 1, 2].map(|set: usize| wide(sets[set], sets[set + 3]));
    let (mut bounding, mut ambient) = (0u64, 0u64);
    for capability in 0..CAPABILITIES {
        // SAFETY: plain numbers.
        let (bounded, raised) = unsafe {
            match call!(PRCTL, PR_CAPBSET_READ, capability) {
                // One past the last capability the kernel knows.
                Err(EINVAL) => break,
                bounded => (bounded?, call!(PRCTL, PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, capability, 0, 0)?),
            }
        };
        bounding |= (bounded as u64) << capability;
        ambient |= (raised as u64) << capability;
    }
    let found = [bounding, effective, permitted, inheritable, ambient];
    let same = (0..5).all(|set| found[set] == wide(expected[set * 2], expected[set * 2 + 1]));
    if same { Ok(()) } else { Err(EPROTO) }
}

/// A number of two words.
pub(crate) fn wide(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

/// No exec gains privileges any more.
pub(crate) fn no_new_privileges() -> Result<(), Errno> {
    // SAFETY: plain numbers.
    unsafe { call!(PRCTL, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }.map(drop)
}

/// Joins the session keyring of this name, made where there is none, or a new one without a name where it is empty.
/// Where the keyring of that name is another user's, a new one without a name as well.
pub(crate) fn new_keyring(name: &[u8]) -> Result<(), Errno> {
    if name.is_empty() {
        // SAFETY: no name.
        return unsafe { call!(KEYCTL, KEYCTL_JOIN_SESSION_KEYRING, 0) }.map(drop);
    }
    let mut description = [0u8; 128];
    // SAFETY: the name is NUL-terminated within the plan, the buffer live and its size passed.
    let (serial, own) = unsafe {
        let serial = call!(KEYCTL, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr())?;
        call!(KEYCTL, KEYCTL_DESCRIBE, serial, description.as_mut_ptr(), description.len())?;
        (serial, call!(GETEUID)? as u64)
    };
    // Type, user, group, permissions, name.
    let mut fields = description.split(|&byte| byte == b';').skip(1);
    let mut number = |radix: u64| fields.next().and_then(|digits| parse(digits, radix)).ok_or(EPROTO);
    let (owner, _, permissions) = (number(10)?, number(10)?, number(16)?);
    if owner != own {
        // Whoever holds it could read what is put into it, or keep the container from starting.
        return new_keyring(b"");
    }
    // As runc: found by its name only by those that may search it, as the same user's next process is to.
    // SAFETY: plain numbers.
    unsafe { call!(KEYCTL, KEYCTL_SETPERM, serial, permissions | KEY_USR_SEARCH) }.map(drop)
}

fn parse(digits: &[u8], radix: u64) -> Option<u64> {
    digits.iter().try_fold(0u64, |value, &byte| {
        let digit = (byte as char).to_digit(radix as u32)?;
        value.checked_mul(radix)?.checked_add(u64::from(digit))
    })
}

/// Limits a resource.
pub(crate) fn resource_limit(resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = [soft, hard];
    // SAFETY: a struct rlimit64.
    unsafe { call!(PRLIMIT64, 0, resource, limit.as_ptr(), 0) }.map(drop)
}

/// seccomp(2)'s argument.
#[repr(C)]
struct FilterProgram {
    length: u16,
    instructions: *const u8,
}

/// Loads a system call filter whose supervisor gets its descriptor; the exec closes this process's own.
pub(crate) fn load_listening_filter(program: &Program, offset: u32, count: u32, flags: u32) -> Result<(), Errno> {
    let filter = FilterProgram { length: count as u16, instructions: program.address(offset) };
    let flags = flags | SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // SAFETY: the verifier has proved that `count` instructions lie there.
    let listener = unsafe { call!(SECCOMP, SECCOMP_SET_MODE_FILTER, flags, &raw const filter) }?;
    super::parent::hand_over_listener(program, listener as i32)
}

/// Loads a system call filter.
pub(crate) fn load_filter(program: &Program, offset: u32, count: u32, flags: u32) -> Result<(), Errno> {
    let filter = FilterProgram { length: count as u16, instructions: program.address(offset) };
    // SAFETY: the verifier has proved that `count` instructions lie there.
    unsafe { call!(SECCOMP, SECCOMP_SET_MODE_FILTER, flags, &raw const filter) }.map(drop)
}
