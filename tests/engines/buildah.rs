//! buildah: a program without a daemon that calls the runtime itself, for each `RUN` of a build and for `buildah run`.

use crate::ground::{Ground, Said, runtime, say};
use crate::image::{self, TINY};
use crate::sight::{CPUS, MEMORY, NO_MKDIR, capabilities, in_terminal};
use std::process::Command;

/// buildah with storage of its own, the image loaded.
struct Buildah {
    ground: Ground,
}

impl Buildah {
    fn new() -> Buildah {
        let ground = Ground::new();
        let at = |name: &str| ground.path().join(name).display().to_string();
        let storage = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n",
            at("storage"),
            at("running")
        );
        ground.file("storage.conf", storage);
        let configuration = format!(
            "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\nnetwork_backend = \"netavark\"\n\
             [network]\nnetwork_config_dir = \"{}\"\n",
            at("networks")
        );
        ground.file("containers.conf", configuration);
        let archive = image::archive(&ground).display().to_string();
        let client = Buildah { ground };
        client.done(&["pull", "--quiet", &format!("docker-archive:{archive}:{TINY}")]);
        client
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.ground.command("buildah");
        command.env("CONTAINERS_CONF", self.ground.path().join("containers.conf"));
        command.env("CONTAINERS_STORAGE_CONF", self.ground.path().join("storage.conf"));
        command.env("BUILDAH_RUNTIME", runtime()).env("BUILDAH_ISOLATION", "oci");
        command.args(words);
        command
    }

    fn say(&self, words: &[&str]) -> Said {
        say(&mut self.command(words))
    }

    fn done(&self, words: &[&str]) -> String {
        let said = self.say(words);
        assert_eq!(said.code, 0, "{words:?}: {said:?}");
        said.out.trim().to_owned()
    }

    /// `buildah from` with these options, in the cgroup of the test.
    fn from(&self, options: &[&str]) -> String {
        let cgroup = format!("/{}", self.ground.cgroup());
        self.done(&[&["from", "--cgroup-parent", &cgroup], options, &[TINY]].concat())
    }

    /// `buildah bud` of this file with these options; what it says is on both streams.
    fn build(&self, dockerfile: &str, options: &[&str]) -> Said {
        let file = self.ground.file("context/Dockerfile", dockerfile);
        let context = file.parent().unwrap().display().to_string();
        let cgroup = format!("/{}", self.ground.cgroup());
        let own = ["bud", "--cgroup-parent", &cgroup, "--tag", "localhost/built:1"];
        self.say(&[&own[..], options, &[&context]].concat())
    }
}

#[test]
fn build() {
    let client = Buildah::new();
    client.ground.file("context/given", "given\n");
    let dockerfile = format!(
        "FROM {TINY}\nCOPY given /given\nENV TWO=2\nWORKDIR /deep/place\nRUN echo $GREETING $TWO >said && cat /given >>said\n\
         USER ann\nRUN id >/tmp/who\nUSER root\nRUN cat /proc/self/status >/status; ls /sys/class/net >/links\n"
    );
    let said = client.build(&dockerfile, &["--network", "none"]);
    assert_eq!(said.code, 0, "{said:?}");
    let name = client.done(&["from", "localhost/built:1"]);
    assert_eq!(client.done(&["run", &name, "cat", "said", "/links"]), "hello 2\ngiven\nlo");
    assert!(client.done(&["run", &name, "cat", "/tmp/who"]).starts_with("uid=1000(ann) gid=1000(ann)"));
    let said = client.build(&format!("FROM {TINY}\nRUN exit 7\n"), &[]);
    assert!(said.code != 0 && said.err.contains("exit status 7"), "{said:?}");
    let said = client.build(&format!("FROM {TINY}\nRUN [\"/not/there\"]\n"), &[]);
    assert!(said.code != 0 && said.err.contains("/not/there"), "{said:?}");
}

#[test]
fn run() {
    let client = Buildah::new();
    let name = client.from(&[]);
    let script = "echo $GREETING $ONE; pwd; hostname; cat /proc/self/comm";
    let words = ["run", "-e", "ONE=1", "--workingdir", "/tmp", "--hostname", "boat", &name, "sh", "-c", script];
    assert_eq!(client.done(&words), "hello 1\n/tmp\nboat\ncat");
    assert_eq!(client.say(&["run", &name, "sh", "-c", "exit 7"]).code, 7);
    let said = client.say(&["run", &name, "/not/there"]);
    assert!(said.code != 0 && said.err.contains("/not/there"), "{said:?}");
    client.done(&["run", &name, "sh", "-c", "echo kept >/kept/more"]);
    assert_eq!(client.done(&["run", &name, "cat", "/kept/more"]), "kept");
}

