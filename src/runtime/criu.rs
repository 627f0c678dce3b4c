//! How criu(8) is asked to write processes down and to bring them back: its command lines, as runc asks over its socket.

use super::record::Record;
use crate::cgroup::Cgroup;
use crate::error::During;
use crate::launch::{HostProgram, Launcher, find_program};
use crate::{Error, ErrorKind, Result};
use oci_spec::runtime::{LinuxNamespaceType, Mount, Spec};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What is written of processes, and how: for [`Container::checkpoint`](super::Container::checkpoint) and
/// [`Create::restore`](super::Create::restore).
#[derive(Debug, Clone)]
pub struct Criu {
    pub(super) images: PathBuf,
    program: PathBuf,
    work: Option<PathBuf>,
    parent: Option<PathBuf>,
    switches: Vec<&'static str>,
    pub(super) pre_dump: bool,
    pub(super) leave_running: bool,
    cgroups: Option<String>,
    page_server: Option<(String, String)>,
    status_fd: Option<i32>,
    values: Vec<(&'static str, String)>,
}

impl Criu {
    /// The images are in the directory `images`, which is made where it is missing; the program is `criu`.
    pub fn new(images: impl Into<PathBuf>) -> Criu {
        Criu {
            images: images.into(),
            program: "criu".into(),
            work: None,
            parent: None,
            switches: Vec::new(),
            pre_dump: false,
            leave_running: false,
            cgroups: None,
            page_server: None,
            status_fd: None,
            values: Vec::new(),
        }
    }

    /// Another program than `criu` of `PATH`: a path, or a name.
    #[must_use]
    pub fn program(mut self, program: impl Into<PathBuf>) -> Criu {
        self.program = program.into();
        self
    }

    /// Where logs are written; beside the images by default.
    #[must_use]
    pub fn work_directory(mut self, directory: impl Into<PathBuf>) -> Criu {
        self.work = Some(directory.into());
        self
    }

    /// The images that a pre-dump has written, relative to the directory of these.
    #[must_use]
    pub fn parent(mut self, directory: impl Into<PathBuf>) -> Criu {
        self.parent = Some(directory.into());
        self
    }

    /// Open TCP connections are taken along.
    #[must_use]
    pub fn tcp_established(self, on: bool) -> Criu {
        self.switch("--tcp-established", on)
    }

    /// Unix sockets to processes outside are taken along.
    #[must_use]
    pub fn external_unix_sockets(self, on: bool) -> Criu {
        self.switch("--ext-unix-sk", on)
    }

    /// Processes may have a terminal of their caller's.
    #[must_use]
    pub fn shell_job(self, on: bool) -> Criu {
        self.switch("--shell-job", on)
    }

    /// Locks of files are taken along.
    #[must_use]
    pub fn file_locks(self, on: bool) -> Criu {
        self.switch("--file-locks", on)
    }

    /// Memory is handed on when it is needed.
    #[must_use]
    pub fn lazy_pages(self, on: bool) -> Criu {
        self.switch("--lazy-pages", on)
    }

    /// What an earlier image holds is written once.
    #[must_use]
    pub fn auto_dedup(self, on: bool) -> Criu {
        self.switch("--auto-dedup", on)
    }

    /// Of memory alone; the processes go on.
    #[must_use]
    pub fn pre_dump(mut self, on: bool) -> Criu {
        self.pre_dump = on;
        self
    }

    /// The processes go on afterwards.
    #[must_use]
    pub fn leave_running(mut self, on: bool) -> Criu {
        self.leave_running = on;
        self
    }

    /// What becomes of control groups: `soft` (by default), `full`, `strict` or `ignore`.
    #[must_use]
    pub fn cgroups_mode(mut self, mode: impl Into<String>) -> Criu {
        self.cgroups = Some(mode.into());
        self
    }

    /// Memory goes to this address and port.
    #[must_use]
    pub fn page_server(mut self, address: impl Into<String>, port: u16) -> Criu {
        self.page_server = Some((address.into(), port.to_string()));
        self
    }

    /// A zero byte is written to this descriptor of the caller once lazy pages are ready.
    #[must_use]
    pub fn status_fd(mut self, descriptor: i32) -> Criu {
        self.status_fd = Some(descriptor);
        self
    }

