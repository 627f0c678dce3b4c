//! Reads `config.json`.

use crate::error::During;
use crate::{Error, ErrorKind, Result};
use oci_spec::runtime::Spec;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A longer configuration is refused: podman's longest take some 100 kB.
const BUDGET: u64 = 16 << 20;

/// The configuration of a container: as it was read, and what it says.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) bytes: Vec<u8>,
    pub(super) spec: Spec,
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
        File::open(path)
            .and_then(|file| file.take(BUDGET + 1).read_to_end(&mut bytes))
            .during(|| format!("read {shown}"))?;
        if bytes.len() as u64 > BUDGET {
            return Err(Error::new(ErrorKind::LimitExceeded, format!("{shown} is longer than {BUDGET} bytes")));
        }
        let spec: Spec =
            serde_json::from_slice(&bytes).map_err(|error| Error::invalid(format!("{shown}")).source_error(error))?;
        check(&spec)?;
        Ok(Config { bytes, spec })
    }
}

/// What no part of the configuration can tell alone.
fn check(spec: &Spec) -> Result<()> {
    let version = spec.version();
    let numbers: Vec<&str> = version.split(['-', '+']).next().unwrap_or_default().split('.').collect();
    if numbers.len() != 3 || !numbers.iter().all(|number| number.parse::<u32>().is_ok()) {
        return Err(Error::invalid(format!("ociVersion {version:?} is no version, such as 1.3.0")));
    }
    if numbers[0] != "1" {
        return Err(Error::new(ErrorKind::Unsupported, format!("ociVersion {version}: this runtime knows version 1")));
    }
    if spec.root().is_none() {
        return Err(Error::invalid("root is missing"));
    }
    if spec.linux().is_none() {
        return Err(Error::invalid("linux is missing: this runtime knows no other platform"));
    }
    if let Some(process) = spec.process() {
        check_process(process)?;
    }
    Ok(())
}

/// What a process needs, also one that is executed in a running container.
pub(super) fn check_process(process: &oci_spec::runtime::Process) -> Result<()> {
    let arguments = process.args().as_deref().unwrap_or_default();
    if arguments.first().is_none_or(String::is_empty) {
        return Err(Error::invalid("process.args is empty"));
    }
    let environment = process.env().as_deref().unwrap_or_default();
    for (field, texts) in [("process.args", arguments), ("process.env", environment)] {
        if texts.iter().any(|text| text.contains('\0')) {
            return Err(Error::invalid(format!("{field} holds a NUL byte")));
        }
    }
    if let Some(variable) = environment.iter().find(|variable| variable.find('=').is_none_or(|at| at == 0)) {
        return Err(Error::invalid(format!("process.env: {variable:?} is not NAME=value")));
    }
    let cwd = process.cwd();
    if !cwd.is_absolute() {
        return Err(Error::invalid(format!("process.cwd {cwd:?} is not an absolute path")));
    }
    Ok(())
}
