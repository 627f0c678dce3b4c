//! The stable address and the published ports: Services.

use super::draft::Draft;
use super::names;
use super::options::Expose;
use crate::network::{Balance, PublishedPort};
use crate::value::{Port, Protocol};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// What the name of the service of the published ports ends with.
pub(super) const PUBLISHED: &str = "-published";

/// The ports of a node that services get, unless the cluster says otherwise.
const NODE_PORTS: RangeInclusive<u16> = 30_000..=32_767;

pub(super) fn services(draft: &mut Draft<'_>) -> Vec<Service> {
    let deployment = draft.deployment;
    let ports: BTreeSet<Port> = deployment.ports.iter().copied().collect();
    let mut services = Vec::new();
    if !ports.is_empty() {
        let ports = ports.iter().map(|port| service_port(port.number, *port)).collect();
        // The name by which others find it.
        let name = deployment.alias.as_ref().unwrap_or(&deployment.name);
        if deployment.alias.is_some() && (!names::is_service_name(name) || name.ends_with(PUBLISHED)) {
            draft.problem(format!("alias: {name:?} is not a label of RFC 1035, or ends with {PUBLISHED}"));
        }
        services.push(service(draft, name.clone(), "ClusterIP", ports));
    }
    if let Some(published) = published(draft) {
        services.push(published);
    }
    if !services.is_empty() {
        note_balance(draft);
    }
    services
}

/// The protocol in the words of Kubernetes.
pub(super) fn protocol(port: Port) -> String {
    port.protocol.to_string().to_uppercase()
}

/// The name of a port, at most 15 letters, digits and `-`.
pub(super) fn port_name(port: Port) -> String {
    format!("{}-{}", port.protocol, port.number)
}

fn service(draft: &Draft<'_>, name: String, kind: &str, ports: Vec<ServicePort>) -> Service {
    let sticky = draft.deployment.balance == Balance::SourceHash;
    Service {
        metadata: draft.metadata(name),
        spec: Some(ServiceSpec {
            type_: Some(kind.to_owned()),
            selector: Some(draft.selector()),
            ports: Some(ports),
            session_affinity: sticky.then(|| "ClientIP".to_owned()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn service_port(number: u16, target: Port) -> ServicePort {
    ServicePort {
        name: Some(port_name(Port { number, protocol: target.protocol })),
        port: number.into(),
        protocol: Some(protocol(target)),
        target_port: Some(IntOrString::Int(target.number.into())),
        ..ServicePort::default()
    }
}

fn published(draft: &mut Draft<'_>) -> Option<Service> {
    let deployment = draft.deployment;
    let mut taken: BTreeSet<(u16, Protocol)> = BTreeSet::new();
    let mut ports = Vec::new();
    for port in &deployment.published {
        note_address(draft, port);
        let number = if port.host_port == 0 { port.container_port.number } else { port.host_port };
        if !taken.insert((number, port.container_port.protocol)) {
            draft.problem(format!("publish {port}: a service has port {number} once for each protocol"));
        }
        let mut service_port = service_port(number, port.container_port);
        match draft.options.expose {
            Expose::NodePort if NODE_PORTS.contains(&port.host_port) => service_port.node_port = Some(number.into()),
            Expose::NodePort if port.host_port != 0 => draft.differs(
                format!("publish {port}"),
                format!("the port is {}", port.host_port),
                "a node port from 30000 to 32767 is chosen by the cluster",
                "publish one of these, choose Expose::LoadBalancer, or put an Ingress in front",
            ),
            Expose::LoadBalancer if port.host_port == 0 => draft.differs(
                format!("publish {port}"),
                "a free port is chosen",
                format!("the load balancer has port {number}"),
                "publish a certain port",
            ),
            Expose::NodePort | Expose::LoadBalancer => {}
        }
        ports.push(service_port);
    }
    if ports.is_empty() {
        return None;
    }
    let kind = match draft.options.expose {
        Expose::NodePort => "NodePort",
        Expose::LoadBalancer => "LoadBalancer",
    };
    let mut service = service(draft, format!("{}{PUBLISHED}", deployment.name), kind, ports);
    if let Some(spec) = &mut service.spec {
        // The only way for the client's address to reach the replica, as it does here.
        spec.external_traffic_policy = Some("Local".to_owned());
    }
    draft.differs(
        "publish",
        "every replica is reached from outside",
        "to keep the client's address, a node sends what it receives to its own replicas alone, and drops it if it has none",
        "run a replica on each node that receives, or set externalTrafficPolicy: Cluster and give the address up",
    );
    Some(service)
}

fn note_address(draft: &mut Draft<'_>, port: &PublishedPort) {
    if port.host_address.is_some_and(|address| !address.is_unspecified()) {
        draft.differs(
            format!("publish {port}"),
            "it is published on one address of the host",
            "it is published on all addresses of all nodes, or of the load balancer",
            "restrict it by a NetworkPolicy, a firewall or loadBalancerSourceRanges",
        );
    }
}

fn note_balance(draft: &mut Draft<'_>) {
    let (here, there, remedy) = match draft.deployment.balance {
        Balance::RoundRobin => (
            "connections go to one replica after the other",
            "to a replica by chance, or by the rule that the cluster's proxy is set to",
            "nothing, where many connections even it out",
        ),
        Balance::Random => (
            "connections go to a replica by chance",
            "the same, unless the cluster's proxy is set to another rule",
            "nothing, with kube-proxy in its usual modes",
        ),
        Balance::Weighted => (
            "connections are spread by weights",
            "all replicas have the same weight",
            "make a deployment for each weight, or use an Ingress or Gateway with weights",
        ),
        Balance::SourceHash => (
            "a client's address alone decides on its replica",
            "a client keeps the replica that it first got by chance, for 3 hours after its last connection",
            "nothing, unless different ways to the service must lead to the same replica",
        ),
    };
    draft.differs("balance", here, there, remedy);
}
