//! The operations of a plan. This file is also part of the stage: core only.

/// One operation: fixed size, no pointers. What the arguments mean is in the signature table beside this file.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Op {
    /// An [`OpCode`] as a number.
    pub code: u16,
    /// A [`Phase`](super::phase::Phase) as a number.
    pub phase: u8,
    /// The errnos that do not fail the operation: bits of [`Tolerate`].
    pub tolerate: u8,
    /// Slots, offsets into the plan, numbers.
    pub arguments: [u32; 7],
}

/// A slot argument that names no slot.
pub const NO_SLOT: u32 = u32::MAX;

/// How many slots a plan may use.
pub const SLOTS: usize = 256;

/// The errnos that an operation may shrug off. Its output slot then stays empty, and an operation whose input slot is
/// empty is passed over.
pub struct Tolerate;

impl Tolerate {
    /// None.
    pub const NONE: u8 = 0;
    /// `EEXIST`.
    pub const EXISTS: u8 = 1;
    /// `ENOENT` and `ENOTDIR`.
    pub const MISSING: u8 = 2;
    /// `EPERM` and `EACCES`.
    pub const REFUSED: u8 = 4;
    /// `EINVAL`, `ENODEV` and `ENOSYS`: a kernel without it.
    pub const UNKNOWN: u8 = 8;
}

/// How a mount comes to its place in the root: bits of an argument of [`OpCode::AttachAt`].
pub struct Landing;

impl Landing {
    /// No link on the way, and a directory at the end: what is mounted at a path must be found at that path
    /// (CVE-2019-19921).
    pub const STRAIGHT: u32 = 1;
    /// The place may be a file of a /proc.
    pub const ON_PROC: u32 = 2;
    /// The content of the directory there is copied into the mount first.
    pub const COPY_UP: u32 = 4;
    /// A link at the end is itself the place.
    pub const OVER_LINK: u32 = 8;
    /// A link at the end is an error.
    pub const NO_LINK: u32 = 16;
    /// The mount takes on the mode of a directory that was there before.
    pub const TAKE_MODE: u32 = 32;
}

/// Where a path is that is masked or made read-only: an argument of [`OpCode::Mask`] and [`OpCode::MakeReadOnly`].
pub struct Reach;

impl Reach {
    /// On the file system of the slot, past no link.
    pub const STRAIGHT: u32 = 0;
    /// The same, and nobody else can change a path of that file system.
    pub const OWN: u32 = 1;
    /// In the root of the slot, links followed within it.
    pub const IN_ROOT: u32 = 2;
}

