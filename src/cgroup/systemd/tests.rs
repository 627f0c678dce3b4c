use super::*;
use crate::cgroup::resources::Bound;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

/// Plays a bus with systemd on it, as D-Bus Specification and org.freedesktop.systemd1(5) have it: a unit is made by
/// making its group and moving the process there.
struct Systemd {
    directory: tempfile::TempDir,
    calls: mpsc::Receiver<(String, Message)>,
}

/// What the played systemd does with a unit.
#[derive(Clone, Copy)]
enum Manner {
    Done,
    Fails,
    Exists,
}

impl Systemd {
    fn start(manner: Manner, group: &str) -> Systemd {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("bus")).unwrap();
        let (send, calls) = mpsc::channel();
        let group = group.to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (send, group) = (send.clone(), group.clone());
                std::thread::spawn(move || serve(stream.unwrap(), manner, &group, &send));
            }
        });
        Systemd { directory, calls }
    }

    fn bus(&self) -> SystemdBus {
        SystemdBus::Address(format!("unix:path={}", self.directory.path().join("bus").display()))
    }

    fn members(&self) -> Vec<String> {
        self.calls.try_iter().map(|(member, _)| member).collect()
    }
}

fn serve(stream: UnixStream, manner: Manner, group: &str, calls: &mpsc::Sender<(String, Message)>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    let mut line = String::new();
    for (expected, answer) in
        [("\0AUTH EXTERNAL\r\n", "DATA\r\n"), ("DATA\r\n", "OK 0123456789abcdef\r\n"), ("BEGIN\r\n", "")]
    {
        line.clear();
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, expected);
        writer.write_all(answer.as_bytes()).unwrap();
    }
    let mut fixed = [0; wire::FIXED];
    while reader.read_exact(&mut fixed).is_ok() {
        let mut bytes = fixed.to_vec();
        bytes.resize(wire::length(&fixed).unwrap(), 0);
        reader.read_exact(&mut bytes[wire::FIXED..]).unwrap();
        let call = Message::parse(&bytes).unwrap();
        let answers = answers(&call, manner, group);
        let _ = calls.send((call.member.clone(), call));
        for answer in answers {
            writer.write_all(&answer).unwrap();
        }
    }
}

fn answers(call: &Message, manner: Manner, group: &str) -> Vec<Vec<u8>> {
    const JOB: &str = "/org/freedesktop/systemd1/job/7";
    let text = |text: &str| {
        let mut body = Encoder::default();
        body.text(text);
        body.into_bytes()
    };
    let caller = (6, call.sender.as_str());
    let reply =
        |signature: &str, body: &[u8]| wire::encode_answer(2, call.serial, [caller, (0, ""), (0, "")], signature, body);
    let error =
        |name: &str| wire::encode_answer(3, call.serial, [(4, name), caller, (0, "")], "s", &text("no such luck"));
    let removed = |job: &str, result: &str| {
        let mut body = Encoder::default();
        body.u32(7);
        [job, "a.scope", result].iter().for_each(|part| body.text(part));
        let texts = [(1, ROOT), (2, MANAGER), (3, "JobRemoved")];
        wire::encode_answer(4, 0, texts, "uoss", &body.into_bytes())
    };
    match call.member.as_str() {
        "StartTransientUnit" => match manner {
            Manner::Exists => vec![error("org.freedesktop.systemd1.UnitExists")],
            Manner::Fails => vec![reply("o", &text(JOB)), removed(JOB, "failed")],
            // The signal may overtake the answer; that of another job may come before.
            Manner::Done => vec![removed("/other/job", "failed"), removed(JOB, "done"), reply("o", &text(JOB))],
        },
        "GetUnit" => vec![reply("o", &text("/org/freedesktop/systemd1/unit/a"))],
        "Get" => {
            let mut body = Encoder::default();
            body.signature("s");
            body.text(group);
            vec![reply("v", &body.into_bytes())]
        }
        "StopUnit" => vec![error("org.freedesktop.systemd1.NoSuchUnit")],
        _ => vec![reply("", &[])],
    }
}

struct Sleeper(Child);

