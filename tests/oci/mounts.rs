//! `root`, `mounts` with every option, `linux.rootfsPropagation`.

use crate::base::{bind, mount};
use crate::peer::Peer;
use crate::row::Row;
use serde_json::json;
use std::os::unix::fs::{PermissionsExt, symlink};

pub fn rows() -> Vec<Row> {
    [root(), propagation(), kinds(), binds(), targets(), id_mapped()].into_iter().flatten().collect()
}

/// The mount's own flags, of the mountinfo line of `/mnt`.
const FLAGS: &str = "grep ' /mnt ' /proc/self/mountinfo | cut -d' ' -f6";

fn root() -> Vec<Row> {
    vec![
        Row::new("root.path", "relative to the bundle").script("touch /bin/made && echo ok").prints("ok"),
        Row::new("root.path", "absolute").edit(|config, case| config["root"]["path"] = json!(case.root())).script("echo ok").prints("ok"),
        Row::new("root.path", "a symbolic link to the root")
            .edit(|config, case| {
                symlink("rootfs", case.path().join("bundle/link")).expect("a link");
                config["root"]["path"] = json!("link");
            })
            .script("echo ok")
            .prints("ok")
            .not(Peer::Runc, "refuses it"),
        Row::new("root.readonly", "true").patch(json!({ "root": { "readonly": true } })).script("touch /made 2>&1; touch /dev/shm/x && echo shm").prints("touch: /made: Read-only file system\nshm"),
        Row::new("root.readonly", "false").patch(json!({ "root": { "readonly": false } })).script("touch /made && echo ok").prints("ok"),
        Row::new("root", "the host's root is gone").script("cut -d' ' -f5 /proc/self/mountinfo | head -1; ls -d /../.. ; grep -c {scratch}/state /proc/self/mountinfo").exits("/\n/../..\n0", 1),
    ]
}

fn propagation() -> Vec<Row> {
    let seen = "head -1 /proc/self/mountinfo | cut -d' ' -f7 | cut -d: -f1";
    let of = |value: &str| json!({ "linux": { "rootfsPropagation": value } });
    vec![
        Row::new("linux.rootfsPropagation", "private").patch(of("private")).script(seen).prints("-"),
        Row::new("linux.rootfsPropagation", "shared")
            .patch(of("shared"))
            .script(seen)
            .prints("shared")
            .not(Peer::Runc, "leaves it private below a private one"),
        Row::new("linux.rootfsPropagation", "slave: the host's mounts are not shared with")
            .patch(of("slave"))
            .script("head -1 /proc/self/mountinfo | grep -c shared:")
            .exits("0", 1),
        Row::new("linux.rootfsPropagation", "unbindable")
            .patch(of("unbindable"))
            .script(seen)
            .prints("unbindable")
            .not(Peer::Runc, "cannot bind it afterwards"),
        Row::new("linux.rootfsPropagation", "nonsense is refused")
            .patch(of("wide"))
            .refuses(&["linux.rootfsPropagation", "wide"])
            .not(Peer::Crun, "ignores it"),
    ]
}

