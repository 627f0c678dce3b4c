//! The old i386 forms of socket and System V calls: operations of `socketcall` and `ipc`.

use super::profile::{Comparison, Condition};
use super::syscall::{Syscall, resolve};

/// How i386 may also reach a call: the call that carries it, and the condition that names it there.
pub(super) fn multiplexed(call: Syscall) -> Option<(Syscall, &'static [Condition])> {
    if let Ok(at) = SOCKET_CALLS.binary_search(&call) {
        return Some((CARRIERS[0], &SOCKET_CONDITIONS[at..=at]));
    }
    let at = IPC_CALLS.binary_search(&call).ok()?;
    Some((CARRIERS[1], &IPC_CONDITIONS[at..=at]))
}

static CARRIERS: [Syscall; 2] = resolve(["socketcall", "ipc"]);

/// Sorted, as the table of all calls is.
static SOCKET_CALLS: [Syscall; 20] = resolve([
    "accept",
    "accept4",
    "bind",
    "connect",
    "getpeername",
    "getsockname",
    "getsockopt",
    "listen",
    "recv",
    "recvfrom",
    "recvmmsg",
    "recvmsg",
    "send",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "setsockopt",
    "shutdown",
    "socket",
    "socketpair",
]);

/// Their operations (`linux/net.h`).
static SOCKET_CONDITIONS: [Condition; 20] =
    operations([5, 18, 2, 3, 7, 6, 15, 4, 10, 12, 19, 17, 9, 20, 16, 11, 14, 13, 1, 8], u64::MAX);

static IPC_CALLS: [Syscall; 12] = resolve([
    "msgctl",
    "msgget",
    "msgrcv",
    "msgsnd",
    "semctl",
    "semget",
    "semop",
    "semtimedop",
    "shmat",
    "shmctl",
    "shmdt",
    "shmget",
]);

/// Their operations (`linux/ipc.h`). The kernel takes the upper half of the word for a version: comparing all of it
/// would let a refused call through under another one.
static IPC_CONDITIONS: [Condition; 12] = operations([14, 13, 12, 11, 3, 2, 1, 4, 21, 24, 22, 23], 0xffff);

const fn operations<const N: usize>(values: [u64; N], mask: u64) -> [Condition; N] {
    let mut conditions = [Condition::new(0, Comparison::Equal(0)); N];
    let mut at = 0;
    while at < N {
        conditions[at] = Condition::new(0, Comparison::MaskedEqual { mask, value: values[at] });
        at += 1;
    }
    conditions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_complete() {
        assert!(SOCKET_CALLS.is_sorted() && IPC_CALLS.is_sorted());
        let mut operations: Vec<u64> = SOCKET_CONDITIONS
            .iter()
            .map(|condition| match condition.comparison {
                Comparison::MaskedEqual { value, .. } => value,
                _ => 0,
            })
            .collect();
        operations.sort_unstable();
        assert_eq!(operations, (1..=20).collect::<Vec<u64>>());
        let (carrier, conditions) = multiplexed(Syscall::named("socket").unwrap()).unwrap();
        assert_eq!(carrier.name(), "socketcall");
        assert_eq!(conditions, [Condition::new(0, Comparison::MaskedEqual { mask: u64::MAX, value: 1 })]);
        assert_eq!(multiplexed(Syscall::named("read").unwrap()), None);
    }
}
