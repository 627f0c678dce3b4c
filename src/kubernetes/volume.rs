//! Volumes: claims, memory file systems, and binds, which have no counterpart that is safe.

use super::draft::Draft;
use super::names;
use super::resources::bytes;
use crate::deploy::Strategy;
use crate::deploy::specification::DeploymentMount;
use crate::value::Memory;
use k8s_openapi::api::core::v1::{
    EmptyDirVolumeSource, PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimVolumeSource, Volume,
    VolumeMount, VolumeResourceRequirements,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const DEFAULT_SIZE: Memory = Memory::gib(1);

/// One claim for each named volume.
pub(super) fn claims(draft: &mut Draft<'_>) -> Vec<PersistentVolumeClaim> {
    let deployment = draft.deployment;
    let mut names: BTreeSet<&str> = BTreeSet::new();
    let mut claims = Vec::new();
    for mount in &deployment.mounts {
        let DeploymentMount::Volume { name, snapshot, .. } = mount else { continue };
        if *snapshot {
            draft.differs(
                format!("volume {name:?}"),
                "its content is kept before each rollout and brought back by a rollback",
                "nothing of the kind happens",
                "take a VolumeSnapshot before a rollout, and restore it by hand after a rollback",
            );
        }
        if names.insert(name) {
            claims.push(claim(draft, name));
        }
    }
    for name in draft.options.volume_sizes.keys().filter(|name| !names.contains(name.as_str())) {
        draft.problem(format!("volume_size: the deployment has no volume {name:?}"));
    }
    claims
}

/// The volumes of the pod and where they are mounted.
pub(super) fn mounts(draft: &mut Draft<'_>) -> (Option<Vec<Volume>>, Option<Vec<VolumeMount>>) {
    let deployment = draft.deployment;
    let mut targets = BTreeSet::new();
    let (mut volumes, mut mounts): (BTreeMap<String, Volume>, Vec<VolumeMount>) = Default::default();
    for (number, mount) in deployment.mounts.iter().enumerate() {
        let (target, read_only) = match mount {
            DeploymentMount::Bind { target, read_only, .. } | DeploymentMount::Volume { target, read_only, .. } => {
                (target, *read_only)
            }
            DeploymentMount::Tmpfs { target, .. } => (target, false),
        };
        let Some(mount_path) = check_target(draft, target) else { continue };
        if !targets.insert(target) {
            draft.problem(format!("mount {mount_path}: something else is mounted there"));
        }
        let volume = match mount {
            DeploymentMount::Bind { source, .. } => {
                note_bind(draft, source, &mount_path);
                continue;
            }
            DeploymentMount::Volume { name, .. } => Volume {
                // Distinct from what this crate names by itself.
                name: name.clone(),
                persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                    claim_name: name.clone(),
                    read_only: None,
                }),
                ..Volume::default()
            },
            DeploymentMount::Tmpfs { size, .. } => Volume {
                name: memory_name(draft, number),
                empty_dir: Some(EmptyDirVolumeSource {
                    medium: Some("Memory".to_owned()),
                    size_limit: (*size > 0).then(|| bytes(Memory::bytes(*size))),
                    ..EmptyDirVolumeSource::default()
                }),
                ..Volume::default()
            },
        };
        let read_only = read_only.then_some(true);
        mounts.push(VolumeMount { name: volume.name.clone(), mount_path, read_only, ..VolumeMount::default() });
        volumes.insert(volume.name.clone(), volume);
    }
    let volumes: Vec<Volume> = volumes.into_values().collect();
    ((!volumes.is_empty()).then_some(volumes), (!mounts.is_empty()).then_some(mounts))
}

fn claim(draft: &mut Draft<'_>, name: &str) -> PersistentVolumeClaim {
    if !names::is_label(name) {
        draft.problem(format!("volume: {name:?} is not a label of RFC 1123"));
    }
    let deployment = draft.deployment;
    let most = deployment.autoscale.as_ref().map_or(deployment.replicas, |autoscale| autoscale.maximum);
    let alone = most <= 1 && matches!(deployment.rollout, Strategy::Recreate(_));
    let mode = if alone { "ReadWriteOnce" } else { "ReadWriteMany" };
    let size = draft.options.volume_sizes.get(name).copied();
    let storage = bytes(size.unwrap_or(DEFAULT_SIZE));
    let sized = match size {
        Some(_) => String::new(),
        None => ", of 1 GiB because no size was given".to_owned(),
    };
    draft.differs(
        format!("volume {name:?}"),
        "it is a directory of the machine, without a size, for all replicas",
        format!("it is claimed as {mode} from the cluster's storage{sized}, empty and owned by root"),
        if alone {
            "copy its content, and set fsGroup where the user is not root"
        } else {
            "copy its content, and see that the storage class can serve several nodes at once"
        },
    );
    PersistentVolumeClaim {
        metadata: draft.metadata(name),
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec![mode.to_owned()]),
            storage_class_name: draft.options.storage_class.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), storage)])),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}

/// A name that no volume of the deployment has.
fn memory_name(draft: &Draft<'_>, number: usize) -> String {
    let named = |name: &str| {
        draft
            .deployment
            .mounts
            .iter()
            .any(|mount| matches!(mount, DeploymentMount::Volume { name: other, .. } if other == name))
    };
    let mut name = format!("memory-{number}");
    while named(&name) {
        name.push('x');
    }
    name
}

fn check_target(draft: &mut Draft<'_>, target: &Path) -> Option<String> {
    match target.to_str() {
        Some(text) if target.is_absolute() && !text.contains(':') => Some(text.to_owned()),
        _ => {
            draft.problem(format!("mount {target:?}: it is not an absolute path of plain text without ':'"));
            None
        }
    }
}

fn note_bind(draft: &mut Draft<'_>, source: &Path, target: &str) {
    draft.differs(
        format!("bind {target}"),
        format!("{} of the host is there", source.display()),
        "nothing is there: a node's own files are nobody's to rely on, and a danger to the node",
        "put it into the image, a ConfigMap or a volume",
    );
}
