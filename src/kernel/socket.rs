//! Connections to sockets of the host's file system.

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt::SendTimeout,
};
use nix::sys::stat::Mode;
use nix::sys::time::TimeVal;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The longest path that struct sockaddr_un takes (unix(7)).
const PATH_LIMIT: usize = 107;

/// Connects to the stream socket at `path`, whatever the length of that: a longer one is reached through the descriptor
/// of its directory. Connecting, and each sending on the connection, takes at most `limit`: who listens may never accept.
pub(crate) fn connect_unix(path: &Path, limit: Duration) -> io::Result<UnixStream> {
    if path.as_os_str().len() <= PATH_LIMIT {
        return connect_short(path, limit);
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::EINVAL.into());
    };
    let directory = open(parent, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    connect_short(&Path::new("/proc/thread-self/fd").join(directory.as_raw_fd().to_string()).join(name), limit)
}

fn connect_short(path: &Path, limit: Duration) -> io::Result<UnixStream> {
    let ours: OwnedFd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let seconds = TimeVal::new(limit.as_secs() as i64, i64::from(limit.subsec_micros()));
    setsockopt(&ours, SendTimeout, &seconds)?;
    let address = UnixAddr::new(path)?;
    loop {
        match connect(ours.as_raw_fd(), &address) {
            Ok(()) => return Ok(UnixStream::from(ours)),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Err(Errno::ETIMEDOUT.into()),
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{Backlog, bind, listen};

    #[test]
    fn who_never_accepts_holds_nobody_up_and_long_paths_are_reached() {
        let scratch = tempfile::tempdir().unwrap();
        let long = scratch.path().join("d".repeat(120));
        std::fs::create_dir(&long).unwrap();
        let path = long.join("socket");
        let listener = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        let directory = std::fs::File::open(&long).unwrap();
        let short = format!("/proc/self/fd/{}/socket", directory.as_raw_fd());
        bind(listener.as_raw_fd(), &UnixAddr::new(short.as_str()).unwrap()).unwrap();
        listen(&listener, Backlog::new(0).unwrap()).unwrap();
        let limit = Duration::from_millis(20);
        let _waiting = connect_unix(&path, limit).unwrap();
        let error = connect_unix(&path, limit).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ETIMEDOUT), "{error}");
        let missing = connect_unix(&scratch.path().join("none"), limit).unwrap_err();
        assert_eq!(missing.raw_os_error(), Some(libc::ENOENT));
    }
}