fn kinds() -> Vec<Row> {
    let flag = |option: &'static str, seen: &str| {
        Row::new("mounts[].options", option)
            .mount(mount("/mnt", "tmpfs", "tmpfs", &[option]))
            .script(FLAGS)
            .prints(seen)
    };
    let mut rows: Vec<Row> = [
        ("ro", "ro,relatime"),
        ("rw", "rw,relatime"),
        ("nosuid", "rw,nosuid,relatime"),
        ("nodev", "rw,nodev,relatime"),
        ("noexec", "rw,noexec,relatime"),
        ("noatime", "rw,noatime"),
        ("nodiratime", "rw,nodiratime,relatime"),
        ("relatime", "rw,relatime"),
        ("strictatime", "rw"),
        ("defaults", "rw,relatime"),
        ("suid", "rw,relatime"),
        ("dev", "rw,relatime"),
        ("exec", "rw,relatime"),
        ("diratime", "rw,relatime"),
        ("atime", "rw,relatime"),
        ("norelatime", "rw,relatime"),
        ("nostrictatime", "rw,relatime"),
        ("async", "rw,relatime"),
        ("noiversion", "rw,relatime"),
        ("nomand", "rw,relatime"),
        ("silent", "rw,relatime"),
        ("loud", "rw,relatime"),
        ("nolazytime", "rw,relatime"),
    ]
    .into_iter()
    .map(|(option, seen)| flag(option, seen))
    .collect();
    rows.push(flag("nosymfollow", "rw,relatime,nosymfollow").newer());
    rows.push(flag("symfollow", "rw,relatime").newer());
    rows.push(flag("iversion", "rw,relatime"));
    let newer = ["silent", "loud", "lazytime", "nolazytime"];
    rows = rows
        .into_iter()
        .map(|row| match row.name.as_str() {
            name if newer.contains(&name) => row.newer(),
            "defaults" => row.not(Peer::Runc, "hands it to tmpfs"),
            "iversion" | "noiversion" => row.not(Peer::Crun, "hands it to tmpfs"),
            _ => row,
        })
        .collect();
    // Those of the file system itself are behind the dash.
    for option in ["sync", "dirsync", "lazytime"] {
        let row = Row::new("mounts[].options", option).mount(mount("/mnt", "tmpfs", "tmpfs", &[option]));
        let row = row
            .script("grep ' /mnt ' /proc/self/mountinfo | sed 's/.* - //' | cut -d' ' -f3 | cut -d, -f1-2")
            .prints(format!("rw,{option}"));
        rows.push(if option == "lazytime" { row.newer() } else { row });
    }
    rows.push(
        Row::new("mounts[].options", "mand")
            .mount(mount("/mnt", "tmpfs", "tmpfs", &["mand"]))
            .script(FLAGS)
            .prints("rw,relatime")
            .not(Peer::Runc, "kernels since 5.15 know it no more")
            .not(Peer::Crun, "kernels since 5.15 know it no more"),
    );
    for (option, seen) in [
        ("private", "-"),
        ("shared", "shared"),
        ("slave", "-"),
        ("unbindable", "unbindable"),
        ("rprivate", "-"),
        ("rshared", "shared"),
        ("rslave", "-"),
        ("runbindable", "unbindable"),
    ] {
        rows.push(
            Row::new("mounts[].options", option)
                .mount(mount("/mnt", "tmpfs", "tmpfs", &[option]))
                .script("grep ' /mnt ' /proc/self/mountinfo | cut -d' ' -f7 | cut -d: -f1")
                .prints(seen)
                .not(Peer::Crun, "keeps the root's"),
        );
    }
    let seen = |what: &str| format!("grep ' /mnt ' /proc/self/mountinfo | sed 's/.* - //' | {what}");
    rows.extend([
        Row::new("mounts[].type", "tmpfs with data of its own").mount(mount("/mnt", "tmpfs", "name", &["size=64k", "mode=1750", "uid=3", "gid=4"]))
            .script("stat -c '%a %u %g' /mnt; stat -f -c '%b %S' /mnt; grep ' /mnt ' /proc/self/mountinfo | sed 's/.* - //' | cut -d' ' -f1,2").prints("1750 3 4\n16 4096\ntmpfs name"),
        Row::new("mounts[].source", "any word for tmpfs").mount(mount("/mnt", "tmpfs", "my-source", &[])).script(seen("cut -d' ' -f2")).prints("my-source"),
        Row::new("mounts[].options", "tmpcopyup brings what was there")
            .edit(|_, case| drop(case.file("bundle/rootfs/mnt/there", "before")))
            .mount(mount("/mnt", "tmpfs", "tmpfs", &["tmpcopyup"])).script("cat /mnt/there; stat -f -c %T /mnt; rm /mnt/there").prints("beforetmpfs"),
        Row::new("mounts[].type", "proc").script("stat -f -c %T /proc").prints("proc"),
        Row::new("mounts[].type", "sysfs").script("stat -f -c %t /sys; touch /sys/x 2>&1").exits("62656572\ntouch: /sys/x: Read-only file system", 1),
        Row::new("mounts[].type", "devpts of its own").script("ls /dev/pts; stat -c %a /dev/pts/ptmx; readlink /dev/ptmx").prints("ptmx\n666\npts/ptmx"),
        Row::new("mounts[].type", "mqueue").script("grep ' /dev/mqueue ' /proc/self/mountinfo | sed 's/.* - //' | cut -d' ' -f1").prints("mqueue"),
        Row::new("mounts[].type", "cgroup shows the container's own groups alone")
            .mount(mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]))
            .script("ls /sys/fs/cgroup | grep -E '^(memory|pids|freezer)$'; cat /sys/fs/cgroup/pids/cgroup.procs | head -1; mkdir /sys/fs/cgroup/pids/x 2>&1")
            .exits("freezer\nmemory\npids\n1\nmkdir: can't create directory '/sys/fs/cgroup/pids/x': Read-only file system", 1)
            .not(Peer::Runc, "trips over a file of the same name as the mount here").not(Peer::Crun, "shows one name per line of /proc/self/cgroup"),
        Row::new("mounts[].type", "cgroup in a cgroup namespace")
            .push("/linux/namespaces", json!({ "type": "cgroup" }))
            .mount(mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]))
            .script("grep ':pids:' /proc/self/cgroup | cut -d: -f3; head -1 /sys/fs/cgroup/pids/cgroup.procs")
            .prints("/\n1"),
        Row::new("mounts[].type", "overlay with absolute layers")
            .edit(|config, case| {
                for name in ["lower", "upper", "work"] {
                    std::fs::create_dir(case.path().join(name)).expect("a directory");
                }
                case.file("lower/file", "low");
                let layer = |name: &str| format!("{name}dir={}", case.path().join(name.trim_end_matches("dir")).display());
                let options = [layer("lower"), layer("upper"), layer("work")];
                crate::row::push(config, "/mounts", json!({ "destination": "/mnt", "type": "overlay", "source": "overlay", "options": options }));
            })
            .script("cat /mnt/file; echo up >/mnt/file; cat /mnt/file").prints("lowup"),
        Row::new("mounts[].type", "an unknown file system is refused").mount(mount("/mnt", "boatfs", "boatfs", &[])).refuses(&["mount", "boatfs", "ENODEV"]),
        Row::new("mounts[].options", "an unknown option is refused").mount(mount("/mnt", "tmpfs", "tmpfs", &["no-such-option"])).refuses(&["no-such-option"]),
        Row::new("mounts", "in the order of the list").mount(mount("/mnt", "tmpfs", "a", &[])).mount(mount("/mnt", "tmpfs", "b", &[])).script("grep ' /mnt ' /proc/self/mountinfo | sed 's/.* - //' | cut -d' ' -f2").prints("a\nb"),
    ]);
    rows
}