    /// A namespace of this kind (`network`) begins empty.
    #[must_use]
    pub fn empty_namespace(mut self, kind: &str) -> Criu {
        let kind = if kind == "network" { "net" } else { kind };
        self.values.push(("--empty-ns", kind.to_owned()));
        self
    }

    /// The profile of a security module at the restore: `TYPE:NAME`.
    #[must_use]
    pub fn lsm_profile(mut self, profile: impl Into<String>) -> Criu {
        self.values.push(("--lsm-profile", profile.into()));
        self
    }

    /// The context of mounts of a security module at the restore.
    #[must_use]
    pub fn lsm_mount_context(mut self, context: impl Into<String>) -> Criu {
        self.values.push(("--lsm-mount-context", context.into()));
        self
    }

    /// The same with absolute paths: the program runs elsewhere.
    pub(super) fn resolved(&self) -> Result<Criu> {
        let absolute = |path: &PathBuf| std::path::absolute(path).during(|| format!("find {}", path.display()));
        let work = self.work.as_ref().map(absolute).transpose()?;
        Ok(Criu { images: absolute(&self.images)?, work, ..self.clone() })
    }

    /// The descriptor that a dump hands on.
    pub(super) fn status_descriptor(&self) -> Option<i32> {
        self.status_fd.filter(|&descriptor| descriptor >= 0)
    }

    fn switch(mut self, name: &'static str, on: bool) -> Criu {
        if on {
            self.switches.push(name);
        }
        self
    }

    /// What asks for a dump of the process `pid`.
    pub(super) fn dump_arguments(&self, pid: i32, record: &Record, spec: &Spec) -> Result<Vec<String>> {
        let verb = if self.pre_dump { "pre-dump" } else { "dump" };
        let mut words = self.common(verb, "dump.log")?;
        words.extend(["--tree".to_owned(), pid.to_string(), "--root".to_owned(), text(&record.rootfs)?]);
        words.push("--orphan-pts-master".to_owned());
        if self.leave_running && !self.pre_dump {
            words.push("--leave-running".to_owned());
        }
        if self.pre_dump || self.parent.is_some() {
            words.push("--track-mem".to_owned());
        }
        if let Some(parent) = &self.parent {
            words.extend(["--prev-images-dir".to_owned(), text(parent)?]);
        }
        if let Some((address, port)) = &self.page_server {
            words.push("--page-server".to_owned());
            words.extend(["--address".to_owned(), address.clone(), "--port".to_owned(), port.clone()]);
        }
        if let Some(descriptor) = self.status_descriptor() {
            words.extend(["--status-fd".to_owned(), descriptor.to_string()]);
        }
        for External { inside, outside } in external_mounts(spec, record, Some(pid))? {
            words.extend(["--external".to_owned(), format!("mnt[{inside}]:{}", outside.unwrap_or(inside.clone()))]);
        }
        for (kind, path) in joined(spec) {
            let inode = std::fs::metadata(path).during(|| format!("look at the namespace {}", path.display()))?.ino();
            words.extend(["--external".to_owned(), format!("{kind}[{inode}]:{}", key(kind))]);
        }
        Ok(words)
    }

    /// What asks for a restore below `root`; `inherited` are the descriptors that take the places of what they are named
    /// after.
    pub(super) fn restore_arguments(
        &self,
        root: &Path,
        pid_file: &Path,
        record: &Record,
        spec: &Spec,
        inherited: &[(i32, String)],
    ) -> Result<Vec<String>> {
        let mut words = self.common("restore", "restore.log")?;
        words.extend(["--root".to_owned(), text(root)?, "--pidfile".to_owned(), text(pid_file)?]);
        words.extend(["--restore-detached", "--restore-sibling"].map(str::to_owned));
        for External { inside, outside } in external_mounts(spec, record, None)? {
            words.extend(["--external".to_owned(), format!("mnt[{inside}]:{}", outside.unwrap_or(inside.clone()))]);
        }
        for (descriptor, name) in inherited {
            words.extend(["--inherit-fd".to_owned(), format!("fd[{descriptor}]:{name}")]);
        }
        Ok(words)
    }

