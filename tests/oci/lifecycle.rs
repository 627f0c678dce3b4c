//! The operations of runtime.md: create, start, state, kill, delete; what each refuses.

use crate::case::Case;
use crate::peer::Peer;
use crate::row::{Row, refused};
use serde_json::{Value, json};

pub fn rows() -> Vec<Row> {
    [life(), refusals(), signals(), ids()].into_iter().flatten().collect()
}

/// The refusal of a command after which the container is still there.
#[track_caller]
pub fn says_no(case: &Case, arguments: &[&str], parts: &[&str]) {
    let outcome = case.runtime(arguments);
    let line = outcome.bad();
    if case.peer == Peer::Ours {
        assert_eq!(line.lines().count(), 1, "{line}");
        for part in parts {
            assert!(line.contains(&case.fill(part)), "{arguments:?} does not say {part:?}: {line}");
        }
        assert_eq!(case.last_log()["level"], "error", "{}", case.last_log());
    }
}

fn life() -> Vec<Row> {
    vec![
        Row::new("state", "all fields, created to stopped").patch(json!({ "annotations": { "a": "b" } })).steps(
            |case, config| {
                case.create(&config("sleep 1000"), &[]).good();
                let state = case.state();
                assert_eq!(
                    (&state["id"], &state["status"], &state["bundle"]),
                    (&json!(case.id), &json!("created"), &json!(case.bundle())),
                    "{state}"
                );
                assert_eq!(
                    (&state["annotations"]["a"], state["ociVersion"].is_string()),
                    (&json!("b"), true),
                    "{state}"
                );
                let pid = state["pid"].as_i64().expect("a process id");
                assert!(std::path::Path::new(&format!("/proc/{pid}")).exists());
                case.runtime(["start", &case.id]).good();
                assert_eq!((&case.state()["status"], case.pid()), (&json!("running"), pid));
                case.runtime(["kill", &case.id, "KILL"]).good();
                case.until_status("stopped");
                case.runtime(["delete", &case.id]).good();
                case.runtime(["state", &case.id]).bad();
            },
        ),
        Row::new("create", "runs nothing of the payload").steps(|case, config| {
            case.create(&config("touch /ran; sleep 1000"), &[]).good();
            assert!(!case.root().join("ran").exists());
            case.runtime(["start", &case.id]).good();
            case.until("the payload runs", || case.root().join("ran").exists());
        }),
        Row::new("create", "what the configuration says later changes nothing").steps(|case, config| {
            case.create(&config("echo first >/said"), &[]).good();
            case.write(&config("echo second >/said"));
            case.runtime(["start", &case.id]).good();
            case.until_status("stopped");
            assert_eq!(case.read("bundle/rootfs/said"), "first\n");
        }),
        Row::new("start", "the payload's end is seen as stopped").steps(|case, config| {
            case.create(&config("exit 3"), &[]).good();
            case.runtime(["start", &case.id]).good();
            case.until_status("stopped");
            case.runtime(["delete", &case.id]).good();
            assert_eq!(case.traces(), Vec::<String>::new());
        }),
        Row::new("delete", "a created one by force").steps(|case, config| {
            case.create(&config("sleep 1000"), &[]).good();
            case.runtime(["delete", "--force", &case.id]).good();
            assert_eq!(case.traces(), Vec::<String>::new());
        }),
        Row::new("delete", "a running one by force").steps(|case, config| {
            case.run(&config("trap '' TERM; sleep 1000 & sleep 1000"), &["--detach"]).good();
            case.runtime(["delete", "--force", &case.id]).good();
            assert_eq!(case.traces(), Vec::<String>::new());
        }),
        Row::new("delete", "an unknown one by force is well")
            .steps(|case, _| drop(case.runtime(["delete", "--force", "nobody"]).good().to_owned())),
        Row::new("delete", "the id can be used again").steps(|case, config| {
            for _ in 0..3 {
                case.create(&config("sleep 1000"), &[]).good();
                case.runtime(["delete", "--force", &case.id]).good();
            }
        }),
        Row::new("delete", "a container whose init was killed from outside").steps(|case, config| {
            case.run(&config("sleep 1000"), &["--detach"]).good();
            let pid = nix::unistd::Pid::from_raw(i32::try_from(case.pid()).expect("a process id"));
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("the signal can be sent");
            case.until_status("stopped");
            case.runtime(["delete", &case.id]).good();
        }),
    ]
}

