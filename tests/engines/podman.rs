//! podman: a program without a daemon, which starts conmon, which calls the runtime.

use crate::client::Client;
use crate::ground::{Ground, runtime};
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