    fn common(&self, verb: &str, log: &str) -> Result<Vec<String>> {
        let mode = self.cgroups.as_deref().filter(|mode| !mode.is_empty()).unwrap_or("soft");
        if !["soft", "full", "strict", "ignore"].contains(&mode) {
            return Err(Error::invalid(format!("invalid manage-cgroups-mode: {mode:?}")));
        }
        let work = self.work.as_ref().unwrap_or(&self.images);
        let mut words: Vec<String> = ["criu", verb, "-v4", "--log-file", log].map(str::to_owned).into();
        words.extend(["--images-dir".to_owned(), text(&self.images)?, "--work-dir".to_owned(), text(work)?]);
        words.push(format!("--manage-cgroups={mode}"));
        words.extend(self.switches.iter().map(|&switch| switch.to_owned()));
        words.extend(self.values.iter().flat_map(|(name, value)| [(*name).to_owned(), value.clone()]));
        Ok(words)
    }

    /// Runs it; the caller's descriptors `preserved` stay open for it.
    pub(super) fn run(&self, arguments: &[String], preserved: &[i32]) -> Result<()> {
        let path = find_program(&self.program).ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, format!("{} is not installed", self.program.display()))
                .hint("install the package criu")
        })?;
        let launcher = Launcher::shared()?;
        let program = |what: &str, arguments: &[String]| {
            HostProgram {
                what: format!("{what} ({})", path.display()),
                path: &path,
                arguments,
                environment: &[],
                directory: Path::new("/"),
                input: &[],
                timeout: None,
                preserved,
            }
            .run(&launcher)
        };
        let verb = arguments.get(1).map(String::as_str).unwrap_or_default();
        program(&format!("criu {verb}"), arguments).map_err(|error| {
            // Where the kernel lacks what it needs, that is the reason.
            match program("criu check", &["criu".to_owned(), "check".to_owned()]) {
                Err(check) => {
                    let message = format!("criu cannot work with this kernel: {check}");
                    Error::new(ErrorKind::Unsupported, message).hint("install a newer criu")
                }
                Ok(()) => {
                    let work = self.work.as_ref().unwrap_or(&self.images).display();
                    error.hint(format!("see the log in {work}"))
                }
            }
        })
    }
}

/// A mount of the container that is made from outside.
struct External {
    inside: String,
    /// What it is on the host; without, criu keeps the name.
    outside: Option<String>,
}

/// Bind mounts, control groups of version 1, and files that are masked. At a dump (`pid`) all are named after themselves.
fn external_mounts(spec: &Spec, record: &Record, pid: Option<i32>) -> Result<Vec<External>> {
    let mut found = Vec::new();
    let mut add = |inside: String, source: String| {
        found.push(External { outside: pid.is_none().then_some(source), inside });
    };
    for mount in spec.mounts().iter().flatten() {
        let inside = text(mount.destination())?;
        if is_bind(mount) {
            let source = mount.source().as_deref().unwrap_or(Path::new(""));
            add(inside, text(&record.bundle.join(source))?);
        } else if mount.typ().as_deref() == Some("cgroup") {
            let group = record.cgroup.as_ref().map(Cgroup::open);
            for part in group.iter().flat_map(Cgroup::hierarchies).filter(|part| !part.controllers.is_empty()) {
                let name = part.mount_point.file_name().unwrap_or_default().to_string_lossy().into_owned();
                add(format!("{inside}/{name}"), text(&part.directory)?);
            }
        }
    }
    let masked = spec.linux().iter().flat_map(|linux| linux.masked_paths().iter().flatten());
    for path in masked {
        let is_directory = pid.is_some_and(|pid| Path::new(&format!("/proc/{pid}/root{path}")).is_dir());
        if !is_directory {
            found.push(External { inside: path.clone(), outside: Some("/dev/null".to_owned()) });
        }
    }
    Ok(found)
}

fn is_bind(mount: &Mount) -> bool {
    let option = |option: &String| option == "bind" || option == "rbind";
    mount.typ().as_deref() == Some("bind") || mount.options().iter().flatten().any(option)
}

/// The namespaces that are joined and that criu can be told of, with their paths.
pub(super) fn joined(spec: &Spec) -> Vec<(&'static str, &Path)> {
    let namespaces = spec.linux().iter().flat_map(|linux| linux.namespaces().iter().flatten());
    let known = |kind| match kind {
        LinuxNamespaceType::Network => Some("net"),
        LinuxNamespaceType::Pid => Some("pid"),
        _ => None,
    };
    let path = |path: &'_ PathBuf| !path.as_os_str().is_empty();
    namespaces
        .filter_map(|namespace| {
            Some((known(namespace.typ())?, namespace.path().as_ref().filter(|found| path(found))?.as_path()))
        })
        .collect()
}

