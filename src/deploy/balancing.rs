//! The deployment's service: its stable address, and which replicas are behind it.

use super::specification::Deployment;
use crate::Result;
use crate::container::{Container, Services};
use crate::network::{ServiceMember, ServiceRecord, ServiceSpecification};
use crate::value::Name;
use std::net::Ipv4Addr;

/// Makes sure of the service of `deployment`, or that there is none where it has no ports.
pub(crate) fn ensure(services: &Services, name: &Name, deployment: &Deployment) -> Result<()> {
    if deployment.ports.is_empty() && deployment.published.is_empty() {
        return services.networks.remove_service(name);
    }
    let specification = ServiceSpecification {
        name: name.clone(),
        alias: deployment.alias.as_deref().map(str::parse).transpose()?,
        ports: deployment.ports.clone(),
        published: deployment.published.clone(),
        balance: deployment.balance,
        networks: deployment.networks.iter().map(|network| network.parse()).collect::<Result<_>>()?,
    };
    services.networks.ensure_service(&specification).map(drop)
}

/// The service, where there is one.
pub(crate) fn service(services: &Services, name: &Name) -> Result<Option<ServiceRecord>> {
    services.networks.service(name)
}

/// The addresses to which new connections go; `None` where there is no service.
pub(crate) fn members(services: &Services, name: &Name) -> Result<Option<Vec<Ipv4Addr>>> {
    let service = services.networks.service(name)?;
    Ok(service.map(|service| service.members.iter().map(|member| member.address).collect()))
}

/// Sends new connections to exactly these replicas. `weights` go by place, and begin anew where there are fewer.
pub(crate) fn route<'a>(
    services: &Services,
    name: &Name,
    replicas: impl Iterator<Item = &'a Container>,
    weights: &[u32],
) -> Result<()> {
    if services.networks.service(name)?.is_none() {
        return Ok(());
    }
    let weight = |place: u32| match weights.len() {
        0 => 1,
        count => weights[place as usize % count],
    };
    let member = |replica: &Container| {
        let place = replica.replica_of().map_or(0, |of| of.place);
        replica.address().map(|address| ServiceMember { address, weight: weight(place) })
    };
    let members: Vec<ServiceMember> = replicas.filter_map(member).collect();
    services.networks.route(name, &members)
}

/// How many connections each of `addresses` has.
pub(crate) fn connections(services: &Services, addresses: &[Ipv4Addr]) -> Result<Vec<u32>> {
    if addresses.is_empty() {
        return Ok(Vec::new());
    }
    services.networks.connections_of(addresses)
}

/// Removes the service with its address, its rules and its name.
pub(crate) fn remove(services: &Services, name: &Name) -> Result<()> {
    services.networks.remove_service(name)?;
    // The last service may be the last that the network was for.
    services.networks.remove_unused().map(drop)
}
