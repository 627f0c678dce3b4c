//! What the parts of a translation share: the deployment, and what is found on the way.

use super::difference::Difference;
use super::names;
use super::options::Options;
use crate::deploy::Deployment;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

/// The label by which the pods of a deployment are found; one of those that Kubernetes recommends.
const NAME_LABEL: &str = "app.kubernetes.io/name";
const MANAGER_LABEL: &str = "app.kubernetes.io/managed-by";

/// Labels, or annotations.
pub(super) type Labels = BTreeMap<String, String>;

/// A translation under way.
pub(super) struct Draft<'a> {
    pub(super) deployment: &'a Deployment,
    pub(super) options: &'a Options,
    problems: Vec<String>,
    differences: Vec<Difference>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(deployment: &'a Deployment, options: &'a Options) -> Draft<'a> {
        let mut draft = Draft { deployment, options, problems: Vec::new(), differences: Vec::new() };
        draft.check_names();
        draft.always_different();
        draft
    }

    /// The labels of all objects, and the differences.
    pub(super) fn finish(self) -> Result<(Labels, Vec<Difference>)> {
        if self.problems.is_empty() {
            let labels = BTreeMap::from([
                (NAME_LABEL.to_owned(), self.deployment.name.clone()),
                (MANAGER_LABEL.to_owned(), "coracle".to_owned()),
            ]);
            return Ok((labels, self.differences));
        }
        let problems = self.problems.join("; ");
        Err(Error::invalid(format!("deployment {} as manifests: {problems}", self.deployment.name)))
    }

    pub(super) fn problem(&mut self, text: impl Into<String>) {
        self.problems.push(text.into());
    }

    /// Notes a difference; `here` and `there` are said of the deployment, `remedy` is a command.
    pub(super) fn differs(
        &mut self,
        field: impl Into<String>,
        here: impl Into<String>,
        there: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let (field, here, there, remedy) = (field.into(), here.into(), there.into(), remedy.into());
        self.differences.push(Difference { field, here, there, remedy });
    }

    /// Whole seconds, rounded up, at least `least`; a difference where something is lost.
    pub(super) fn seconds(&mut self, field: &str, time: Duration, least: i32) -> i32 {
        let whole = time.as_secs() + u64::from(time.subsec_nanos() > 0);
        let seconds = i32::try_from(whole).unwrap_or(i32::MAX).max(least);
        if Duration::from_secs(seconds.unsigned_abs().into()) != time {
            self.differs(
                field,
                format!("{} s", time.as_secs_f64()),
                format!("{seconds} s: times are whole seconds, {least} or more"),
                "give whole seconds",
            );
        }
        seconds
    }

    /// Metadata with a name alone.
    pub(super) fn metadata(&self, name: impl Into<String>) -> ObjectMeta {
        ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() }
    }

    /// Chooses the pods of the deployment.
    pub(super) fn selector(&self) -> Labels {
        BTreeMap::from([(NAME_LABEL.to_owned(), self.deployment.name.clone())])
    }

    /// As [`selector`](Self::selector), in the form of newer objects.
    pub(super) fn label_selector(&self) -> LabelSelector {
        LabelSelector { match_labels: Some(self.selector()), ..LabelSelector::default() }
    }

    /// The labels and annotations of the pods: annotations take what is no label.
    pub(super) fn pod_labels(&mut self) -> (Labels, Labels) {
        let (mut labels, mut annotations) = (self.selector(), Labels::new());
        for (key, value) in &self.deployment.labels {
            if labels.contains_key(key) || !names::is_key(key) {
                self.differs(
                    format!("label {key:?}"),
                    "it is free text",
                    "it is left out: its key is taken, or is not [PREFIX/]NAME of letters, digits, '-', '_' and '.'",
                    "choose another key",
                );
            } else if names::is_label_value(value) {
                labels.insert(key.clone(), value.clone());
            } else {
                annotations.insert(key.clone(), value.clone());
            }
        }
        (labels, annotations)
    }

    fn check_names(&mut self) {
        let name = &self.deployment.name;
        // Room for the longest ending that a service gets.
        if !names::is_service_name(name) || name.len() > 63 - super::service::PUBLISHED.len() {
            let most = 63 - super::service::PUBLISHED.len();
            self.problem(format!(
                "name: {name:?} is not a lower-case letter followed by at most {} lower-case letters, digits and '-', \
                 the last of which is no '-'",
                most - 1
            ));
        }
        if let Some(namespace) = self.options.namespace.as_ref().filter(|namespace| !names::is_label(namespace)) {
            self.problem(format!("namespace: {namespace:?} is not a label of RFC 1123"));
        }
        if let Some(class) = self.options.storage_class.as_ref().filter(|class| !names::is_subdomain(class)) {
            self.problem(format!("storage_class: {class:?} is not a subdomain of RFC 1123"));
        }
    }

    fn always_different(&mut self) {
        self.differs(
            "network",
            "only containers that share a network reach each other",
            "all pods of the cluster reach each other",
            "add a NetworkPolicy where that matters",
        );
    }
}