fn refusals() -> Vec<Row> {
    vec![
        Row::new("create", "an id in use is refused, and changes nothing").steps(|case, config| {
            case.create(&config("sleep 1000"), &[]).good();
            let before = case.state();
            says_no(case, &["create", "--bundle", &case.bundle().to_string_lossy(), &case.id], &["{id}", "exist"]);
            assert_eq!(case.state(), before);
        }),
        Row::new("start", "twice is refused").steps(|case, config| {
            case.create(&config("sleep 1000"), &[]).good();
            case.runtime(["start", &case.id]).good();
            says_no(case, &["start", &case.id], &["{id}", "running"]);
            assert_eq!(case.state()["status"], "running");
        }),
        Row::new("start", "of a stopped one is refused").steps(|case, config| {
            case.run(&config(":"), &["--detach"]).good();
            case.until_status("stopped");
            says_no(case, &["start", &case.id], &["{id}", "stopped"]);
        }),
        Row::new("start", "of an unknown id")
            .steps(|case, _| says_no(case, &["start", "nobody"], &["nobody", "not exist"])),
        Row::new("state", "of an unknown id")
            .steps(|case, _| says_no(case, &["state", "nobody"], &["nobody", "not exist"])),
        Row::new("kill", "of an unknown id")
            .steps(|case, _| says_no(case, &["kill", "nobody", "KILL"], &["nobody", "not exist"])),
        Row::new("delete", "of an unknown id")
            .steps(|case, _| says_no(case, &["delete", "nobody"], &["nobody", "not exist"])),
        Row::new("delete", "of a running one is refused").steps(|case, config| {
            case.run(&config("sleep 1000"), &["--detach"]).good();
            says_no(case, &["delete", &case.id], &["{id}", "running"]);
            assert_eq!(case.state()["status"], "running");
        }),
        // The specification wants an error here; runc and crun, and so everybody's scripts, know better.
        Row::new("delete", "of a created one").steps(|case, config| {
            case.create(&config("sleep 1000"), &[]).good();
            case.runtime(["delete", &case.id]);
        }),
        Row::new("kill", "of a stopped one is refused")
            .steps(|case, config| {
                case.run(&config(":"), &["--detach"]).good();
                case.until_status("stopped");
                says_no(case, &["kill", &case.id, "KILL"], &["{id}", "stopped"]);
            })
            .not(Peer::Runc, "1.1 lets KILL pass")
            .not(Peer::Crun, "lets KILL pass"),
        Row::new("create", "a missing bundle").steps(|case, _| {
            let outcome = case.runtime(["create", "--bundle", "/nowhere/bundle", &case.id]);
            outcome.bad();
            refused(case, &outcome, &["/nowhere/bundle".into(), "ENOENT".into()]).unwrap_or_else(|why| panic!("{why}"));
        }),
        Row::new("start", "a missing program is told by start or create")
            .patch(json!({ "process": { "args": ["/bin/nobody"] } }))
            .steps(|case, config| {
                let created = case.create(&config_of(config, "/bin/nobody"), &[]);
                let outcome = if created.status.success() { case.runtime(["start", &case.id]) } else { created };
                assert!(outcome.bad().contains("/bin/nobody"), "{outcome:?}");
            }),
    ]
}

fn config_of(config: &dyn Fn(&str) -> Value, program: &str) -> Value {
    let mut config = config(":");
    config["process"]["args"] = json!([program]);
    config
}

