//! `linux.devices` and the rules of `linux.resources.devices`.

use crate::row::Row;
use serde_json::{Value, json};

pub fn rows() -> Vec<Row> {
    [nodes(), rules()].into_iter().flatten().collect()
}

fn device(fields: Value) -> Value {
    json!({ "linux": { "devices": [fields], "resources": { "devices": [{ "allow": true, "access": "rwm" }] } } })
}

fn nodes() -> Vec<Row> {
    let seen = "stat -c '%F %t %T %a %u %g' /dev/boat";
    let every = ["null", "zero", "full", "random", "urandom", "tty"];
    let mut rows: Vec<Row> = every
        .into_iter()
        .zip(["1 3", "1 5", "1 7", "1 8", "1 9", "5 0"])
        .map(|(name, number)| {
            Row::new("linux.devices", format!("/dev/{name} is there by default"))
                .script(format!("stat -c '%F %t %T %a %u %g' /dev/{name}"))
                .prints(format!("character special file {number} 666 0 0"))
        })
        .collect();
    for (link, to) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        rows.push(
            Row::new("linux.devices", format!("/dev/{link} is a link"))
                .script(format!("readlink /dev/{link}"))
                .prints(to),
        );
    }
    rows.extend([
        Row::new("linux.devices", "and nothing else").script("ls /dev | grep -v core | tr '\\n' ' '").prints("fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"),
        Row::new("linux.devices[].path", "and every other field").patch(device(json!({ "path": "/dev/boat", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 3, "gid": 4 }))).script(format!("{seen}; head -c 3 /dev/boat | od -An -tx1")).prints("character special file 1 5 640 3 4\n 00 00 00"),
        Row::new("linux.devices[].type", "b").patch(device(json!({ "path": "/dev/boat", "type": "b", "major": 7, "minor": 9, "fileMode": 0o600 }))).script(seen).prints("block special file 7 9 600 0 0"),
        Row::new("linux.devices[].type", "u is c").patch(device(json!({ "path": "/dev/boat", "type": "u", "major": 1, "minor": 3, "fileMode": 0o600 }))).script(seen).prints("character special file 1 3 600 0 0"),
        Row::new("linux.devices[].type", "p is a pipe without numbers").patch(device(json!({ "path": "/dev/boat", "type": "p", "fileMode": 0o620 }))).script("stat -c '%F %a' /dev/boat").prints("fifo 620"),
        Row::new("linux.devices[].fileMode", "by default, as the runtime chooses").patch(device(json!({ "path": "/dev/boat", "type": "c", "major": 1, "minor": 3 }))).script("stat -c '%F %t %T' /dev/boat").prints("character special file 1 3"),
        Row::new("linux.devices[].path", "outside /dev").patch(device(json!({ "path": "/a/boat", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666 }))).script("stat -c '%F %a' /a/boat").prints("character special file 666"),
        Row::new("linux.devices[].path", "one of the defaults again").patch(device(json!({ "path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666 }))).script("stat -c '%F %t %T' /dev/null").prints("character special file 1 3"),
    ]);
    rows
}

fn rules() -> Vec<Row> {
    let rules = |list: Value| json!({ "linux": { "resources": { "devices": list } } });
    // The minor of /dev/zero under another name, made by the container itself.
    let make = "mknod /tmp-zero c 1 5 2>/dev/null && echo made; head -c 1 /tmp-zero >/dev/null 2>&1 && echo read; (echo x >/tmp-zero) 2>/dev/null && echo wrote";
    let fuse = "mknod /f c 10 229 2>&1; (: </f) 2>&1 | sed 's/.*: //'";
    let deny = json!({ "allow": false, "access": "rwm" });
    vec![
        Row::new("linux.resources.devices", "a denial of all leaves the default devices").patch(rules(json!([deny]))).script("head -c 1 /dev/zero | od -An -tx1; echo x >/dev/null && echo wrote").prints("00\nwrote"),
        Row::new("linux.resources.devices[].allow", "what is not allowed cannot be opened").patch(rules(json!([deny]))).script(fuse).prints("Operation not permitted"),
        Row::new("linux.resources.devices[].access", "making any node is always allowed").patch(rules(json!([deny]))).script("mknod /n c 10 229 && mknod /b b 8 0 && echo made").prints("made"),
        Row::new("linux.resources.devices[].major", "and minor and type name one device").patch(rules(json!([deny, { "allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw" }]))).script("mknod /f c 10 229; (: </f) 2>&1 | grep -c 'not permitted'; mknod /g c 10 228; (: </g) 2>&1 | grep -c 'not permitted'").prints("0\n1"),
        Row::new("linux.resources.devices[].minor", "left out is any").patch(rules(json!([deny, { "allow": true, "type": "c", "major": 10, "access": "rwm" }]))).script("mknod /f c 10 229; (: </f) 2>&1 | grep -c 'not permitted'").exits("0", 1),
        Row::new("linux.resources.devices[].access", "reading alone").patch(rules(json!([deny, { "allow": true, "type": "c", "major": 4, "minor": 64, "access": "r" }]))).script("mknod /s c 4 64; (: >>/s) 2>&1 | sed 's/.*: //'").prints("Operation not permitted"),
        Row::new("linux.resources.devices[].allow", "allow all, then deny one").patch(rules(json!([{ "allow": true, "access": "rwm" }, { "allow": false, "type": "c", "major": 10, "minor": 229, "access": "rw" }]))).script(fuse).prints("Operation not permitted"),
        Row::new("linux.resources.devices[].type", "a is all").patch(rules(json!([{ "allow": true, "type": "a", "access": "rwm" }]))).script(make).prints("made\nread\nwrote"),
        Row::new("linux.resources.devices", "none denies nothing by itself").patch(json!({ "linux": { "resources": null } })).script("echo x >/dev/null && echo wrote").prints("wrote"),
    ]
}
