//! The command line: what engines parse.

use crate::bundle::{Bundle, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

/// The path of `examples/runtime`: cargo puts examples beside the directory of the tests.
pub fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.ancestors().nth(2).unwrap().join("examples/runtime");
    assert!(path.exists(), "{} is missing: cargo build --example runtime", path.display());
    path
}

/// The command line over the state directory of the bundle.
pub fn runtime(bundle: &Bundle) -> Command {
    let mut command = Command::new(program());
    command.arg("--root").arg(bundle.scratch().join("state"));
    command
}

/// Everything it wrote.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn stdout(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_version_is_what_docker_reads() {
    let text = stdout(Command::new(program()).arg("--version"));
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].contains(" version ") && lines[1].starts_with("commit: ") && lines[2].starts_with("spec: "),
        "{text}"
    );
    assert!(stdout(Command::new(program()).arg("--help")).contains("checkpoint"));
    assert!(stdout(Command::new(program()).args(["update", "--help"])).contains("--pids-limit"));
}

#[test]
fn errors_go_to_the_log_in_its_format() {
    let bundle = Bundle::new("log", "true");
    let log = bundle.scratch().join("log");
    let failed = |format: &str| {
        let mut command = runtime(&bundle);
        let output = command.arg("--log").arg(&log).args(["--log-format", format, "state", "nobody"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(said(&output), "container nobody does not exist\n");
        fs::read_to_string(&log).unwrap().lines().last().unwrap().to_owned()
    };
    let line: Value = serde_json::from_str(&failed("json")).unwrap();
    assert_eq!((&line["level"], &line["msg"]), (&json!("error"), &json!("container nobody does not exist")));
    assert!(line["time"].as_str().unwrap().parse::<coracle::Timestamp>().is_ok());
    let text = failed("text");
    assert!(
        text.starts_with("time=\"") && text.ends_with("level=error msg=\"container nobody does not exist\""),
        "{text}"
    );
    let output = runtime(&bundle).args(["state", "nobody"]).output().unwrap();
    assert!(said(&output).starts_with("time=\""), "{output:?}");
}

#[test]
fn options_are_read_as_runc_reads_them() {
    let bundle = Bundle::new("options", "exec sleep 1000");
    let directory = bundle.written();
    let directory = directory.to_str().unwrap();
    // Behind the id, with = and with one dash.
    assert!(
        runtime(&bundle)
            .args(["create", bundle.id(), "-bundle", directory])
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap()
            .success()
    );
    let refused = |words: &[&str], reason: &str, code: i32| {
        let output = runtime(&bundle).args(words).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {}", said(&output));
        assert!(said(&output).contains(reason), "{words:?}: {}", said(&output));
    };
    refused(&["kill", "--nothing", bundle.id()], "flag provided but not defined: --nothing", 1);
    refused(&["kill", "--all=maybe", bundle.id()], "invalid boolean value", 1);
    refused(&["kill", bundle.id(), "NOTHING"], "NOTHING", 1);
    refused(&["create", "--bundle"], "flag needs an argument: -bundle", 1);
    refused(&["state"], "requires exactly 1 argument", 1);
    refused(&["nothing"], "No help topic for 'nothing'", 3);
    refused(&["exec", "-dt", bundle.id(), "true"], "flag provided but not defined: -dt", 1);
    refused(&["delete", "nobody"], "does not exist", 1);
    stdout(runtime(&bundle).args(["delete", "--force=true", "nobody"]));
    stdout(runtime(&bundle).args(["kill", "--all=false", "--", bundle.id(), "sigkill"]));
    wait_until("the end", || stdout(runtime(&bundle).args(["state", bundle.id()])).contains("\"stopped\""));
    refused(&["kill", bundle.id()], "container not running", 1);
    stdout(runtime(&bundle).args(["delete", bundle.id()]));
}

#[test]
fn containers_and_processes_are_listed() {
    let bundle = Bundle::new("listed", "exec sleep 1000");
    assert_eq!(stdout(runtime(&bundle).args(["list", "--format", "json"])), "[]\n");
    let container = crate::started(&bundle);
    let pid = container.state().unwrap().pid.to_string();
    let table = stdout(runtime(&bundle).arg("list"));
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    assert_eq!(lines[1][..3], [bundle.id(), &pid, "running"]);
    let listed: Value = serde_json::from_str(&stdout(runtime(&bundle).args(["list", "-f", "json"]))).unwrap();
    assert_eq!((&listed[0]["id"], &listed[0]["owner"]), (&json!(bundle.id()), &json!("root")));
    let text = stdout(runtime(&bundle).args(["ps", bundle.id()]));
    assert!(text.lines().count() == 2 && text.contains("sleep 1000"), "{text}");
    let text = stdout(runtime(&bundle).args(["ps", bundle.id(), "-o", "pid,comm"]));
    assert_eq!(text.split_whitespace().collect::<Vec<_>>(), ["PID", "COMMAND", &pid, "sleep"]);
    assert_eq!(stdout(runtime(&bundle).args(["ps", "-f", "json", bundle.id()])), format!("[{pid}]\n"));
}

#[test]
fn documents_are_printed() {
    let bundle = Bundle::new("documents", "true");
    let directory = bundle.scratch().to_str().unwrap().to_owned();
    stdout(Command::new(program()).args(["spec", "--bundle", &directory]));
    let config: Value = serde_json::from_slice(&fs::read(bundle.scratch().join("config.json")).unwrap()).unwrap();
    assert_eq!(config["process"]["args"], json!(["sh"]));
    let output = Command::new(program()).args(["spec", "-b", &directory]).output().unwrap();
    assert!(!output.status.success() && said(&output).contains("Remove it first"), "{output:?}");
    let features: Value = serde_json::from_str(&stdout(Command::new(program()).arg("features"))).unwrap();
    assert_eq!((&features["ociVersionMin"], &features["linux"]["cgroup"]["v2"]), (&json!("1.0.0"), &json!(true)));
}

#[test]
fn limits_come_from_options_and_files() {
    let bundle = Bundle::new("options-update", "exec sleep 1000");
    crate::started(&bundle);
    let limit = || -> Value {
        let event: Value =
            serde_json::from_str(&stdout(runtime(&bundle).args(["events", "--stats", bundle.id()]))).unwrap();
        json!([event["data"]["pids"]["limit"], event["data"]["memory"]["usage"]["limit"]])
    };
    stdout(runtime(&bundle).args(["update", "--pids-limit", "33", "--memory", "64m", bundle.id()]));
    assert_eq!(limit(), json!([33, 67_108_864]));
    let file = bundle.scratch().join("resources.json");
    fs::write(&file, json!({ "pids": { "limit": 34 } }).to_string()).unwrap();
    stdout(runtime(&bundle).arg("update").arg("--resources").arg(&file).arg(bundle.id()));
    assert_eq!(limit(), json!([34, 67_108_864]));
    let output = runtime(&bundle).args(["update", "--memory", "much", bundle.id()]).output().unwrap();
    assert!(!output.status.success() && said(&output).contains("much"), "{output:?}");
}

#[test]
fn a_checkpoint_without_criu_says_so() {
    let bundle = Bundle::new("checkpoint", "exec sleep 1000");
    let container = crate::started(&bundle);
    let images = bundle.scratch().join("images");
    let mut command = runtime(&bundle);
    command.args(["--criu", "/nonexistent/criu", "checkpoint", "--image-path"]).arg(&images).arg(bundle.id());
    let output = command.output().unwrap();
    assert!(!output.status.success() && said(&output).contains("/nonexistent/criu is not installed"), "{output:?}");
    assert_eq!(container.state().unwrap().status, coracle::runtime::Status::Running);
}
