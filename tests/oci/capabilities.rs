//! `process.capabilities`: five sets.

use crate::row::Row;
use serde_json::{Value, json};

/// CAP_CHOWN and CAP_KILL.
const SEEN: &str = "0000000000000021";
const NONE: &str = "0000000000000000";

pub fn rows() -> Vec<Row> {
    let two = json!(["CAP_CHOWN", "CAP_KILL"]);
    let sets = |names: &[&str]| -> Value {
        let sets: serde_json::Map<String, Value> = names.iter().map(|name| ((*name).to_owned(), two.clone())).collect();
        // The sets of the configuration around are replaced, not merged.
        json!({ "process": { "capabilities": { "bounding": sets.get("bounding"), "permitted": sets.get("permitted"),
            "effective": sets.get("effective"), "inheritable": sets.get("inheritable"), "ambient": sets.get("ambient") } } })
    };
    let seen = |inheritable: &str, permitted: &str, effective: &str, bounding: &str, ambient: &str| {
        format!(
            "CapInh:\t{inheritable}\nCapPrm:\t{permitted}\nCapEff:\t{effective}\nCapBnd:\t{bounding}\nCapAmb:\t{ambient}"
        )
    };
    let script = "grep ^Cap /proc/self/status";
    let ordinary = json!({ "process": { "user": { "uid": 7, "gid": 7 } } });
    vec![
        Row::new("process.capabilities", "without any, none are left").patch(json!({ "process": { "capabilities": null } })).script(script).prints(seen(NONE, NONE, NONE, NONE, NONE)),
        Row::new("process.capabilities.bounding", "as root, it is what an exec gives").patch(sets(&["bounding"])).script(script).prints(seen(NONE, SEEN, SEEN, SEEN, NONE)),
        Row::new("process.capabilities.permitted", "with effective, as root").patch(sets(&["bounding", "permitted", "effective"])).script(script).prints(seen(NONE, SEEN, SEEN, SEEN, NONE)),
        Row::new("process.capabilities.effective", "an ordinary user loses it by exec")
            .patch(sets(&["bounding", "permitted", "effective"])).patch(ordinary.clone()).script(script).prints(seen(NONE, NONE, NONE, SEEN, NONE)),
        Row::new("process.capabilities.inheritable", "is kept").patch(sets(&["bounding", "permitted", "effective", "inheritable"])).patch(ordinary.clone()).script(script)
            .prints(seen(SEEN, NONE, NONE, SEEN, NONE)),
        Row::new("process.capabilities.ambient", "survives the exec of an ordinary user")
            .patch(sets(&["bounding", "permitted", "effective", "inheritable", "ambient"])).patch(ordinary).script(script).prints(seen(SEEN, SEEN, SEEN, SEEN, SEEN)),
        Row::new("process.capabilities.bounding", "a name the kernel does not know is a warning, not an error")
            .patch(json!({ "process": { "capabilities": { "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_OF_TOMORROW"], "permitted": two, "effective": two } } }))
            .script(script)
            .prints(seen(NONE, SEEN, SEEN, SEEN, NONE))
            .not(crate::peer::Peer::Crun, "refuses it"),
        Row::new("process.capabilities.bounding", "one the host's root does not hold")
            .patch(json!({ "process": { "capabilities": { "bounding": ["CAP_CHOWN", "CAP_KILL"], "permitted": two, "effective": two } } }))
            .script("chown 7 /bin && mkdir /x && echo made; mknod /n c 1 3 2>&1")
            .exits("made\nmknod: /n: Operation not permitted", 1),
    ]
}
