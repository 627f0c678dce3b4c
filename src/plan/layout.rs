//! How a plan lies in memory, shared by parent and stage. This file is also part of the stage: core only.

use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};

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
}

impl Recorder {
    /// As before a start.
    pub fn clear(&self) {
        let Recorder { op, state, errno, part, payload_status, pid } = self;
        [op, state, part, payload_status, pid].iter().for_each(|field| field.store(0, Ordering::Relaxed));
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
}

/// One-byte messages between stage and parent.
pub struct Message;

impl Message {
    /// Stage: write my id maps.
    pub const MAPS: u8 = b'm';
    /// Stage: a child goes on; its descriptor comes along.
    pub const CHILD: u8 = b'c';
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
}
