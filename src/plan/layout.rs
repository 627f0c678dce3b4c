//! How a plan lies in memory, shared by parent and stage. This file is also part of the stage: core only.

use core::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, Ordering};

/// The first bytes of a plan.
pub const MAGIC: u32 = 0x6c63_7263;

/// The size of the page that holds the [`Recorder`], in front of the plan.
pub const RECORDER_SIZE: usize = 4096;

/// The largest plan in bytes: arguments and environment take the most (the kernel's own limit is 6 MiB at a stack of
/// 8 MiB).
pub const PLAN_BUDGET: usize = 8 << 20;

/// The begin of a plan; every offset counts from here.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: u32,
    /// The size of the whole plan in bytes.
    pub size: u32,
    /// Offset of the operations.
    pub ops: u32,
    /// Number of operations.
    pub op_count: u32,
    /// Offset of the inherited descriptors, as (slot, descriptor) pairs sorted by descriptor.
    pub inherited: u32,
    /// Number of pairs.
    pub inherited_count: u32,
    /// The descriptor of the socket to the parent.
    pub status: u32,
    /// Which part of the stage runs: see [`Role`].
    pub role: u32,
    /// Offset of what else the role needs (the keeper's orders), or 0.
    pub orders: u32,
    /// Its size in bytes.
    pub orders_size: u32,
    /// A drill: the operation that is to fail, or [`NO_DRILL`].
    pub drill_op: u32,
    /// The errno it fails with; 0: the stage kills itself there instead.
    pub drill_errno: u32,
    /// Number of operations behind those of the start: a second range, which brings a process into the container that
    /// the first has made.
    pub enter_count: u32,
    /// 0.
    pub reserved: u32,
}

/// No operation is to fail.
pub const NO_DRILL: u32 = u32::MAX;

/// The parts of the stage.
pub struct Role;

impl Role {
    /// Carries out the plan.
    pub const SETUP: u32 = 0;
    /// Starts the plan in a child and stays to look after it.
    pub const KEEPER: u32 = 1;
}

/// The page through which the stage says where it is, even after it was killed.
#[repr(C)]
#[derive(Debug)]
pub struct Recorder {
    /// The index of the operation that runs.
    pub op: AtomicU32,
    /// One of [`State`].
    pub state: AtomicU32,
    /// The errno of the operation that failed.
    pub errno: AtomicI32,
    /// Which part of the operation failed, where it has several.
    pub part: AtomicU32,
    /// The wait status of the payload under [`OpCode::StayAsInit`](super::op::OpCode), with [`STATUS_KNOWN`] set.
    pub payload_status: AtomicU32,
    /// The host's number of the first process of the container, where a keeper started it.
    pub pid: AtomicU32,
    /// How the hook that failed ended: [`HookEnd`]; 0 where the failure is another.
    pub hook_end: AtomicU32,
    /// How many bytes of the note are filled.
    pub note_length: AtomicU32,
    /// The last that the hook wrote.
    pub note: [AtomicU8; NOTE_SIZE],
}

/// How much of what a hook writes is kept: its last words.
pub const NOTE_SIZE: usize = 512;

/// How a hook ended: its wait status (code in bits 8 to 15, signal in bits 0 to 6), or that it took too long.
pub struct HookEnd;

impl HookEnd {
    /// Set in every end.
    pub const KNOWN: u32 = 0x8000_0000;
    /// It was killed when its time had run out: the seconds are in the lower bits.
    pub const TIMED_OUT: u32 = 0x4000_0000;
    /// The most seconds that are told.
    pub const LONGEST: u32 = 0x3fff_ffff;
}

impl Recorder {
    /// As before a start.
    pub fn clear(&self) {
        let Recorder { op, state, errno, part, payload_status, pid, hook_end, note_length, note: _ } = self;
        let numbers = [op, state, part, payload_status, pid, hook_end, note_length];
        numbers.iter().for_each(|field| field.store(0, Ordering::Relaxed));
        errno.store(0, Ordering::Relaxed);
    }
}

/// Set in [`Recorder::payload_status`] once it holds a status.
pub const STATUS_KNOWN: u32 = 0x8000_0000;

/// What the stage is doing; 0: carrying out the plan.
pub struct State;

impl State {
    /// An operation failed.
    pub const FAULTED: u32 = 1;
    /// The payload is being executed or runs.
    pub const EXECUTING: u32 = 2;
    /// It waits to be started, and no longer listens to its parent.
    pub const PARKED: u32 = 3;
}

/// One-byte messages between stage and parent.
pub struct Message;

