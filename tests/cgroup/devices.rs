//! Access to devices: the exceptions of version 1, the program of version 2.

use crate::ground::{Placed, resources, unique_path};
use coracle::cgroup::{Cgroup, Policy, Resources};
use serde_json::{Value, json};

/// Whether a process of the group may do what `script` does.
fn may(group: &Placed, script: &str) -> bool {
    let child = group.shell(script);
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() || errors.contains("not permitted"), "{script}: {errors}");
    output.status.success()
}

fn devices(rules: Value) -> Resources {
    resources(json!({ "devices": rules }))
}

fn change(group: &Placed, rules: Value) {
    assert_eq!(group.0.change(&devices(rules), Policy::Strict).unwrap(), []);
}

#[test]
fn containers_have_their_devices_and_no_others() {
    let group = Placed::at(&unique_path(), json!({"devices": [{"allow": false, "access": "rwm"}]}));
    let node = format!("/tmp/coracle-test-device-{}", std::process::id());
    assert!(may(&group, ": </dev/null; : >/dev/null; head -c 1 /dev/zero; head -c 1 /dev/urandom >/dev/null"));
    assert!(!may(&group, ": </dev/kmsg"));
    assert!(may(&group, &format!("mknod {node} b 7 0")), "a node gives no access");
    assert!(!may(&group, &format!(": <{node}")));
    std::fs::remove_file(&node).unwrap();
}

#[test]
fn the_list_of_a_live_group_changes() {
    let group = Placed::at(&unique_path(), json!({"devices": [{"allow": false, "access": "rwm"}]}));
    let read_kmsg = json!({"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"});
    change(&group, json!([{"allow": false, "access": "rwm"}, read_kmsg]));
    assert!(may(&group, ": </dev/kmsg") && !may(&group, ": >/dev/kmsg") && may(&group, ": >/dev/null"));
    // An update of something else leaves the devices alone.
    group.0.change(&resources(json!({"pids": {"limit": 100}})), Policy::Strict).unwrap();
    assert!(may(&group, ": </dev/kmsg") && !may(&group, ": >/dev/kmsg"));
    change(&group, json!([{"allow": true, "access": "rwm"}]));
    assert!(may(&group, ": </dev/kmsg; : >/dev/kmsg"));
    change(
        &group,
        json!([
            {"allow": true, "access": "rwm"},
            {"allow": false, "type": "c", "major": 1, "minor": 11, "access": "w"}
        ]),
    );
    assert!(may(&group, ": </dev/kmsg") && !may(&group, ": >/dev/kmsg"));
    change(&group, json!([]));
    assert!(!may(&group, ": </dev/kmsg") && may(&group, ": >/dev/null"));
}

#[test]
fn a_creation_without_a_list_gets_the_default_one() {
    let path = crate::ground::parse(&unique_path());
    let (group, _) = Cgroup::at(&path, &Resources::new().or_default_devices(), Policy::Strict).unwrap();
    let group = Placed(group);
    assert!(!may(&group, ": </dev/kmsg") && may(&group, ": </dev/zero"));
}

#[test]
fn a_thousand_rules_are_taken() {
    let rule = |minor: i64| json!({"allow": minor % 2 == 0, "type": "c", "major": 200, "minor": minor, "access": "rw"});
    let rules: Vec<Value> =
        std::iter::once(json!({"allow": false, "access": "rwm"})).chain((0..1000).map(rule)).collect();
    let group = Placed::at(&unique_path(), json!({ "devices": rules }));
    assert!(!may(&group, ": </dev/kmsg") && may(&group, ": </dev/zero"));
}

#[test]
fn what_version_1_cannot_express_is_refused_by_name() {
    let rules = json!([
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "major": 1, "access": "rwm"},
        {"allow": false, "type": "c", "major": 1, "minor": 11, "access": "rwm"}
    ]);
    match Cgroup::at(&crate::ground::parse(&unique_path()), &devices(rules), Policy::Strict) {
        Ok((group, _)) => {
            let group = Placed(group);
            assert!(group.unified(), "version 1 would ignore the last rule");
            assert!(!may(&group, ": </dev/kmsg") && may(&group, ": </dev/zero"));
        }
        Err(error) => assert!(error.to_string().contains("linux.resources.devices: c 1:11 rwm denies"), "{error}"),
    }
}
