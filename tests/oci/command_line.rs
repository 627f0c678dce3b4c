//! The rest of the command line: run, exec, ps, list, pause, resume, update, events, spec, features, and the global flags.

use crate::case::{Case, Outcome};
use crate::lifecycle::says_no;
use crate::peer::Peer;
use crate::row::Row;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::process::Stdio;

pub fn rows() -> Vec<Row> {
    [run(), exec(), observing(), control(), describing()].into_iter().flatten().collect()
}

fn run() -> Vec<Row> {
    vec![
        Row::new("run --pid-file", "holds the process id").steps(|case, config| {
            let file = case.path().join("pid");
            case.run(&config("sleep 1000"), &["--detach", "--pid-file", &file.to_string_lossy()]).good();
            assert_eq!(case.read("pid").trim(), case.pid().to_string());
        }),
        Row::new("create --pid-file", "holds the process id").steps(|case, config| {
            let file = case.path().join("pid");
            case.create(&config("sleep 1000"), &["--pid-file", &file.to_string_lossy()]).good();
            assert_eq!(case.read("pid").trim(), case.pid().to_string());
        }),
        Row::new("run --preserve-fds", "hands on that many after the third").steps(|case, config| {
            case.write(&config("cat <&3; cd /proc/$$/fd; echo *"));
            case.file("fourth", "by the fourth\n");
            let mut shell = std::process::Command::new("sh");
            let command = format!("exec 3<{}/fourth 9</dev/null; exec \"$@\"", case.path().display());
            shell.args(["-c", &command, "sh"]);
            let runtime = with_arguments(
                case,
                &["run", "--preserve-fds", "1", "--bundle", &case.bundle().to_string_lossy(), &case.id],
            );
            shell.arg(runtime.get_program()).args(runtime.get_args()).stdin(Stdio::null());
            assert_eq!(case.finish(&mut shell).good(), "by the fourth\n0 1 2 3 4");
        }),
        Row::new("run", "input comes through").steps(|case, config| {
            case.write(&config("cat; echo end"));
            let mut command = with_arguments(case, &["run", "--bundle", &case.bundle().to_string_lossy(), &case.id]);
            command.stdin(std::fs::File::open(case.file("input", "through\n")).expect("a file"));
            assert_eq!(case.finish(&mut command).good(), "through\nend");
        }),
        Row::new("run", "output and errors are two streams").script("echo out; echo err >&2").steps(|case, config| {
            let outcome = case.run(&config("echo out; echo err >&2"), &[]);
            assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("out\n", "err\n"));
        }),
        Row::new("run", "leaves nothing").steps(|case, config| {
            case.run(&config("sleep 1000 & exit 7"), &[]);
            if case.peer == Peer::Ours {
                assert_eq!(case.traces(), Vec::<String>::new());
            }
        }),
        Row::new("run --keep", "leaves it stopped")
            .steps(|case, config| {
                case.run(&config(":"), &["--keep"]).good();
                assert_eq!(case.state()["status"], "stopped");
            })
            .not(Peer::Crun, "newer"),
        Row::new("run --no-pivot", "works too").steps(|case, config| {
            assert_eq!(case.run(&config("ls -d /bin"), &["--no-pivot"]).good(), "/bin");
        }),
        Row::new("run --no-new-keyring", "works too").steps(|case, config| {
            assert_eq!(case.run(&config("echo ran"), &["--no-new-keyring"]).good(), "ran");
        }),
        Row::new("run", "signals go to the payload")
            .steps(|case, config| {
                case.write(&config(
                    "trap 'echo got; exit 5' TERM; touch /ready; while :; do sleep 1000 & wait $!; done",
                ));
                let mut command =
                    with_arguments(case, &["run", "--bundle", &case.bundle().to_string_lossy(), &case.id]);
                let mut child = command.stdout(Stdio::piped()).spawn().expect("the runtime can be started");
                case.until("the trap is set", || case.root().join("ready").exists());
                let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
                nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("the signal can be sent");
                let status = child.wait().expect("an end");
                let mut text = String::new();
                child.stdout.take().expect("a pipe").read_to_string(&mut text).expect("text");
                assert_eq!((status.code(), text.as_str()), (Some(5), "got\n"));
            })
            .not(Peer::Crun, "the wrapper of this test is in the way"),
        Row::new("process.consoleSize", "of the terminal").steps(|case, config| {
            let mut config = config(
                "stty size; tty; ls -l /dev/console | grep -c 'crw'; cut -d' ' -f7 /proc/1/stat | grep -vc '^0'",
            );
            config["process"]["terminal"] = json!(true);
            config["process"]["consoleSize"] = json!({ "height": 33, "width": 77 });
            let text = on_console(case, &config);
            assert_eq!(text.trim(), "33 77\n/dev/pts/0\n1\n1");
        }),
        Row::new("run --console-socket", "gets the terminal").steps(|case, config| {
            let mut config =
                config("tty; cat /proc/1/stat | cut -d' ' -f6; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo all");
            config["process"]["terminal"] = json!(true);
            assert_eq!(on_console(case, &config).trim(), "/dev/pts/0\n1\nall");
        }),
    ]
}

