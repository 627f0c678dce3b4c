//! Handing the notification descriptor of a filter to its supervisor: runtime-spec, config-linux, "Seccomp",
//! `listenerPath`, and "The Container Process State".

use crate::error::During;
use crate::kernel::connect_unix;
use crate::{Error, ErrorKind, Result};
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use oci_spec::runtime::{ContainerProcessState, LinuxSeccomp, SECCOMP_FD_NAME, State};
use std::io::{IoSlice, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

/// Who decides the calls that a filter hands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listener {
    path: PathBuf,
    metadata: Option<String>,
}

/// How long the seccomp agent may take.
const LIMIT: Duration = Duration::from_secs(10);

impl Listener {
    /// The one that a configuration names.
    pub(crate) fn of(seccomp: &LinuxSeccomp) -> Option<Listener> {
        let path = seccomp.listener_path().clone()?;
        Some(Listener { path, metadata: seccomp.listener_metadata().clone() })
    }

    /// Sends `descriptor`, of a filter of the process `pid` of the container `state`, over a new connection.
    ///
    /// # Errors
    /// `Unavailable` where nobody listens at `listenerPath`.
    pub(crate) fn hand_over(&self, descriptor: OwnedFd, pid: i32, state: State) -> Result<()> {
        let shown = self.path.display();
        let connected =
            connect_unix(&self.path, LIMIT).during(|| format!("connect to linux.seccomp.listenerPath {shown}"));
        let mut stream =
            connected.map_err(|error| error.with_kind(ErrorKind::Unavailable).hint("start the seccomp agent first"))?;
        let document = self.document(pid, state)?;
        let rights = [descriptor.as_raw_fd()];
        let control = [ControlMessage::ScmRights(&rights)];
        let sent =
            sendmsg::<UnixAddr>(stream.as_raw_fd(), &[IoSlice::new(&document)], &control, MsgFlags::MSG_NOSIGNAL, None);
        let sent = sent.during(|| format!("send the seccomp descriptor to {shown}"))?;
        stream.write_all(&document[sent..]).during(|| format!("send the process state to {shown}"))
    }

    fn document(&self, pid: i32, state: State) -> Result<Vec<u8>> {
        let mut process = ContainerProcessState::default();
        process.set_version(state.version().clone()).set_fds(vec![SECCOMP_FD_NAME.to_owned()]).set_pid(pid);
        process.set_metadata(self.metadata.clone()).set_state(state);
        serde_json::to_vec(&process)
            .map_err(|error| Error::new(ErrorKind::Corrupt, "write the container process state").source_error(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{ControlMessageOwned, recvmsg};
    use std::fs::File;
    use std::io::IoSliceMut;
    use std::os::unix::net::UnixListener;

    #[test]
    fn the_descriptor_comes_with_the_process_state() {
        for depth in [1, 60] {
            let scratch = tempfile::tempdir().unwrap();
            let directory = scratch.path().join("dd/".repeat(depth));
            std::fs::create_dir_all(&directory).unwrap();
            let path = directory.join("agent.sock");
            let handle = File::open(&directory).unwrap();
            let listening =
                UnixListener::bind(format!("/proc/thread-self/fd/{}/agent.sock", handle.as_raw_fd())).unwrap();
            let listener = Listener { path, metadata: Some("who=\"a\"".to_owned()) };
            let mut state = State::default();
            state.set_version("1.2.0".to_owned()).set_id("box".to_owned());
            listener.hand_over(File::open("/dev/null").unwrap().into(), 77, state).unwrap();
            let (stream, _) = listening.accept().unwrap();
            let (mut bytes, mut control) = ([0; 4096], nix::cmsg_space!([i32; 2]));
            let mut buffers = [IoSliceMut::new(&mut bytes)];
            let message =
                recvmsg::<UnixAddr>(stream.as_raw_fd(), &mut buffers, Some(&mut control), MsgFlags::empty()).unwrap();
            let rights = message.cmsgs().unwrap().next().unwrap();
            assert!(matches!(rights, ControlMessageOwned::ScmRights(found) if found.len() == 1));
            let length = message.bytes;
            let document: serde_json::Value = serde_json::from_slice(&bytes[..length]).unwrap();
            assert_eq!(document["ociVersion"], "1.2.0");
            assert_eq!(document["fds"], serde_json::json!(["seccompFd"]));
            assert_eq!((&document["pid"], &document["metadata"]), (&77.into(), &"who=\"a\"".into()));
            assert_eq!(document["state"]["id"], "box");
        }
    }

    #[test]
    fn an_agent_that_is_not_there_is_an_error_with_a_remedy() {
        let listener = Listener { path: "/nonexistent/agent.sock".into(), metadata: None };
        let null = File::open("/dev/null").unwrap();
        let error = listener.hand_over(null.into(), 1, State::default()).unwrap_err();
        assert!(error.to_string().contains("linux.seccomp.listenerPath /nonexistent/agent.sock"), "{error}");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
}
