//! Reads `config.json`.

use super::validate::report;
use crate::error::{Context, During};
use crate::spec::parse_runtime;
use crate::{Error, ErrorKind, Result};
use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType, Process, Spec};
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A longer configuration is refused: podman's longest take some 100 kB.
const BUDGET: u64 = 16 << 20;

/// The configuration of a container: as it was read, and what it says.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) bytes: Vec<u8>,
    pub(super) spec: Spec,
    /// What was passed over.
    pub(super) warnings: Vec<String>,
}

impl Config {
    /// Reads the configuration of the bundle `bundle`.
    pub(super) fn of_bundle(bundle: &Path) -> Result<Config> {
        Config::read(&bundle.join("config.json"))
    }

    /// Reads the configuration `path`.
    pub(super) fn read(path: &Path) -> Result<Config> {
        let shown = path.display();
        let mut bytes = Vec::new();
        // A pipe in its place would wait for a writer.
        let mut options = OpenOptions::new();
        let file = options.read(true).custom_flags(libc::O_NONBLOCK).open(path).during(|| format!("read {shown}"))?;
        if file.metadata().is_ok_and(|found| !found.is_file()) {
            return Err(Error::invalid(format!("{shown} is a directory, a pipe or a device, not a file")));
        }
        file.take(BUDGET + 1).read_to_end(&mut bytes).during(|| format!("read {shown}"))?;
        if bytes.len() as u64 > BUDGET {
            return Err(Error::new(ErrorKind::LimitExceeded, format!("{shown} is longer than {BUDGET} bytes")));
        }
        Config::parse(bytes).context(|| shown.to_string())
    }

    /// Reads a configuration. Unknown fields are passed over, as the specification wants ("Extensibility").
    pub(super) fn parse(bytes: Vec<u8>) -> Result<Config> {
        let (spec, warnings): (Spec, _) = parse_runtime(&bytes)
            .map_err(|error| Error::invalid("it is no configuration of a container").source_error(error))?;
        match check(&spec).into_iter().next() {
            Some(first) => Err(report(&spec, Path::new("/"), first)),
            None => Ok(Config { bytes, spec, warnings }),
        }
    }
}

impl Config {
    /// Whether the container has a PID namespace of its own, so that its processes end with its first one.
    pub(super) fn has_own_processes(&self) -> bool {
        let namespaces = self.spec.linux().iter().flat_map(|linux| linux.namespaces().iter().flatten());
        let own = |namespace: &LinuxNamespace| {
            namespace.typ() == LinuxNamespaceType::Pid
                && namespace.path().as_ref().is_none_or(|path| path.as_os_str().is_empty())
        };
        namespaces.into_iter().any(own)
    }
}

/// The fuzz target: what is accepted has what a start relies on.
#[cfg(fuzzing)]
pub(crate) fn fuzz(data: &[u8]) {
    let Ok(Config { spec, .. }) = Config::parse(data.to_vec()) else { return };
    assert!(spec.root().is_some() && spec.linux().is_some());
    if let Some(process) = spec.process() {
        assert!(process.cwd().is_absolute());
        assert!(process.args().iter().flatten().chain(process.env().iter().flatten()).all(|text| !text.contains('\0')));
    }
}

/// What no part of the configuration can tell alone: everything that is wrong.
pub(super) fn check(spec: &Spec) -> Vec<Error> {
    let mut found = Vec::new();
    let version = spec.version();
    let numbers: Vec<&str> = version.split(['-', '+']).next().unwrap_or_default().split('.').collect();
    if numbers.len() != 3 || !numbers.iter().all(|number| number.parse::<u32>().is_ok()) {
        found.push(Error::invalid(format!("ociVersion {version:?} is no version, such as 1.3.0")));
    } else if numbers[0] != "1" {
        let message = format!("ociVersion {version}: this runtime knows version 1");
        found.push(Error::new(ErrorKind::Unsupported, message));
    }
    match spec.root() {
        None => found.push(Error::invalid("root is missing")),
        Some(root) if root.path().as_os_str().is_empty() => found.push(Error::invalid("root.path is empty")),
        Some(_) => {}
    }
    if spec.linux().is_none() {
        found.push(Error::invalid("linux is missing: this runtime knows no other platform"));
    }
    if let Some(process) = spec.process() {
        found.extend(problems_of_process(process));
    }
    found
}

/// What a process needs, also one that is executed in a running container.
pub(super) fn check_process(process: &Process) -> Result<()> {
    problems_of_process(process).into_iter().next().map_or(Ok(()), Err)
}

fn problems_of_process(process: &Process) -> Vec<Error> {
    let mut found = Vec::new();
    let mut wrong = |message: String| found.push(Error::invalid(message));
    let arguments = process.args().as_deref().unwrap_or_default();
    if arguments.first().is_none_or(String::is_empty) {
        wrong("process.args is empty".to_owned());
    }
    let environment = process.env().as_deref().unwrap_or_default();
    for (field, texts) in [("process.args", arguments), ("process.env", environment)] {
        if texts.iter().any(|text| text.contains('\0')) {
            wrong(format!("{field} holds a NUL byte"));
        }
    }
    if let Some(variable) = environment.iter().find(|variable| variable.find('=').is_none_or(|at| at == 0)) {
        wrong(format!("process.env: {variable:?} is not NAME=value"));
    }
    let cwd = process.cwd();
    if !cwd.is_absolute() {
        wrong(format!("process.cwd {cwd:?} is not an absolute path"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parse(change: impl FnOnce(&mut Value)) -> Result<Config> {
        let mut config = json!({
            "ociVersion": "1.0.2",
            "process": {"user": {"uid": 0, "gid": 0}, "args": ["true"], "env": ["A=b", "EMPTY="], "cwd": "/"},
            "root": {"path": "rootfs"},
            "linux": {},
            "somethingElse": {"a": 1},
        });
        change(&mut config);
        Config::parse(serde_json::to_vec(&config).unwrap())
    }

    #[test]
    fn an_ordinary_configuration_is_read() {
        assert_eq!(parse(|_| {}).unwrap().spec.version(), "1.0.2");
        assert!(parse(|config| config["ociVersion"] = json!("1.3.0-dev+x")).is_ok());
        assert!(parse(|config| drop(config.as_object_mut().unwrap().remove("process"))).is_ok());
    }

    #[test]
    fn what_no_start_could_use_is_refused_with_its_field() {
        for (pointer, value, error) in [
            ("/ociVersion", json!("x"), "ociVersion \"x\""),
            ("/ociVersion", json!("2.0.0"), "ociVersion 2.0.0"),
            ("/root", Value::Null, "root is missing"),
            ("/linux", Value::Null, "linux is missing"),
            ("/process/args", json!([]), "process.args is empty"),
            ("/process/args", json!([""]), "process.args is empty"),
            ("/process/args", json!(["a\0b"]), "process.args holds a NUL byte"),
            ("/process/env", json!(["a\0=b"]), "process.env holds a NUL byte"),
            ("/process/env", json!(["novalue"]), "process.env: \"novalue\""),
            ("/process/env", json!(["=x"]), "process.env: \"=x\""),
            ("/process/cwd", json!("tmp"), "process.cwd"),
            ("/process/user/uid", json!(4_294_967_296u64), "no configuration"),
            ("/process/user/uid", json!(-1), "no configuration"),
        ] {
            let found = parse(|config| *config.pointer_mut(pointer).unwrap() = value.clone());
            let found = found.expect_err(pointer).to_string();
            assert!(found.contains(error), "{pointer} {value}: {found}");
        }
        assert!(Config::parse(b"{\"ociVersion\": ".to_vec()).is_err());
    }
}
