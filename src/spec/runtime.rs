//! Runtime configurations (runtime-spec): read as `oci_spec` has them, but for names of capabilities that nobody knows, and
//! for flags of the scheduler, which it spells differently.

use oci_spec::runtime::Capability;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads a configuration or a process. Capabilities of unknown names are left out, and told in warnings: the
/// runtime-spec wants them logged, not refused (config, "Linux Process", `capabilities`).
pub(crate) fn parse_runtime<T: DeserializeOwned>(json: &[u8]) -> serde_json::Result<(T, Vec<String>)> {
    // What is sound, and that is nearly all, is read once.
    let error = match serde_json::from_slice(json) {
        Ok(document) => return Ok((document, Vec::new())),
        Err(error) => error,
    };
    let mut document: Value = serde_json::from_slice(json)?;
    let mut warnings = Vec::new();
    for pointer in ["/process/capabilities", "/capabilities"] {
        if let Some(Value::Object(sets)) = document.pointer_mut(pointer) {
            sets.iter_mut().for_each(|(field, names)| strip_unknown(field, names, &mut warnings));
        }
    }
    let mut renamed = false;
    for pointer in ["/process/scheduler/flags", "/scheduler/flags"] {
        if let Some(Value::Array(flags)) = document.pointer_mut(pointer) {
            flags.iter_mut().for_each(|flag| renamed |= rename_flag(flag));
        }
    }
    // The first reading knew the line.
    if warnings.is_empty() && !renamed { Err(error) } else { Ok((serde_json::from_value(document)?, warnings)) }
}

/// From the specification's name to that of `oci_spec`, where they differ.
fn rename_flag(flag: &mut Value) -> bool {
    let name = match flag.as_str() {
        Some("SCHED_FLAG_RESET_ON_FORK") => "SCHED_RESET_ON_FORK",
        Some("SCHED_FLAG_DL_OVERRUN") => "SCHED_FLAG_D_L_OVERRUN",
        _ => return false,
    };
    *flag = Value::from(name);
    true
}

fn strip_unknown(field: &str, names: &mut Value, warnings: &mut Vec<String>) {
    let Value::Array(names) = names else { return };
    names.retain(|name| {
        let known = !name.is_string() || serde_json::from_value::<Capability>(name.clone()).is_ok();
        if !known {
            warnings.push(format!("process.capabilities.{field}: {name} is not known and cannot be granted"));
        }
        known
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::{Process, Spec};

    #[test]
    fn unknown_capabilities_are_left_out_with_a_warning() {
        let sets = r#"{"bounding": ["CAP_KILL", "CAP_WARP"], "effective": ["WARP"], "ambient": []}"#;
        let process = format!(r#"{{"cwd": "/", "user": {{"uid": 0, "gid": 0}}, "capabilities": {sets}}}"#);
        let (found, warnings): (Process, _) = parse_runtime(process.as_bytes()).unwrap();
        let sets = found.capabilities().as_ref().unwrap();
        assert_eq!(sets.bounding().as_ref().unwrap().len(), 1);
        assert!(sets.effective().as_ref().unwrap().is_empty());
        assert_eq!(warnings.len(), 2);
        assert_eq!(warnings[0], "process.capabilities.bounding: \"CAP_WARP\" is not known and cannot be granted");
        let spec = format!(r#"{{"ociVersion": "1.2.0", "process": {process}}}"#);
        assert_eq!(parse_runtime::<Spec>(spec.as_bytes()).unwrap().1.len(), 2);
    }

    #[test]
    fn flags_of_the_scheduler_go_by_the_names_of_the_specification() {
        let flags = r#"["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_RECLAIM", "SCHED_FLAG_DL_OVERRUN"]"#;
        let scheduler = format!(r#"{{"policy": "SCHED_OTHER", "flags": {flags}}}"#);
        let process = format!(r#"{{"cwd": "/", "user": {{"uid": 0, "gid": 0}}, "scheduler": {scheduler}}}"#);
        let (found, warnings): (Process, _) = parse_runtime(process.as_bytes()).unwrap();
        assert_eq!(found.scheduler().as_ref().unwrap().flags().as_ref().unwrap().len(), 3);
        assert!(warnings.is_empty());
    }

    #[test]
    fn what_else_is_wrong_stays_an_error() {
        for bad in [
            r#"{"ociVersion": 1}"#,
            r#"{"ociVersion": "1.2.0", "process": {"cwd": "/", "user": {"uid": 4294967296}, "capabilities": {"bounding": ["X"]}}}"#,
            r#"{"ociVersion": "1.2.0", "process": {"cwd": "/", "user": {}, "capabilities": {"bounding": [7]}}}"#,
            "{",
        ] {
            assert!(parse_runtime::<Spec>(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
