//! podman: a program without a daemon, which starts conmon, which calls the runtime.

use crate::client::Client;
use crate::ground::{Ground, runtime, say};
use crate::{confinement, image, life};

/// podman with storage of its own and the image loaded.
fn podman() -> Client {
    let ground = Ground::new();
    let at = |name: &str| ground.path().join(name).display().to_string();
    let configuration = format!(
        "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nnetwork_backend = \"netavark\"\n\
         runtime = \"coracle\"\nruntime_supports_json = [\"coracle\"]\ntmp_dir = \"{}\"\n\
         [engine.runtimes]\ncoracle = [\"{}\"]\n[network]\nnetwork_config_dir = \"{}\"\n",
        at("tmp"),
        runtime(),
        at("networks")
    );
    let storage = format!(
        "[storage]\ndriver = \"overlay\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n",
        at("storage"),
        at("running")
    );
    let environment = vec![
        ("CONTAINERS_CONF", ground.file("containers.conf", configuration).display().to_string()),
        ("CONTAINERS_STORAGE_CONF", ground.file("storage.conf", storage).display().to_string()),
    ];
    let run = vec!["--cgroup-parent".to_owned(), format!("/{}", ground.cgroup())];
    let archive = image::archive(&ground).display().to_string();
    let client = Client { ground, program: vec!["podman".to_owned()], environment, run };
    client.done(&["load", "--quiet", "--input", &archive]);
    client
}

macro_rules! scenarios {
    ($($room:ident::$name:ident),* $(,)?) => { $(
        #[test]
        fn $name() {
            $room::$name(&podman());
        }
    )* };
}

scenarios!(
    life::run,
    life::detached,
    life::exec,
    life::terminal,
    life::stop,
    life::kill,
    life::pause,
    life::logs,
    confinement::limits,
    confinement::ports,
    confinement::volumes,
    confinement::user,
    confinement::read_only,
    confinement::capability_sets,
    confinement::privileged,
    confinement::attributes,
    confinement::seccomp,
);

/// An ordinary user's podman calls the runtime as root of a user namespace that it made: no device can be made there,
/// and there may be no control group to use.
#[test]
fn an_ordinary_user() {
    let ground = Ground::new();
    let archive = image::archive(&ground).display().to_string();
    let home = ground.path().join("home");
    let configuration = format!(
        "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nruntime = \"coracle\"\n\
         runtime_supports_json = [\"coracle\"]\n[engine.runtimes]\ncoracle = [\"{}\"]\n",
        runtime()
    );
    let configuration = ground.file("containers.conf", configuration).display().to_string();
    let account = "echo eve:x:54321:54321::/:/bin/sh >>/etc/passwd; echo eve:x:54321: >>/etc/group; \
                   echo eve:100000:65536 >/etc/subuid; echo eve:100000:65536 >/etc/subgid; \
                   mkdir $HOME/run; chmod 711 \"$0\"; chown -R 54321:54321 $HOME";
    assert_eq!(say(ground.command("sh").args(["-ec", account]).arg(ground.path())).code, 0);
    let environment = vec![
        ("CONTAINERS_CONF", configuration),
        ("XDG_RUNTIME_DIR", home.join("run").display().to_string()),
        ("TMPDIR", home.display().to_string()),
        ("USER", "eve".to_owned()),
    ];
    let program =
        ["setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups", "podman", "--storage-driver", "vfs"];
    let run = vec!["--network".to_owned(), "none".to_owned()];
    let client = Client { ground, program: program.map(str::to_owned).to_vec(), environment, run };
    client.done(&["load", "--quiet", "--input", &archive]);
    let script = "id -u; cat /proc/self/uid_map; echo >/dev/null && cat /proc/sys/kernel/hostname";
    let said = client.run(&["--hostname", "boat", image::TINY, "sh", "-c", script]);
    let words: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(words, ["0", "0", "54321", "1", "1", "100000", "65536", "boat"]);
    client.start("server", &[image::TINY, "sleep", "1000"]);
    assert!(client.done(&["exec", "-u", "ann", "server", "id"]).starts_with("uid=1000(ann)"));
    client.done(&["stop", "-t", "0", "server"]);
    assert_eq!(client.inspect("server", "{{.State.Status}} {{.State.ExitCode}}"), "exited 137");
    assert_eq!(client.run(&["--userns", "keep-id", image::TINY, "id", "-u"]), "54321");
}
