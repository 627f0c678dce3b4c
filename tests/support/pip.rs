//! What pip needs of this machine to reach its registry from a build step, without a trace in a layer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::scratch::Scratch;

const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
const CONFIGURATION: &str = "/etc/pip.conf";

/// Files to bind read-only into a build step, and the scratch that holds the written ones.
pub struct PipAccess {
    /// Pairs of a file of this machine and its place in the step.
    pub binds: Vec<(PathBuf, PathBuf)>,
    _scratch: Scratch,
}

/// The certificates this machine trusts and the pip configuration it uses, as files to bind into a step.
///
/// The configuration is what `pip config list` would show here: the files, then the `PIP_*` variables. Options that
/// name directories of this machine are left out; the certificate option points to the bound bundle.
pub fn pip_access() -> PipAccess {
    let mut options = BTreeMap::new();
    for file in configuration_files() {
        options.extend(parse(&std::fs::read_to_string(file).unwrap_or_default()));
    }
    options.extend(variables());
    let bundle = trusted_bundle(&options);
    options.remove("cert");
    options.remove("config-file");
    options.retain(|name, value| name != "find-links" || value.contains("://"));
    let mut text = String::from("[global]\n");
    for (name, value) in &options {
        text += &format!("{name} = {value}\n");
    }
    let scratch = Scratch::new("pip");
    let mut binds = Vec::new();
    if let Some(bundle) = bundle {
        text += &format!("cert = {BUNDLE}\n");
        binds.push((bundle, PathBuf::from(BUNDLE)));
    }
    binds.push((scratch.file("pip.conf", text), PathBuf::from(CONFIGURATION)));
    PipAccess { binds, _scratch: scratch }
}

fn trusted_bundle(options: &BTreeMap<String, String>) -> Option<PathBuf> {
    let named = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"].into_iter().filter_map(|name| std::env::var(name).ok());
    options
        .get("cert")
        .cloned()
        .into_iter()
        .chain(named)
        .chain([BUNDLE.to_owned()])
        .map(PathBuf::from)
        .find(|p| p.is_file())
}

fn configuration_files() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let mut files = vec![
        PathBuf::from("/etc/xdg/pip/pip.conf"),
        PathBuf::from(CONFIGURATION),
        home.join(".pip/pip.conf"),
        home.join(".config/pip/pip.conf"),
    ];
    files.extend(std::env::var_os("PIP_CONFIG_FILE").map(PathBuf::from));
    files.retain(|file| file.is_file() && file != Path::new("/dev/null"));
    files
}

/// The options of `[global]` and `[install]` of a pip.conf; a value may go on in indented lines.
fn parse(text: &str) -> BTreeMap<String, String> {
    let mut options: BTreeMap<String, String> = BTreeMap::new();
    let (mut wanted, mut last) = (false, None::<String>);
    for line in text.lines().filter(|line| !line.trim_start().starts_with(['#', ';'])) {
        if line.starts_with('[') {
            (wanted, last) = (matches!(line.trim(), "[global]" | "[install]"), None);
        } else if line.starts_with([' ', '\t']) {
            if let Some(value) = last.as_ref().and_then(|name| options.get_mut(name)) {
                *value = format!("{value} {}", line.trim()).trim().to_owned();
            }
        } else if let Some((name, value)) = line.split_once('=').filter(|_| wanted) {
            let name = name.trim().replace('_', "-");
            options.insert(name.clone(), value.trim().to_owned());
            last = Some(name);
        }
    }
    options
}

fn variables() -> BTreeMap<String, String> {
    let mut options = BTreeMap::new();
    for (name, value) in std::env::vars() {
        if let Some(name) = name.strip_prefix("PIP_") {
            options.insert(name.to_lowercase().replace('_', "-"), value);
        }
    }
    let proxy = ["HTTPS_PROXY", "https_proxy"].into_iter().find_map(|name| std::env::var(name).ok());
    if let Some(proxy) = proxy.filter(|proxy| !proxy.is_empty()) {
        options.entry("proxy".to_owned()).or_insert(proxy);
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_two_sections_are_read_and_others_are_not() {
        let options = parse(
            "[global]\ncert = /a\nindex-url=http://i/\n# x\n[list]\nformat=json\n[install]\nfind_links =\n  http://b\n",
        );
        let wanted = [("cert", "/a"), ("find-links", "http://b"), ("index-url", "http://i/")];
        assert_eq!(options, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }

    #[test]
    fn the_written_configuration_has_one_section() {
        let access = pip_access();
        let (file, _) = access.binds.last().expect("the configuration is always bound");
        assert!(std::fs::read_to_string(file).expect("it was written").starts_with("[global]\n"));
    }
}