fn binds() -> Vec<Row> {
    let source = |row: Row| {
        row.edit(|_, case| {
            case.file("source/file", "bound\n");
            case.file("source/deep/file", "deep\n");
        })
    };
    let bound = |field: &'static str, name: &'static str, options: &[&str]| {
        source(Row::new(field, name)).mount(bind("{scratch}/source", "/mnt", options))
    };
    // A bind of a directory with a mount below it, made by the runtime before.
    let nested = |name: &'static str, options: &'static [&'static str]| {
        source(Row::new("mounts[].options", name)).edit(move |config, _| {
            crate::row::push(config, "/mounts", mount("/one", "tmpfs", "one", &[]));
            crate::row::push(config, "/mounts", mount("/one/two", "tmpfs", "two", &[]));
            let all: Vec<&str> = ["rbind"].iter().chain(options).copied().collect();
            // The source is the container's own, which only /proc/self/root of a running one could name: so the host's /dev.
            crate::row::push(
                config,
                "/mounts",
                json!({ "destination": "/mnt", "type": "none", "source": "/dev", "options": all }),
            );
        })
    };
    let both = "for at in /mnt /mnt/shm; do grep \" $at \" /proc/self/mountinfo | tail -1 | cut -d' ' -f6 | grep -oE '";
    let recursive = [
        ("rro", "ro", "ro"),
        ("rrw", "rw", "rw"),
        ("rnosuid", "nosuid", "nosuid"),
        ("rnodev", "nodev", "nodev"),
        ("rnoexec", "noexec", "noexec"),
        ("rnoatime", "noatime", "noatime"),
        ("rnodiratime", "nodiratime", "nodiratime"),
        ("rnosymfollow", "nosymfollow", "nosymfollow"),
        ("rrelatime", "relatime", "relatime"),
    ];
    let mut rows: Vec<Row> = recursive
        .into_iter()
        .map(|(option, seen, below)| {
            nested(option, std::slice::from_ref(Box::leak(Box::new(option))))
                .script(format!("{both}\\b{seen}\\b'; done"))
                .prints(format!("{seen}\n{below}"))
                .newer()
        })
        .collect();
    for (option, gone) in [
        ("rsuid", "nosuid"),
        ("rdev", "nodev"),
        ("rexec", "noexec"),
        ("rdiratime", "nodiratime"),
        ("rsymfollow", "nosymfollow"),
        ("rstrictatime", "relatime"),
        ("ratime", "noatime"),
        ("rnorelatime", "noatime"),
        ("rnostrictatime", "noatime"),
    ] {
        rows.push(
            nested(option, std::slice::from_ref(Box::leak(Box::new(option))))
                .script(format!("{both}\\b{gone}\\b'; done; echo end"))
                .prints("end")
                .newer(),
        );
    }
    rows.extend([
        bound("mounts[].options", "bind", &[])
            .script("cat /mnt/file; echo x >/mnt/new && echo written")
            .prints("bound\nwritten"),
        bound("mounts[].options", "bind and ro", &["ro"])
            .script(format!("touch /mnt/new 2>&1; {FLAGS} | cut -d, -f1"))
            .prints("touch: /mnt/new: Read-only file system\nro"),
        bound("mounts[].options", "bind keeps what is not named", &["nosuid"])
            .script(FLAGS)
            .prints("rw,nosuid,relatime"),
        bound("mounts[].options", "bind with all of them", &["ro", "nosuid", "nodev", "noexec", "noatime"])
            .script(FLAGS)
            .prints("ro,nosuid,nodev,noexec,noatime"),
        source(Row::new("mounts[].type", "none with bind"))
            .mount(mount("/mnt", "none", "{scratch}/source", &["bind"]))
            .script("cat /mnt/file")
            .prints("bound"),
        source(Row::new("mounts[].type", "nothing with bind"))
            .mount(json!({ "destination": "/mnt", "source": "{scratch}/source", "options": ["bind"] }))
            .script("cat /mnt/file")
            .prints("bound"),
        source(Row::new("mounts[].source", "relative to the bundle"))
            .mount(bind("../source", "/mnt", &[]))
            .script("cat /mnt/file")
            .prints("bound"),
        source(Row::new("mounts[].source", "a file"))
            .mount(bind("{scratch}/source/file", "/mnt/name", &[]))
            .script("cat /mnt/name")
            .prints("bound"),
        source(Row::new("mounts[].source", "a missing one is refused"))
            .mount(bind("{scratch}/nowhere", "/mnt", &[]))
            .refuses(&["{scratch}/nowhere", "ENOENT"]),
        Row::new("mounts[].options", "rbind takes the mounts below too")
            .mount(mount("/mnt", "none", "/dev", &["rbind"]))
            .script(
                "grep -q ' /mnt/shm ' /proc/self/mountinfo && grep -q ' /mnt/pts ' /proc/self/mountinfo && echo both",
            )
            .prints("both"),
        Row::new("mounts[].options", "bind alone does not")
            .mount(mount("/mnt", "none", "/dev", &["bind"]))
            .script("grep -c ' /mnt/' /proc/self/mountinfo")
            .exits("0", 1),
        bound("mounts[].options", "remount of an earlier one", &[])
            .mount(mount("/mnt", "none", "none", &["bind", "remount", "ro"]))
            .script(format!("{FLAGS} | cut -d, -f1"))
            .prints("ro")
            .not(Peer::Runc, "takes the source for a bind's")
            .not(Peer::Crun, "takes the source for a bind's"),
        bound("mounts[].options", "the later of two that contradict counts", &["ro", "rw"])
            .script(format!("{FLAGS} | cut -d, -f1"))
            .prints("rw")
            .not(Peer::Crun, "takes both"),
    ]);
    rows
}

