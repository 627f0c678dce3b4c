//! The namespaces of a runtime-spec configuration: new, joined by path, or inherited (config-linux, "Namespaces").

use crate::error::{Context, During};
use crate::kernel::namespace_kind;
use crate::launch::{IdMap, IdRange};
use crate::plan::op::OpCode;
use crate::plan::{Builder, Phase, Slot};
use crate::{Error, Result};
use oci_spec::runtime::{LinuxIdMapping, LinuxNamespaceType, Spec};
use std::fmt::Write;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// `CLONE_NEWTIME`, which libc has for some targets only.
const CLONE_NEWTIME: i32 = 0x80;

/// The name of each kind in the configuration, its flag, and its file under /proc/PID/ns.
const KINDS: [(LinuxNamespaceType, &str, i32, &str); 8] = [
    (LinuxNamespaceType::Mount, "mount", libc::CLONE_NEWNS, "mnt"),
    (LinuxNamespaceType::Pid, "pid", libc::CLONE_NEWPID, "pid"),
    (LinuxNamespaceType::Network, "network", libc::CLONE_NEWNET, "net"),
    (LinuxNamespaceType::Ipc, "ipc", libc::CLONE_NEWIPC, "ipc"),
    (LinuxNamespaceType::Uts, "uts", libc::CLONE_NEWUTS, "uts"),
    (LinuxNamespaceType::User, "user", libc::CLONE_NEWUSER, "user"),
    (LinuxNamespaceType::Cgroup, "cgroup", libc::CLONE_NEWCGROUP, "cgroup"),
    (LinuxNamespaceType::Time, "time", CLONE_NEWTIME, "time"),
];

/// The namespaces a container begins in; what is neither new nor joined is the caller's own.
#[derive(Debug)]
pub(crate) struct Namespaces {
    /// The CLONE_NEW flags of those made for it.
    new: i32,
    joined: Vec<Joined>,
    /// Of a new user namespace.
    id_map: Option<IdMap>,
    /// What `/proc/self/timens_offsets` takes, for a new time namespace.
    time_offsets: String,
}

#[derive(Debug)]
struct Joined {
    flag: i32,
    name: &'static str,
    descriptor: OwnedFd,
}

