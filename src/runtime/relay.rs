//! The foreground: a program that stands in for the process of a container until that ends.

use super::create::Running;
use super::exec::Executed;
use crate::error::During;
use crate::kernel::{set_window_size, window_size};
use crate::launch::{Exit, Process};
use crate::{Error, Result};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Passes signals of the calling program on to a process, and its terminal.
///
/// This, alone in the library, changes how the program takes signals, from [`begin`](Relay::begin) until it is dropped:
/// the calling thread blocks every signal but SIGCHLD, SIGURG and those of its own faults. Begin it on the thread that
/// attends, while no other thread takes signals, and before the process is started, so that no signal is missed.
#[derive(Debug)]
pub struct Relay {
    signals: SignalFd,
    before: SigSet,
}

/// How often output is read before signals and the process are looked at again.
const READS_AT_ONCE: usize = 64;

/// The signals that are not passed on: those that tell of the program itself.
const OWN: [Signal; 9] = [
    Signal::SIGCHLD,
    Signal::SIGURG,
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGTRAP,
    Signal::SIGABRT,
    Signal::SIGSYS,
];

impl Relay {
    /// Holds back the signals of the calling program for the process to come.
    ///
    /// # Errors
    /// Those of the system calls.
    pub fn begin() -> Result<Relay> {
        let mut held = SigSet::all();
        OWN.iter().for_each(|&signal| held.remove(signal));
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&held, flags).during(|| "open a descriptor for signals")?;
        let mut before = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&held), Some(&mut before)).during(|| "block signals")?;
        Ok(Relay { signals, before })
    }

    /// Passes signals on to `process` until it ends. With the master of its `terminal`, also what is typed and what it
    /// writes, between that and the standard streams of this program; standard input, where it is a terminal, is raw
    /// meanwhile, and its size is the terminal's.
    ///
    /// # Errors
    /// Those of waiting; a terminal that cannot be set up.
    pub fn attend(self, process: &mut Process, terminal: Option<BorrowedFd<'_>>) -> Result<Exit> {
        let Some(master) = terminal else {
            self.until_end(process, None)?;
            return process.wait();
        };
        let _raw = Raw::begin()?;
        fcntl(master, FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK)).during(|| "set up a terminal")?;
        let mut screen = Screen { master, typed: Vec::new(), input: true, output: true };
        screen.resize();
        self.until_end(process, Some(&mut screen))?;
        // The rest of what it has written.
        screen.show();
        process.wait()
    }

    fn until_end(&self, process: &Process, mut screen: Option<&mut Screen<'_>>) -> Result<()> {
        let input = std::io::stdin();
        loop {
            let mut polled = vec![
                PollFd::new(process.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            ];
            if let Some(screen) = &screen {
                polled.extend(screen.awaited());
                polled.extend(screen.awaits_typing().then(|| PollFd::new(input.as_fd(), PollFlags::POLLIN)));
            }
            match poll(&mut polled, PollTimeout::NONE) {
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(Error::os("wait for a process", errno as i32)),
            }
            let is_ready = |entry: &PollFd<'_>| entry.any().unwrap_or(false);
            let (ended, signalled) = (is_ready(&polled[0]), is_ready(&polled[1]));
            let typed = polled.len() > 2
                && screen.as_ref().is_some_and(|screen| screen.awaits_typing())
                && polled.last().is_some_and(is_ready);
            drop(polled);
            if signalled {
                self.pass_signals(process, screen.as_deref())?;
            }
            if let Some(screen) = &mut screen {
                screen.copy(typed.then(|| input.as_fd()));
            }
            if ended {
                return Ok(());
            }
        }
    }

    fn pass_signals(&self, process: &Process, screen: Option<&Screen<'_>>) -> Result<()> {
        while let Some(info) = self.signals.read_signal().during(|| "read a signal")? {
            match info.ssi_signo as i32 {
                // Of the relay itself, whose reader is gone.
                libc::SIGPIPE => {}
                libc::SIGWINCH => screen.into_iter().for_each(Screen::resize),
                signal => process.kill(signal)?,
            }
        }
        Ok(())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // What came too late for the process is not for the program either: it would end it.
        while let Ok(Some(_)) = self.signals.read_signal() {}
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}

impl Running {
    /// Stands in for the process until it ends: see [`Relay::attend`].
    ///
    /// # Errors
    /// As [`Relay::attend`].
    pub fn attend(&mut self, relay: Relay) -> Result<Exit> {
        let (process, terminal) = self.parts();
        relay.attend(process, terminal)
    }
}

impl Executed {
    /// Stands in for the process until it ends: see [`Relay::attend`].
    ///
    /// # Errors
    /// As [`Relay::attend`].
    pub fn attend(&mut self, relay: Relay) -> Result<Exit> {
        let (process, terminal) = self.parts();
        relay.attend(process, terminal)
    }
}

/// The program's terminal in raw mode, as long as this lives.
struct Raw {
    terminal: OwnedFd,
    before: Termios,
}

impl Raw {
    /// `None` where standard input is no terminal.
    fn begin() -> Result<Option<Raw>> {
        let terminal = std::io::stdin().as_fd().try_clone_to_owned().during(|| "duplicate standard input")?;
        let Ok(before) = tcgetattr(&terminal) else { return Ok(None) };
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&terminal, SetArg::TCSANOW, &raw).during(|| "make the terminal raw")?;
        Ok(Some(Raw { terminal, before }))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, SetArg::TCSADRAIN, &self.before);
    }
}

