//! Reading a container's log, with its rotation, while it is written.

use super::directory::Directory;
use crate::error::During;
use crate::value::Timestamp;
use crate::{Error, ErrorKind, Result};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

/// The longest line of the log that is read; the keeper writes at most 16 KiB of text and a head.
const LINE_BUDGET: u64 = 1 << 20;

/// One line that a container has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When its end was read from the container.
    pub time: Timestamp,
    /// Whether it came over the standard error.
    pub stderr: bool,
    /// Without the newline.
    pub text: Vec<u8>,
    /// Whether a newline ended it; a line longer than 16 KiB comes in pieces, and the last line may lack one.
    pub complete: bool,
}

/// The text, with what is not UTF-8 replaced.
impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text))
    }
}

/// The lines of a container's log, oldest first.
#[derive(Debug)]
pub struct Logs {
    directory: Directory,
    follow: bool,
    waiting: VecDeque<PathBuf>,
    current: Option<Current>,
    ended: bool,
    watch: Option<Inotify>,
}

/// What a look at a log finds.
#[derive(Debug)]
pub(super) enum Progress {
    Line(LogLine),
    /// Nothing yet; the container may write more.
    Later,
    /// There will be no more.
    Ended,
}

/// What changes in the directory of a log when a line is written or the log is rotated.
pub(super) fn log_events() -> AddWatchFlags {
    AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVE
}

#[derive(Debug)]
struct Current {
    reader: BufReader<File>,
    inode: u64,
    /// What has been read of a line whose end is not written yet.
    partial: Vec<u8>,
}

impl Logs {
    pub(crate) fn new(directory: Directory) -> Logs {
        Logs { directory, follow: false, waiting: VecDeque::new(), current: None, ended: false, watch: None }
    }

    /// At the end waits for more, until the container has ended.
    #[must_use]
    pub fn follow(mut self) -> Logs {
        self.follow = true;
        self
    }

    /// The next line, or why there is none; never waits.
    pub(super) fn advance(&mut self) -> Result<Progress> {
        if self.ended {
            return Ok(Progress::Ended);
        }
        loop {
            if let Some(line) = self.read_line()? {
                return Ok(Progress::Line(line));
            }
            // Looked at before the files are: what is written after the look is found in the next round.
            let alive = self.follow && self.directory.is_alive();
            if self.waiting.is_empty() {
                self.waiting = self.files_from(self.current.as_ref().map(|current| current.inode));
            }
            // What was written after the first look at this file, and before it was rotated away or its writer ended.
            if let Some(line) = self.read_line()? {
                return Ok(Progress::Line(line));
            }
            match self.waiting.is_empty() {
                true if alive => return Ok(Progress::Later),
                true => {
                    self.ended = true;
                    self.current = None;
                    return Ok(Progress::Ended);
                }
                false => self.open_next()?,
            }
        }
    }

    /// Where the log is.
    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }

    fn next_line(&mut self) -> Result<Option<LogLine>> {
        loop {
            match self.advance()? {
                Progress::Line(line) => return Ok(Some(line)),
                Progress::Later => self.wait_for_more()?,
                Progress::Ended => return Ok(None),
            }
        }
    }

    /// The log's files, oldest first: all, or those newer than the one with this inode.
    fn files_from(&self, inode: Option<u64>) -> VecDeque<PathBuf> {
        let log = self.directory.log();
        let mut files = VecDeque::new();
        for number in 0.. {
            let path = log.join(if number == 0 { "log".to_owned() } else { format!("log.{number}") });
            match std::fs::metadata(&path) {
                Ok(metadata) if Some(metadata.ino()) == inode => break,
                Ok(_) => files.push_front(path),
                // A rotation may be under way: the current one can be missing for a moment.
                Err(_) if number == 0 => {}
                Err(_) => break,
            }
        }
        files
    }

    fn open_next(&mut self) -> Result<()> {
        while let Some(path) = self.waiting.pop_front() {
            match File::open(&path) {
                Ok(file) => {
                    let inode = file.metadata().during(|| "look at the log")?.ino();
                    self.current = Some(Current { reader: BufReader::new(file), inode, partial: Vec::new() });
                    return Ok(());
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).during(|| format!("open {}", path.display())),
            }
        }
        Ok(())
    }

    fn read_line(&mut self) -> Result<Option<LogLine>> {
        let Some(current) = &mut self.current else { return Ok(None) };
        let room = LINE_BUDGET.saturating_sub(current.partial.len() as u64);
        (&mut current.reader).take(room).read_until(b'\n', &mut current.partial).during(|| "read the log")?;
        if current.partial.last() != Some(&b'\n') {
            if current.partial.len() as u64 >= LINE_BUDGET {
                current.partial = Vec::new();
                return Err(Error::new(ErrorKind::Corrupt, "the log has a line that its keeper did not write"));
            }
            return Ok(None);
        }
        let line = std::mem::take(&mut current.partial);
        parse_line(&line[..line.len() - 1]).map(Some)
    }

    fn wait_for_more(&mut self) -> Result<()> {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        if self.watch.is_none() {
            let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).during(|| "watch the log")?;
            watch.add_watch(&self.directory.log(), log_events()).during(|| "watch the log")?;
            self.watch = Some(watch);
            // What came before the watch raises no event.
            return Ok(());
        }
        if let Some(watch) = &self.watch {
            // The end of the container is no event of the directory.
            let tick = Duration::from_millis(100).as_millis() as u16;
            let mut polled = [PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
            match poll(&mut polled, PollTimeout::from(tick)) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(Error::os("watch the log", errno as i32)),
            }
            let _ = watch.read_events();
        }
        Ok(())
    }
}

impl Iterator for Logs {
    type Item = Result<LogLine>;

    fn next(&mut self) -> Option<Result<LogLine>> {
        self.next_line().transpose()
    }
}

/// `TIME stdout|stderr F|P TEXT`
fn parse_line(line: &[u8]) -> Result<LogLine> {
    let parse = || -> Option<LogLine> {
        let mut parts = line.splitn(4, |&byte| byte == b' ');
        let time = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
        let stderr = match parts.next()? {
            b"stdout" => false,
            b"stderr" => true,
            _ => return None,
        };
        let complete = match parts.next()? {
            b"F" => true,
            b"P" => false,
            _ => return None,
        };
        Some(LogLine { time, stderr, text: parts.next()?.to_vec(), complete })
    };
    parse().ok_or_else(|| Error::new(ErrorKind::Corrupt, "the log has a line that its keeper did not write"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_parsed_strictly() {
        let line = parse_line(b"2026-11-21T06:30:36.123456789Z stderr P a b ").unwrap();
        assert_eq!((line.stderr, line.complete, line.text.as_slice()), (true, false, &b"a b "[..]));
        assert_eq!(parse_line(b"2026-11-21T06:30:36Z stdout F ").unwrap().text, b"");
        for bad in [&b""[..], b"x stdout F a", b"2026-11-21T06:30:36Z both F a", b"2026-11-21T06:30:36Z stdout F"] {
            assert!(parse_line(bad).is_err());
        }
    }
}
