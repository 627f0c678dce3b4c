//! What a deployment means here and there.

use std::fmt;

/// Something that Kubernetes does otherwise, or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// The field of the deployment, as its method is called: `rollout.on_failure`.
    pub field: String,
    /// What happens here.
    pub here: String,
    /// What happens in Kubernetes.
    pub there: String,
    /// What to do about it.
    pub remedy: String,
}

/// One line: `rollout.on_failure: here ...; in Kubernetes ...; ...`.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: here {}; in Kubernetes {}; {}", self.field, self.here, self.there, self.remedy)
    }
}
