//! From an endpoint as written to endpoints that can be connected to.
//!
//! An IP literal or a socket path stands for one endpoint, whose id is its address unless one is written. A host name
//! stands for one endpoint per address it resolves to, with the id `NAME/ADDRESS` (or `ID/ADDRESS` where an id is
//! written; a `hash_key` likewise, where there are several), so that an address keeps its numbers however the rest of the answer changes.
//!
//! Invariant: the endpoints of a name are in the order of their addresses, not of the answer, so that two answers with
//! the same addresses give the same endpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use isobar_config::{AddressText, EndpointSettings};
use isobar_core::{Address, Endpoint};

/// What an address as written stands for.
pub(super) enum Target<'a> {
    /// This address, no questions asked.
    Literal(Address),
    /// The addresses of a host name.
    Name { host: &'a str, port: u16 },
}

pub(super) fn target(written: &EndpointSettings) -> Target<'_> {
    match &written.address {
        AddressText::Unix(path) => Target::Literal(Address::Unix(path.as_path().into())),
        AddressText::Tcp { host, port } => match host.parse::<IpAddr>() {
            Ok(ip) => Target::Literal(Address::Tcp(SocketAddr::new(ip, *port))),
            Err(_) => Target::Name { host, port: *port },
        },
    }
}

/// The names that these endpoints need.
pub(super) fn names_of<'a>(written: impl IntoIterator<Item = &'a EndpointSettings>) -> BTreeSet<String> {
    let names = written.into_iter().filter_map(|written| match target(written) {
        Target::Name { host, .. } => Some(host.to_owned()),
        Target::Literal(_) => None,
    });
    names.collect()
}

/// The one endpoint of a literal.
pub(super) fn literal(written: &EndpointSettings, address: Address) -> Endpoint {
    let id = written.id.clone().unwrap_or_else(|| address.to_string());
    endpoint(written, id, None, address)
}

/// One endpoint per address of a name.
pub(super) fn named<'a>(
    written: &'a EndpointSettings,
    host: &'a str,
    port: u16,
    addresses: &[SocketAddr],
) -> impl Iterator<Item = Endpoint> + 'a {
    let distinct: BTreeSet<SocketAddr> = addresses
        .iter()
        .map(|address| {
            let mut address = *address;
            address.set_port(port);
            address
        })
        .collect();
    let shared: Arc<str> = host.into();
    // Several endpoints of one key would have the same places.
    let is_one = distinct.len() == 1;
    distinct.into_iter().map(move |address| {
        let name = written.id.as_deref().unwrap_or(host);
        let id = format!("{name}/{address}");
        let endpoint = endpoint(written, id, Some(Arc::clone(&shared)), Address::Tcp(address));
        let own_key =
            |key: &Arc<str>| if is_one { Arc::clone(key) } else { format!("{key}/{address}").into() };
        Endpoint { hash_key: endpoint.hash_key.as_ref().map(own_key), ..endpoint }
    })
}

fn endpoint(written: &EndpointSettings, id: String, host: Option<Arc<str>>, address: Address) -> Endpoint {
    Endpoint {
        id: id.into(),
        address,
        weight: written.weight,
        priority: written.priority,
        zone: written.zone.as_deref().map(Into::into),
        host,
        hash_key: written.hash_key.as_deref().map(Into::into),
        metadata: BTreeMap::new(),
    }
}