impl Namespaces {
    /// Reads `linux.namespaces`, the mappings and the time offsets; opens what is joined.
    ///
    /// # Errors
    /// `InvalidInput` for a kind given twice, a path that is no namespace of its kind, mappings without a new user
    /// namespace or none with one, offsets without a new time namespace.
    pub(crate) fn from_runtime_spec(spec: &Spec) -> Result<Namespaces> {
        let mut namespaces = Namespaces { new: 0, joined: Vec::new(), id_map: None, time_offsets: String::new() };
        let Some(linux) = spec.linux() else { return Ok(namespaces) };
        for (index, namespace) in linux.namespaces().iter().flatten().enumerate() {
            let kind = KINDS.iter().find(|kind| kind.0 == namespace.typ());
            let &(_, name, flag, file) = kind.ok_or_else(|| Error::invalid("linux.namespaces: unknown type"))?;
            if namespaces.has(flag) {
                return Err(Error::invalid(format!("linux.namespaces[{index}]: a second {name} namespace")));
            }
            match namespace.path() {
                None => namespaces.new |= flag,
                Some(path) if path.as_os_str().is_empty() => namespaces.new |= flag,
                Some(path) => {
                    let opened = open(path, flag, name).context(|| format!("linux.namespaces[{index}].path"))?;
                    // The kernel refuses to join the user namespace one is in.
                    if flag != libc::CLONE_NEWUSER || !is_own(&opened, file)? {
                        namespaces.joined.push(Joined { flag, name, descriptor: opened });
                    }
                }
            }
        }
        namespaces.read_mappings(linux.uid_mappings().as_deref(), linux.gid_mappings().as_deref())?;
        if let Some(offsets) = linux.time_offsets() {
            namespaces.read_offsets(
                offsets.iter().map(|(clock, offset)| {
                    (clock.as_str(), offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0))
                }),
            )?;
        }
        namespaces.check_names(spec)?;
        Ok(namespaces)
    }

    /// Whether the container has a namespace of this kind that is not the caller's.
    pub(crate) fn has(&self, flag: i32) -> bool {
        self.new & flag != 0 || self.joined.iter().any(|joined| joined.flag == flag)
    }

    /// Whether one of this kind is made for it.
    pub(crate) fn is_new(&self, flag: i32) -> bool {
        self.new & flag != 0
    }

    /// The id maps that the parent writes when it is asked to.
    pub(crate) fn id_map(&self) -> Option<&IdMap> {
        self.id_map.as_ref()
    }

    /// The CLONE_NEW flags of all that it has.
    pub(crate) fn flags(&self) -> i32 {
        self.joined.iter().fold(self.new, |flags, joined| flags | joined.flag)
    }

    fn read_mappings(&mut self, users: Option<&[LinuxIdMapping]>, groups: Option<&[LinuxIdMapping]>) -> Result<()> {
        let (users, groups) = (users.unwrap_or_default(), groups.unwrap_or_default());
        if !self.is_new(libc::CLONE_NEWUSER) {
            if users.is_empty() && groups.is_empty() || self.has(libc::CLONE_NEWUSER) {
                return Ok(());
            }
            return Err(Error::invalid("linux.uidMappings and linux.gidMappings are given without a user namespace"));
        }
        for (field, list) in [("linux.uidMappings", users), ("linux.gidMappings", groups)] {
            if list.is_empty() {
                return Err(Error::invalid(format!("{field} is empty, and a new user namespace is asked for")));
            }
        }
        let map = IdMap { users: ranges(users), groups: ranges(groups) };
        map.check().context(|| "linux.uidMappings, linux.gidMappings")?;
        self.id_map = Some(map);
        Ok(())
    }

    fn read_offsets<'a>(&mut self, offsets: impl Iterator<Item = (&'a str, i64, u32)>) -> Result<()> {
        for (clock, seconds, nanoseconds) in offsets {
            if !self.is_new(CLONE_NEWTIME) {
                return Err(Error::invalid("linux.timeOffsets is given without a new time namespace"));
            }
            if !["monotonic", "boottime"].contains(&clock) {
                return Err(Error::invalid(format!(
                    "linux.timeOffsets: clock {clock:?} is neither monotonic nor boottime"
                )));
            }
            if nanoseconds >= 1_000_000_000 {
                return Err(Error::invalid(format!("linux.timeOffsets.{clock}.nanosecs is not below 1000000000")));
            }
            // Formatting into a string cannot fail.
            let _ = writeln!(self.time_offsets, "{clock} {seconds} {nanoseconds}");
        }
        Ok(())
    }

    fn check_names(&self, spec: &Spec) -> Result<()> {
        for (field, name) in [("hostname", spec.hostname()), ("domainname", spec.domainname())] {
            let Some(name) = name.as_ref().filter(|name| !name.is_empty()) else { continue };
            if !self.has(libc::CLONE_NEWUTS) {
                return Err(Error::invalid(format!("{field} is given without a UTS namespace")));
            }
            if name.len() > 64 || name.contains('\0') {
                return Err(Error::invalid(format!("{field} {name:?} is longer than 64 bytes")));
            }
        }
        Ok(())
    }
}

/// The CLONE_NEW flags of the namespaces of process `pid` that are not the caller's.
///
/// # Errors
/// The process is gone, or is not to be looked at.
pub(crate) fn differing_namespaces(pid: i32) -> Result<i32> {
    let mut flags = 0;
    for (_, name, flag, file) in KINDS {
        let read = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/{file}"));
        match (read("thread-self"), read(&pid.to_string())) {
            (Ok(own), Ok(other)) if own == other => {}
            (Ok(_), Ok(_)) => flags |= flag,
            // A kernel without this kind.
            (Err(error), _) if error.kind() == std::io::ErrorKind::NotFound => {}
            (own, other) => {
                own.and(other).during(|| format!("look at the {name} namespace of process {pid}"))?;
            }
        }
    }
    Ok(flags)
}

