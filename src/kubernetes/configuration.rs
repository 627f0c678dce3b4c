//! The environment: a ConfigMap and a Secret.

use super::draft::Draft;
use super::names;
use crate::value::Digest;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, ConfigMapEnvSource, EnvFromSource, Secret, SecretEnvSource};
use std::collections::BTreeMap;

/// What a ConfigMap or a Secret may hold.
const MOST_BYTES: usize = 1 << 20;

/// The environment of a deployment.
pub(super) struct Environment {
    pub(super) plain: Option<ConfigMap>,
    pub(super) secret: Option<Secret>,
}

impl Environment {
    /// What the container refers to.
    pub(super) fn sources(&self) -> Option<Vec<EnvFromSource>> {
        let mut sources = Vec::new();
        if let Some(name) = self.plain.as_ref().and_then(|map| map.metadata.name.clone()) {
            let config_map_ref = Some(ConfigMapEnvSource { name, optional: None });
            sources.push(EnvFromSource { config_map_ref, ..EnvFromSource::default() });
        }
        if let Some(name) = self.secret.as_ref().and_then(|secret| secret.metadata.name.clone()) {
            let secret_ref = Some(SecretEnvSource { name, optional: None });
            sources.push(EnvFromSource { secret_ref, ..EnvFromSource::default() });
        }
        (!sources.is_empty()).then_some(sources)
    }
}

/// The environment, split by what is secret. The names carry a digest of the content, as Kustomize does it: a changed
/// environment is a new revision, and an old revision finds its own again.
pub(super) fn environment(draft: &mut Draft<'_>) -> Environment {
    let (deployment, options) = (draft.deployment, draft.options);
    for name in options.secrets.iter().filter(|name| !deployment.environment.contains_key(*name)) {
        draft.problem(format!("secret: the environment has no variable {name:?}"));
    }
    for name in deployment.environment.keys().filter(|name| !names::is_variable(name)) {
        draft.problem(format!("env: {name:?} is not a letter or '_' followed by letters, digits and '_'"));
    }
    type Pairs = BTreeMap<String, String>;
    let (secret, plain): (Pairs, Pairs) =
        deployment.environment.clone().into_iter().partition(|(name, _)| options.secrets.contains(name));
    for (what, pairs) in [("ConfigMap", &plain), ("Secret", &secret)] {
        if pairs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > MOST_BYTES {
            draft.problem(format!("env: a {what} holds 1 MiB at most"));
        }
    }
    let plain = (!plain.is_empty()).then(|| ConfigMap {
        metadata: draft.metadata(named(&deployment.name, "environment", &plain)),
        data: Some(plain),
        immutable: Some(true),
        ..ConfigMap::default()
    });
    let secret = (!secret.is_empty()).then(|| {
        let metadata = draft.metadata(named(&deployment.name, "secrets", &secret));
        let data = secret.into_iter().map(|(name, value)| (name, ByteString(value.into_bytes()))).collect();
        let type_ = Some("Opaque".to_owned());
        Secret { metadata, data: Some(data), immutable: Some(true), type_, ..Secret::default() }
    });
    if plain.is_some() || secret.is_some() {
        draft.differs(
            "env",
            "an old revision keeps its environment and takes it along when it is removed",
            "the ConfigMap and the Secret of an old revision stay until somebody deletes them",
            "delete those that no ReplicaSet refers to",
        );
    }
    Environment { plain, secret }
}

fn named(deployment: &str, what: &str, pairs: &BTreeMap<String, String>) -> String {
    let mut content = Vec::new();
    for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
        content.extend((text.len() as u64).to_le_bytes());
        content.extend(text.as_bytes());
    }
    let digest = Digest::of(&content).to_string();
    let digits = digest.rsplit(':').next().unwrap_or_default();
    format!("{deployment}-{what}-{}", &digits[..digits.len().min(10)])
}
