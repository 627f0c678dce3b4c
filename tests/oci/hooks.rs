//! `hooks`: six kinds, in their order, in their namespaces, with the container's state on their input.

use crate::case::Case;
use crate::peer::Peer;
use crate::row::Row;
use serde_json::{Value, json};

const KINDS: [&str; 6] = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

pub fn rows() -> Vec<Row> {
    [order(), environment(), failures()].into_iter().flatten().collect()
}

/// A hook that appends a line to the file `trace`, made by a shell of the host that sees the same file inside and out.
fn tracing(case: &Case, line: &str) -> Value {
    let text = format!("{line} >>{}/trace", case.path().display());
    json!({ "path": "/bin/sh", "args": ["sh", "-c", text], "env": ["PATH=/bin:/usr/bin"] })
}

/// Makes the case's directory visible inside under its own name, for the hooks that run there.
fn visible(config: &mut Value, case: &Case) {
    let at = case.path().to_string_lossy();
    crate::row::push(config, "/mounts", crate::base::bind(&at, &at, &[]));
}

fn hooks(config: &mut Value, kind: &str, list: Value) {
    crate::row::merge(config, &json!({ "hooks": { kind: list } }));
}

fn order() -> Vec<Row> {
    vec![
        Row::new("hooks", "all six, in their order around the payload")
            .edit(visible)
            .steps(|case, config| {
                let mut config = config(&format!("echo payload >>{}/trace", case.path().display()));
                for kind in KINDS {
                    hooks(
                        &mut config,
                        kind,
                        json!([tracing(case, &format!("echo {kind} 1")), tracing(case, &format!("echo {kind} 2"))]),
                    );
                }
                case.create(&config, &[]).good();
                assert_eq!(
                    case.read("trace"),
                    "prestart 1\nprestart 2\ncreateRuntime 1\ncreateRuntime 2\ncreateContainer 1\ncreateContainer 2\n"
                );
                case.runtime(["start", &case.id]).good();
                case.until_status("stopped");
                let trace = case.read("trace");
                assert!(
                    trace.find("startContainer 2\n") < trace.find("payload\n")
                        && trace.find("startContainer 2\n") < trace.find("poststart 1\n")
                        && trace.find("poststart 1\n") < trace.find("poststart 2\n")
                        && !trace.contains("poststop"),
                    "{trace}"
                );
                case.runtime(["delete", &case.id]).good();
                assert!(case.read("trace").ends_with("poststop 1\npoststop 2\n"), "{}", case.read("trace"));
            })
            .not(Peer::Runc, "1.1 runs poststart at the end of create")
            .not(Peer::Crun, "runs poststart beside startContainer"),
        Row::new("hooks.poststop", "after the end of a foreground run too").steps(|case, config| {
            let mut config = config(":");
            hooks(&mut config, "poststop", json!([tracing(case, "echo poststop")]));
            case.run(&config, &[]).good();
            assert_eq!(case.read("trace"), "poststop\n");
        }),
    ]
}

