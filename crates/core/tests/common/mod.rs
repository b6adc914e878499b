//! Endpoints for the tests of this crate.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use isobar_core::{Address, Cluster, Endpoint, PolicyKind};

/// An endpoint on the local host.
pub(crate) fn endpoint(id: &str, port: u16, weight: u32, priority: u32) -> Endpoint {
    Endpoint {
        id: id.into(),
        address: Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        weight,
        priority,
        zone: None,
        metadata: BTreeMap::new(),
    }
}

/// A cluster of one endpoint for each weight and priority, with the place as the id.
pub(crate) fn cluster(policy: PolicyKind, members: &[(u32, u32)]) -> Cluster {
    let mut cluster = Cluster::new("web", policy);
    let endpoints = (0_u16..).zip(members);
    cluster.set_endpoints(
        endpoints
            .map(|(port, (weight, priority))| endpoint(&port.to_string(), port, *weight, *priority))
            .collect(),
    );
    cluster
}
