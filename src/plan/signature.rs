//! What the arguments of each operation mean: one table for the verifier, the listing and the builder.

use super::op::OpCode;
use super::phase::Phase;

/// The meaning of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Argument {
    /// Not used: 0.
    Unused,
    /// A plain number, shown in the listing in the given way.
    Number(Radix),
    /// A slot that an earlier operation or the parent has filled.
    Input,
    /// A filled slot that is empty afterwards.
    Last,
    /// A slot to fill.
    Output,
    /// The offset of a NUL-terminated text in the plan.
    Text,
    /// The offset of bytes whose number is the next argument.
    Bytes,
    /// The offset of 32-bit words whose number is the next argument.
    Words,
    /// The offset of filter instructions whose number is the next argument.
    Filter,
    /// The number of elements of the argument before.
    Count,
    /// The offset of a list of text offsets, 64 bits each, ended by 0.
    Texts,
}

/// How a number is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Radix {
    Decimal,
    Octal,
    Hexadecimal,
}

/// The shape of an operation.
pub(crate) struct Signature {
    /// The name in listings.
    pub(crate) name: &'static str,
    /// The first and the last phase it may stand in.
    pub(crate) phases: (Phase, Phase),
    /// What its arguments mean.
    pub(crate) arguments: &'static [Argument],
}

const DECIMAL: Argument = Argument::Number(Radix::Decimal);
const OCTAL: Argument = Argument::Number(Radix::Octal);
const HEXADECIMAL: Argument = Argument::Number(Radix::Hexadecimal);