fn signals() -> Vec<Row> {
    let mut rows = Vec::new();
    for name in ["TERM", "SIGTERM", "15", "term", "SIGUSR1", "10", "HUP", "RTMIN", "SIGRTMIN+3", "37"] {
        let wanted = match name {
            "TERM" | "SIGTERM" | "15" | "term" => "15",
            "SIGUSR1" | "10" => "10",
            "HUP" => "1",
            "RTMIN" => "34",
            _ => "37",
        };
        let row = Row::new("kill", format!("{name} arrives")).steps(move |case, config| {
            // The file says that the traps are set.
            let traps: String = ["1", "10", "15", "34", "37"]
                .map(|number| format!("trap 'echo {number} >/got; exit' {number}; "))
                .concat();
            case.run(&config(&format!("{traps}touch /ready; while :; do sleep 1000 & wait $!; done")), &["--detach"])
                .good();
            case.until("the traps are set", || case.root().join("ready").exists());
            case.runtime(["kill", &case.id, name]).good();
            case.until("the signal arrives", || !case.read("bundle/rootfs/got").is_empty());
            assert_eq!(case.read("bundle/rootfs/got").trim(), wanted);
        });
        rows.push(match name {
            "term" => row.not(Peer::Crun, "knows capitals alone"),
            "RTMIN" | "SIGRTMIN+3" => row.not(Peer::Crun, "has no such names").not(Peer::Runc, "has no such names"),
            _ => row,
        });
    }
    rows.extend([
        Row::new("kill", "TERM is the default").steps(|case, config| {
            case.run(
                &config("trap 'echo term >/got; exit' TERM; touch /ready; while :; do sleep 1000 & wait $!; done"),
                &["--detach"],
            )
            .good();
            case.until("the trap is set", || case.root().join("ready").exists());
            case.runtime(["kill", &case.id]).good();
            case.until("the signal arrives", || !case.read("bundle/rootfs/got").is_empty());
        }),
        Row::new("kill", "a created one").steps(|case, config| {
            case.create(&config("sleep 1000"), &[]).good();
            case.runtime(["kill", &case.id, "KILL"]).good();
            case.until_status("stopped");
            case.runtime(["delete", &case.id]).good();
        }),
        Row::new("kill", "--all")
            .edit(|config, _| {
                config["linux"]["namespaces"].as_array_mut().expect("a list").retain(|entry| entry["type"] != "pid")
            })
            .steps(|case, config| {
                case.run(&config("setsid sleep 1000 & setsid sleep 1000 & touch /ready; sleep 1000"), &["--detach"])
                    .good();
                case.until("it has children", || case.root().join("ready").exists());
                case.runtime(["kill", "--all", &case.id, "KILL"]).good();
                case.until_status("stopped");
                case.runtime(["delete", &case.id]).good();
                assert_eq!(case.traces(), Vec::<String>::new());
            }),
        Row::new("kill", "an unknown signal is refused")
            .steps(|case, config| {
                case.run(&config("sleep 1000"), &["--detach"]).good();
                says_no(case, &["kill", &case.id, "SIGBOAT"], &["SIGBOAT"]);
                says_no(case, &["kill", &case.id, "999"], &["999"]);
            })
            .not(Peer::Crun, "takes any number"),
    ]);
    rows
}

fn ids() -> Vec<Row> {
    let mut rows: Vec<Row> = ["", "a/b", "..", "a b", "a\u{e9}", "a\n"]
        .into_iter()
        .map(|id| {
            Row::new("id", format!("{id:?} is refused"))
                .steps(move |case, config| {
                    case.write(&config(":"));
                    let outcome = case.runtime(["create", "--bundle", &case.bundle().to_string_lossy(), id]);
                    outcome.bad();
                    refused(case, &outcome, &["id".into()]).unwrap_or_else(|why| panic!("{why}"));
                })
                .not(Peer::Crun, "takes some of them")
        })
        .collect();
    rows.push(Row::new("id", "of letters, digits and _ + - . is well").steps(|case, config| {
        let id = format!("{}-A_b+c.d", case.id);
        case.write(&config(":"));
        let bundle = case.bundle();
        case.runtime(["run", "--bundle", &bundle.to_string_lossy(), &id]).good();
    }));
    rows.push(Row::new("id", "of 1024 bytes is refused, not truncated").steps(|case, config| {
        case.write(&config(":"));
        let outcome = case.runtime(["create", "--bundle", &case.bundle().to_string_lossy(), &"x".repeat(1025)]);
        outcome.bad();
    }));
    rows
}