/// The runtime with its global arguments and these.
fn with_arguments(case: &Case, arguments: &[&str]) -> std::process::Command {
    let mut command = case.command();
    command.args(arguments);
    command
}

/// What the detached container writes to the terminal that the socket gets.
pub fn on_console(case: &Case, config: &Value) -> String {
    let path = case.path().join("console");
    let listener = UnixListener::bind(&path).expect("a socket");
    let thread = std::thread::spawn(move || crate::socket::receive(&listener).1.pop());
    case.run(config, &["--detach", "--console-socket", &path.to_string_lossy()]).good();
    let mut terminal = std::fs::File::from(thread.join().expect("a message").expect("a terminal"));
    let mut text = Vec::new();
    let mut chunk = [0; 4096];
    // The terminal reports EIO once nobody holds its other side.
    while let Ok(length @ 1..) = terminal.read(&mut chunk) {
        text.extend_from_slice(&chunk[..length]);
    }
    String::from_utf8_lossy(&text).replace("\r\n", "\n")
}

/// `exec` of a shell with this script, with the flags before the id.
fn execute(case: &Case, flags: &[&str], script: &str) -> Outcome {
    case.runtime([&["exec"], flags, &[&case.id, "/bin/sh", "-c", script]].concat())
}

fn exec() -> Vec<Row> {
    let simple = |name: &'static str, flags: &'static [&'static str], script: &'static str, wanted: &'static str| {
        Row::new("exec", name).steps(move |case, _| {
            case.started(|_| {});
            assert_eq!(execute(case, flags, script).good(), wanted);
        })
    };
    vec![
        simple("in all namespaces", &[], "[ \"$(ls -l /proc/1/ns | grep -o '[a-z]*:.*' | grep -v children)\" = \"$(ls -l /proc/self/ns | grep -o '[a-z]*:.*' | grep -v children)\" ] && echo same; hostname", "same\nboat"),
        simple("in the cgroups", &[], "[ \"$(cat /proc/1/cgroup)\" = \"$(cat /proc/self/cgroup)\" ] && echo same", "same"),
        simple("with the capabilities of the process", &[], "[ \"$(grep Cap /proc/1/status)\" = \"$(grep Cap /proc/self/status)\" ] && echo same", "same"),
        simple("--cwd", &["--cwd", "/proc/sys"], "pwd", "/proc/sys"),
        simple("--env adds", &["--env", "A=1", "--env", "B=2"], "echo $A $B $HOSTNAME", "1 2 boat"),
        simple("--user", &["--user", "7:9"], "id -u; id -g", "7\n9"),
        simple("--user alone", &["--user", "7"], "id -u; id -g", "7\n0"),
        simple("--additional-gids", &["--user", "7:9", "--additional-gids", "10", "--additional-gids", "11"], "id -G", "9 10 11").not(Peer::Crun, "newer"),
        simple("--cap adds", &["--cap", "CAP_NET_ADMIN"], "grep CapEff /proc/self/status", "CapEff:\t00000000a80435fb").not(Peer::Crun, "of 1.8 leaves no other"),
        simple("--no-new-privs", &["--no-new-privs"], "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1"),
        Row::new("exec", "--apparmor is refused without AppArmor").steps(|case, _| {
            case.started(|_| {});
            says_no(case, &["exec", "--apparmor", "boat", &case.id, "true"], &["AppArmor"]);
        }).not(Peer::Crun, "ignores it"),
        Row::new("exec", "--process").steps(|case, _| {
            case.started(|_| {});
            let process = json!({ "user": { "uid": 5, "gid": 6 }, "args": ["/bin/sh", "-c", "id -u; pwd; echo $X; grep CapEff /proc/self/status"], "cwd": "/bin", "env": ["X=y", "PATH=/bin"] });
            let file = case.file("process.json", process.to_string());
            let outcome = case.runtime(["exec", "--process", &file.to_string_lossy(), &case.id]);
            assert_eq!(outcome.good(), "5\n/bin\ny\nCapEff:\t0000000000000000");
        }),
        Row::new("exec", "--pid-file and --detach").steps(|case, _| {
            case.started(|_| {});
            let file = case.path().join("pid");
            execute(case, &["--detach", "--pid-file", &file.to_string_lossy()], "echo ran >/ran; sleep 1000").good();
            case.until("the process runs", || case.root().join("ran").exists());
            let comm = std::fs::read_to_string(format!("/proc/{}/comm", case.read("pid").trim())).expect("a process");
            assert!(["sh\n", "sleep\n"].contains(&comm.as_str()), "{comm}");
        }),
        Row::new("exec", "the exit code is the process's").steps(|case, _| {
            case.started(|_| {});
            assert_eq!(execute(case, &[], "exit 42").code(), 42);
            assert_eq!(execute(case, &[], "kill -TERM $$").code(), 143);
        }),
        Row::new("exec", "a missing program").steps(|case, _| {
            case.started(|_| {});
            says_no(case, &["exec", &case.id, "/bin/nobody"], &["/bin/nobody"]);
        }),
        Row::new("exec", "--preserve-fds").steps(|case, _| {
            case.started(|_| {});
            case.file("fourth", "by the fourth\n");
            let mut shell = std::process::Command::new("sh");
            shell.args(["-c", &format!("exec 3<{}/fourth; exec \"$@\"", case.path().display()), "sh"]);
            let runtime = with_arguments(case, &["exec", "--preserve-fds", "1", &case.id, "sh", "-c", "cat <&3"]);
            shell.arg(runtime.get_program()).args(runtime.get_args()).stdin(Stdio::null());
            assert_eq!(case.finish(&mut shell).good(), "by the fourth");
        }),
        Row::new("exec", "--tty and --console-socket").steps(|case, _| {
            case.started(|_| {});
            let path = case.path().join("console");
            let listener = UnixListener::bind(&path).expect("a socket");
            let thread = std::thread::spawn(move || crate::socket::receive(&listener).1);
            execute(case, &["--detach", "--tty", "--console-socket", &path.to_string_lossy()], "sleep 1000").good();
            assert_eq!(thread.join().expect("a message").len(), 1);
        }),
        Row::new("exec", "into a stopped one is refused").steps(|case, config| {
            case.run(&config(":"), &["--detach"]).good();
            case.until_status("stopped");
            says_no(case, &["exec", &case.id, "true"], &["{id}", "stopped"]);
        }),
        Row::new("exec", "of an unknown id").steps(|case, _| says_no(case, &["exec", "nobody", "true"], &["nobody", "not exist"])),
        Row::new("exec", "with the filter of the configuration").patch(json!({ "linux": { "seccomp": { "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO" }] } } })).steps(|case, config| {
            case.run(&config("sleep 1000"), &["--detach"]).good();
            assert_eq!(execute(case, &[], "mkdir /x 2>&1 | sed 's/.*: //'; grep Seccomp: /proc/self/status").good(), "Operation not permitted\nSeccomp:\t2");
        }),
        Row::new("process.execCPUAffinity.final", "of exec alone").patch(json!({ "process": { "execCPUAffinity": { "final": "0" } } })).steps(|case, config| {
            case.run(&config("sleep 1000"), &["--detach"]).good();
            assert_eq!(execute(case, &[], "grep Cpus_allowed_list /proc/self/status").good(), "Cpus_allowed_list:\t0");
        }).newer(),
        Row::new("exec", "as root of a user namespace").edit(|config, case| {
            crate::row::push(config, "/linux/namespaces", json!({ "type": "user" }));
            let maps = json!([{ "containerID": 0, "hostID": 100_000, "size": 1000 }]);
            config["linux"]["uidMappings"] = maps.clone();
            config["linux"]["gidMappings"] = maps;
            std::os::unix::fs::chown(case.root(), Some(100_000), Some(100_000)).expect("an owner");
        }).steps(|case, config| {
            case.run(&config("sleep 1000"), &["--detach"]).good();
            assert_eq!(execute(case, &["--user", "5:6"], "id -u; cat /proc/self/uid_map | awk '{ print $2 }'").good(), "5\n100000");
        }),
    ]
}

