//! Groups at a `linux.cgroupsPath`.

use crate::ground::{Placed, parse, resources, unique_path};
use coracle::ErrorKind;
use coracle::cgroup::{Cgroup, CgroupsPath, Policy, Resources};
use serde_json::json;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

/// The directories of `path` in every hierarchy of the machine that has a controller known to the library.
fn expected(path: &str) -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mut found = Vec::new();
    for line in mounts.lines().filter(|line| line.contains(" - cgroup")) {
        let point = line.split(' ').nth(4).unwrap();
        found.push(PathBuf::from(format!("{point}{path}")));
    }
    found.sort();
    found.dedup();
    found
}

#[test]
fn the_group_is_in_every_hierarchy_and_goes_with_the_parents_it_brought() {
    let parent = unique_path();
    for directory in expected(&parent) {
        std::fs::create_dir(directory).unwrap();
    }
    let path = format!("{parent}/made/by us:1@x/container-0a1b");
    let group = Placed::at(&path, json!({"pids": {"limit": 50}}));
    let mut directories = group.0.directories();
    directories.sort();
    assert_eq!(directories, expected(&path));
    for file in ["cpuset.cpus", "cpuset.mems"] {
        // Version 1 lets nothing run where there is none; version 2 says so by an empty file.
        let root = Path::new("/sys/fs/cgroup/cpuset").join(file);
        if root.exists() {
            assert_eq!(group.file(file).unwrap(), std::fs::read_to_string(root).unwrap().trim());
        }
    }
    let mut child = group.shell("exec sleep 1000");
    let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", child.id())).unwrap();
    assert_eq!(groups.lines().filter(|line| line.ends_with(&path)).count(), directories.len(), "{groups}");
    for hierarchy in group.0.hierarchies() {
        assert_eq!(hierarchy.directory, hierarchy.mount_point.join(path.trim_start_matches('/')));
        assert!(hierarchy.controllers.is_empty() == hierarchy.directory.join("cgroup.kill").exists());
    }
    let record = serde_json::to_string(&group.0.record()).unwrap();
    Cgroup::open(&serde_json::from_str(&record).unwrap()).remove().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    for directory in expected(&parent) {
        assert!(!directory.join("made").exists(), "{} is left", directory.join("made").display());
        std::fs::remove_dir(directory).expect("the parent that was there before stays");
    }
}

#[test]
fn joining_by_descriptor_reaches_every_hierarchy() {
    use std::io::Write;
    let path = unique_path();
    let group = Placed::at(&path, json!({}));
    let join = group.0.join().unwrap();
    let versions_1 = join.tasks.len();
    assert_eq!(versions_1 + usize::from(join.directory.is_some()), expected(&path).len());
    let counted = std::thread::spawn(move || {
        for file in join.tasks {
            std::fs::File::from(file).write_all(b"0").unwrap();
        }
        let groups = std::fs::read_to_string("/proc/thread-self/cgroup").unwrap();
        groups.lines().filter(|line| line.ends_with(&path)).count()
    });
    assert_eq!(counted.join().unwrap(), versions_1);
    crate::ground::eventually("the thread is gone", || group.0.usage().unwrap().pids.current == 0);
}

#[test]
fn a_relative_path_lies_where_the_library_keeps_its_groups() {
    let path = unique_path();
    let relative = format!("{}/x", path.trim_start_matches('/'));
    let group = Placed::at(&relative, json!({}));
    assert!(group.0.directories().iter().all(|directory| directory.ends_with(&relative)));
}

#[test]
fn an_empty_group_is_taken_over_and_removed() {
    let path = unique_path();
    let first = Placed::at(&format!("{path}/leaf"), json!({"pids": {"limit": 9}}));
    let second = Placed::at(&format!("{path}/leaf"), json!({}));
    assert_eq!(second.file("pids.max").unwrap(), "9", "its settings stay");
    drop(second);
    assert!(first.0.directories().iter().all(|directory| !directory.exists()));
    assert!(first.0.directories().iter().all(|directory| directory.parent().unwrap().exists()), "the first made it");
}

#[test]
fn a_group_with_processes_or_a_frozen_one_is_not_taken_over() {
    let path = unique_path();
    let group = Placed::at(&path, json!({}));
    let mut child = group.shell("exec sleep 1000");
    let again = || Cgroup::at(&parse(&path), &Resources::new(), Policy::BestEffort).unwrap_err();
    let error = again();
    assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
    assert!(error.to_string().contains(&format!("it holds 1 processes, such as {}", child.id())), "{error}");
    assert!(group.0.directories().iter().all(|directory| directory.exists()), "the failure took nothing along");
    group.0.kill().unwrap();
    child.wait().unwrap();
    group.0.pause().unwrap();
    let error = again();
    assert!(error.kind() == ErrorKind::InUse && error.to_string().contains("it is suspended"), "{error}");
    group.0.resume().unwrap();
}

#[test]
fn a_refused_resource_leaves_nothing() {
    let path = unique_path();
    let spec = json!({"rdma": {"no-such-adapter": {"hcaHandles": 1}}});
    let error = Cgroup::at(&parse(&format!("{path}/a/b")), &resources(spec), Policy::Strict).unwrap_err();
    assert!(error.to_string().contains("linux.resources.rdma"), "{error}");
    for directory in expected(&path) {
        assert!(!directory.exists(), "{} is left", directory.display());
    }
}

#[test]
fn no_path_leads_out_of_the_hierarchies() {
    for path in
        ["", "/", "..", "/..", "/../../etc", "/a/../../b", "/a//b", "/a/", "./a", "/a/./b", "/a\nb", "/release_agent"]
    {
        let error = CgroupsPath::parse(Path::new(path)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{path:?}");
    }
    // Nor does a record from a file: what is wrong with it shows at its first use.
    let group = Placed::at(&unique_path(), json!({}));
    let json = serde_json::to_string(&group.0.record()).unwrap();
    let name = group.0.directories()[0].file_name().unwrap().to_str().unwrap().to_owned();
    let forged = json.replace(&format!("\"{name}\""), "\"../../etc\"");
    assert_ne!(forged, json);
    let forged = Cgroup::open(&serde_json::from_str(&forged).unwrap());
    assert!(forged.remove().is_err() && forged.join().is_err() && forged.usage().is_err());
}

/// CVE-2022-0492: a release agent is a program that the kernel runs as root on the host.
#[test]
fn no_group_has_a_release_agent() {
    let group = Placed::at(&unique_path(), json!({}));
    for directory in group.0.directories() {
        assert!(!directory.join("release_agent").exists(), "only the root of a hierarchy has one");
        let notify = std::fs::read_to_string(directory.join("notify_on_release"));
        assert!(notify.is_ok_and(|text| text.trim() == "0") || directory.join("cgroup.kill").exists());
    }
    let spec: oci_spec::runtime::LinuxResources =
        serde_json::from_value(json!({"unified": {"cgroup.procs": "1", "release_agent": "/x"}})).unwrap();
    assert!(Resources::from_runtime_spec(&spec).is_err());
}
