//! From the endpoints of the settings to endpoints with socket addresses.
//!
//! An IP literal or a socket path stands for one endpoint, whose id is its address unless one is written. A host name
//! stands for one endpoint per address it resolves to, with the id `NAME/ADDRESS` (or `ID/ADDRESS` where an id is
//! written), so that an address keeps its numbers however the rest of the answer changes.
//!
//! Invariants: each distinct name is asked for once, whatever the number of its endpoints; the endpoints of a name are
//! in the order of their addresses, not of the answer, so that two starts see the same order.
//!
//! Limits: names are asked for once, through the system's resolver, which tells no time to live. The length of an
//! answer is bounded by the resolver (a DNS message has at most 64 KiB).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use isobar_config::{AddressText, EndpointSettings, ServiceSettings};
use isobar_core::{Address, Endpoint};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Names asked for at the same time: each occupies a thread of the blocking pool, and a resolver that is slow for one
/// name must not make a start with hundreds of names take minutes.
const LOOKUPS_MAX: usize = 32;

/// The longest wait for one name. The system's resolver tries each of its DNS servers for 5 seconds; two of them may
/// be down before a start is called off.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(15);

/// Answers which addresses a host name has.
pub trait Lookup: Send + Sync + 'static {
    /// The addresses of a host name, with port 0.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future abandons the question; nothing else changes.
    fn lookup(&self, host: &str) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;
}

/// The system's resolver: what `getaddrinfo` says, so also `/etc/hosts` and whatever nsswitch names.
#[derive(Debug, Clone, Copy)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    async fn lookup(&self, host: &str) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.collect())
    }
}

/// An endpoint whose host name has no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "service \"{service}\": endpoint \"{endpoint}\": cannot resolve the name \"{name}\": {reason} \
     (check the spelling and the resolver of this machine, or write an IP address)"
)]
pub struct ResolveError {
    /// The service it belongs to.
    pub service: String,
    /// The endpoint's id where one is written, else its address as written.
    pub endpoint: String,
    /// The host name.
    pub name: String,
    /// What the resolver said.
    pub reason: String,
}

/// Every endpoint that could not be resolved, in the order of the settings; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ResolveErrors(pub Vec<ResolveError>);

impl fmt::Display for ResolveErrors {
    /// One line per endpoint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

/// Resolves the endpoints of every service, in the order of the services.
///
/// # Errors
///
/// Tells every endpoint whose name has no address, not only the first.
pub async fn resolve<L: Lookup>(
    services: &[ServiceSettings],
    lookup: Arc<L>,
) -> Result<Vec<Vec<Endpoint>>, ResolveErrors> {
    let names = services.iter().flat_map(|service| &service.endpoints).filter_map(name_to_ask).collect();
    let answers = ask(names, lookup).await;
    let mut errors = Vec::new();
    let mut endpoints = Vec::with_capacity(services.len());
    for service in services {
        endpoints.push(expand(service, &answers, &mut errors));
    }
    if errors.is_empty() { Ok(endpoints) } else { Err(ResolveErrors(errors)) }
}

/// What the resolver said about each name.
type Answers = BTreeMap<String, Result<Vec<SocketAddr>, String>>;

/// The host name of an endpoint, unless its address needs no resolver.
fn name_to_ask(endpoint: &EndpointSettings) -> Option<String> {
    match &endpoint.address {
        AddressText::Tcp { host, .. } if host.parse::<IpAddr>().is_err() => Some(host.clone()),
        AddressText::Tcp { .. } | AddressText::Unix(_) => None,
    }
}

async fn ask<L: Lookup>(names: BTreeSet<String>, lookup: Arc<L>) -> Answers {
    let permits = Arc::new(Semaphore::new(LOOKUPS_MAX));
    let mut questions = JoinSet::new();
    let mut answers = Answers::new();
    for name in names {
        let (lookup, permits) = (Arc::clone(&lookup), Arc::clone(&permits));
        // Stays only where the task of its question panics.
        answers.insert(name.clone(), Err("the resolver gave no answer".to_owned()));
        questions.spawn(async move {
            let _permit = permits.acquire().await;
            let answer = tokio::time::timeout(LOOKUP_TIMEOUT, lookup.lookup(&name)).await;
            let answer = match answer {
                Err(_) => Err(format!("no answer within {} s", LOOKUP_TIMEOUT.as_secs())),
                Ok(Err(error)) => Err(error.to_string()),
                Ok(Ok(addresses)) if addresses.is_empty() => Err("the name has no address".to_owned()),
                Ok(Ok(addresses)) => Ok(addresses),
            };
            (name, answer)
        });
    }
    while let Some(answered) = questions.join_next().await {
        if let Ok((name, answer)) = answered {
            answers.insert(name, answer);
        }
    }
    answers
}

/// The endpoints of one service; each name without an answer becomes an error instead.
fn expand(service: &ServiceSettings, answers: &Answers, errors: &mut Vec<ResolveError>) -> Vec<Endpoint> {
    let mut endpoints = Vec::with_capacity(service.endpoints.len());
    for written in &service.endpoints {
        let (host, port) = match &written.address {
            AddressText::Unix(path) => {
                endpoints.push(literal(written, Address::Unix(path.as_path().into())));
                continue;
            }
            AddressText::Tcp { host, port } => (host, *port),
        };
        if let Ok(ip) = host.parse::<IpAddr>() {
            endpoints.push(literal(written, Address::Tcp(SocketAddr::new(ip, port))));
            continue;
        }
        match answers.get(host) {
            Some(Ok(addresses)) => endpoints.extend(named(written, host, port, addresses)),
            Some(Err(reason)) => errors.push(ResolveError {
                service: service.name.clone(),
                endpoint: written.id.clone().unwrap_or_else(|| format!("{host}:{port}")),
                name: host.clone(),
                reason: reason.clone(),
            }),
            None => unreachable!("every name of the settings was asked for"),
        }
    }
    endpoints
}

fn literal(written: &EndpointSettings, address: Address) -> Endpoint {
    let id = written.id.clone().unwrap_or_else(|| address.to_string());
    endpoint(written, id, address)
}

/// One endpoint per address of a name, in the order of the addresses.
fn named<'a>(
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
    distinct.into_iter().map(move |address| {
        let name = written.id.as_deref().unwrap_or(host);
        endpoint(written, format!("{name}/{address}"), Address::Tcp(address))
    })
}

fn endpoint(written: &EndpointSettings, id: String, address: Address) -> Endpoint {
    Endpoint {
        id: id.into(),
        address,
        weight: written.weight,
        priority: written.priority,
        zone: written.zone.as_deref().map(Into::into),
        metadata: BTreeMap::new(),
    }
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
pub(crate) mod tests;
