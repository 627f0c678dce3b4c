//! Scenarios of what a container may use and do, for engines with docker's command line.

use crate::client::Client;
use crate::ground::say;
use crate::image::TINY;
use crate::sight::{CPUS, MEMORY, NO_MKDIR, PIDS, capabilities};

pub fn limits(client: &Client) {
    client.start("server", &["-m", "64m", "--cpus", "0.5", "--pids-limit", "33", TINY, "sleep", "1000"]);
    let limit = |script: &str| client.done(&["exec", "server", "sh", "-c", script]);
    assert_eq!((limit(MEMORY), limit(CPUS), limit(PIDS)), ("67108864".into(), "50000".into(), "33".into()));
    client.done(&["update", "--cpus", "0.25", "server"]);
    assert_eq!(limit(CPUS), "25000");
    let stats = client.done(&["stats", "--no-stream", "server"]);
    assert!(["64MiB", "67.11MB"].iter().any(|limit| stats.contains(limit)), "{stats}");
    // More than the limit is the end of the process.
    client.start("hog", &["-m", "16m", "--memory-swap", "16m", TINY, "tail", "/dev/zero"]);
    assert_eq!(client.done(&["wait", "hog"]), "137");
    let said = client.run(&[
        "--ulimit",
        "nofile=77:88",
        "--ulimit",
        "nproc=99:99",
        "--shm-size",
        "8m",
        TINY,
        "sh",
        "-c",
        "ulimit -n; df /dev/shm",
    ]);
    assert!(said.starts_with("77\n") && said.contains(" 8192 "), "{said}");
}

pub fn ports(client: &Client) {
    let www = client.ground.file("www/index.html", "a page\n");
    let bind = format!("{}:/www:ro", www.parent().unwrap().display());
    client.start("web", &["-p", "8080:80", "-v", &bind, TINY, "httpd", "-f", "-p", "80", "-h", "/www"]);
    assert_eq!(client.ground.page("http://127.0.0.1:8080/"), "a page\n");
    let address = client.inspect("web", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}");
    assert_eq!(client.ground.page(&format!("http://{address}/")), "a page\n");
    let beside = client.run(&["--network", "container:web", TINY, "wget", "-qO-", "http://127.0.0.1/"]);
    assert_eq!(beside, "a page");
    let links = client.run(&["--network", "none", TINY, "ls", "/sys/class/net"]);
    assert_eq!(links, "lo");
    let namespace = say(client.ground.command("readlink").arg("/proc/self/ns/net")).out;
    assert_eq!(client.run(&["--network", "host", TINY, "readlink", "/proc/self/ns/net"]), namespace.trim());
}

pub fn volumes(client: &Client) {
    let file = client.ground.file("shared/given", "given\n");
    let shared = file.parent().unwrap().display().to_string();
    client.run(&["-v", &format!("{shared}:/shared"), TINY, "sh", "-c", "cat /shared/given >/shared/copy"]);
    assert_eq!(std::fs::read_to_string(file.with_file_name("copy")).unwrap(), "given\n");
    let said = client.say_run(&["--rm", "-v", &format!("{shared}:/shared:ro"), TINY, "touch", "/shared/more"]);
    assert!(said.code == 1 && said.err.contains("Read-only file system"), "{said:?}");
    let said = client.run(&["-v", &format!("{}:/one:ro", file.display()), TINY, "cat", "/one"]);
    assert_eq!(said, "given");
    // A new volume begins with what the image has at its place, and keeps what is written.
    client.run(&["-v", "kept:/kept", TINY, "sh", "-c", "echo more >>/kept/seed"]);
    assert_eq!(client.run(&["-v", "kept:/other", TINY, "cat", "/other/seed"]), "from the image\nmore");
    let said =
        client.run(&["--tmpfs", "/scratch:size=1m,mode=700", TINY, "sh", "-c", "df /scratch; stat -c %a /scratch"]);
    assert!(said.contains(" 1024 ") && said.ends_with("700"), "{said}");
    let mount = format!("type=bind,src={shared},dst=/deep/new/place,readonly");
    assert_eq!(client.run(&["--mount", &mount, TINY, "cat", "/deep/new/place/given"]), "given");
}

