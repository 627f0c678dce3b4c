//! The compiled program.

use std::fmt;

/// One instruction of classic BPF, laid out as the kernel's `struct sock_filter`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SockFilter {
    /// What to do (`linux/bpf_common.h`).
    pub code: u16,
    /// How many instructions to skip where a comparison holds.
    pub jt: u8,
    /// How many to skip where it does not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// A program as seccomp(2) takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    pub(super) instructions: Vec<SockFilter>,
    pub(super) flags: u32,
    pub(super) notifies: bool,
}

/// `BPF_LD | BPF_W | BPF_ABS`: the accumulator becomes a word of the call's description.
pub(super) const LOAD: u16 = 0x20;
/// `BPF_ALU | BPF_AND | BPF_K`.
pub(super) const AND: u16 = 0x54;
/// `BPF_JMP | BPF_JA`.
pub(super) const JUMP: u16 = 0x05;
/// `BPF_JMP | BPF_JEQ | BPF_K`.
pub(super) const EQUAL: u16 = 0x15;
/// `BPF_JMP | BPF_JGT | BPF_K`.
pub(super) const GREATER: u16 = 0x25;
/// `BPF_JMP | BPF_JGE | BPF_K`.
pub(super) const GREATER_OR_EQUAL: u16 = 0x35;
/// `BPF_RET | BPF_K`.
pub(super) const RETURN: u16 = 0x06;

/// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`, since Linux 5.19.
pub(super) const WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// Where `struct seccomp_data` keeps the number of the call.
pub(super) const NUMBER: u32 = 0;
/// Where it keeps the architecture.
pub(super) const ARCHITECTURE: u32 = 4;

/// Where it keeps the low word of an argument, on a little-endian machine; the high word follows.
pub(super) const fn argument_low(argument: u8) -> u32 {
    16 + 8 * argument as u32
}

impl Filter {
    /// The most instructions the kernel takes (`BPF_MAXINSNS`).
    pub const MAX_INSTRUCTIONS: usize = 4096;

    /// The instructions.
    pub fn instructions(&self) -> &[SockFilter] {
        &self.instructions
    }

    /// The `SECCOMP_FILTER_FLAG_*` to load it with.
    pub const fn flags(&self) -> u32 {
        // The kernel refuses this one of a filter without a supervisor.
        if self.notifies { self.flags } else { self.flags & !WAIT_KILLABLE_RECV }
    }

    /// Whether it can return `Notify`, so that a supervisor is needed.
    pub const fn notifies(&self) -> bool {
        self.notifies
    }

    /// The array of `struct sock_filter`, 8 bytes each in the byte order of this machine.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.instructions.len() * size_of::<SockFilter>());
        for instruction in &self.instructions {
            bytes.extend_from_slice(&instruction.code.to_ne_bytes());
            bytes.extend_from_slice(&[instruction.jt, instruction.jf]);
            bytes.extend_from_slice(&instruction.k.to_ne_bytes());
        }
        bytes
    }
}

/// A listing, one instruction a line, jumps as absolute line numbers.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (line, instruction) in self.instructions.iter().enumerate() {
            let SockFilter { code, jt, jf, k } = *instruction;
            let branch = |name: &str| {
                format!("if {name} {k:#x} then {} else {}", line + 1 + usize::from(jt), line + 1 + usize::from(jf))
            };
            let text = match code {
                LOAD => format!("load {}", field(k)),
                AND => format!("and {k:#x}"),
                JUMP => format!("goto {}", line + 1 + k as usize),
                EQUAL => branch("=="),
                GREATER => branch(">"),
                GREATER_OR_EQUAL => branch(">="),
                RETURN => format!("return {}", action(k)),
                other => format!("unknown {other:#x}"),
            };
            writeln!(f, "{line:4} {text}")?;
        }
        Ok(())
    }
}

fn field(offset: u32) -> String {
    match offset {
        NUMBER => "number".to_owned(),
        ARCHITECTURE => "architecture".to_owned(),
        16.. => format!("argument {} {}", (offset - 16) / 8, if offset.is_multiple_of(8) { "low" } else { "high" }),
        other => format!("[{other}]"),
    }
}

fn action(value: u32) -> String {
    let data = value & libc::SECCOMP_RET_DATA;
    match value & libc::SECCOMP_RET_ACTION_FULL {
        libc::SECCOMP_RET_KILL_PROCESS => "kill-process".to_owned(),
        libc::SECCOMP_RET_KILL_THREAD => "kill-thread".to_owned(),
        libc::SECCOMP_RET_TRAP => "trap".to_owned(),
        libc::SECCOMP_RET_ERRNO => format!("errno {:?}", nix::errno::Errno::from_raw(data as i32)),
        libc::SECCOMP_RET_USER_NOTIF => "notify".to_owned(),
        libc::SECCOMP_RET_TRACE => format!("trace {data}"),
        libc::SECCOMP_RET_LOG => "log".to_owned(),
        libc::SECCOMP_RET_ALLOW => "allow".to_owned(),
        _ => format!("{value:#x}"),
    }
}