/// The shape of `code`.
pub(crate) fn signature(code: OpCode) -> Signature {
    use Argument::{Bytes, Count, Filter, Input, Last, Output, Text, Texts, Words};
    use OpCode::*;
    use Phase::*;
    let (name, phases, arguments): (_, _, &'static [Argument]) = match code {
        CloseOthers => ("close-others", (Fence, Fence), &[]),
        ResetSignals => ("reset-signals", (Fence, Fence), &[]),
        ResetAffinity => ("reset-affinity", (Fence, Fence), &[]),
        Umask => ("umask", (Fence, Privilege), &[OCTAL]),
        DieWithParent => ("die-with-parent", (Fence, Park), &[DECIMAL]),
        NewSession => ("new-session", (Fence, Park), &[]),
        NewKeyring => ("new-keyring", (Fence, Fence), &[Text]),
        WriteOwn => ("write-own", (Fence, Join), &[Text, Text]),
        SetAffinity => ("set-affinity", (Fence, Privilege), &[Bytes, Count]),
        Write => ("write", (Join, Privilege), &[Input, Text]),
        JoinNamespace => ("join-namespace", (Join, Join), &[Input, HEXADECIMAL]),
        Unshare => ("unshare", (Join, Identity), &[HEXADECIMAL]),
        AskForIdMaps => ("ask-for-id-maps", (Map, Map), &[]),
        GoOnInChild => ("go-on-in-child", (Map, Park), &[DECIMAL]),
        GoOnInside => ("go-on-inside", (Park, Park), &[]),
        BecomeRoot => ("become-root", (Map, Identity), &[]),
        SetHostname => ("set-hostname", (Identity, Identity), &[Bytes, Count]),
        SetDomainname => ("set-domainname", (Identity, Identity), &[Bytes, Count]),
        LoopbackUp => ("loopback-up", (Identity, Identity), &[]),
        OpenHost => ("open-host", (Fence, Mount), &[Text, HEXADECIMAL, Output]),
        OpenBelow => ("open-below", (Mount, Session), &[Input, Text, HEXADECIMAL, Output]),
        MakeDirectories => ("make-directories", (Mount, Mount), &[Input, Text, OCTAL, Output]),
        MakeNode => ("make-node", (Mount, Mount), &[Input, Text, OCTAL, HEXADECIMAL]),
        MakeDirectory => ("make-directory", (Mount, Mount), &[Input, Text, OCTAL]),
        MakeLink => ("make-link", (Mount, Mount), &[Input, Text, Text]),
        PlaceLink => ("place-link", (Mount, Mount), &[Input, Text, Text]),
        MakeDevice => ("make-device", (Mount, Mount), &[Input, Text, OCTAL, HEXADECIMAL, DECIMAL, DECIMAL]),
        CheckDevice => ("check-device", (Mount, Mount), &[Input, OCTAL, HEXADECIMAL]),
        Close => ("close", (Enter, Session), &[Last]),
        CloneHost => ("clone-host", (Enter, Mount), &[Text, HEXADECIMAL, Output]),
        CloneMount => ("clone-mount", (Mount, Mount), &[Input, DECIMAL, Output]),
        OpenFilesystem => ("open-filesystem", (Mount, Mount), &[Text, Output]),
        FilesystemOption => ("filesystem-option", (Mount, Mount), &[Input, Text, Text]),
        FilesystemFlag => ("filesystem-flag", (Mount, Mount), &[Input, Text]),
        MountFilesystem => ("mount-filesystem", (Mount, Mount), &[Input, HEXADECIMAL, Output]),
        PickFilesystem => ("pick-filesystem", (Mount, Mount), &[Input, Output]),
        ReconfigureFilesystem => ("reconfigure-filesystem", (Mount, Mount), &[Input]),
        MountByPath => ("mount-by-path", (Mount, Mount), &[Text, Text, HEXADECIMAL, Text, Output]),
        Attach => ("attach", (Mount, Mount), &[Input, Input]),
        AttachBelow => ("attach-below", (Mount, Mount), &[Input, Input, Text]),
        AttachAt => ("attach-at", (Mount, Mount), &[Input, Input, Text, HEXADECIMAL]),
        MountAttributes => {
            ("mount-attributes", (Enter, Seal), &[Input, DECIMAL, HEXADECIMAL, HEXADECIMAL, HEXADECIMAL])
        }
        Mask => ("mask", (Mount, Mount), &[Input, Text, Input, DECIMAL]),
        BindFile => ("bind-file", (Mount, Mount), &[Input, Text, Input]),
        MakeReadOnly => ("make-read-only", (Mount, Mount), &[Input, Text, DECIMAL]),
        WriteBelow => ("write-below", (Mount, Mount), &[Input, Text, Text]),
        CheckFilesystem => ("check-filesystem", (Mount, Mount), &[Input, HEXADECIMAL]),
        ChangeDirectory => ("change-directory", (Mount, Mount), &[Input]),
        PivotRoot => ("pivot-root", (Pivot, Pivot), &[Input]),
        ChangeRoot => ("change-root", (Pivot, Pivot), &[Input, Input, DECIMAL]),
        StandardStream => ("standard-stream", (Session, Session), &[Input, DECIMAL]),
        ControllingTerminal => ("controlling-terminal", (Session, Park), &[Input]),
        OpenRoot => ("open-root", (Session, Session), &[Output]),
        OpenTerminal => ("open-terminal", (Mount, Session), &[Input, Output, Output, HEXADECIMAL, DECIMAL]),
        SendDescriptor => ("send-descriptor", (Mount, Session), &[Input, Input, Text]),
        WorkingDirectory => ("working-directory", (Session, Session), &[Text, OCTAL]),
        ResourceLimit => ("resource-limit", (Join, Privilege), &[DECIMAL, DECIMAL, DECIMAL, DECIMAL, DECIMAL]),
        DropBounding => ("drop-bounding", (Privilege, Privilege), &[HEXADECIMAL, HEXADECIMAL]),
        SetGroups => ("set-groups", (Privilege, Privilege), &[Words, Count]),
        SetIds => ("set-ids", (Privilege, Privilege), &[DECIMAL, DECIMAL]),
        SetCapabilities => (
            "set-capabilities",
            (Privilege, Privilege),
            &[HEXADECIMAL, HEXADECIMAL, HEXADECIMAL, HEXADECIMAL, HEXADECIMAL, HEXADECIMAL],
        ),
        RaiseAmbient => ("raise-ambient", (Privilege, Privilege), &[HEXADECIMAL, HEXADECIMAL]),
        CheckCapabilities => ("check-capabilities", (Privilege, Privilege), &[Words, Count]),
        SetScheduler => ("set-scheduler", (Privilege, LateFilter), &[Words, Count]),
        SetIoPriority => ("set-io-priority", (Privilege, Privilege), &[HEXADECIMAL]),
        SetPersonality => ("set-personality", (Privilege, Privilege), &[HEXADECIMAL]),
        SetMemoryPolicy => ("set-memory-policy", (Privilege, Privilege), &[HEXADECIMAL, Bytes, Count]),
        NoNewPrivileges => ("no-new-privileges", (Privilege, Privilege), &[]),
        CloseOnExec => ("close-on-exec", (EarlyFilter, EarlyFilter), &[DECIMAL]),
        Hide => ("hide", (EarlyFilter, EarlyFilter), &[]),
        LandlockAllow => ("landlock-allow", (EarlyFilter, LateFilter), &[Input, Text, HEXADECIMAL]),
        LandlockRestrict => ("landlock-restrict", (EarlyFilter, LateFilter), &[Input]),
        LoadFilter => ("load-filter", (EarlyFilter, LateFilter), &[Filter, Count, HEXADECIMAL]),
        LoadListeningFilter => ("load-listening-filter", (EarlyFilter, LateFilter), &[Filter, Count, HEXADECIMAL]),
        Wait => ("wait", (Park, Park), &[]),
        Gate => ("gate", (Mount, Park), &[]),
        RunHook => ("run-hook", (Mount, LateFilter), &[Text, Texts, Texts, Texts, DECIMAL]),
        AwaitStart => ("await-start", (Park, Park), &[Input, Input]),
        FindProgram => ("find-program", (Session, Session), &[Texts]),
        StayAsInit => ("stay-as-init", (Park, Park), &[]),
        Execute => ("execute", (Exec, Exec), &[Texts, Texts, Texts]),
    };
    Signature { name, phases, arguments }
}