pub fn user(client: &Client) {
    let said = client.run(&["-u", "ann", TINY, "id"]);
    assert_eq!(said, "uid=1000(ann) gid=1000(ann) groups=1000(ann),2000(friends)");
    let said = client.run(&["-u", "1234:4321", "--group-add", "77", TINY, "id"]);
    assert!(["uid=1234", "gid=4321", "77"].iter().all(|part| said.contains(part)), "{said}");
    let said = client.say_run(&["--rm", "-u", "ann", TINY, "touch", "/etc/x"]);
    assert!(said.code == 1 && said.err.contains("Permission denied"), "{said:?}");
    assert_eq!(capabilities(&client.run(&["-u", "ann", TINY, "cat", "/proc/self/status"]), "CapEff"), 0);
}

pub fn read_only(client: &Client) {
    let script = "touch /etc/x 2>/dev/null && echo wrote; touch /dev/shm/x && echo shm; cat /proc/mounts";
    let said = client.run(&["--read-only", TINY, "sh", "-c", script]);
    assert!(said.starts_with("shm\noverlay / overlay ro"), "{said}");
}

pub fn capability_sets(client: &Client) {
    let status = |words: &[&str]| client.run(&[words, &[TINY, "cat", "/proc/self/status"]].concat());
    let none = status(&["--cap-drop", "all"]);
    assert_eq!((capabilities(&none, "CapBnd"), capabilities(&none, "CapEff")), (0, 0));
    // 12 is CAP_NET_ADMIN (linux/capability.h).
    let one = status(&["--cap-drop", "all", "--cap-add", "net_admin"]);
    assert_eq!((capabilities(&one, "CapBnd"), capabilities(&one, "CapPrm")), (1 << 12, 1 << 12));
    let usual = status(&[]);
    assert_eq!(capabilities(&usual, "CapEff") & 1 << 21, 0, "CAP_SYS_ADMIN is not usual");
    let tied = status(&["--security-opt", "no-new-privileges"]);
    assert!(tied.contains("NoNewPrivs:\t1") && usual.contains("NoNewPrivs:\t0"), "{tied}");
}

pub fn attributes(client: &Client) {
    let script =
        "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax /proc/self/oom_score_adj; stat -c %t:%T /dev/full";
    let sysctl = ["--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "kernel.msgmax=9000"];
    let rest = ["--oom-score-adj", "100", "--device", "/dev/zero:/dev/full", TINY, "sh", "-c", script];
    // 1:5 is zero (null is 1:3, full 1:7).
    assert_eq!(client.run(&[&sysctl[..], &rest].concat()), "1\n9000\n100\n1:5");
}

/// runc fails where root itself lacks a capability; the specification wants a warning.
pub fn privileged(client: &Client) {
    let script = "cat /proc/self/status; test -e /dev/kmsg && mount -t tmpfs x /tmp && touch /proc/sys/kernel/hostname";
    let all = client.run(&["--privileged", TINY, "sh", "-c", script]);
    assert_ne!(capabilities(&all, "CapEff") & 1 << 21, 0);
    assert!(all.contains("Seccomp:\t0"), "{all}");
}

pub fn seccomp(client: &Client) {
    let profile = format!("seccomp={}", client.ground.file("profile.json", NO_MKDIR).display());
    let script = "mkdir /tmp/x; grep Seccomp: /proc/self/status";
    let said = client.say_run(&["--rm", "--security-opt", &profile, TINY, "sh", "-c", script]);
    assert!(said.err.contains("Operation not permitted") && said.out == "Seccomp:\t2\n", "{said:?}");
    let said = client.run(&["--security-opt", "seccomp=unconfined", TINY, "sh", "-c", script]);
    assert_eq!(said, "Seccomp:\t0");
    assert_eq!(client.run(&[TINY, "sh", "-c", script]), "Seccomp:\t2");
}