macro_rules! op_codes {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What an operation does.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u16)]
        pub enum OpCode { $($(#[$doc])* $name,)* }

        impl OpCode {
            /// All codes in the order of their numbers.
            pub const ALL: &[OpCode] = &[$(OpCode::$name,)*];

            /// The code of a number.
            pub fn from_number(number: u16) -> Option<OpCode> {
                OpCode::ALL.get(number as usize).copied()
            }
        }
    };
}

op_codes! {
    /// Closes every descriptor that is not on the plan's list.
    CloseOthers,
    /// Default action for every signal, none blocked.
    ResetSignals,
    /// Allows every processor again.
    ResetAffinity,
    /// Sets the umask to argument 0.
    Umask,
    /// Asks for SIGKILL when the parent dies; argument 0 is 1: ends if the socket to the parent has closed already.
    DieWithParent,
    /// A session of its own.
    NewSession,
    /// A session keyring of its own, named by text 0; without a name where that is empty.
    NewKeyring,
    /// Writes text 1 into the file 0 of this thread's directory in the host's /proc.
    WriteOwn,
    /// Allows the processors of the mask of bytes 0, length 1.
    SetAffinity,
    /// Writes text 1 into slot 0.
    Write,
    /// Enters the namespaces of slot 0; argument 1 is the set of CLONE_NEW flags.
    JoinNamespace,
    /// Makes new namespaces: argument 0 is the set of CLONE_NEW flags.
    Unshare,
    /// Asks the parent to write the id maps of this process, and waits.
    AskForIdMaps,
    /// Goes on in a child (of a PID namespace unshared or joined before); the parent gets its descriptor. Argument 0 is 1:
    /// a filter may be in force.
    GoOnInChild,
    /// Goes on in a child, in the PID namespace joined before; the child's parent is that of this process, which ends.
    GoOnInside,
    /// Takes on uid 0 and gid 0 of the user namespace.
    BecomeRoot,
    /// Sets the host name to the bytes 0, length 1.
    SetHostname,
    /// Sets the NIS domain name to the bytes 0, length 1.
    SetDomainname,
    /// Brings the loopback interface up.
    LoopbackUp,
    /// Opens the host's path 0 with flags 1 into slot 2.
    OpenHost,
    /// Opens path 1 below slot 0 with flags 2 into slot 3, never leaving it.
    OpenBelow,
    /// Opens the directory path 1 below slot 0 into slot 3; what is missing is made with mode 2.
    MakeDirectories,
    /// Makes a device, file or fifo named 1 in directory slot 0, mode 2, device number 3.
    MakeNode,
    /// Makes a directory named 1 in directory slot 0, mode 2.
    MakeDirectory,
    /// Makes a symbolic link named 1 in directory slot 0 to target 2.
    MakeLink,
    /// Makes a symbolic link named 1 in directory slot 0 to target 2, in the place of what else has the name.
    PlaceLink,
    /// Makes the device or fifo path 1 below slot 0, mode 2, device number 3, owner 4 and group 5; one that is there
    /// already must be the same.
    MakeDevice,
    /// Fails unless slot 0 is a device of type 1 and number 2.
    CheckDevice,
    /// Closes slot 0, which is empty afterwards.
    Close,
    /// Copies the mount at the host's path 0, flags 1 of open_tree(2), into slot 2.
    CloneHost,
    /// Copies the mount at slot 0 (argument 1: with everything below it) into slot 2.
    CloneMount,
    /// Begins a file system of type 0 into slot 1.
    OpenFilesystem,
    /// Sets key 1 to text 2 on file system slot 0.
    FilesystemOption,
    /// Sets flag 1 on file system slot 0.
    FilesystemFlag,
    /// Creates file system slot 0 and mounts it, detached, with attributes 1, into slot 2.
    MountFilesystem,
    /// Takes up the file system mounted at slot 0, to change it, into slot 1.
    PickFilesystem,
    /// Changes the file system of context slot 0 as its options say.
    ReconfigureFilesystem,
    /// Mounts type 0 on the host's path 1 with flags 2 and data 3, by mount(2), the mount into slot 4.
    MountByPath,
    /// Attaches the mount slot 0 on slot 1.
    Attach,
    /// Attaches the mount slot 0 on the path 2 in directory slot 1, which is the engine's own.
    AttachBelow,
    /// Attaches the mount slot 0 at path 2 in root slot 1, made where missing; argument 3: bits of [`Landing`].
    AttachAt,
    /// Changes mount slot 0: recursive 1, attributes to set 2 and to clear 3, propagation 4.
    MountAttributes,
    /// Hides path 1 below slot 0 with the empty file or directory kept in slot 2; passes over what is missing. Argument
    /// 3: one of [`Reach`].
    Mask,
    /// Makes a file named 1 in directory slot 0 and binds the file of that name in directory slot 2 over it.
    BindFile,
    /// Makes path 1 below slot 0 read-only; passes over what is missing. Argument 2: one of [`Reach`].
    MakeReadOnly,
    /// Writes text 2 into the file 1 of slot 0, a file system of the engine's own, which nothing can cover.
    WriteBelow,
    /// Fails unless slot 0 is on a file system of type 1 (statfs magic).
    CheckFilesystem,
    /// Makes slot 0 the working directory.
    ChangeDirectory,
    /// Makes mount slot 0 the root and lets go of the old one.
    PivotRoot,
    /// Makes slot 0 the root without letting go of the old one, slot 1, whose /proc and /sys are taken out of sight where
    /// argument 2 is 1.
    ChangeRoot,
    /// Puts slot 0 in the place of descriptor 1 (0, 1 or 2).
    StandardStream,
    /// Makes the terminal slot 0 the controlling one of a new session.
    ControllingTerminal,
    /// Opens the root into slot 0.
    OpenRoot,
    /// Opens a new pseudo-terminal of the devpts at dev/pts below slot 0: the master into slot 1, the slave into slot 2.
    /// Argument 3: rows and, times 65536, columns, or 0; 4: the user that gets the slave.
    OpenTerminal,
    /// Sends the descriptor slot 1 over the connected socket slot 0, along with text 2.
    SendDescriptor,
    /// Makes path 0 the working directory, resolved within the root; made with mode 1 where missing, unless 1 is 0.
    WorkingDirectory,
    /// Limits resource 0: soft limit 1 (low) 2 (high), hard limit 3 and 4.
    ResourceLimit,
    /// Drops from the bounding set what is not in the mask 0 (low) 1 (high).
    DropBounding,
    /// Sets the supplementary groups to the words 0, count 1.
    SetGroups,
    /// Takes on uid 0 and gid 1, keeping permitted capabilities.
    SetIds,
    /// Sets the capability sets: effective 0 1, permitted 2 3, inheritable 4 5.
    SetCapabilities,
    /// Raises ambient capabilities of the mask 0 1.
    RaiseAmbient,
    /// Fails unless the sets are the ten words 0: bounding, effective, permitted, inheritable, ambient.
    CheckCapabilities,
    /// Sets the scheduling to the struct sched_attr in the words 0.
    SetScheduler,
    /// Sets the I/O priority to 0.
    SetIoPriority,
    /// Sets the execution domain to 0.
    SetPersonality,
    /// Sets the memory policy to mode and flags 0 for the nodes of the mask of bytes 1, length 2.
    SetMemoryPolicy,
    /// Gives up gaining privileges by exec.
    NoNewPrivileges,
    /// Marks descriptors from number 0 on to be closed by the exec.
    CloseOnExec,
    /// Lets nobody without rights over the host trace this process or open its memory; the exec ends it.
    Hide,
    /// Allows the rights 2 on path 1 in the landlock ruleset slot 0; the path is resolved within the root.
    LandlockAllow,
    /// Puts the landlock ruleset slot 0 in force.
    LandlockRestrict,
    /// Loads the system call filter at 0 of 1 instructions, with flags 2.
    LoadFilter,
    /// As the operation before, for a filter that asks a supervisor: the parent gets the descriptor for it, and says when
    /// the supervisor has it.
    LoadListeningFilter,
    /// Tells the parent that it got here, and waits for the word to go on.
    Wait,
    /// Tells the parent that all is built, and waits until it has done its part.
    Gate,
    /// Runs the program at path 0 with arguments 1 and environment 2 and waits for it, for 4 seconds at most (0: for
    /// however long); it reads the number of this process between the two texts 3, and what it writes last is kept.
    RunHook,
    /// Lets go of the parent and waits for a byte on the fifo slot 0; from then on a fault is written to the fifo slot 1.
    AwaitStart,
    /// Fails unless one of the candidate paths 0 can be executed.
    FindProgram,
    /// Stays as PID 1, forwarding signals and reaping; a child goes on.
    StayAsInit,
    /// Executes the first of the candidate paths 2 that exists, with arguments 0 and environment 1.
    Execute,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_their_numbers() {
        for (number, &code) in OpCode::ALL.iter().enumerate() {
            assert_eq!(code as usize, number);
        }
        assert_eq!(size_of::<Op>(), 32);
    }
}
