//! A connection to a D-Bus daemon: who we are, calls with their answers, and signals.

use super::wire::{Call, FIXED, Kind, LONGEST, Message, length};
use crate::error::During;
use crate::{Error, ErrorKind, Result};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long all that is asked of one connection may take: runc gives systemd as much for a job.
const PATIENCE: Duration = Duration::from_secs(30);

/// More signals than come in the time of one call.
const MOST_SIGNALS: usize = 1024;

const LONGEST_LINE: usize = 512;

/// Which systemd is asked.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SystemdBus {
    /// The machine's: `DBUS_SYSTEM_BUS_ADDRESS`, or `/run/dbus/system_bus_socket`.
    System,
    /// The user's: `DBUS_SESSION_BUS_ADDRESS`, or `$XDG_RUNTIME_DIR/bus`.
    User,
    /// The one at this address, as `unix:path=/run/dbus/system_bus_socket`.
    Address(String),
}

impl SystemdBus {
    fn address(&self) -> String {
        let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        match self {
            SystemdBus::System => variable("DBUS_SYSTEM_BUS_ADDRESS")
                .unwrap_or_else(|| "unix:path=/run/dbus/system_bus_socket".to_owned()),
            SystemdBus::User => variable("DBUS_SESSION_BUS_ADDRESS").unwrap_or_else(|| {
                let directory =
                    variable("XDG_RUNTIME_DIR").unwrap_or_else(|| format!("/run/user/{}", nix::unistd::geteuid()));
                format!("unix:path={directory}/bus")
            }),
            SystemdBus::Address(address) => address.clone(),
        }
    }

    pub(super) fn connect(&self) -> Result<Bus> {
        let address = self.address();
        let stream = connect(&address).map_err(|error| {
            error.context("connect to the D-Bus of systemd").hint(
                "start systemd and dbus, set DBUS_SYSTEM_BUS_ADDRESS or DBUS_SESSION_BUS_ADDRESS, or leave out \
                 --systemd-cgroup",
            )
        })?;
        Bus::open(stream)
    }
}

/// The first address of a list that answers (D-Bus Specification, "Server Addresses").
fn connect(list: &str) -> Result<UnixStream> {
    let mut last = Error::new(ErrorKind::Unsupported, format!("no address in {list:?} is a Unix socket"));
    for address in list.split(';') {
        let Some(options) = address.strip_prefix("unix:") else { continue };
        for (key, value) in options.split(',').filter_map(|option| option.split_once('=')) {
            let Some(value) = unescape(value) else { continue };
            let connected = match key {
                "path" => UnixStream::connect(PathBuf::from(&value)),
                "abstract" => SocketAddr::from_abstract_name(&value).and_then(|name| UnixStream::connect_addr(&name)),
                _ => continue,
            };
            match connected.during(|| value.clone()) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
    }
    Err(last)
}

/// Undoes `%2c`.
fn unescape(value: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte != b'%' {
            bytes.push(byte);
            rest = tail;
            continue;
        }
        let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).ok()
}

/// A connection that has a name.
pub(super) struct Bus {
    stream: UnixStream,
    deadline: Instant,
    serial: u32,
    signals: VecDeque<Message>,
}

impl Bus {
    /// Authenticates by the credentials of the socket, which the other end asks the kernel for, and says hello.
    pub(super) fn open(stream: UnixStream) -> Result<Bus> {
        let mut bus = Bus { stream, deadline: Instant::now() + PATIENCE, serial: 0, signals: VecDeque::new() };
        bus.authenticate().map_err(|error| error.context("authenticate to the D-Bus"))?;
        bus.call(Call {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member: "Hello",
            signature: "",
            body: Vec::new(),
        })?;
        Ok(bus)
    }

    /// SASL with the mechanism EXTERNAL, without a name of ours: in a user namespace the other end knows us by another.
    fn authenticate(&mut self) -> Result<()> {
        self.send(b"\0AUTH EXTERNAL\r\n")?;
        let mut answer = self.line()?;
        if answer.trim_end() == "DATA" {
            self.send(b"DATA\r\n")?;
            answer = self.line()?;
        }
        if !answer.starts_with("OK ") {
            return Err(Error::new(ErrorKind::PermissionDenied, format!("it answers {answer:?}"))
                .hint("the bus belongs to another user"));
        }
        self.send(b"BEGIN\r\n")
    }

