//! Carries out a plan, one operation after the other.

use super::constant::*;
use super::program::{EMPTY, Program};
use super::call::call;
use super::syscall::Errno;
use super::{
    attributes, credentials, execute, files, hook, init, keeper, landlock, mounts, parent, place, process, terminal,
};
use crate::plan::layout::{Message, Role, State};
use crate::plan::op::{Op, OpCode, Tolerate};
use core::sync::atomic::Ordering;

/// Plays the part that the plan is for.
pub(crate) fn play(program: &mut Program) -> ! {
    if program.header().role == Role::KEEPER { keeper::run(program) } else { run(program) }
}

/// Runs the plan's start to its exec, or to its first fault.
pub(crate) fn run(program: &mut Program) -> ! {
    let count = program.header().op_count as usize;
    run_range(program, 0..count)
}

/// Runs the operations that enter what the start has made.
pub(crate) fn enter(program: &mut Program) -> ! {
    let header = *program.header();
    let first = header.op_count as usize;
    run_range(program, first..first + header.enter_count as usize)
}

fn run_range(program: &mut Program, range: core::ops::Range<usize>) -> ! {
    let header = *program.header();
    for index in range {
        let op = program.op(index);
        program.record(index);
        let result = if header.drill_op == index as u32 { drill(header.drill_errno) } else { step(program, &op) };
        match result {
            Ok(()) => {}
            Err(errno) if tolerated(op.tolerate, errno) => {}
            Err(errno) => fault(program, errno),
        }
    }
    fault(program, EPROTO)
}

fn drill(errno: u32) -> Result<(), Errno> {
    if errno == 0 {
        process::kill_self();
    }
    Err(errno as Errno)
}

/// Leaves word of the fault for the parent, or for whoever started what had been parked, and ends.
fn fault(program: &Program, errno: Errno) -> ! {
    let recorder = program.recorder();
    recorder.errno.store(errno, Ordering::Relaxed);
    recorder.state.store(State::FAULTED, Ordering::Release);
    parent::tell_starter(program, errno);
    process::exit(127)
}

fn tolerated(set: u8, errno: Errno) -> bool {
    let class = match errno {
        EEXIST => Tolerate::EXISTS,
        ENOENT | ENOTDIR => Tolerate::MISSING,
        EPERM | EACCES => Tolerate::REFUSED,
        EINVAL | ENODEV | ENOSYS => Tolerate::UNKNOWN,
        _ => Tolerate::NONE,
    };
    set & class != 0
}

fn step(program: &mut Program, op: &Op) -> Result<(), Errno> {
    let Some(code) = OpCode::from_number(op.code) else { return Err(EPROTO) };
    match code {
        OpCode::OpenHost
        | OpCode::OpenBelow
        | OpCode::MakeDirectories
        | OpCode::MakeNode
        | OpCode::MakeDirectory
        | OpCode::MakeLink
        | OpCode::PlaceLink
        | OpCode::MakeDevice
        | OpCode::CheckDevice
        | OpCode::Close
        | OpCode::Write
        | OpCode::WriteBelow
        | OpCode::CheckFilesystem
        | OpCode::ChangeDirectory
        | OpCode::StandardStream
        | OpCode::OpenTerminal
        | OpCode::SendDescriptor
        | OpCode::WorkingDirectory => file_step(program, code, &op.arguments),
        OpCode::CloneHost
        | OpCode::CloneMount
        | OpCode::OpenFilesystem
        | OpCode::FilesystemOption
        | OpCode::FilesystemFlag
        | OpCode::MountFilesystem
        | OpCode::MountByPath
        | OpCode::Attach
        | OpCode::AttachBelow
        | OpCode::AttachAt
        | OpCode::MountAttributes
        | OpCode::Mask
        | OpCode::BindFile
        | OpCode::MakeReadOnly
        | OpCode::PickFilesystem
        | OpCode::ReconfigureFilesystem
        | OpCode::ChangeRoot
        | OpCode::PivotRoot => mount_step(program, code, &op.arguments),
        OpCode::ResourceLimit
        | OpCode::DropBounding
        | OpCode::SetGroups
        | OpCode::SetIds
        | OpCode::SetCapabilities
        | OpCode::RaiseAmbient
        | OpCode::CheckCapabilities
        | OpCode::NoNewPrivileges
        | OpCode::LandlockAllow
        | OpCode::LandlockRestrict
        | OpCode::LoadListeningFilter
        | OpCode::LoadFilter => privilege_step(program, code, &op.arguments),
        _ => process_step(program, code, &op.arguments),
    }
}