#[test]
fn terminal() {
    let client = Buildah::new();
    let name = client.from(&[]);
    let sized = "until stty size | grep -qx '33 44'; do sleep 0.05; done; echo sized; tty";
    let said = in_terminal(client.command(&["run", "--terminal", &name, "sh", "-c", sized]));
    assert!(said.contains("sized\r\n/dev/pts/0\r\n"), "{said:?}");
}

#[test]
fn limits() {
    let client = Buildah::new();
    let show = format!("FROM {TINY}\nRUN {MEMORY}; {CPUS}; ulimit -n\n");
    let said = client.build(&show, &["--memory", "64m", "--cpu-quota", "50000", "--ulimit", "nofile=77:88"]);
    assert!(said.code == 0 && said.out.contains("\n67108864\n50000\n77\n"), "{said:?}");
}

#[test]
fn volumes() {
    let client = Buildah::new();
    let name = client.from(&[]);
    let file = client.ground.file("shared/given", "given\n");
    let shared = file.parent().unwrap().display();
    client.done(&["run", "-v", &format!("{shared}:/new"), &name, "sh", "-c", "cat /new/given >/new/copy"]);
    assert_eq!(std::fs::read_to_string(file.with_file_name("copy")).unwrap(), "given\n");
    let said = client.say(&["run", "-v", &format!("{shared}:/new:ro"), &name, "touch", "/new/more"]);
    assert!(said.code == 1 && said.err.contains("Read-only file system"), "{said:?}");
    let cached =
        format!("FROM {TINY}\nRUN --mount=type=cache,target=/cache echo one >>/cache/file && cat /cache/file\n");
    for lines in ["one\n", "one\none\n"] {
        let said = client.build(&cached, &["--no-cache"]);
        assert!(said.code == 0 && said.out.contains(lines), "{said:?}");
    }
}

#[test]
fn user() {
    let client = Buildah::new();
    let name = client.from(&[]);
    assert!(client.done(&["run", "--user", "ann", &name, "id"]).starts_with("uid=1000(ann) gid=1000(ann)"));
    assert!(client.done(&["run", "--user", "1234:4321", &name, "id"]).starts_with("uid=1234 gid=4321"));
    let said = client.say(&["run", "--user", "ann", &name, "touch", "/etc/x"]);
    assert!(said.code == 1 && said.err.contains("Permission denied"), "{said:?}");
}

#[test]
fn capability_sets() {
    let client = Buildah::new();
    let name = client.from(&[]);
    let status = |options: &[&str]| client.done(&[&["run"], options, &[&name, "cat", "/proc/self/status"]].concat());
    assert_eq!(capabilities(&status(&["--cap-drop", "all"]), "CapBnd"), 0);
    // 0 is CAP_CHOWN, 12 CAP_NET_ADMIN (linux/capability.h).
    let other = capabilities(&status(&["--cap-drop", "CAP_CHOWN", "--cap-add", "CAP_NET_ADMIN"]), "CapEff");
    assert_eq!((other & 1, other & 1 << 12), (0, 1 << 12), "{other:x}");
}

#[test]
fn seccomp() {
    let client = Buildah::new();
    let profile = format!("seccomp={}", client.ground.file("profile.json", NO_MKDIR).display());
    let name = client.from(&["--security-opt", &profile]);
    let said = client.say(&["run", &name, "sh", "-c", "mkdir /tmp/x; grep Seccomp: /proc/self/status"]);
    assert!(said.err.contains("Operation not permitted") && said.out == "Seccomp:\t2\n", "{said:?}");
}

#[test]
fn networks() {
    let client = Buildah::new();
    let show = |options: &[&str], words: &[&str]| {
        let name = client.from(&[]);
        client.done(&[&["run"], options, &[&name], words].concat())
    };
    let own = show(&[], &["ip", "-o", "addr"]);
    assert!(own.contains("eth0") && own.contains("inet 10."), "{own}");
    assert_eq!(show(&["--network", "none"], &["ls", "/sys/class/net"]), "lo");
    let namespace = say(client.ground.command("readlink").arg("/proc/self/ns/net")).out;
    assert_eq!(show(&["--network", "host"], &["readlink", "/proc/self/ns/net"]), namespace.trim());
}