    /// Byte by byte, because what follows the line is a message.
    fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.receive(&mut byte)?;
            line.push(byte[0]);
            if line.len() > LONGEST_LINE {
                return Err(Error::new(ErrorKind::LimitExceeded, "its answer is too long"));
            }
        }
        line.truncate(line.len() - 2);
        String::from_utf8(line).map_err(|_| Error::new(ErrorKind::Corrupt, "its answer is not UTF-8"))
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.set_write_timeout(Some(self.left()?)).during(|| "limit the time of a write to the D-Bus")?;
        self.stream.write_all(bytes).map_err(|error| timed(error, "write to the D-Bus"))
    }

    fn receive(&mut self, bytes: &mut [u8]) -> Result<()> {
        let mut filled = 0;
        while filled < bytes.len() {
            self.stream.set_read_timeout(Some(self.left()?)).during(|| "limit the time of a read from the D-Bus")?;
            match self.stream.read(&mut bytes[filled..]) {
                Ok(0) => return Err(Error::new(ErrorKind::Unavailable, "the D-Bus has closed the connection")),
                Ok(got) => filled += got,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(timed(error, "read from the D-Bus")),
            }
        }
        Ok(())
    }

    fn left(&self) -> Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::new(ErrorKind::TimedOut, format!("the D-Bus took longer than {PATIENCE:?}")));
        }
        Ok(left)
    }

    fn message(&mut self) -> Result<Message> {
        let corrupt = || Error::new(ErrorKind::Corrupt, "the D-Bus sent what is no message");
        let mut fixed = [0; FIXED];
        self.receive(&mut fixed)?;
        let total = length(&fixed).filter(|total| (FIXED..=LONGEST).contains(total)).ok_or_else(corrupt)?;
        let mut bytes = fixed.to_vec();
        bytes.resize(total, 0);
        self.receive(&mut bytes[FIXED..])?;
        Message::parse(&bytes).ok_or_else(corrupt)
    }

    /// Calls a method and waits for its answer; signals that come in between are kept.
    pub(super) fn call(&mut self, call: Call<'_>) -> Result<Message> {
        self.serial += 1;
        let serial = self.serial;
        self.send(&call.encode(serial))?;
        loop {
            let message = self.message()?;
            match message.kind {
                Kind::Return if message.reply_to == Some(serial) => return Ok(message),
                Kind::Error if message.reply_to == Some(serial) => return Err(refused(&message, call.member)),
                Kind::Signal if self.signals.len() < MOST_SIGNALS => self.signals.push_back(message),
                _ => {}
            }
        }
    }

    /// The next signal for which `wanted` finds something.
    pub(super) fn signal<T>(&mut self, mut wanted: impl FnMut(&Message) -> Option<T>) -> Result<T> {
        while let Some(kept) = self.signals.pop_front() {
            if let Some(found) = wanted(&kept) {
                return Ok(found);
            }
        }
        loop {
            let message = self.message()?;
            if let (Kind::Signal, Some(found)) = (message.kind, wanted(&message)) {
                return Ok(found);
            }
        }
    }
}

#[cfg(test)]
impl Bus {
    /// Plays a service: answers the next `count` calls.
    pub(super) fn answer_calls(&mut self, count: usize, answers: impl Fn(&Message) -> Vec<Vec<u8>>) -> Result<()> {
        let mut left = count;
        while left > 0 {
            let message = self.message()?;
            if message.kind == Kind::Call {
                left -= 1;
                answers(&message).iter().try_for_each(|answer| self.send(answer))?;
            }
        }
        Ok(())
    }
}

fn timed(error: std::io::Error, operation: &'static str) -> Error {
    match error.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
            Error::new(ErrorKind::TimedOut, format!("{operation}: it took longer than {PATIENCE:?}"))
        }
        _ => match Err::<(), _>(error).during(|| operation) {
            Err(error) => error,
            Ok(()) => Error::new(ErrorKind::Os, operation),
        },
    }
}

/// The error of a method, with the text that most of them have as their first argument.
fn refused(message: &Message, member: &str) -> Error {
    let text = if message.signature.starts_with('s') { message.arguments().text() } else { None };
    if message.error.starts_with("org.freedesktop.DBus.Error.Spawn.") {
        // The bus has tried to start who is asked for.
        return Error::new(
            ErrorKind::Unavailable,
            format!("{member}: {}: {}", message.error, text.unwrap_or_default()),
        )
        .hint("no systemd runs on this bus: leave out --systemd-cgroup");
    }
    let kind = match message.error.rsplit('.').next().unwrap_or_default() {
        "UnitExists" => ErrorKind::AlreadyExists,
        "NoSuchUnit" => ErrorKind::NotFound,
        "AccessDenied" | "InteractiveAuthorizationRequired" => ErrorKind::PermissionDenied,
        "ServiceUnknown" | "NameHasNoOwner" => ErrorKind::Unavailable,
        "PropertyReadOnly" | "UnknownMethod" | "NotSupported" => ErrorKind::Unsupported,
        _ => ErrorKind::Os,
    };
    Error::new(kind, format!("{member}: {}: {}", message.error, text.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_tried_in_turn() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bus 1");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let escaped = path.display().to_string().replace(' ', "%20");
        assert!(connect(&format!("tcp:host=x;unix:path=/nowhere/bus;unix:path={escaped},guid=1")).is_ok());
        let error = connect("unix:path=/nowhere/bus").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert_eq!(connect("tcp:host=x").unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!((unescape("a%2cb").as_deref(), unescape("%2"), unescape("%zz")), (Some("a,b"), None, None));
    }
}
