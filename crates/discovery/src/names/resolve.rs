//! All endpoints of a configuration resolved once, so that a start can refuse a name that does not exist.
//!
//! Invariants: each distinct name is asked for once, whatever the number of its endpoints; every name that fails is
//! told, not only the first.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use isobar_config::ServiceSettings;
use isobar_core::Endpoint;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::expand::{Target, literal, named, names_of, target};
use super::lookup::{Answer, LOOKUPS_MAX, Lookup, ask};

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
    let names = names_of(services.iter().flat_map(|service| &service.endpoints));
    let answers = ask_all(names, lookup).await;
    let mut errors = Vec::new();
    let mut endpoints = Vec::with_capacity(services.len());
    for service in services {
        endpoints.push(expand(service, &answers, &mut errors));
    }
    if errors.is_empty() { Ok(endpoints) } else { Err(ResolveErrors(errors)) }
}

/// What the resolver said about each name.
type Answers = BTreeMap<String, Answer>;

async fn ask_all<L: Lookup>(names: BTreeSet<String>, lookup: Arc<L>) -> Answers {
    let permits = Arc::new(Semaphore::new(LOOKUPS_MAX));
    let mut questions = JoinSet::new();
    for name in names {
        let (lookup, permits) = (Arc::clone(&lookup), Arc::clone(&permits));
        questions.spawn(async move {
            let _permit = permits.acquire().await;
            let answer = ask(lookup, name.clone()).await;
            (name, answer)
        });
    }
    questions.join_all().await.into_iter().collect()
}

/// The endpoints of one service; each name without an answer becomes an error instead.
fn expand(service: &ServiceSettings, answers: &Answers, errors: &mut Vec<ResolveError>) -> Vec<Endpoint> {
    let mut endpoints = Vec::with_capacity(service.endpoints.len());
    for written in &service.endpoints {
        let (host, port) = match target(written) {
            Target::Literal(address) => {
                endpoints.push(literal(written, address));
                continue;
            }
            Target::Name { host, port } => (host, port),
        };
        match answers.get(host) {
            Some(Ok(addresses)) => endpoints.extend(named(written, host, port, addresses)),
            Some(Err(reason)) => errors.push(ResolveError {
                service: service.name.clone(),
                endpoint: written.id.clone().unwrap_or_else(|| format!("{host}:{port}")),
                name: host.to_owned(),
                reason: reason.clone(),
            }),
            None => unreachable!("every name of the settings was asked for"),
        }
    }
    endpoints
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
