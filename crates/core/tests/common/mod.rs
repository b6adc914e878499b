//! Endpoints and clusters for the tests of this crate.
#![allow(dead_code, reason = "compiled into every test, each of which uses some of it")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use isobar_core::{
    Address, Cluster, ClusterSettings, Endpoint, EventKind, Found, Instant, PolicySettings, SourceSet,
};

/// An endpoint on the local host.
pub(crate) fn endpoint(id: &str, port: u16, weight: u32, priority: u32) -> Endpoint {
    Endpoint {
        id: id.into(),
        address: Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        weight,
        priority,
        zone: None,
        host: None,
        hash_key: None,
        metadata: BTreeMap::new(),
    }
}

/// A cluster without members, probes or a share that must be healthy.
pub(crate) fn empty(policy: impl Into<PolicySettings>) -> Cluster {
    Cluster::new("web", ClusterSettings { policy: policy.into(), ..Default::default() }, 4, 0)
}

/// Makes these the endpoints of the one source and tells what that did.
pub(crate) fn set(cluster: &mut Cluster, endpoints: Vec<Endpoint>) -> Vec<(String, EventKind)> {
    let found = endpoints.into_iter().map(|endpoint| Found { endpoint, inferred: None });
    cluster.set_sources(vec![SourceSet { name: "test".into(), found: found.collect() }], Instant(0));
    events(cluster)
}

/// What happened to endpoints since the last call.
pub(crate) fn events(cluster: &mut Cluster) -> Vec<(String, EventKind)> {
    let events = std::iter::from_fn(|| cluster.poll_event());
    events.map(|event| (event.id.as_deref().unwrap_or_default().to_owned(), event.kind)).collect()
}

/// A cluster of one endpoint for each weight and priority, with the place as the id.
pub(crate) fn cluster(policy: impl Into<PolicySettings>, members: &[(u32, u32)]) -> Cluster {
    let mut cluster = empty(policy);
    let endpoints = (0_u16..).zip(members);
    set(
        &mut cluster,
        endpoints
            .map(|(port, (weight, priority))| endpoint(&port.to_string(), port, *weight, *priority))
            .collect(),
    );
    cluster
}