fn observing() -> Vec<Row> {
    vec![
        Row::new("ps", "--format json lists process ids").steps(|case, _| {
            case.started(|_| {});
            let pid = case.pid();
            let listed: Value =
                serde_json::from_str(case.runtime(["ps", "--format", "json", &case.id]).good()).expect("JSON");
            assert!(listed.as_array().is_some_and(|list| list.contains(&json!(pid))), "{listed}, not {pid}");
        }),
        Row::new("ps", "a table").steps(|case, _| {
            case.started(|_| {});
            let text = case.runtime(["ps", &case.id]).good().to_owned();
            assert!(text.contains("PID") && text.contains(&case.pid().to_string()), "{text}");
        }),
        Row::new("list", "a table, --quiet and JSON").steps(|case, config| {
            assert_eq!(case.runtime(["list", "--quiet"]).good(), "");
            case.create(&config("sleep 1000"), &[]).good();
            assert_eq!(case.runtime(["list", "--quiet"]).good(), case.id);
            let text = case.runtime(["list"]).good().to_owned();
            assert!(text.starts_with("ID") || text.starts_with("NAME"), "{text}");
            assert!(text.contains(&case.id) && text.contains("created"), "{text}");
            let listed: Value = serde_json::from_str(case.runtime(["list", "--format", "json"]).good()).expect("JSON");
            let entry = &listed[0];
            assert_eq!(
                (&entry["id"], &entry["status"], &entry["bundle"], &entry["pid"]),
                (&json!(case.id), &json!("created"), &json!(case.bundle()), &json!(case.pid())),
                "{listed}"
            );
        }),
        Row::new("events --stats", "one JSON object")
            .steps(|case, _| {
                case.started(|config| config["linux"]["resources"]["memory"] = json!({ "limit": 67_108_864 }));
                let event: Value =
                    serde_json::from_str(case.runtime(["events", "--stats", &case.id]).good()).expect("JSON");
                assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!(case.id)), "{event}");
                let data = &event["data"];
                assert!(data["memory"]["usage"]["usage"].as_u64().is_some_and(|used| used > 0), "{data}");
                assert_eq!(data["memory"]["usage"]["limit"], json!(67_108_864));
                assert!(data["pids"]["current"].as_u64().is_some_and(|count| count > 0), "{data}");
                assert!(data["cpu"]["usage"]["total"].is_u64(), "{data}");
            })
            .not(Peer::Crun, "has no events"),
        Row::new("--log-format text", "is one line too").steps(|case, _| {
            let mut command = case.peer.command();
            command.arg("--root").arg(case.state_directory()).arg("--log").arg(case.log()).args([
                "--log-format",
                "text",
                "state",
                "nobody",
            ]);
            case.finish(command.stdin(Stdio::null())).bad();
            assert!(case.read("log").contains("not exist"), "{}", case.read("log"));
        }),
        Row::new("--log-format json", "has level, message and time")
            .steps(|case, _| {
                case.runtime(["state", "nobody"]).bad();
                let log = case.last_log();
                assert_eq!(log["level"], "error", "{log}");
                assert!(
                    log["msg"].as_str().is_some_and(|text| text.contains("not exist"))
                        && log["time"].as_str().is_some_and(|time| time.contains('T')),
                    "{log}"
                );
            })
            .not(Peer::Crun, "of 1.8 writes no level"),
        Row::new("--root", "keeps containers apart").steps(|case, config| {
            case.create(&config("sleep 1000"), &[]).good();
            let mut command = case.peer.command();
            command.arg("--root").arg(case.path().join("other")).args(["state", &case.id]);
            case.finish(command.stdin(Stdio::null())).bad();
        }),
    ]
}

