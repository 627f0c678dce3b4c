//! Ids, capabilities, limits.

use super::*;

#[test]
fn user_groups_and_umask_are_those_of_the_configuration() {
    let user = json!({ "uid": 1000, "gid": 1001, "umask": 0o27, "additionalGids": [5, 7, 4294967294u32] });
    let spec = configuration(json!({ "user": user }), json!({}));
    let (status, _) = output(&spec, STATUS, None);
    assert_eq!(field(&status, "Uid:"), "1000 1000 1000 1000");
    assert_eq!(field(&status, "Gid:"), "1001 1001 1001 1001");
    assert_eq!(field(&status, "Groups:"), "5 7 4294967294");
    assert_eq!(field(&status, "Umask:"), "0027");
    assert_eq!(field(&status, "NoNewPrivs:"), "0");
    assert_eq!(field(&status, "CapBnd:"), "0000000000000000");
}

#[test]
fn the_five_capability_sets_are_set_one_by_one() {
    let sets = json!({
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID"], "effective": ["CAP_KILL"],
        "permitted": ["CAP_KILL", "CAP_CHOWN"], "inheritable": ["CAP_KILL", "CAP_SETUID"], "ambient": ["CAP_KILL"],
    });
    let user = json!({ "uid": 5, "gid": 5, "umask": 0o22 });
    let process = json!({ "capabilities": sets, "user": user, "noNewPrivileges": true });
    let (status, warnings) = output(&configuration(process, json!({})), STATUS, None);
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(field(&status, "CapBnd:"), "00000000000000a1");
    // The exec leaves to an ordinary user what is ambient, and the inheritable set as it is.
    for (name, mask) in [("CapInh:", 0xa0), ("CapPrm:", 0x20), ("CapEff:", 0x20), ("CapAmb:", 0x20)] {
        assert_eq!(field(&status, name), format!("{mask:016x}"), "{name}");
    }
    assert_eq!(field(&status, "NoNewPrivs:"), "1");
}

#[test]
fn capabilities_that_cannot_be_granted_are_left_out_with_a_warning() {
    let sets = json!({
        "bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"],
        "effective": ["CAP_KILL", "CAP_CHOWN"], "inheritable": ["CAP_CHOWN"], "ambient": ["CAP_KILL"],
    });
    let spec = configuration(json!({ "capabilities": sets }), json!({}));
    let (status, warnings) = output(&spec, STATUS, None);
    assert_eq!(field(&status, "CapBnd:"), "0000000000000020");
    for expected in [
        "process.capabilities.effective: CAP_CHOWN cannot be granted: it is not permitted",
        "process.capabilities.inheritable: CAP_CHOWN cannot be granted: it is not in the bounding set",
        "process.capabilities.ambient: CAP_KILL cannot be granted: it is not both permitted and inheritable",
    ] {
        assert!(warnings.iter().any(|warning| warning == expected), "{warnings:?}");
    }
}

#[test]
fn limits_and_the_oom_score_are_those_of_the_configuration() {
    let limits = json!([
        { "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }, { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 },
        { "type": "RLIMIT_FSIZE", "soft": 4096, "hard": 8192 },
    ]);
    let process = json!({ "rlimits": limits, "oomScoreAdj": 321 });
    let script = "ulimit -Sn; ulimit -Hn; ulimit -c; ulimit -Hf; read score < /proc/self/oom_score_adj; echo $score";
    for id_map in [None, Some(IdMap::current_user())] {
        let (printed, _) = output(&configuration(process.clone(), json!({})), script, id_map);
        assert_eq!(printed.lines().collect::<Vec<_>>(), ["100", "200", "0", "16", "321"]);
    }
}