/// The name of a joined namespace, which is runc's.
pub(super) fn key(kind: &str) -> &'static str {
    if kind == "net" { "extRootNetNS" } else { "extRootPidNS" }
}

fn text(path: &Path) -> Result<String> {
    let text = path.to_str().ok_or_else(|| Error::invalid(format!("{} is not UTF-8", path.display())))?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn setting() -> (Record, Spec) {
        let record = json!({
            "version": 1, "id": "box", "bundle": "/b", "rootfs": "/b/rootfs", "created": "2026-01-01T00:00:00Z",
            "owner": 0, "process": null, "cgroup": null, "namespaces": 0, "later_hooks": false, "parked": [0, []],
        });
        let spec = json!({
            "ociVersion": "1.3.0",
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/data", "source": "data", "options": ["rbind", "ro"]},
            ],
            "linux": {
                "namespaces": [{"type": "pid"}, {"type": "network", "path": "/proc/self/ns/net"}],
                "maskedPaths": ["/proc/kcore"],
            },
        });
        (serde_json::from_value(record).unwrap(), serde_json::from_value(spec).unwrap())
    }

    fn has(words: &[String], pair: [&str; 2]) -> bool {
        words.windows(2).any(|two| two[0] == pair[0] && two[1] == pair[1])
    }

    #[test]
    fn a_dump_names_what_is_made_from_outside() {
        let (record, spec) = setting();
        let criu =
            Criu::new("/images").work_directory("/work").tcp_established(true).shell_job(false).leave_running(true);
        let criu = criu.page_server("::1", 77).empty_namespace("network").parent("../before");
        let words = criu.dump_arguments(1, &record, &spec).unwrap();
        assert_eq!(words[..2], ["criu", "dump"]);
        for pair in [
            ["--tree", "1"],
            ["--images-dir", "/images"],
            ["--work-dir", "/work"],
            ["--root", "/b/rootfs"],
            ["--external", "mnt[/data]:/data"],
            ["--external", "mnt[/proc/kcore]:/dev/null"],
            ["--address", "::1"],
            ["--port", "77"],
            ["--empty-ns", "net"],
            ["--prev-images-dir", "../before"],
        ] {
            assert!(has(&words, pair), "{pair:?}: {words:?}");
        }
        let network = std::fs::metadata("/proc/self/ns/net").unwrap().ino();
        assert!(has(&words, ["--external", &format!("net[{network}]:extRootNetNS")]), "{words:?}");
        for (switch, given) in [
            ("--manage-cgroups=soft", true),
            ("--tcp-established", true),
            ("--leave-running", true),
            ("--shell-job", false),
        ] {
            assert_eq!(words.iter().any(|word| word == switch), given, "{switch}: {words:?}");
        }
        let words = criu.pre_dump(true).dump_arguments(1, &record, &spec).unwrap();
        assert!(words[1] == "pre-dump" && !words.iter().any(|word| word == "--leave-running"), "{words:?}");
    }

    #[test]
    fn a_restore_says_where_what_is_outside_is() {
        let (record, spec) = setting();
        let criu = Criu::new("/images").cgroups_mode("ignore").file_locks(true);
        let inherited = [(7, "pipe:[5]".to_owned())];
        let words = criu.restore_arguments("/r".as_ref(), "/p".as_ref(), &record, &spec, &inherited).unwrap();
        for pair in [
            ["--root", "/r"],
            ["--pidfile", "/p"],
            ["--external", "mnt[/data]:/b/data"],
            ["--inherit-fd", "fd[7]:pipe:[5]"],
            ["--restore-detached", "--restore-sibling"],
        ] {
            assert!(has(&words, pair), "{pair:?}: {words:?}");
        }
        assert!(words.iter().any(|word| word == "--manage-cgroups=ignore"));
        let error = Criu::new("/i").cgroups_mode("hard").dump_arguments(1, &record, &spec).unwrap_err();
        assert!(error.to_string().contains("manage-cgroups-mode"), "{error}");
    }
}
