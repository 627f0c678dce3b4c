//! How to use the crate from an event loop or an asynchronous runtime.
//!
//! The crate is synchronous and brings no runtime. Every call is of one of three kinds.
//!
//! | kind | which | how to call it |
//! |---|---|---|
//! | short | starts, signals, `state`, `stats`, `find_container`, builders | anywhere; a start takes about a millisecond, most others less |
//! | work | `pull`, `push`, `build`, `commit`, `collect_garbage`, `Engine::open`, the first start of an image (it unpacks) | on a thread for blocking work |
//! | waiting | `output`, `stream`, `wait`, `wait_for`, `stop`, following logs | on a thread for blocking work, or wait for a descriptor |
//!
//! All types that are worth sharing are `Send`, [`Engine`](crate::Engine) and [`Container`](crate::Container) are cheap
//! to clone. So a thread for blocking work is one line in each runtime:
//!
//! ```text
//! let output = tokio::task::spawn_blocking(move || engine.container(&image).command(["date"]).output()).await??;
//! ```
//!
//! # Waiting by descriptor
//!
//! [`Process`](crate::Process), what [`Sandbox::spawn`](crate::Sandbox::spawn) returns, gives its pidfd by
//! [`AsFd`](std::os::fd::AsFd). It becomes readable when the process has ended; `wait` then does not block. Put it into
//! your own `poll`, `epoll` or runtime:
//!
//! ```no_run
//! use coracle::{Root, Sandbox};
//! use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
//! use std::os::fd::AsFd;
//!
//! let mut process = Sandbox::new(Root::Directory("/srv/root".into()), ["/bin/sleep", "1"]).spawn()?;
//! let mut waited = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
//! poll(&mut waited, PollTimeout::NONE).expect("poll");
//! println!("{}", process.wait()?.status);
//! # Ok::<(), coracle::Error>(())
//! ```
//!
//! Its standard streams are descriptors of your choice ([`Stream::Descriptor`](crate::Stream::Descriptor)): give it the
//! ends of pipes or sockets that your loop already watches.
//!
//! Detached containers need no descriptor of yours. Ask for [`state`](crate::Container::state) when you want to know, or
//! keep one thread in [`wait`](crate::Container::wait).
//!
//! # Cancelling
//!
//! Dropping a future of `spawn_blocking` does not stop the thread. Give [`timeout`](crate::ContainerBuilder::timeout) to
//! what must not take for ever. A `Process` that is dropped is killed unless it has ended; a dropped
//! [`Container`](crate::Container) lives on.