fn targets() -> Vec<Row> {
    let outside = |link: &'static str, to: &'static str| {
        move |_: &mut serde_json::Value, case: &crate::case::Case| {
            symlink(case.fill(to), case.root().join(link)).expect("a link")
        }
    };
    vec![
        Row::new("mounts[].destination", "is made where it is missing")
            .mount(mount("/a/b/c", "tmpfs", "tmpfs", &[]))
            .script("stat -f -c %T /a/b/c")
            .prints("tmpfs"),
        Row::new("mounts[].destination", "a link that leaves the root stays inside")
            .edit(outside("link", "/../../../../outside"))
            .mount(mount("/link", "tmpfs", "in", &[]))
            .script("grep ' in ' /proc/self/mountinfo | cut -d' ' -f5")
            .prints("/outside")
            .not(Peer::Crun, "refuses it"),
        Row::new("mounts[].destination", "dots do not leave the root")
            .mount(mount("/../../x", "tmpfs", "in", &[]))
            .script("grep ' in ' /proc/self/mountinfo | cut -d' ' -f5")
            .prints("/x"),
        Row::new("mounts[].destination", "an absolute link is the container's")
            .edit(outside("link", "{scratch}"))
            .mount(mount("/link/deep", "tmpfs", "in", &[]))
            .script("grep ' in ' /proc/self/mountinfo | cut -d' ' -f5")
            .prints("{scratch}/deep")
            .not(Peer::Crun, "refuses it"),
        Row::new("mounts[].destination", "relative is of the root")
            .mount(mount("mnt", "tmpfs", "tmpfs", &[]))
            .script("stat -f -c %T /mnt")
            .prints("tmpfs")
            .not(Peer::Crun, "makes it elsewhere"),
        Row::new("mounts[].destination", "a file over a directory is refused")
            .edit(|_, case| {
                case.file("file", "");
                case.file("bundle/rootfs/mnt/x", "");
            })
            .mount(bind("{scratch}/file", "/mnt", &[]))
            .refuses(&["/mnt", "directory"]),
        Row::new("mounts[].destination", "a directory over a file is refused")
            .edit(|_, case| {
                case.file("source/x", "");
                case.file("bundle/rootfs/file", "");
            })
            .mount(bind("{scratch}/source", "/file", &[]))
            .refuses(&["/file", "directory"]),
        Row::new("mounts[].destination", "modes of made directories")
            .mount(mount("/a/b", "tmpfs", "tmpfs", &[]))
            .script("stat -c %a /a")
            .prints("755")
            .not(Peer::Crun, "makes it sticky"),
    ]
}

fn id_mapped() -> Vec<Row> {
    let maps = json!([{ "containerID": 0, "hostID": 1000, "size": 10 }]);
    let mapped = |name: &'static str, options: &[&str]| {
        let mut entry = bind("{scratch}/source", "/mnt", options);
        entry["uidMappings"] = maps.clone();
        entry["gidMappings"] = maps.clone();
        Row::new("mounts[].uidMappings", name)
            .edit(|_, case| {
                let file = case.file("source/file", "bound");
                std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("a mode");
                std::os::unix::fs::chown(&file, Some(3), Some(4)).expect("an owner");
            })
            .mount(entry)
            .script("stat -c '%u %g' /mnt/file")
            .newer()
    };
    vec![
        mapped("bind: what is 3 on disk is 1003", &["idmap"]).prints("1003 1004"),
        mapped("also without the option idmap", &[]).prints("1003 1004"),
        mapped("ridmap", &["rbind", "ridmap"]).prints("1003 1004"),
    ]
}