fn file_step(program: &mut Program, code: OpCode, arguments: &[u32; 7]) -> Result<(), Errno> {
    let [a, b, c, d, e, f, _] = *arguments;
    let slot = program.slot(a);
    if slot == EMPTY && !matches!(code, OpCode::OpenHost | OpCode::WorkingDirectory) {
        return Ok(());
    }
    match code {
        OpCode::OpenHost => {
            let opened = files::open_host(program.address(a), b as usize)?;
            program.fill(c, opened);
        }
        OpCode::OpenBelow => {
            let opened = files::open_below(slot, program.address(b), c as usize, 0)?;
            program.fill(d, opened);
        }
        OpCode::MakeDirectories => {
            let opened = place::make_directories(slot, program.text(b), c)?;
            program.fill(d, opened);
        }
        OpCode::MakeNode => return files::make_node(slot, program.address(b), c, d),
        OpCode::MakeDirectory => return files::make_directory(slot, program.address(b), c),
        OpCode::MakeLink => return files::make_link(slot, program.address(b), program.text(c)),
        OpCode::PlaceLink => return files::place_link(slot, program.address(b), program.text(c)),
        OpCode::MakeDevice => {
            let node = files::Node { mode: c, device: d, owner: (e, f) };
            return place::make_device(slot, program.text(b), &node);
        }
        OpCode::CheckDevice => return files::check_device(slot, c"".as_ptr().cast(), b, c),
        OpCode::Close => program.empty(a),
        OpCode::WriteBelow => return attributes::write_below(slot, program.address(b), program.text(c)),
        OpCode::Write => return files::write(slot, program.text(b)),
        OpCode::CheckFilesystem => return files::check_filesystem(slot, b),
        OpCode::ChangeDirectory => return files::change_directory(slot),
        OpCode::StandardStream => return files::replace(slot, b),
        OpCode::OpenTerminal => {
            let [master, slave] = terminal::open(program, slot, d, arguments[4])?;
            program.fill(b, master);
            program.fill(c, slave);
        }
        OpCode::SendDescriptor => return parent::send_text(slot, program.text(c), Some(program.slot(b))),
        _ => return files::enter_working_directory(program, a, b),
    }
    Ok(())
}

fn mount_step(program: &mut Program, code: OpCode, arguments: &[u32; 7]) -> Result<(), Errno> {
    let [a, b, c, d, e, ..] = *arguments;
    let slot = program.slot(a);
    if slot == EMPTY && !matches!(code, OpCode::CloneHost | OpCode::OpenFilesystem | OpCode::MountByPath) {
        return Ok(());
    }
    match code {
        OpCode::CloneHost => {
            let mount = mounts::clone_host(program.address(a), b)?;
            program.fill(c, mount);
        }
        OpCode::CloneMount => {
            let mount = mounts::clone_mount(slot, b != 0)?;
            program.fill(c, mount);
        }
        OpCode::OpenFilesystem => {
            let context = mounts::open_filesystem(program.address(a))?;
            program.fill(b, context);
        }
        OpCode::PickFilesystem => {
            let context = mounts::pick_filesystem(slot)?;
            program.fill(b, context);
        }
        OpCode::ReconfigureFilesystem => return mounts::reconfigure_filesystem(slot),
        OpCode::ChangeRoot => return mounts::change_root(program, slot, program.slot(b), c != 0),
        OpCode::FilesystemOption => {
            return mounts::filesystem_option(slot, program.address(b), program.address(c));
        }
        OpCode::FilesystemFlag => return mounts::filesystem_flag(slot, program.address(b)),
        OpCode::MountFilesystem => {
            let mount = mounts::mount_filesystem(program, slot, b)?;
            program.fill(c, mount);
        }
        OpCode::MountByPath => {
            let mount = mounts::mount_by_path(program.address(a), program.address(b), c, program.address(d))?;
            program.fill(e, mount);
        }
        OpCode::Attach if program.slot(b) == EMPTY => {}
        OpCode::Attach => return mounts::attach(slot, program.slot(b)),
        OpCode::AttachBelow => return mounts::attach_below(slot, program.slot(b), program.address(c)),
        OpCode::AttachAt => return mounts::attach_at(program, slot, program.slot(b), program.text(c), d),
        OpCode::MountAttributes => return mounts::set_attributes(slot, b != 0, c, d, e),
        OpCode::Mask => return mounts::mask(program, slot, program.address(b), program.slot(c), d),
        OpCode::BindFile => return mounts::bind_file(program, slot, program.address(b), program.slot(c)),
        OpCode::MakeReadOnly => return mounts::make_read_only(program, slot, program.address(b), c),
        _ => return mounts::pivot_root(program, slot),
    }
    Ok(())
}

