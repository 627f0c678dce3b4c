//! An ordinary user: the command line with the configuration of `spec --rootless`.

use crate::bundle::Bundle;
use crate::command::{program, said};
use serde_json::{Value, json};
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

const NOBODY: u32 = 65_534;

/// The bundle for an ordinary user: this one, or `nobody` where the tests run as root.
struct Place {
    bundle: Bundle,
}

impl Place {
    fn new(name: &str) -> Place {
        let bundle = Bundle::new(name, "true");
        let place = Place { bundle };
        if nix::unistd::geteuid().is_root() {
            give(place.bundle.scratch());
        }
        place
    }

    /// A command as that user.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = if nix::unistd::geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(program());
            command
        } else {
            Command::new(program())
        };
        command.current_dir(self.bundle.scratch().join("bundle")).env("XDG_RUNTIME_DIR", self.bundle.scratch());
        command.env_remove("LISTEN_FDS").args(words);
        command
    }

    /// Writes the configuration of `spec --rootless`, changed.
    fn configure(&self, script: &str, change: impl FnOnce(&mut Value)) {
        assert!(self.command(&["spec", "--rootless"]).output().unwrap().status.success());
        let path = self.bundle.scratch().join("bundle/config.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["/bin/sh", "-c", script]);
        config["process"]["env"] = json!(["PATH=/bin"]);
        change(&mut config);
        std::fs::write(&path, config.to_string()).unwrap();
    }
}

fn give(path: &Path) {
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        std::fs::read_dir(path).unwrap().flatten().for_each(|entry| {
            if !entry.path().is_symlink() {
                give(&entry.path());
            }
        });
    }
}

#[test]
fn rootless_run_of_the_configuration_of_spec_rootless() {
    let place = Place::new("rootless-run");
    place.configure("id -u; cat /proc/self/uid_map; exit 5", |_| {});
    let output = place.command(&["run", "box"]).output().unwrap();
    let text = said(&output);
    assert_eq!(output.status.code(), Some(5), "{text}");
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!((words[0], words[1], words[3]), ("0", "0", "1"), "{text}");
    let left = place.command(&["list", "--quiet"]).output().unwrap();
    assert_eq!(said(&left), "");
}

#[test]
fn rootless_limits_without_a_delegated_group_are_an_error_that_names_them() {
    let place = Place::new("rootless-limits");
    place.configure("true", |config| config["linux"]["resources"] = json!({ "pids": { "limit": 10 } }));
    let output = place.command(&["run", "box"]).output().unwrap();
    let text = said(&output);
    // A machine may have a group delegated: then the limit holds.
    assert!(output.status.success() || text.contains("linux.resources.pids.limit"), "{text}");
    assert_eq!(said(&place.command(&["list", "--quiet"]).output().unwrap()), "");
}

#[test]
fn rootless_ranges_of_ids_need_a_grant_and_the_error_names_it() {
    let place = Place::new("rootless-ranges");
    let own = if nix::unistd::geteuid().is_root() { NOBODY } else { nix::unistd::geteuid().as_raw() };
    place.configure("true", |config| {
        let ranges = json!([
            { "containerID": 0, "hostID": own, "size": 1 },
            { "containerID": 1, "hostID": 4_000_000_000u32, "size": 10 },
        ]);
        config["linux"]["uidMappings"] = ranges.clone();
        config["linux"]["gidMappings"] = ranges;
    });
    let output = place.command(&["run", "box"]).output().unwrap();
    let text = said(&output);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("newuidmap") && (text.contains("/etc/subuid") || text.contains("uidmap")), "{text}");
}
