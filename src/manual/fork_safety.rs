//! What the crate does in a process that forks, or that was forked.
//!
//! # The crate does not fork your process
//!
//! A start clones with `CLONE_VM | CLONE_VFORK` from the launch thread. The child uses the memory of your process for a
//! few system calls, on a stack of its own, and then executes the stage. In between it
//!
//! - calls nothing of libc: no allocator, no lock, no `errno`, no thread-local storage;
//! - runs no signal handler: all signals are blocked, and `CLONE_CLEAR_SIGHAND` resets the handlers of the child;
//! - changes no credentials and closes nothing of yours.
//!
//! So it does not matter what your other threads hold or do at that instant. `pthread_atfork` handlers do not run.
//! Memory of your process is never copied. `tests/hostile_host.rs` starts ten thousand times under 64 allocating threads,
//! timers that fire handlers, and ignored children.
//!
//! # Descriptors
//!
//! Every descriptor of the crate is close-on-exec. A program that you start yourself does not inherit them. What you
//! start by a plain `fork` without `exec` does have them; see below. The other way round, a container has none of yours,
//! not even those without close-on-exec: the first operation of the stage closes them.
//!
//! # SIGCHLD and waiting
//!
//! The children of the crate are waited for by pidfd, one by one. A host that ignores SIGCHLD, or that waits for every
//! child (`wait(-1)`), may take a status away. The crate then asks for it elsewhere: the container's init has written it
//! down, and kernels from 6.15 keep it with the pidfd. Where neither is so, the answer is
//! [`ExitStatus::Unknown`](crate::ExitStatus::Unknown), never a guess; CPU time and peak memory are then zero.
//!
//! Your own wait-for-all loop sees children that it does not know; it should pass over them. A detached container is the
//! child of its keeper, not yours.
//!
//! # If your process forks
//!
//! Threads do not survive a fork, so the launch thread of an engine does not. An [`Engine`](crate::Engine) that was
//! opened before the fork refuses to start containers in the child:
//!
//! ```text
//! this engine was opened before the process forked (hint: open an engine in each process)
//! ```
//!
//! Open one in each process; any number may share one root. A [`Sandbox`](crate::Sandbox) without engine makes a new
//! launch thread in the child by itself.
//!
//! A fork also copies descriptors, and with them locks. While a child lives that forked (and did not execute), the locks
//! of attached containers and leases of the parent stay held, even when the parent dies. Clean-up then waits for the
//! child. Pre-forking servers should open the engine after they fork.
//!
//! # Attached containers and the death of the host
//!
//! An attached container (`output`, `stream`, `Sandbox`) is killed with the process that started it, also by SIGKILL.
//! This is tied to the launch thread, which lives as long as its engine, not to the thread that called.
