//! containerd: a daemon whose shim (`io.containerd.runc.v2`) calls the runtime, driven by its own client `ctr`.

use crate::ground::{Ground, Said, runtime, say, within_patience};
use crate::image::{self, ANN, TINY};
use crate::sight::{NO_MKDIR, capabilities, in_terminal};
use std::process::{Command, Stdio};

/// What commands of `ctr task exec` begin with: it opens its ends of the pipes while the command starts, and what a command
/// has written and ended with before that is lost.
const MOMENT: &str = "sleep 0.3";

/// A daemon with directories and a socket of its own, and the image unpacked.
struct Containerd {
    ground: Ground,
}

impl Containerd {
    fn new() -> Containerd {
        let ground = Ground::new();
        let at = |name: &str| ground.path().join(name).display().to_string();
        let configuration = format!(
            "version = 2\nroot = \"{}\"\nstate = \"{}\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = \"{}\"\n[debug]\nlevel = \"warn\"\n",
            at("containerd"),
            at("running"),
            at("socket")
        );
        let file = ground.file("containerd.toml", configuration);
        let log = std::fs::File::create(ground.path().join("log")).unwrap();
        let mut daemon = ground.daemon("containerd");
        ground.start(daemon.arg("--config").arg(file).stdout(Stdio::null()).stderr(log));
        let archive = image::archive(&ground).display().to_string();
        let client = Containerd { ground };
        let up = within_patience(|| client.say(&["version"]).code == 0);
        assert!(up, "{}", std::fs::read_to_string(client.ground.path().join("log")).unwrap());
        client.done(&["images", "import", &archive]);
        client
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.ground.command("ctr");
        command.arg("--address").arg(self.ground.path().join("socket")).args(words);
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

    /// `ctr run` with these options and words: the shim's option `BinaryName` is ctr's `--runc-binary`.
    fn run_words(&self, words: &[&str]) -> Vec<String> {
        let state = self.ground.path().join("runtime").display().to_string();
        let cgroup = format!("/{}/one", self.ground.cgroup());
        let own = ["run", "--runc-binary", &runtime(), "--runc-root", &state, "--cgroup", &cgroup];
        own.iter().chain(words).map(|word| (*word).to_owned()).collect()
    }

    fn say_run(&self, words: &[&str]) -> Said {
        let words = self.run_words(words);
        self.say(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn run(&self, words: &[&str]) -> String {
        let said = self.say_run(words);
        assert_eq!(said.code, 0, "{words:?}: {said:?}");
        said.out.trim().to_owned()
    }

    /// A container named `one` that sleeps.
    fn start(&self, options: &[&str]) {
        self.run(&[&["--detach"], options, &[TINY, "one", "sleep", "1000"]].concat());
    }

    /// The state in `ctr task ls`.
    fn state(&self) -> String {
        let list = self.done(&["task", "ls"]);
        list.lines()
            .find(|line| line.starts_with("one "))
            .and_then(|line| line.split(' ').next_back())
            .unwrap_or("")
            .into()
    }

    /// A limit of the container's cgroup: the first of these files that there is.
    fn limit(&self, files: &[&str]) -> String {
        let top = std::path::Path::new("/sys/fs/cgroup");
        let cgroup = format!("{}/one", self.ground.cgroup());
        let mut found = files.iter().map(|file| top.join(file.replace("CGROUP", &cgroup)));
        let file = found.find(|file| file.exists()).unwrap_or_else(|| panic!("none of {files:?}"));
        std::fs::read_to_string(file).unwrap().trim().to_owned()
    }
}

#[test]
fn run() {
    let client = Containerd::new();
    let script = "echo $GREETING $ONE; pwd; cat /proc/self/comm";
    let said = client.run(&["--rm", "--env", "ONE=1", "--cwd", "/tmp", TINY, "one", "sh", "-c", script]);
    assert_eq!(said, "hello 1\n/tmp\ncat");
    assert_eq!(client.say_run(&["--rm", TINY, "one", "sh", "-c", "exit 7"]).code, 7);
    let said = client.say_run(&["--rm", TINY, "one", "/not/there"]);
    assert!(said.code != 0 && said.err.contains("/not/there"), "{said:?}");
    assert_eq!(client.done(&["containers", "ls", "--quiet"]), "");
}

#[test]
fn detached() {
    let client = Containerd::new();
    client.start(&[]);
    assert_eq!(client.state(), "RUNNING");
    assert_ne!(client.say(&["containers", "rm", "one"]).code, 0, "a running container is not removed");
    client.done(&["task", "rm", "--force", "one"]);
    client.done(&["containers", "rm", "one"]);
    assert_eq!(client.done(&["containers", "ls", "--quiet"]), "");
}

#[test]
fn exec() {
    let client = Containerd::new();
    client.start(&[]);
    let script = format!("{MOMENT}; pwd; echo $GREETING; exit 5");
    let said = client.say(&["task", "exec", "--exec-id", "a", "--cwd", "/tmp", "one", "sh", "-c", &script]);
    assert_eq!((said.code, said.out.as_str()), (5, "/tmp\nhello\n"), "{said:?}");
    let said =
        client.done(&["task", "exec", "--exec-id", "b", "--user", "ann", "one", "sh", "-c", &format!("{MOMENT}; id")]);
    assert!(said.starts_with("uid=1000(ann) gid=1000(ann)"), "{said}");
    let said = client.say(&["task", "exec", "--exec-id", "c", "one", "/not/there"]);
    assert!(said.code != 0 && said.err.contains("/not/there"), "{said:?}");
    client.done(&["task", "exec", "--exec-id", "d", "--detach", "one", "sleep", "1001"]);
    let listed = client.done(&["task", "ps", "one"]);
    assert_eq!(listed.lines().count(), 3, "{listed}");
}

#[test]
fn terminal() {
    let client = Containerd::new();
    let sized = "until stty size | grep -qx '33 44'; do sleep 0.05; done; echo sized; tty";
    let words = client.run_words(&["--rm", "--tty", TINY, "one", "sh", "-c", sized]);
    let said = in_terminal(client.command(&words.iter().map(String::as_str).collect::<Vec<_>>()));
    assert!(said.contains("sized") && said.contains("/dev/pts/0"), "{said:?}");
    client.start(&[]);
    let said = in_terminal(client.command(&["task", "exec", "--exec-id", "a", "--tty", "one", "sh", "-c", sized]));
    assert!(said.contains("sized") && said.contains("/dev/pts/0"), "{said:?}");
}

#[test]
fn limits() {
    let client = Containerd::new();
    client.start(&["--memory-limit", "67108864", "--cpus", "0.5"]);
    assert_eq!(client.limit(&["memory/CGROUP/memory.limit_in_bytes", "CGROUP/memory.max"]), "67108864");
    let cpus = client.limit(&["cpu/CGROUP/cpu.cfs_quota_us", "cpu,cpuacct/CGROUP/cpu.cfs_quota_us", "CGROUP/cpu.max"]);
    assert!(cpus.starts_with("50000"), "{cpus}");
    let metrics = client.done(&["task", "metrics", "one"]);
    assert!(metrics.contains("memory"), "{metrics}");
    client.done(&["task", "rm", "--force", "one"]);
    client.done(&["containers", "rm", "one"]);
    let hog = client.say_run(&["--rm", "--memory-limit", "16777216", TINY, "one", "tail", "/dev/zero"]);
    assert_eq!(hog.code, 137, "{hog:?}");
}

#[test]
fn stop_and_kill() {
    let client = Containerd::new();
    let ready = client.ground.file("shared/began", "").with_file_name("ready");
    let heard = ready.with_file_name("heard");
    let mount = format!("type=bind,src={},dst=/shared,options=rbind:rw", ready.parent().unwrap().display());
    let hears =
        "trap 'exit 9' TERM; trap 'touch /shared/heard' USR1; touch /shared/ready; while true; do sleep 0.1; done";
    client.run(&["--detach", "--mount", &mount, TINY, "one", "sh", "-c", hears]);
    assert!(within_patience(|| ready.exists()));
    client.done(&["task", "kill", "--signal", "SIGUSR1", "one"]);
    assert!(within_patience(|| heard.exists()));
    client.done(&["task", "kill", "one"]);
    assert!(within_patience(|| client.state() == "STOPPED"));
    assert!(client.say(&["task", "rm", "one"]).err.contains("exit code 9"));
    client.done(&["containers", "rm", "one"]);
    client.start(&[]);
    client.done(&["task", "exec", "--exec-id", "c", "--detach", "one", "sleep", "1000"]);
    client.done(&["task", "kill", "--all", "--signal", "SIGKILL", "one"]);
    assert!(within_patience(|| client.state() == "STOPPED"));
    assert!(client.say(&["task", "rm", "one"]).err.contains("exit code 137"));
}

#[test]
fn pause() {
    let client = Containerd::new();
    client.start(&[]);
    client.done(&["task", "pause", "one"]);
    assert_eq!(client.state(), "PAUSED");
    client.done(&["task", "resume", "one"]);
    assert_eq!(client.state(), "RUNNING");
    let script = format!("{MOMENT}; echo awake");
    assert_eq!(client.done(&["task", "exec", "--exec-id", "a", "one", "sh", "-c", &script]), "awake");
}

#[test]
fn logs() {
    let client = Containerd::new();
    let log = client.ground.path().join("container.log");
    let uri = format!("file://{}", log.display());
    let script = format!("{MOMENT}; echo one; echo two >&2; echo three; {MOMENT}");
    client.run(&["--detach", "--log-uri", &uri, TINY, "one", "sh", "-c", &script]);
    assert!(within_patience(|| client.state() == "STOPPED"));
    // Two streams have no order between them.
    let all = |text: String| text.len() == 14 && ["one\n", "two\n", "three\n"].iter().all(|line| text.contains(line));
    assert!(within_patience(|| std::fs::read_to_string(&log).is_ok_and(all)));
}

#[test]
fn ports() {
    let client = Containerd::new();
    // ctr asks the plugins of /etc/cni/net.d between create and start; it knows no ports, so they are written here.
    std::fs::create_dir_all(client.ground.path().join("www")).unwrap();
    let network = client.ground.file("10-test.conflist", NETWORK);
    let install = "rm -f /etc/cni/net.d/* && mkdir -p /etc/cni/net.d && cp \"$0\" /etc/cni/net.d/";
    let said = say(client.ground.command("sh").args(["-ec", install]).arg(&network));
    assert_eq!(said.code, 0, "{said:?}");
    let page = client.ground.file("www/index.html", "a page\n");
    let mount = format!("type=bind,src={},dst=/www,options=rbind:ro", page.parent().unwrap().display());
    let serve = ["--detach", "--cni", "--mount", &mount, TINY, "one", "httpd", "-f", "-p", "80", "-h", "/www"];
    client.run(&serve);
    assert_eq!(client.ground.page("http://10.99.0.1:8080/"), "a page\n");
}

const NETWORK: &str = r#"{"cniVersion": "0.4.0", "name": "test", "plugins": [
    {"type": "bridge", "bridge": "test0", "isGateway": true, "ipMasq": true,
     "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.99.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
    {"type": "portmap", "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}}
]}"#;

#[test]
fn volumes() {
    let client = Containerd::new();
    let file = client.ground.file("shared/given", "given\n");
    let shared = file.parent().unwrap().display();
    let mount = |options: &str| format!("type=bind,src={shared},dst=/new/place,options={options}");
    client.run(&[
        "--rm",
        "--mount",
        &mount("rbind:rw"),
        TINY,
        "one",
        "sh",
        "-c",
        "cat /new/place/given >/new/place/copy",
    ]);
    assert_eq!(std::fs::read_to_string(file.with_file_name("copy")).unwrap(), "given\n");
    let said = client.say_run(&["--rm", "--mount", &mount("rbind:ro"), TINY, "one", "touch", "/new/place/more"]);
    assert!(said.code == 1 && said.err.contains("Read-only file system"), "{said:?}");
    let tmpfs = "type=tmpfs,src=tmpfs,dst=/scratch,options=size=1m:mode=700";
    let said = client.run(&["--rm", "--mount", tmpfs, TINY, "one", "sh", "-c", "df /scratch; stat -c %a /scratch"]);
    assert!(said.contains(" 1024 ") && said.ends_with("700"), "{said}");
}

#[test]
fn user() {
    let client = Containerd::new();
    assert!(client.run(&["--rm", ANN, "one", "id"]).starts_with("uid=1000(ann) gid=1000(ann)"));
    let said = client.say_run(&["--rm", ANN, "one", "touch", "/etc/x"]);
    assert!(said.code == 1 && said.err.contains("Permission denied"), "{said:?}");
}

#[test]
fn read_only() {
    let client = Containerd::new();
    let script = "touch /etc/x 2>/dev/null && echo wrote; touch /dev/shm/x && echo shm; cat /proc/mounts";
    let said = client.run(&["--rm", "--read-only", TINY, "one", "sh", "-c", script]);
    assert!(said.starts_with("shm\noverlay / overlay ro"), "{said}");
}

#[test]
fn capability_sets() {
    let client = Containerd::new();
    let drop = ["--cap-drop", "CAP_CHOWN", "--cap-add", "CAP_NET_ADMIN"];
    let status = client.run(&[&["--rm"], &drop[..], &[TINY, "one", "cat", "/proc/self/status"]].concat());
    let (bound, effective) = (capabilities(&status, "CapBnd"), capabilities(&status, "CapEff"));
    // 0 is CAP_CHOWN, 12 CAP_NET_ADMIN, 21 CAP_SYS_ADMIN (linux/capability.h).
    assert_eq!((bound & 1, bound & 1 << 12, bound & 1 << 21), (0, 1 << 12, 0), "{status}");
    assert_eq!(effective, bound);
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    let all = client.run(&["--rm", "--privileged", TINY, "one", "cat", "/proc/self/status"]);
    assert_ne!(capabilities(&all, "CapEff") & 1 << 21, 0);
}

#[test]
fn seccomp() {
    let client = Containerd::new();
    let profile = client.ground.file("profile.json", NO_MKDIR).display().to_string();
    let script = "mkdir /tmp/x; grep Seccomp: /proc/self/status";
    let said = client.say_run(&["--rm", "--seccomp", "--seccomp-profile", &profile, TINY, "one", "sh", "-c", script]);
    assert!(said.err.contains("Operation not permitted") && said.out == "Seccomp:\t2\n", "{said:?}");
    assert_eq!(client.run(&["--rm", "--seccomp", TINY, "one", "sh", "-c", script]), "Seccomp:\t2");
    assert_eq!(client.run(&["--rm", TINY, "one", "sh", "-c", script]), "Seccomp:\t0");
}