/// Lowering: phases Join to Identity.
impl Namespaces {
    /// Opens, in the phase Fence, what must be opened while the caller's /proc is in sight; its slot.
    pub(crate) fn lower_early(&self, plan: &mut Builder) -> Option<Slot> {
        if self.time_offsets.is_empty() {
            return None;
        }
        let slot = plan.slot();
        let path = plan.text("/proc/self/timens_offsets");
        let arguments = [path, libc::O_WRONLY as u32, slot.into()];
        plan.push(OpCode::OpenHost, &arguments, "open the offsets of the time namespace")
            .hint(libc::ENOENT, "the kernel has no time namespaces: CONFIG_TIME_NS");
        Some(slot)
    }

    /// Joins and makes them; the control groups are entered already. Returns the CLONE_NEW flags that the clone itself
    /// takes: what needs no right of another namespace begins with the process.
    pub(crate) fn lower(self, plan: &mut Builder, spec: &Spec, offsets: Option<Slot>) -> u64 {
        let fresh_user = self.is_new(libc::CLONE_NEWUSER);
        let joined_user = !fresh_user && self.has(libc::CLONE_NEWUSER);
        let hop = self.is_new(CLONE_NEWTIME) || self.joined.iter().any(|joined| joined.flag == libc::CLONE_NEWPID);
        let mut later = libc::CLONE_NEWCGROUP | CLONE_NEWTIME | if hop { libc::CLONE_NEWPID } else { 0 };
        if fresh_user || joined_user {
            later = !0;
        }
        let at_clone = self.new & !later & !libc::CLONE_NEWUSER;
        let later = self.new & later & !libc::CLONE_NEWUSER;
        let fresh_network = self.is_new(libc::CLONE_NEWNET);
        let time_offsets = plan.text(&self.time_offsets);
        self.lower_joins(plan);
        if fresh_user {
            lower_user_namespace(plan);
        } else if joined_user {
            plan.phase(Phase::Identity);
            plan.push(OpCode::BecomeRoot, &[], "become root of the user namespace");
        }
        if later != 0 {
            plan.push(OpCode::Unshare, &[later as u32], "create namespaces");
        }
        plan.phase(Phase::Identity);
        if let Some(slot) = offsets {
            plan.push(OpCode::Write, &[slot.into(), time_offsets], "set the offsets of the time namespace")
                .hint(libc::ERANGE, "an offset leads out of the clock's range");
        }
        if hop || later & libc::CLONE_NEWPID != 0 {
            plan.push(OpCode::GoOnInChild, &[], "enter the PID namespace");
        }
        lower_names(plan, spec);
        if fresh_network {
            plan.push(OpCode::LoopbackUp, &[], "bring the loopback interface up");
        }
        at_clone as u64
    }

    /// A user namespace first where only it gives the rights to join the others, else last: what the others belong to
    /// may be above it.
    fn lower_joins(self, plan: &mut Builder) {
        plan.phase(Phase::Join);
        let privileged = crate::isolate::CapabilitySet::permitted()
            .is_ok_and(|held| held.contains(crate::isolate::Capability::SYS_ADMIN));
        let (user, others): (Vec<Joined>, Vec<Joined>) =
            self.joined.into_iter().partition(|joined| joined.flag == libc::CLONE_NEWUSER);
        let order: Vec<Joined> = if privileged {
            others.into_iter().chain(user).collect()
        } else {
            user.into_iter().chain(others).collect()
        };
        for Joined { flag, name, descriptor } in order {
            let slot = plan.inherit(descriptor);
            plan.push(OpCode::JoinNamespace, &[slot.into(), flag as u32], format!("join the {name} namespace"))
                .hint(libc::EPERM, "joining it needs CAP_SYS_ADMIN in the user namespace that owns it");
        }
    }
}