fn control() -> Vec<Row> {
    let updated = |name: &'static str,
                   flags: &'static [&'static str],
                   controller: &'static str,
                   file: &'static str,
                   wanted: &'static str| {
        Row::new("update", name).steps(move |case, _| {
            case.started(|config| crate::row::merge(config, &json!({ "linux": { "resources": { "memory": { "limit": 134_217_728, "swap": 134_217_728 }, "pids": { "limit": 100 } } } })));
            case.runtime([&["update"], flags, &[&case.id]].concat()).good();
            let path = case.cgroup(controller, file);
            assert_eq!(std::fs::read_to_string(&path).expect("a file of the cgroup").trim(), wanted);
        })
    };
    vec![
        Row::new("pause", "and resume")
            .steps(|case, _| {
                case.started(|_| {});
                case.runtime(["pause", &case.id]).good();
                assert_eq!(case.state()["status"], "paused");
                says_no(case, &["exec", &case.id, "true"], &["{id}", "paused"]);
                case.runtime(["resume", &case.id]).good();
                assert_eq!(case.state()["status"], "running");
                assert_eq!(execute(case, &[], "echo on").good(), "on");
            })
            .not(Peer::Crun, "waits in exec"),
        Row::new("pause", "of a stopped one is refused").steps(|case, config| {
            case.run(&config(":"), &["--detach"]).good();
            case.until_status("stopped");
            says_no(case, &["pause", &case.id], &["{id}", "stopped"]);
        }),
        Row::new("resume", "of a running one is refused")
            .steps(|case, _| {
                case.started(|_| {});
                says_no(case, &["resume", &case.id], &["{id}", "paused"]);
            })
            .not(Peer::Crun, "takes it"),
        Row::new("delete", "a paused one by force")
            .steps(|case, _| {
                case.started(|_| {});
                case.runtime(["pause", &case.id]).good();
                case.runtime(["delete", "--force", &case.id]).good();
                assert_eq!(case.traces(), Vec::<String>::new());
            })
            .not(Peer::Crun, "waits for it"),
        updated("--memory", &["--memory", "67108864"], "memory", "memory.limit_in_bytes", "67108864"),
        updated(
            "--memory-reservation",
            &["--memory-reservation", "33554432"],
            "memory",
            "memory.soft_limit_in_bytes",
            "33554432",
        ),
        updated("--memory-swap", &["--memory-swap", "268435456"], "memory", "memory.memsw.limit_in_bytes", "268435456"),
        updated(
            "--memory and --memory-swap raised together",
            &["--memory", "268435456", "--memory-swap", "268435456"],
            "memory",
            "memory.limit_in_bytes",
            "268435456",
        )
        .not(Peer::Crun, "in the wrong order"),
        updated("--pids-limit", &["--pids-limit", "20"], "pids", "pids.max", "20"),
        updated("--cpu-share", &["--cpu-share", "512"], "cpu", "cpu.shares", "512"),
        updated("--cpu-quota", &["--cpu-quota", "30000", "--cpu-period", "100000"], "cpu", "cpu.cfs_quota_us", "30000"),
        updated("--cpuset-cpus", &["--cpuset-cpus", "0"], "cpuset", "cpuset.cpus", "0"),
        updated("--cpuset-mems", &["--cpuset-mems", "0"], "cpuset", "cpuset.mems", "0"),
        Row::new("update", "--resources from a file and from the input").steps(|case, _| {
            case.started(|_| {});
            let file = case.file(
                "resources.json",
                json!({ "pids": { "limit": 21 }, "memory": { "limit": 67_108_864 } }).to_string(),
            );
            case.runtime(["update", "--resources", &file.to_string_lossy(), &case.id]).good();
            let limit = || std::fs::read_to_string(case.cgroup("pids", "pids.max")).expect("a file");
            assert_eq!(limit().trim(), "21");
            let mut command = with_arguments(case, &["update", "--resources", "-", &case.id]);
            let mut child = command.stdin(Stdio::piped()).spawn().expect("the runtime can be started");
            child
                .stdin
                .take()
                .expect("a pipe")
                .write_all(json!({ "pids": { "limit": 22 } }).to_string().as_bytes())
                .expect("written");
            assert!(child.wait().expect("an end").success());
            assert_eq!(limit().trim(), "22");
        }),
        Row::new("update", "what the kernel refuses is told").steps(|case, _| {
            case.started(|_| {});
            says_no(case, &["update", "--cpuset-cpus", "4000", &case.id], &["cpu"]);
        }),
    ]
}

