//! Deployments as manifests for a Kubernetes cluster, for the day on which one machine is outgrown.
//!
//! ```
//! use coracle::kubernetes::{Options, manifests};
//! use coracle::{Deployment, Health, Port};
//!
//! let shop = Deployment::new("shop", "registry.example.com/shop/web:1.1")
//!     .replicas(3)
//!     .port(Port::tcp(8000))
//!     .env("DATABASE_PASSWORD", "secret")
//!     .health(Health::http(8000, "/ready"));
//! let manifests = manifests(&shop, &Options::new().secret("DATABASE_PASSWORD"))?;
//! println!("{}", manifests.yaml());
//! for difference in manifests.differences() {
//!     eprintln!("{difference}");
//! }
//! # Ok::<(), coracle::Error>(())
//! ```
//!
//! Kubernetes 1.33 or newer reads them; they use nothing that is not on there by default, but the tolerance of an
//! autoscaler. What they cannot say, or what means something else there, is in
//! [`differences`](Manifests::differences); [`manual::kubernetes`](crate::manual::kubernetes) explains it.

// Later versions of k8s-openapi have more fields.
#![allow(clippy::needless_update)]

mod configuration;
mod difference;
mod draft;
mod names;
mod options;
mod probe;
mod resources;
mod scale;
mod service;
mod volume;
mod workload;

pub use difference::Difference;
pub use options::{Expose, Options};

use crate::deploy::Deployment;
use crate::{Error, ErrorKind, Result};
use draft::Draft;
use k8s_openapi::api;
use serde::{Serialize, Serializer};

/// A deployment as objects of Kubernetes, and what of it means something else there.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifests {
    objects: Vec<Object>,
    differences: Vec<Difference>,
    yaml: String,
}

/// An object of Kubernetes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Object {
    /// The environment, without what is secret. Its name ends with a digest of its content, so that each revision keeps
    /// its own.
    ConfigMap(Box<api::core::v1::ConfigMap>),
    /// The secret part of the environment, named in the same way.
    Secret(Box<api::core::v1::Secret>),
    /// A named volume.
    PersistentVolumeClaim(Box<api::core::v1::PersistentVolumeClaim>),
    /// The stable address, or the published ports.
    Service(Box<api::core::v1::Service>),
    /// The replicas and how they are replaced.
    Deployment(Box<api::apps::v1::Deployment>),
    /// How the number of replicas follows the load.
    HorizontalPodAutoscaler(Box<api::autoscaling::v2::HorizontalPodAutoscaler>),
    /// How many replicas may be taken down at a time when a node is emptied.
    PodDisruptionBudget(Box<api::policy::v1::PodDisruptionBudget>),
}

/// Writes a deployment down for Kubernetes.
///
/// # Errors
/// `InvalidInput` with all that is wrong, each with its field: names that Kubernetes does not allow, and wishes that
/// contradict each other.
pub fn manifests(deployment: &Deployment, options: &Options) -> Result<Manifests> {
    let mut draft = Draft::new(deployment, options);
    let environment = configuration::environment(&mut draft);
    let claims = volume::claims(&mut draft);
    let services = service::services(&mut draft);
    let workload = workload::deployment(&mut draft, &environment);
    let autoscaler = scale::autoscaler(&mut draft);
    let budget = scale::disruption_budget(&mut draft);
    let (labels, differences) = draft.finish()?;

    let mut objects: Vec<Object> = Vec::new();
    objects.extend(environment.plain.map(|map| Object::ConfigMap(Box::new(map))));
    objects.extend(environment.secret.map(|secret| Object::Secret(Box::new(secret))));
    objects.extend(claims.into_iter().map(|claim| Object::PersistentVolumeClaim(Box::new(claim))));
    objects.extend(services.into_iter().map(|service| Object::Service(Box::new(service))));
    objects.push(Object::Deployment(Box::new(workload)));
    objects.extend(autoscaler.map(|autoscaler| Object::HorizontalPodAutoscaler(Box::new(autoscaler))));
    objects.extend(budget.map(|budget| Object::PodDisruptionBudget(Box::new(budget))));
    for object in &mut objects {
        let metadata = object.metadata_mut();
        metadata.namespace.clone_from(&options.namespace);
        metadata.labels.get_or_insert_default().extend(labels.clone());
    }
    let yaml = write(&objects)?;
    Ok(Manifests { objects, differences, yaml })
}

impl Manifests {
    /// The objects, those first that others need.
    pub fn objects(&self) -> &[Object] {
        &self.objects
    }

    /// What means something else in Kubernetes, or cannot be said there.
    pub fn differences(&self) -> &[Difference] {
        &self.differences
    }

    /// All objects as one YAML text of several documents, for `kubectl apply -f -`. The same deployment always gives the
    /// same text. Readers of YAML 1.1 and 1.2 understand it alike.
    pub fn yaml(&self) -> &str {
        &self.yaml
    }
}

impl Object {
    /// Its name.
    pub fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }

    /// What it is, as in its `kind`.
    pub fn kind(&self) -> &'static str {
        match self {
            Object::ConfigMap(_) => "ConfigMap",
            Object::Secret(_) => "Secret",
            Object::PersistentVolumeClaim(_) => "PersistentVolumeClaim",
            Object::Service(_) => "Service",
            Object::Deployment(_) => "Deployment",
            Object::HorizontalPodAutoscaler(_) => "HorizontalPodAutoscaler",
            Object::PodDisruptionBudget(_) => "PodDisruptionBudget",
        }
    }

    fn metadata(&self) -> &draft::ObjectMeta {
        match self {
            Object::ConfigMap(object) => &object.metadata,
            Object::Secret(object) => &object.metadata,
            Object::PersistentVolumeClaim(object) => &object.metadata,
            Object::Service(object) => &object.metadata,
            Object::Deployment(object) => &object.metadata,
            Object::HorizontalPodAutoscaler(object) => &object.metadata,
            Object::PodDisruptionBudget(object) => &object.metadata,
        }
    }

    fn metadata_mut(&mut self) -> &mut draft::ObjectMeta {
        match self {
            Object::ConfigMap(object) => &mut object.metadata,
            Object::Secret(object) => &mut object.metadata,
            Object::PersistentVolumeClaim(object) => &mut object.metadata,
            Object::Service(object) => &mut object.metadata,
            Object::Deployment(object) => &mut object.metadata,
            Object::HorizontalPodAutoscaler(object) => &mut object.metadata,
            Object::PodDisruptionBudget(object) => &mut object.metadata,
        }
    }
}

/// As the object itself.
impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Object::ConfigMap(object) => object.serialize(serializer),
            Object::Secret(object) => object.serialize(serializer),
            Object::PersistentVolumeClaim(object) => object.serialize(serializer),
            Object::Service(object) => object.serialize(serializer),
            Object::Deployment(object) => object.serialize(serializer),
            Object::HorizontalPodAutoscaler(object) => object.serialize(serializer),
            Object::PodDisruptionBudget(object) => object.serialize(serializer),
        }
    }
}

fn write(objects: &[Object]) -> Result<String> {
    // Strings stay on their lines and keep their spelling; what YAML 1.1 takes for something else is quoted.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    let mut text = String::new();
    for object in objects {
        let document = serde_saphyr::to_string_with_options(object, options.clone()).map_err(|error| {
            Error::new(ErrorKind::Os, format!("write {} {} as YAML", object.kind(), object.name())).source_error(error)
        })?;
        text.push_str("---\n");
        text.push_str(&document);
    }
    Ok(text)
}