/// The user namespace of a container, which has its other namespaces made: with the capabilities that it gives.
pub(crate) fn lower_user_namespace(plan: &mut Builder) {
    plan.push(OpCode::Unshare, &[libc::CLONE_NEWUSER as u32], "create a user namespace")
        .hint(libc::EPERM, "user namespaces are switched off: sysctl kernel.unprivileged_userns_clone=1, or kernel.apparmor_restrict_unprivileged_userns=0")
        .hint(libc::ENOSPC, "user namespaces are switched off: sysctl user.max_user_namespaces");
    plan.phase(Phase::Map);
    plan.push(OpCode::AskForIdMaps, &[], "get the ids mapped");
    plan.phase(Phase::Identity);
    plan.push(OpCode::BecomeRoot, &[], "become root of the user namespace");
}

fn lower_names(plan: &mut Builder, spec: &Spec) {
    let names = [
        (OpCode::SetHostname, spec.hostname(), "set the host name"),
        (OpCode::SetDomainname, spec.domainname(), "set the domain name"),
    ];
    for (code, name, what) in names {
        if let Some(name) = name.as_ref().filter(|name| !name.is_empty()) {
            let bytes = plan.bytes(name.as_bytes());
            plan.push(code, &[bytes, name.len() as u32], what);
        }
    }
}

pub(super) fn ranges(list: &[LinuxIdMapping]) -> Vec<IdRange> {
    list.iter()
        .map(|range| IdRange { inside: range.container_id(), outside: range.host_id(), count: range.size() })
        .collect()
}

fn open(path: &Path, flag: i32, name: &str) -> Result<OwnedFd> {
    let file = File::open(path).during(|| format!("open the {name} namespace {}", path.display()))?;
    match namespace_kind(file.as_fd()) {
        Some(kind) if kind == flag => Ok(file.into()),
        Some(_) => Err(Error::invalid(format!("{} is a namespace, but no {name} namespace", path.display()))),
        None => Err(Error::invalid(format!("{} is no namespace", path.display()))),
    }
}

