//! The container's log: what it writes on its standard streams, line by line, in the format of Kubernetes' CRI:
//! `2026-11-21T06:30:36.123456789Z stdout F text`.

use super::constant::*;
use super::files::close;
use super::call::call;
use super::syscall::Errno;
use super::text::Text;

/// The longest line that is kept in one piece: CRI's, 16 KiB. Longer ones are cut, the pieces tagged `P`.
const LINE_LIMIT: usize = 16 << 10;

/// The longest head of a line: time, stream, tag.
const HEAD_LIMIT: usize = 64;

/// How much is written at once.
const OUTPUT_SIZE: usize = LINE_LIMIT + 2 * HEAD_LIMIT;

/// The log file and its rotation.
pub(crate) struct Log {
    directory: i32,
    file: i32,
    size: u64,
    limit: u64,
    kept: u32,
    output: [u8; OUTPUT_SIZE],
    length: usize,
}

/// One standard stream on its way into the log.
pub(crate) struct Source {
    /// The read end of the pipe; -1 once it has ended.
    pub(crate) descriptor: i32,
    name: &'static [u8],
    line: [u8; LINE_LIMIT],
    length: usize,
}

impl Source {
    pub(crate) fn new(descriptor: i32, name: &'static [u8]) -> Source {
        Source { descriptor, name, line: [0; LINE_LIMIT], length: 0 }
    }

    /// Reads what is there, at most one buffer, and passes on the lines; whether there was anything.
    pub(crate) fn read(&mut self, log: &mut Log) -> bool {
        if self.descriptor < 0 {
            return false;
        }
        let rest = &mut self.line[self.length..];
        // SAFETY: the slice is live.
        match unsafe { call!(READ, self.descriptor, rest.as_mut_ptr(), rest.len()) } {
            Ok(0) => self.end(log),
            Ok(count) => self.split(count, log),
            Err(EAGAIN | EINTR) => return false,
            Err(_) => self.end(log),
        }
        true
    }

    /// Passes on every whole line of the buffer, to which `count` bytes have been added.
    fn split(&mut self, count: usize, log: &mut Log) {
        let time = now();
        let filled = self.length + count;
        let mut start = 0;
        let mut from = self.length;
        while let Some(end) = position(&self.line[from..filled]).map(|end| from + end) {
            log.line(time, self.name, b"F", &self.line[start..end]);
            start = end + 1;
            from = start;
        }
        if start == 0 && filled == LINE_LIMIT {
            log.line(time, self.name, b"P", &self.line);
            start = filled;
        }
        self.line.copy_within(start..filled, 0);
        self.length = filled - start;
        log.flush();
    }

    /// Who wrote it has ended: what was not ended by a newline is a piece.
    pub(crate) fn finish(&mut self, log: &mut Log) {
        if self.length > 0 {
            log.line(now(), self.name, b"P", &self.line[..self.length]);
            log.flush();
            self.length = 0;
        }
    }

    /// The stream has ended.
    fn end(&mut self, log: &mut Log) {
        self.finish(log);
        close(self.descriptor);
        self.descriptor = -1;
    }
}

impl Log {
    /// Opens the log in `directory`; it is rotated past `limit` bytes, and `kept` rotated ones stay.
    pub(crate) fn open(directory: i32, limit: u64, kept: u32) -> Result<Log, Errno> {
        let mut log = Log { directory, file: -1, size: 0, limit, kept, output: [0; OUTPUT_SIZE], length: 0 };
        log.open_file()?;
        Ok(log)
    }

    /// Makes sure that everything is on disk.
    pub(crate) fn sync(&mut self) {
        self.flush();
        // SAFETY: plain number.
        let _ = unsafe { call!(FSYNC, self.file) };
    }

    fn open_file(&mut self) -> Result<(), Errno> {
        const O_APPEND: usize = 0o2000;
        // SAFETY: the name is NUL-terminated.
        let file = unsafe {
            call!(OPENAT, self.directory, c"log".as_ptr(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0o600)
        }?;
        self.file = file as i32;
        self.size = 0;
        Ok(())
    }

    fn line(&mut self, time: [i64; 2], stream: &[u8], tag: &[u8], text: &[u8]) {
        if self.length + HEAD_LIMIT + text.len() + 1 > OUTPUT_SIZE {
            self.flush();
        }
        let mut head = Text::<HEAD_LIMIT>::new();
        head.time(time[0], time[1]).push(b" ").push(stream).push(b" ").push(tag).push(b" ");
        for part in [head.as_bytes(), text, b"\n"] {
            self.output[self.length..self.length + part.len()].copy_from_slice(part);
            self.length += part.len();
        }
    }

    /// Writes what has been gathered. A full disk loses lines, not the container.
    fn flush(&mut self) {
        let mut written = 0;
        while written < self.length {
            let rest = &self.output[written..self.length];
            // SAFETY: the slice is live.
            match unsafe { call!(WRITE, self.file, rest.as_ptr(), rest.len()) } {
                Ok(count) => written += count,
                Err(EINTR) => {}
                Err(_) => break,
            }
        }
        self.size += written as u64;
        self.length = 0;
        if self.limit > 0 && self.size > self.limit {
            self.rotate();
        }
    }

    /// `log` becomes `log.1`, that `log.2`, and so on; the oldest is dropped.
    fn rotate(&mut self) {
        for number in (0..self.kept).rev() {
            let mut from = Text::<32>::new();
            from.push(b"log");
            if number > 0 {
                from.push(b".").number(u64::from(number));
            }
            let mut to = Text::<32>::new();
            to.push(b"log.").number(u64::from(number) + 1);
            // SAFETY: both names are NUL-terminated. A missing one is not there to be moved.
            let _ = unsafe { call!(RENAMEAT2, self.directory, from.as_path(), self.directory, to.as_path(), 0) };
        }
        let old = self.file;
        if self.kept == 0 {
            // SAFETY: the name is NUL-terminated.
            let _ = unsafe { call!(UNLINKAT, self.directory, c"log".as_ptr(), 0) };
        }
        match self.open_file() {
            Ok(()) => close(old),
            // The old file takes the lines until there is room for a new one.
            Err(_) => self.size = 0,
        }
    }
}

/// The time by the system's clock: seconds and nanoseconds.
pub(crate) fn now() -> [i64; 2] {
    let mut time = [0i64; 2];
    // SAFETY: a live timespec; 0 is CLOCK_REALTIME.
    let _ = unsafe { call!(CLOCK_GETTIME, 0, time.as_mut_ptr()) };
    time
}

fn position(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&byte| byte == b'\n')
}
