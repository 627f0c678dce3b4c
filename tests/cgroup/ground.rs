//! What these tests share.

use coracle::cgroup::{Cgroup, CgroupsPath, Limits, Policy, Resources};
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A group that is removed, with all in it, whatever becomes of the test.
pub struct Scratch {
    pub group: Cgroup,
    pub name: String,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.group.remove().expect("removing the group");
        for directory in self.group.directories() {
            assert!(!directory.exists(), "{} is left", directory.display());
        }
    }
}

pub fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("coracle-test-{}-{}/job", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub fn scratch(limits: Limits) -> Scratch {
    let name = unique();
    let (group, unenforced) = Cgroup::create(&name, &limits, Policy::Strict).unwrap();
    assert_eq!(unenforced, []);
    group.arm().unwrap();
    Scratch { group, name }
}

impl Scratch {
    /// A shell that is in the group before it runs `script`.
    pub fn shell(&self, script: &str) -> Child {
        let mut child = gated(script);
        self.group.attach(child.id() as i32).unwrap();
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        child
    }

    /// The text of the first of `files` that is there, in whichever hierarchy.
    pub fn file(&self, files: &[&str]) -> String {
        let directories = self.group.directories();
        let paths = files.iter().flat_map(|file| directories.iter().map(move |directory| directory.join(file)));
        let text = paths.map(std::fs::read_to_string).find_map(Result::ok);
        text.unwrap_or_else(|| panic!("none of {files:?} in {directories:?}")).trim().to_owned()
    }

    pub fn unified(&self) -> bool {
        self.group.directories().iter().all(|directory| directory.join("cgroup.kill").exists())
    }
}

pub fn gated(script: &str) -> Child {
    let script = format!("read gate; {script}");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A group at a `linux.cgroupsPath` that is removed, with all in it, whatever becomes of the test.
pub struct Placed(pub Cgroup);

impl Drop for Placed {
    fn drop(&mut self) {
        self.0.remove().expect("removing the group");
        for directory in self.0.directories() {
            assert!(!directory.exists(), "{} is left", directory.display());
        }
    }
}

/// A path of one component that no other test uses.
pub fn unique_path() -> String {
    format!("/{}", unique().replace("/job", ""))
}

pub fn parse(path: &str) -> CgroupsPath {
    CgroupsPath::parse(path.as_ref()).unwrap()
}

/// `linux.resources` as it stands in a `config.json`.
pub fn resources(json: serde_json::Value) -> Resources {
    Resources::from_runtime_spec(&serde_json::from_value(json).unwrap()).unwrap()
}

impl Placed {
    pub fn at(path: &str, json: serde_json::Value) -> Placed {
        let (group, unenforced) = Cgroup::at(&parse(path), &resources(json), Policy::Strict).unwrap();
        assert_eq!(unenforced, []);
        group.arm().unwrap();
        Placed(group)
    }

    /// A shell that is in the group before it runs `script`.
    pub fn shell(&self, script: &str) -> Child {
        let mut child = gated(script);
        self.0.attach(child.id() as i32).unwrap();
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        child
    }

    /// The text of a file, in whichever hierarchy has it.
    pub fn file(&self, file: &str) -> Option<String> {
        let paths = self.0.directories().into_iter().map(|directory| directory.join(file));
        paths.map(std::fs::read_to_string).find_map(Result::ok).map(|text| text.trim().to_owned())
    }

    pub fn unified(&self) -> bool {
        self.0.directories().iter().all(|directory| directory.join("cgroup.kill").exists())
    }
}