/// Whether `namespace` is the caller's own of the kind `file`.
fn is_own(namespace: &OwnedFd, file: &str) -> Result<bool> {
    let own = nix::sys::stat::stat(format!("/proc/thread-self/ns/{file}").as_str()).during(|| "look at a namespace")?;
    let other = nix::sys::stat::fstat(namespace).during(|| "look at a namespace")?;
    Ok((own.st_dev, own.st_ino) == (other.st_dev, other.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(linux: Value) -> Result<Namespaces> {
        let spec = json!({"ociVersion": "1.0.2", "root": {"path": "r"}, "hostname": "box", "linux": linux});
        Namespaces::from_runtime_spec(&serde_json::from_value(spec).unwrap())
    }

    fn listing(linux: Value) -> (u64, String) {
        let spec = json!({"ociVersion": "1.0.2", "root": {"path": "r"}, "hostname": "box", "linux": linux});
        let spec: Spec = serde_json::from_value(spec).unwrap();
        let namespaces = Namespaces::from_runtime_spec(&spec).unwrap();
        let mut plan = Builder::new();
        super::super::lower_fence(&mut plan);
        let offsets = namespaces.lower_early(&mut plan);
        let flags = namespaces.lower(&mut plan, &spec, offsets);
        let command = super::super::CommandLine { arguments: vec![b"x".to_vec()], environment: vec![] };
        plan.phase(Phase::EarlyFilter);
        plan.push(OpCode::CloseOnExec, &[3], "have the exec close descriptors");
        super::super::lower_exec(&mut plan, &command);
        let plan = plan.finish(crate::launch::Channel::new().unwrap().child()).unwrap();
        (flags, plan.verified().unwrap().to_string())
    }

    #[test]
    fn new_namespaces_begin_with_the_clone() {
        let (flags, text) = listing(json!({"namespaces": [{"type": "uts"}, {"type": "pid"}, {"type": "network"}]}));
        assert_eq!(flags, (libc::CLONE_NEWUTS | libc::CLONE_NEWPID | libc::CLONE_NEWNET) as u64);
        assert!(text.contains("set-hostname") && text.contains("loopback-up"));
        assert!(!text.contains("unshare") && !text.contains("go-on-in-child"));
    }

    #[test]
    fn a_new_user_namespace_owns_the_others_and_comes_after_what_is_joined() {
        let (flags, text) = listing(json!({
            "namespaces": [{"type": "user"}, {"type": "uts"}, {"type": "pid"}, {"type": "network", "path": "/proc/self/ns/net"}],
            "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
            "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
        }));
        assert_eq!(flags, 0);
        let order = [
            "join-namespace",
            "unshare 0x10000000",
            "ask-for-id-maps",
            "become-root",
            "unshare 0x24000000",
            "go-on-in-child",
            "set-hostname",
        ];
        let places: Vec<usize> =
            order.iter().map(|line| text.find(line).unwrap_or_else(|| panic!("{line}: {text}"))).collect();
        assert!(places.is_sorted(), "{text}");
        assert!(!text.contains("loopback-up"), "a joined network is not ours to change");
    }

    #[test]
    fn the_first_process_of_a_pid_namespace_is_its_init_with_a_time_namespace_too() {
        let (flags, text) = listing(json!({
            "namespaces": [{"type": "uts"}, {"type": "pid"}, {"type": "time"}],
            "timeOffsets": {"boottime": {"secs": 86400, "nanosecs": 5}},
        }));
        assert_eq!(flags, libc::CLONE_NEWUTS as u64);
        let order = ["open-host", "unshare 0x20000080", "\"boottime 86400 5\\n\"", "go-on-in-child"];
        let places: Vec<usize> =
            order.iter().map(|line| text.find(line).unwrap_or_else(|| panic!("{line}: {text}"))).collect();
        assert!(places.is_sorted(), "{text}");
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_field() {
        let uts = json!({"type": "uts"});
        let map = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
        for (linux, error) in [
            (json!({"namespaces": [uts, uts]}), "linux.namespaces[1]: a second uts"),
            (
                json!({"namespaces": [uts, {"type": "network", "path": "/dev/null"}]}),
                "linux.namespaces[1].path: /dev/null is no namespace",
            ),
            (
                json!({"namespaces": [uts, {"type": "network", "path": "/proc/self/ns/ipc"}]}),
                "but no network namespace",
            ),
            (
                json!({"namespaces": [uts, {"type": "pid", "path": "/nowhere"}]}),
                "linux.namespaces[1].path: open the pid namespace /nowhere",
            ),
            (json!({"namespaces": [uts, {"type": "user"}]}), "linux.uidMappings is empty"),
            (json!({"namespaces": [uts, {"type": "user"}], "uidMappings": map}), "linux.gidMappings is empty"),
            (json!({"namespaces": [uts], "uidMappings": map, "gidMappings": map}), "without a user namespace"),
            (json!({"namespaces": [uts], "timeOffsets": {"monotonic": {"secs": 1}}}), "without a new time namespace"),
            (
                json!({"namespaces": [uts, {"type": "time"}], "timeOffsets": {"realtime": {"secs": 1}}}),
                "neither monotonic nor boottime",
            ),
            (json!({"namespaces": []}), "hostname is given without a UTS namespace"),
        ] {
            let found = read(linux.clone()).expect_err(&linux.to_string()).to_string();
            assert!(found.contains(error), "{linux}: {found}");
        }
    }
}