impl Sleeper {
    fn start() -> Sleeper {
        Sleeper(Command::new("sleep").arg("1000").stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn resources() -> Resources {
    let mut resources = Resources::new();
    resources.pids = Some(Bound::At(20));
    resources.memory.limit = Some(Bound::At(64 << 20));
    resources
}

/// Needs root.
#[test]
fn a_scope_is_started_filled_changed_and_stopped() {
    let path = format!("/coracle-test-scope-{}/runc-x.scope", std::process::id());
    let systemd = Systemd::start(Manner::Done, &path);
    let scope = ScopeUnit::parse("system.slice:runc:x", "user.slice").unwrap().property("CollectMode", "'inactive'");
    let sleeper = Sleeper::start();
    let pid = sleeper.0.id() as i32;
    let (group, _) = Cgroup::in_scope(&scope.unwrap(), &systemd.bus(), pid, &resources(), Policy::Strict).unwrap();
    assert_eq!(group.processes().unwrap(), [pid]);
    assert!(group.directories().iter().all(|directory| directory.ends_with(&path[1..]) && directory.exists()));
    let calls: Vec<(String, Message)> = systemd.calls.try_iter().collect();
    let members: Vec<&str> = calls.iter().map(|(member, _)| member.as_str()).collect();
    assert_eq!(members, ["Hello", "Subscribe", "AddMatch", "StartTransientUnit", "GetUnit", "Get"]);
    let start = &calls[3].1;
    assert_eq!(start.signature, "ssa(sv)a(sa(sv))");
    let mut arguments = start.arguments();
    assert_eq!(arguments.text().as_deref(), Some("runc-x.scope"));
    assert_eq!(arguments.text().as_deref(), Some("replace"));
    // Another process updates and removes it.
    let other = Cgroup::open(&serde_json::from_str(&serde_json::to_string(&group.record()).unwrap()).unwrap());
    other.change(&resources(), Policy::Strict).unwrap();
    assert_eq!(systemd.members(), ["Hello", "SetUnitProperties"]);
    other.remove().unwrap();
    assert_eq!(systemd.members(), ["Hello", "StopUnit", "ResetFailedUnit"]);
    assert!(group.directories().iter().all(|directory| !directory.parent().unwrap().exists()));
}

#[test]
fn what_systemd_refuses_is_told_and_nothing_is_made() {
    let scope = ScopeUnit::parse(":runc:x", "system.slice").unwrap();
    let sleeper = Sleeper::start();
    for (manner, kind, text) in [
        (
            Manner::Exists,
            ErrorKind::AlreadyExists,
            "StartTransientUnit: org.freedesktop.systemd1.UnitExists: no such luck",
        ),
        (Manner::Fails, ErrorKind::Os, "the job of systemd ended with \"failed\""),
    ] {
        let systemd = Systemd::start(manner, "/never");
        let pid = sleeper.0.id() as i32;
        let error = Cgroup::in_scope(&scope, &systemd.bus(), pid, &resources(), Policy::Strict).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().starts_with(&format!("create scope runc-x.scope: {text}")), "{error}");
    }
    // CVE class: what comes back as a path is not trusted either.
    let systemd = Systemd::start(Manner::Done, "/../../etc");
    let error =
        Cgroup::in_scope(&scope, &systemd.bus(), sleeper.0.id() as i32, &resources(), Policy::Strict).unwrap_err();
    assert!(error.to_string().contains("it leads elsewhere"), "{error}");
}

#[test]
fn rootless_without_a_bus_the_error_says_what_to_do() {
    let scope = ScopeUnit::parse(":runc:x", "system.slice").unwrap();
    let bus = SystemdBus::Address("unix:path=/nowhere/bus".to_owned());
    let error = Cgroup::in_scope(&scope, &bus, 1, &Resources::new(), Policy::Strict).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("create scope runc-x.scope: connect to the D-Bus of systemd: /nowhere/bus: "), "{text}");
    assert!(error.remedy().unwrap().contains("--systemd-cgroup"), "{text}");
}

#[test]
fn names_are_those_of_systemd() {
    let unit = |path| ScopeUnit::parse(path, "user.slice").map(|scope| (scope.slice, scope.unit));
    assert_eq!(unit("a-b.slice:runc:x").unwrap(), ("a-b.slice".to_owned(), "runc-x.scope".to_owned()));
    assert_eq!(unit("::x").unwrap(), ("user.slice".to_owned(), "x.scope".to_owned()));
    assert_eq!(unit("-.slice:p:x").unwrap().0, "-.slice");
    for path in [
        "x",
        "a:b",
        "a:b:c",
        "a-.slice:b:c",
        "a--b.slice:b:c",
        "../a.slice:b:c",
        ":b:",
        ":a/b:c",
        ".slice:b:c",
        "a:b:c:d",
    ] {
        assert_eq!(unit(path).unwrap_err().kind(), ErrorKind::InvalidInput, "{path}");
    }
}

/// A real `dbus-daemon`, with the played systemd's part taken by a second connection of ours.
#[test]
fn a_real_daemon_takes_our_messages() {
    let directory = tempfile::tempdir().unwrap();
    let address = format!("unix:path={}", directory.path().join("bus").display());
    let arguments = ["--session", "--nofork", "--nopidfile", "--nosyslog", "--print-address=1"];
    let mut daemon = Command::new("dbus-daemon");
    daemon.args(arguments).arg(format!("--address={address}")).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut daemon = Sleeper(daemon.spawn().expect("dbus-daemon (package dbus-daemon) can be started"));
    let mut printed = String::new();
    BufReader::new(daemon.0.stdout.take().unwrap()).read_line(&mut printed).unwrap();
    let bus = SystemdBus::Address(address);
    let mut client = bus.connect().unwrap();
    let scope = ScopeUnit::parse("system.slice:runc:x", "user.slice").unwrap();
    let error = start(&mut client, &scope, 1, &resources()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "no systemd is on this bus: {error}");
    let mut service = bus.connect().unwrap();
    let mut name = Encoder::default();
    name.text(SERVICE);
    name.u32(4);
    let destination = "org.freedesktop.DBus";
    let call = Call {
        destination,
        path: "/org/freedesktop/DBus",
        interface: destination,
        member: "RequestName",
        signature: "su",
        body: name.into_bytes(),
    };
    assert_eq!(service.call(call).unwrap().arguments().u32(), Some(1), "we own the name");
    let path = std::thread::scope(|threads| {
        threads.spawn(|| service.answer_calls(4, |call| answers(call, Manner::Done, "/a/b.scope")).unwrap());
        let mut client = bus.connect().unwrap();
        start(&mut client, &scope, 1, &resources())
    });
    assert_eq!(path.unwrap().components(), "a/b.scope");
}