fn privilege_step(program: &mut Program, code: OpCode, arguments: &[u32; 7]) -> Result<(), Errno> {
    let [a, b, c, d, e, f, _] = *arguments;
    let wide = credentials::wide;
    match code {
        OpCode::ResourceLimit => credentials::resource_limit(a, wide(b, c), wide(d, e)),
        OpCode::DropBounding => credentials::drop_bounding(wide(a, b)),
        OpCode::SetGroups => credentials::set_groups(program.address(a), b),
        OpCode::SetIds => credentials::set_ids(a, b),
        OpCode::SetCapabilities => credentials::set_capabilities(wide(a, b), wide(c, d), wide(e, f)),
        OpCode::RaiseAmbient => credentials::raise_ambient(wide(a, b)),
        OpCode::CheckCapabilities => credentials::check_capabilities(program.words(a, b).ok_or(EPROTO)?),
        OpCode::LandlockAllow => landlock::allow(program.slot(a), program.address(b), u64::from(c)),
        OpCode::LandlockRestrict => landlock::restrict(program.slot(a)),
        OpCode::LoadListeningFilter => credentials::load_listening_filter(program, a, b, c),
        OpCode::NoNewPrivileges => credentials::no_new_privileges(),
        _ => credentials::load_filter(program, a, b, c),
    }
}

fn process_step(program: &mut Program, code: OpCode, arguments: &[u32; 7]) -> Result<(), Errno> {
    let [a, b, c, d, e, ..] = *arguments;
    match code {
        OpCode::CloseOthers => process::close_others(program, false),
        OpCode::CloseOnExec => process::close_on_exec(a),
        OpCode::Hide => process::set_dumpable(false),
        OpCode::WriteOwn => attributes::write_own(program.address(a), program.text(b)),
        OpCode::SetAffinity => attributes::set_affinity(program.address(a), b),
        OpCode::SetScheduler => attributes::set_scheduler(program.address(a)),
        OpCode::SetIoPriority => attributes::set_io_priority(a),
        OpCode::SetPersonality => attributes::set_personality(a),
        OpCode::SetMemoryPolicy => attributes::set_memory_policy(a, program.address(b), c),
        OpCode::NewKeyring => credentials::new_keyring(program.text(a)),
        OpCode::ResetSignals => process::reset_signals(),
        OpCode::ResetAffinity => process::reset_affinity(),
        OpCode::DieWithParent => process::die_with_parent(program, a != 0),
        OpCode::AskForIdMaps => parent::ask_for_id_maps(program),
        OpCode::GoOnInChild => parent::go_on_in_child(program, a != 0),
        OpCode::GoOnInside => parent::go_on_inside(program),
        OpCode::BecomeRoot => credentials::become_root(),
        OpCode::LoopbackUp => loopback_up(),
        OpCode::Wait => parent::ask(program, Message::READY),
        OpCode::Gate => parent::ask(program, Message::GATE),
        OpCode::RunHook => {
            let hook = hook::Hook { path: a, arguments: b, environment: c, state: d, timeout: e };
            hook::run(program, &hook)
        }
        OpCode::OpenRoot => {
            let root = files::open_host(c"/".as_ptr().cast(), O_PATH | O_DIRECTORY)?;
            program.fill(a, root);
            Ok(())
        }
        OpCode::StayAsInit => init::stay_as_init(program),
        OpCode::AwaitStart => parent::await_start(program, a, b),
        OpCode::FindProgram => execute::find(program, a),
        OpCode::Execute => execute::execute(program, a, b, c),
        // SAFETY: numbers, and bytes that the verifier has proved to lie within the plan.
        _ => unsafe {
            match code {
                OpCode::Umask => call!(UMASK, a),
                OpCode::NewSession => call!(SETSID),
                OpCode::JoinNamespace => call!(SETNS, program.slot(a), b),
                OpCode::Unshare => call!(UNSHARE, a),
                OpCode::SetHostname => call!(SETHOSTNAME, program.address(a), b),
                OpCode::SetDomainname => call!(SETDOMAINNAME, program.address(a), b),
                OpCode::ControllingTerminal => call!(IOCTL, program.slot(a), TIOCSCTTY, 0),
                _ => Err(EPROTO),
            }
        }
        .map(drop),
    }
}

/// struct ifreq: a name, then flags.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; 16],
    flags: u16,
    padding: [u8; 22],
}

fn loopback_up() -> Result<(), Errno> {
    // SAFETY: plain numbers.
    let socket = unsafe { call!(SOCKET, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) }?;
    let mut request = InterfaceRequest { name: *b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0", flags: 0, padding: [0; 22] };
    // SAFETY: a live struct ifreq of 40 bytes.
    let result = unsafe {
        call!(IOCTL, socket, SIOCGIFFLAGS, &raw mut request).and_then(|_| {
            request.flags |= IFF_UP;
            call!(IOCTL, socket, SIOCSIFFLAGS, &raw mut request)
        })
    };
    files::close(socket as i32);
    result.map(drop)
}