/// What goes between a terminal and the standard streams of the program.
struct Screen<'a> {
    master: BorrowedFd<'a>,
    /// What has been typed and the terminal has had no room for.
    typed: Vec<u8>,
    /// Whether there is still something to be typed, and to be shown.
    input: bool,
    output: bool,
}

impl Screen<'_> {
    /// What the terminal is waited for. Not at all where nothing is: that the other side has hung up would be told at once.
    fn awaited(&self) -> Option<PollFd<'_>> {
        let show = if self.output { PollFlags::POLLIN } else { PollFlags::empty() };
        let take = if self.typed.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
        let events = show | take;
        (!events.is_empty()).then(|| PollFd::new(self.master, events))
    }

    /// Whether more can be typed.
    fn awaits_typing(&self) -> bool {
        self.input && self.typed.is_empty()
    }

    /// Copies what there is; `typed` is the input, where there is something.
    fn copy(&mut self, typed: Option<BorrowedFd<'_>>) {
        self.show();
        if let Some(input) = typed {
            let mut buffer = [0u8; 4096];
            match nix::unistd::read(input, &mut buffer) {
                Ok(count) if count > 0 => self.typed.extend_from_slice(&buffer[..count]),
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                _ => self.input = false,
            }
        }
        if self.typed.is_empty() {
            return;
        }
        match nix::unistd::write(self.master, &self.typed) {
            Ok(count) => drop(self.typed.drain(..count)),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(_) => self.typed.clear(),
        }
    }

    /// Shows what the process has written.
    fn show(&mut self) {
        let mut buffer = [0u8; 4096];
        for _ in 0..READS_AT_ONCE {
            if !self.output {
                return;
            }
            match nix::unistd::read(self.master, &mut buffer) {
                Ok(count) if count > 0 => {
                    let mut screen = std::io::stdout().lock();
                    // Where nobody looks any more, the process goes on all the same.
                    let _ = screen.write_all(&buffer[..count]).and_then(|()| screen.flush());
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                // EIO: the last process has closed it.
                _ => self.output = false,
            }
        }
    }

    /// Gives the terminal the size of the program's own.
    fn resize(&self) {
        if let Ok(size) = window_size(std::io::stdin().as_fd()) {
            let _ = set_window_size(self.master, size);
        }
    }
}
