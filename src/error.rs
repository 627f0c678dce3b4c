//! The one error type of the crate.
//!
//! An [`Error`] is one line a person can act on: what was being done, what refused, the errno where
//! the kernel spoke, and a hint where there is a remedy. Programs match on [`Error::kind`].

use std::borrow::Cow;
use std::fmt;

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, for a program to match on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A value, file or document given by the caller (or by an image) is not valid.
    InvalidInput,
    /// The named thing does not exist.
    NotFound,
    /// The named thing exists already.
    AlreadyExists,
    /// The thing is held by somebody else (a port, a lock, a running container).
    InUse,
    /// The kernel or a registry refused for lack of a right.
    PermissionDenied,
    /// This host, kernel or build of the crate cannot do it.
    Unsupported,
    /// A budget (bytes, entries, depth, ratio) was exceeded.
    LimitExceeded,
    /// Stored or received data does not match its digest or its format.
    Corrupt,
    /// A remote service could not be reached or answered out of protocol.
    Unavailable,
    /// No space, memory, process or descriptor was left.
    ResourceExhausted,
    /// The command of a container could not be executed.
    Exec,
    /// A command ran and failed (a build step, for example).
    CommandFailed,
    /// A time limit ran out.
    TimedOut,
    /// Any other refusal of the operating system.
    Os,
}

/// What went wrong, where, and what to do about it. Display is one line.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    contexts: Vec<Cow<'static, str>>,
    errno: Option<i32>,
    hint: Option<Cow<'static, str>>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind`; `message` says what was being done and what is wrong with it.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Error {
        Error(Box::new(Inner {
            kind,
            message: message.into(),
            contexts: Vec::new(),
            errno: None,
            hint: None,
            source: None,
        }))
    }

    /// The refusal of a system call: `operation` names what was being done ("open layers/ab12").
    pub fn os(operation: impl Into<Cow<'static, str>>, errno: i32) -> Error {
        let mut error = Error::new(kind_of_errno(errno), operation);
        error.0.errno = Some(errno);
        error
    }

    /// A bad value given by the caller.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(ErrorKind::InvalidInput, message)
    }

    /// Adds a remedy, shown in parentheses after the message.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Error {
        self.0.hint = Some(hint.into());
        self
    }

    /// Puts what the caller was doing in front: `context: message`.
    #[must_use]
    pub fn context(mut self, context: impl Into<Cow<'static, str>>) -> Error {
        self.0.contexts.push(context.into());
        self
    }

    /// Keeps the error of a foreign library as the source.
    #[must_use]
    pub fn source_error(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        self.0.source = Some(source.into());
        self
    }

    /// Changes the kind, where the place that saw an errno knows better what it means.
    #[must_use]
    pub fn with_kind(mut self, kind: ErrorKind) -> Error {
        self.0.kind = kind;
        self
    }

    /// What went wrong, for matching.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The errno, where a system call refused.
    pub fn errno(&self) -> Option<i32> {
        self.0.errno
    }

    /// The remedy, where one is known.
    pub fn remedy(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        // What an image or a file says may be in it.
        let mut f = OneLine(f);
        for context in self.0.contexts.iter().rev() {
            write!(f, "{context}: ")?;
        }
        f.write_str(&self.0.message)?;
        if let Some(errno) = self.0.errno {
            let known = nix::errno::Errno::from_raw(errno);
            write!(f, ": {} ({known:?})", small(known.desc()))?;
        }
        if let Some(source) = &self.0.source {
            write!(f, ": {source}")?;
        }
        if let Some(hint) = &self.0.hint {
            write!(f, " (hint: {hint})")?;
        }
        Ok(())
    }
}

/// Begins small, as errors in the middle of a line do: engines look for "no such file or directory" in a runtime's.
fn small(text: &str) -> String {
    let mut letters = text.chars();
    match (letters.next(), letters.as_str()) {
        (Some(first), rest) if rest.starts_with(char::is_lowercase) => format!("{}{rest}", first.to_ascii_lowercase()),
        _ => text.to_owned(),
    }
}

/// Escapes control characters: an error is one line, and steers nobody's terminal.
struct OneLine<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(char::is_control) {
            self.0.write_str(&rest[..at])?;
            let control = rest[at..].chars().next().unwrap_or_default();
            self.0.write_fmt(format_args!("{}", control.escape_default()))?;
            rest = &rest[at + control.len_utf8()..];
        }
        self.0.write_str(rest)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// Says what was being done when the operating system refused.
pub(crate) trait During<T> {
    /// Turns the refusal into an [`Error`] that names the operation.
    fn during<S: Into<Cow<'static, str>>>(self, operation: impl FnOnce() -> S) -> Result<T>;
}

impl<T> During<T> for std::io::Result<T> {
    fn during<S: Into<Cow<'static, str>>>(self, operation: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| match error.raw_os_error() {
            Some(errno) => Error::os(operation(), errno),
            None => {
                let kind = match error.kind() {
                    std::io::ErrorKind::NotFound => ErrorKind::NotFound,
                    std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::InvalidData => ErrorKind::Corrupt,
                    std::io::ErrorKind::TimedOut => ErrorKind::TimedOut,
                    _ => ErrorKind::Os,
                };
                Error::new(kind, operation()).source_error(error)
            }
        })
    }
}

impl<T> During<T> for nix::Result<T> {
    fn during<S: Into<Cow<'static, str>>>(self, operation: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|errno| Error::os(operation(), errno as i32))
    }
}

/// Puts a context in front of the error of a result.
pub(crate) trait Context<T> {
    /// See [`Error::context`].
    fn context<S: Into<Cow<'static, str>>>(self, context: impl FnOnce() -> S) -> Result<T>;
}

impl<T> Context<T> for Result<T> {
    fn context<S: Into<Cow<'static, str>>>(self, context: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| error.context(context()))
    }
}

fn kind_of_errno(errno: i32) -> ErrorKind {
    match errno {
        libc::ENOENT | libc::ESRCH | libc::ENODEV => ErrorKind::NotFound,
        libc::EEXIST => ErrorKind::AlreadyExists,
        libc::EBUSY | libc::EADDRINUSE | libc::ETXTBSY => ErrorKind::InUse,
        libc::EPERM | libc::EACCES | libc::EROFS => ErrorKind::PermissionDenied,
        libc::ENOSYS | libc::EOPNOTSUPP => ErrorKind::Unsupported,
        libc::ENOSPC | libc::EDQUOT | libc::ENOMEM | libc::EMFILE | libc::ENFILE | libc::EAGAIN => {
            ErrorKind::ResourceExhausted
        }
        libc::ETIMEDOUT => ErrorKind::TimedOut,
        _ => ErrorKind::Os,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_one_line_with_context_errno_and_hint() {
        let error = Error::os("mount proc on /proc", libc::EPERM)
            .hint("the outer container masks /proc")
            .context("starting api-2");
        assert_eq!(
            error.to_string(),
            "starting api-2: mount proc on /proc: operation not permitted (EPERM) (hint: the outer container masks /proc)"
        );
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert_eq!(error.errno(), Some(libc::EPERM));
        assert_eq!(Error::os("read /a", libc::EIO).to_string(), "read /a: I/O error (EIO)");
        let hostile = Error::invalid("execute a\nroot logged in\u{1b}[2J").context("b\r").source_error("c\u{9b}");
        assert_eq!(hostile.to_string(), "b\\r: execute a\\nroot logged in\\u{1b}[2J: c\\u{9b}");
    }
}