fn describing() -> Vec<Row> {
    vec![
        Row::new("spec", "writes a configuration that runs").steps(|case, _| {
            case.runtime(["spec", "--bundle", &case.bundle().to_string_lossy()]).good();
            let mut config: Value = serde_json::from_str(&case.read("bundle/config.json")).expect("JSON");
            assert!(config["ociVersion"].as_str().is_some_and(|version| version.starts_with("1.")), "{config}");
            config["process"]["terminal"] = json!(false);
            config["process"]["args"] = json!(["/bin/echo", "by spec"]);
            config["linux"]["cgroupsPath"] = json!(case.cgroups_path());
            assert_eq!(case.run(&config, &[]).good(), "by spec");
        }),
        Row::new("spec", "--rootless maps the user")
            .steps(|case, _| {
                case.runtime(["spec", "--rootless", "--bundle", &case.bundle().to_string_lossy()]).good();
                let config: Value = serde_json::from_str(&case.read("bundle/config.json")).expect("JSON");
                assert!(
                    config["linux"]["namespaces"]
                        .as_array()
                        .is_some_and(|list| list.contains(&json!({ "type": "user" }))),
                    "{config}"
                );
                assert!(config["linux"]["uidMappings"].is_array());
            })
            .not(Peer::Crun, "maps at the start"),
        Row::new("spec", "overwrites nothing").steps(|case, config| {
            case.write(&config(":"));
            says_no(case, &["spec", "--bundle", &case.bundle().to_string_lossy()], &["config.json"]);
        }),
        Row::new("features", "is what features.md says")
            .steps(|case, _| {
                let features: Value = serde_json::from_str(case.runtime(["features"]).good()).expect("JSON");
                let holds = |pointer: &str, name: &str| {
                    features.pointer(pointer).and_then(Value::as_array).is_some_and(|list| list.contains(&json!(name)))
                };
                assert!(features["ociVersionMin"].is_string() && features["ociVersionMax"].is_string(), "{features}");
                assert!(holds("/hooks", "createContainer") && holds("/mountOptions", "rro"), "{features}");
                assert!(holds("/linux/namespaces", "time") || case.peer != Peer::Ours, "{features}");
                assert!(
                    holds("/linux/capabilities", "CAP_CHOWN")
                        && features["linux"]["cgroup"]["v1"].is_boolean()
                        && features["linux"]["cgroup"]["v2"].is_boolean(),
                    "{features}"
                );
                assert!(
                    features["linux"]["seccomp"]["enabled"] == true
                        && holds("/linux/seccomp/actions", "SCMP_ACT_NOTIFY")
                        && holds("/linux/seccomp/operators", "SCMP_CMP_MASKED_EQ"),
                    "{features}"
                );
            })
            .not(Peer::Crun, "newer"),
        Row::new("--version", "names the runtime and the specification").steps(|case, _| {
            let text = case.runtime(["--version"]).good().to_owned();
            assert!(text.contains(" version ") && text.contains("spec: 1."), "{text}");
        }),
        Row::new("--help", "lists the verbs").steps(|case, _| {
            let text = case.runtime(["--help"]).good().to_owned();
            for verb in [
                "create", "start", "state", "kill", "delete", "run", "exec", "ps", "list", "pause", "resume", "update",
                "events", "spec", "features",
            ] {
                assert!(text.contains(verb) || case.peer == Peer::Crun, "{verb}: {text}");
            }
        }),
        Row::new("verb", "an unknown one is refused")
            .steps(|case, _| says_no(case, &["sail"], &["sail"]))
            .not(Peer::Runc, "prints its help"),
        Row::new("verb", "an unknown flag is refused")
            .steps(|case, _| says_no(case, &["state", "--sail", "x"], &["sail"])),
    ]
}