fn environment() -> Vec<Row> {
    let mut rows = Vec::new();
    // Whose mount namespace each runs in, and the status that it reads.
    for (kind, inside, status) in [
        ("prestart", false, "creating"),
        ("createRuntime", false, "creating"),
        ("createContainer", true, "creating"),
        ("startContainer", true, "created"),
        ("poststart", false, "running"),
        ("poststop", false, "stopped"),
    ] {
        let field: &'static str = match kind {
            "prestart" => "hooks.prestart",
            "createRuntime" => "hooks.createRuntime",
            "createContainer" => "hooks.createContainer",
            "startContainer" => "hooks.startContainer",
            "poststart" => "hooks.poststart",
            _ => "hooks.poststop",
        };
        rows.push(
            Row::new(field, "the state on its input, and its namespaces")
                .edit(visible)
                .edit(|config, _| config["annotations"] = json!({ "boat": "one" }))
                .steps(move |case, config| {
                    let mut config = config("sleep 1000");
                    hooks(
                        &mut config,
                        kind,
                        json!([tracing(
                            case,
                            "{ cat; echo; readlink /proc/self/ns/mnt; readlink /proc/self/ns/net; }"
                        )]),
                    );
                    case.run(&config, &["--detach"]).good();
                    let pid = case.pid();
                    let wanted = if inside { format!("/proc/{pid}/ns/") } else { "/proc/self/ns/".to_owned() };
                    let link = |name: &str| {
                        std::fs::read_link(format!("{wanted}{name}"))
                            .expect("a namespace")
                            .to_string_lossy()
                            .into_owned()
                    };
                    let (mount, network) = (link("mnt"), link("net"));
                    case.runtime(["delete", "--force", &case.id]).good();
                    let trace = case.read("trace");
                    let lines: Vec<&str> = trace.lines().collect();
                    let state: Value = serde_json::from_str(lines[0]).expect("JSON");
                    assert_eq!(
                        (&state["id"], &state["status"], &state["bundle"]),
                        (&json!(case.id), &json!(status), &json!(case.bundle())),
                        "{state}"
                    );
                    assert_eq!(
                        (&state["annotations"], state["ociVersion"].is_string()),
                        (&json!({ "boat": "one" }), true),
                        "{state}"
                    );
                    assert!(kind == "poststop" || state["pid"] == json!(pid) || inside, "{state}, not of {pid}");
                    let later = lines.get(1..).unwrap_or_default();
                    assert_eq!(later, [mount, network]);
                })
                .not(Peer::Crun, "says other statuses"),
        );
        if kind == "poststart" {
            rows =
                rows.into_iter()
                    .map(|row| {
                        if row.field == "hooks.poststart" { row.not(Peer::Runc, "1.1 runs it too early") } else { row }
                    })
                    .collect();
        }
    }
    rows.extend([
        Row::new("hooks[].args", "are the whole argument list, its own name first").steps(|case, config| {
            let mut config = config(":");
            hooks(&mut config, "createRuntime", json!([{ "path": case.script("hook", "echo \"$0 $#\" >\"$1\"; tr '\\0' ' ' </proc/$$/cmdline >>\"$1\""), "args": ["boat", case.path().join("trace")] }]));
            case.run(&config, &[]).good();
            assert!(case.read("trace").lines().next().is_some_and(|line| line.ends_with(" 1")), "{}", case.read("trace"));
        }),
        Row::new("hooks[].env", "is all of it").steps(|case, config| {
            let mut config = config(":");
            hooks(&mut config, "createRuntime", json!([{ "path": "/usr/bin/env", "args": ["env"], "env": ["A=1", "B=2"] }, { "path": "/bin/sh", "args": ["sh", "-c", format!("/usr/bin/env >{}/trace", case.path().display())], "env": ["C=3"] }]));
            case.run(&config, &[]).good();
            let trace = case.read("trace");
            assert!(trace.contains("C=3\n") && !trace.contains("CORACLE_OCI") && !trace.contains("A=1") && !trace.contains("HOME="), "{trace}");
        }),
        Row::new("hooks[].path", "needs no arguments").steps(|case, config| {
            let mut config = config(":");
            let path = case.path().join("trace");
            hooks(&mut config, "createRuntime", json!([{ "path": case.script("hook", &format!("echo ran >{}", path.display())) }]));
            case.run(&config, &[]).good();
            assert_eq!(case.read("trace"), "ran\n");
        }),
        Row::new("hooks[].timeout", "leaves a quick one alone").steps(|case, config| {
            let mut config = config(":");
            let mut hook = tracing(case, "echo ran");
            hook["timeout"] = json!(20);
            hooks(&mut config, "createRuntime", json!([hook]));
            case.run(&config, &[]).good();
            assert_eq!(case.read("trace"), "ran\n");
        }),
    ]);
    rows
}

fn failures() -> Vec<Row> {
    let mut rows = Vec::new();
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer"] {
        rows.push(
            Row::new("hooks", format!("{kind}: one that fails ends the start"))
                .edit(move |config, _| {
                    hooks(
                        config,
                        kind,
                        json!([{ "path": "/bin/sh", "args": ["sh", "-c", "echo no boat >&2; exit 3"] }]),
                    )
                })
                .refuses(&["hook", kind, "3"]),
        );
    }
    rows.extend([
        Row::new("hooks[].timeout", "ends one that hangs")
            .edit(|config, _| {
                hooks(
                    config,
                    "createRuntime",
                    json!([{ "path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1 }]),
                )
            })
            .refuses(&["hook", "createRuntime", "timed out"]),
        Row::new("hooks[].timeout", "must be more than zero")
            .edit(|config, _| hooks(config, "createRuntime", json!([{ "path": "/bin/true", "timeout": 0 }])))
            .refuses(&["hooks.createRuntime", "timeout"])
            .not(Peer::Runc, "takes it")
            .not(Peer::Crun, "takes it"),
        Row::new("hooks[].path", "relative is refused")
            .edit(|config, _| hooks(config, "createRuntime", json!([{ "path": "bin/true" }])))
            .refuses(&["hooks.createRuntime", "path"]),
        Row::new("hooks[].path", "a missing one is refused")
            .edit(|config, _| hooks(config, "createRuntime", json!([{ "path": "/nowhere/hook" }])))
            .refuses(&["createRuntime", "/nowhere/hook", "ENOENT"]),
        Row::new("hooks.poststart", "one that fails ends the container")
            .script("sleep 1000")
            .edit(|config, _| hooks(config, "poststart", json!([{ "path": "/bin/false" }])))
            .refuses(&["hook", "poststart"])
            .not(Peer::Crun, "takes it for a warning, as earlier versions of the specification"),
        Row::new("hooks.poststop", "one that fails is a warning")
            .steps(|case, config| {
                let mut config = config("echo ran");
                hooks(&mut config, "poststop", json!([{ "path": "/bin/false" }, tracing(case, "echo next")]));
                assert_eq!(case.run(&config, &[]).good(), "ran");
                assert_eq!(case.read("trace"), "next\n");
            })
            .not(Peer::Crun, "stops at the first")
            .not(Peer::Runc, "stops at the first"),
    ]);
    rows
}
