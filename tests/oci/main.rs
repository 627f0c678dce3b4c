//! The table of the OCI runtime specification 1.3: a row per field of config.json and per error that it names.
//!
//! Each row changes Docker's configuration, runs a script of busybox and compares what it saw. `CORACLE_RUNTIME=runc` (or `crun`)
//! runs the same rows with another runtime, which is how the rows themselves were checked; `CORACLE_ROW=text` runs those alone whose
//! name holds the text.

mod base;
mod case;
mod peer;
#[path = "../support/program.rs"]
mod program;
mod row;
mod socket;
mod traces;

mod broken;
mod capabilities;
mod command_line;
mod confinement;
mod devices;
mod differential;
mod fields;
mod hooks;
mod host;
mod lifecycle;
mod mounts;
mod namespaces;
mod process;
mod resources;
mod rootless;

use row::check;

#[test]
fn broken() {
    check(broken::rows());
}

#[test]
fn broken_for_linux() {
    check(broken::linux::rows());
}

#[test]
fn capabilities() {
    check(capabilities::rows());
}

#[test]
fn command_line() {
    check(command_line::rows());
}

#[test]
fn confinement() {
    check(confinement::rows());
}

#[test]
fn devices() {
    check(devices::rows());
}

#[test]
fn hooks() {
    check(hooks::rows());
}

#[test]
fn host() {
    check(host::rows());
}

#[test]
fn lifecycle() {
    check(lifecycle::rows());
}

#[test]
fn mounts() {
    check(mounts::rows());
}

#[test]
fn namespaces() {
    check(namespaces::rows());
}

#[test]
fn process() {
    check(process::rows());
}

#[test]
fn resources() {
    check(resources::rows());
}

#[test]
fn rootless_rows() {
    check(rootless::rows());
}

#[test]
fn every_field_has_a_row() {
    let rows = [
        broken::rows(),
        broken::linux::rows(),
        capabilities::rows(),
        command_line::rows(),
        confinement::rows(),
        devices::rows(),
        hooks::rows(),
        host::rows(),
        lifecycle::rows(),
        mounts::rows(),
        namespaces::rows(),
        process::rows(),
        resources::rows(),
    ];
    fields::covered(&rows.into_iter().flatten().collect::<Vec<_>>(), &VERBS);
}

#[test]
fn differs_from_runc_only_as_explained() {
    differential::compare(peer::Peer::Runc);
}

#[test]
fn differs_from_crun_only_as_explained() {
    differential::compare(peer::Peer::Crun);
}

/// The words that rows about the command line begin with.
const VERBS: [&str; 19] = [
    "create",
    "start",
    "state",
    "kill",
    "delete",
    "run",
    "exec",
    "ps",
    "list",
    "pause",
    "resume",
    "update",
    "events",
    "spec",
    "features",
    "checkpoint",
    "restore",
    "verb",
    "id",
];
