//! What a deployment means as manifests for Kubernetes.
//!
//! The feature `kubernetes` writes a [`Deployment`](crate::Deployment) down for a cluster, for the day on which one machine
//! is outgrown. `kubernetes::manifests` returns the objects as types of `k8s-openapi`, the same as YAML, and the list of
//! *differences*: what happens here, what happens there, and what to do about it, for each field that the deployment uses.
//! Print that list. Nothing is applied; `kubectl apply -f -` takes the text.
//!
//! # What becomes what
//!
//! | here | there |
//! |---|---|
//! | name | name of the Deployment |
//! | ports, and the name or alias by which others find it | a Service of type ClusterIP and of that name |
//! | image without a registry | needs `Options::registry`, and a push |
//! | entry point and command | `command` and `args`, written so that nothing in them is expanded |
//! | environment | a ConfigMap; variables named by `Options::secret` in a Secret; both immutable, with a digest of their content in the name, so that an old revision finds its own environment again |
//! | limits, request | `resources`; what is not requested is taken from the limits on both sides |
//! | `read_only`, `user` | `readOnlyRootFilesystem`, `runAsUser` and `runAsGroup` where they are numbers |
//! | `init` | `shareProcessNamespace`: the pod's own process is PID 1 and reaps, and the command does not ignore signals |
//! | no new privileges, the default filter | `allowPrivilegeEscalation: false`, seccomp profile `RuntimeDefault` |
//! | published ports | a second Service, `NAME-published`, of type NodePort or LoadBalancer, which keeps the client's address |
//! | `Balance::SourceHash` | `sessionAffinity: ClientIP` |
//! | health check | readiness probe; with `Restart::when_unhealthy` also a liveness probe, and a startup probe for the start period |
//! | `Rolling` | `RollingUpdate` with `maxSurge`, `maxUnavailable`, `minReadySeconds`, `progressDeadlineSeconds` |
//! | `Recreate` | `Recreate` |
//! | `drain`, `stop_grace` | a `preStop` sleep, `terminationGracePeriodSeconds` |
//! | `Autoscale` | HorizontalPodAutoscaler; the number of replicas is then left to it |
//! | `unavailable` | PodDisruptionBudget, from two replicas on |
//! | named volume | PersistentVolumeClaim of the same name |
//! | memory file system | `emptyDir` of medium `Memory` |
//! | label | label where Kubernetes allows it as one, else annotation |
//!
//! The default capabilities are the same on both sides, and so are not written.
//!
//! # What has no counterpart
//!
//! - **A rollout that fails stays where it is.** Kubernetes reports `ProgressDeadlineExceeded` and does nothing more. A
//!   pipeline must ask `kubectl rollout status` and call `kubectl rollout undo`.
//! - **Crashes and single replicas have no deadline** there: only the progress of the whole does.
//! - **Draining is a pause.** Here a replica is taken out of the traffic, then stopped as soon as its connections are done.
//!   There, both begin at the same time, and nobody counts connections: the pause before the stop covers both.
//! - **Balancing is the cluster's.** There are no weights, and the order is by chance.
//! - **Volumes do not go back.** A snapshot before a rollout is yours to take and to restore.
//! - **Files of the host** are never mounted (`hostPath`); a bind is listed, and something must take its place.
//! - **The health check of an image** is never used there; name it in the deployment.
//! - **Restarts pause longer**: 10 s to 5 min.
//! - **Processes, swap and weights** are not limited for single replicas.
//! - **Networks** do not separate anything without a NetworkPolicy.
//! - **Times** are whole seconds, rounded up.
//!
//! # Names
//!
//! Kubernetes allows fewer names: lower-case letters, digits and `-`. Names that it would refuse are errors, all of them at
//! once, and nothing is renamed silently.
//!
//! # Versions
//!
//! The feature `kubernetes` takes the types of Kubernetes 1.33. Of `k8s-openapi` one version can be chosen in a whole
//! program; one that has chosen another, for `kube` for example, uses the feature `kubernetes-any-version` in its place.