impl Message {
    /// Stage: write my id maps.
    pub const MAPS: u8 = b'm';
    /// Stage: a child goes on; its descriptor comes along.
    pub const CHILD: u8 = b'c';
    /// Stage: the filter's descriptor for a supervisor comes along; go on once it has been handed on.
    pub const LISTENER: u8 = b'l';
    /// Stage: the container is built, and waits for what is done to it from outside.
    pub const GATE: u8 = b'h';
    /// Stage: parked.
    pub const READY: u8 = b'r';
    /// Parent: go on.
    pub const GO: u8 = b'g';
}

/// The keeper's orders: what it holds open and what it does at the end. Numbers of descriptors, -1 for none; offsets
/// count from the begin of the plan.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct KeeperOrders {
    /// The CLONE_NEW flags of the payload's namespaces.
    pub namespaces: u64,
    /// When the log grows past this many bytes it is rotated.
    pub log_limit: u64,
    /// How many rotated logs are kept.
    pub log_files: u32,
    /// The control group (version 2) the payload begins in.
    pub cgroup: i32,
    /// The read ends of the payload's standard output and error.
    pub streams: [i32; 2],
    /// The directory of the logs.
    pub log_directory: i32,
    /// The directory in which process numbers and the exit are recorded.
    pub directory: i32,
    /// A file with an `oom_kill N` line.
    pub oom_file: i32,
    /// A list of texts: directories to remove at the end (control groups), or 0.
    pub remove: u32,
    /// A netfilter netlink batch to send at the end, and its size, or 0.
    pub farewell: u32,
    /// Its size in bytes.
    pub farewell_size: u32,
    /// Offset of the [`CareOrders`], or 0: a container that is started once and not checked.
    pub care: u32,
    /// 0.
    pub reserved: u32,
}

/// How a keeper looks after a container beyond its first start. Times in nanoseconds; offsets count from the begin of
/// the plan.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct CareOrders {
    /// The pause between two checks.
    pub interval: u64,
    /// How long a check may take.
    pub timeout: u64,
    /// How long after a start failures do not count.
    pub start_period: u64,
    /// The pause before the first restart.
    pub delay: u64,
    /// The longest pause before a restart.
    pub longest_delay: u64,
    /// One of [`CheckKind`].
    pub check: u32,
    /// The IPv4 address to connect to, as struct sockaddr_in has it.
    pub address: u32,
    /// The port, in network byte order in the lower half as struct sockaddr_in has it.
    pub port: u32,
    /// What to send over the connection, and its size.
    pub request: u32,
    /// Its size in bytes.
    pub request_size: u32,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
    /// Successes in a row that make it healthy.
    pub healthy_after: u32,
    /// One of [`RestartCondition`].
    pub condition: u32,
    /// The most restarts; [`u32::MAX`] for no limit.
    pub most: u32,
    /// 1: it is also restarted when it becomes unhealthy.
    pub when_unhealthy: u32,
    /// Asks its command to stop.
    pub stop_signal: u32,
    /// A netfilter netlink batch that makes the container a member of its services, and its size, or 0.
    pub ready: u32,
    /// Its size in bytes.
    pub ready_size: u32,
    /// A netfilter netlink batch that takes it out, and its size, or 0.
    pub unready: u32,
    /// Its size in bytes.
    pub unready_size: u32,
    /// The id maps to write at a restart in a user namespace, users and groups, as texts, or 0.
    pub id_maps: [u32; 2],
    /// 1: setgroups(2) is denied before the maps are written.
    pub deny_setgroups: u32,
    /// The descriptor in whose place a process of the container stands when the range of operations that enters it runs.
    pub target: i32,
    /// The descriptor in whose place the output of a command check stands.
    pub output: i32,
    /// 1: the container is entered through the payload below its init, which alone lets an ordinary user in.
    pub through_payload: u32,
    /// 0.
    pub reserved: u32,
}

/// The kinds of health checks.
pub struct CheckKind;

impl CheckKind {
    /// None.
    pub const NONE: u32 = 0;
    /// A connection.
    pub const TCP: u32 = 1;
    /// A connection, a request and a status line.
    pub const HTTP: u32 = 2;
    /// A command in the container: the second range of operations.
    pub const COMMAND: u32 = 3;
}

/// After which ends a container is started again.
pub struct RestartCondition;

impl RestartCondition {
    /// None.
    pub const NEVER: u32 = 0;
    /// Another status than 0, or a signal.
    pub const ON_FAILURE: u32 = 1;
    /// Every end.
    pub const ALWAYS: u32 = 2;
}
