//! The endpoint: one reachable instance of a service, as configuration or discovery describes it.
//!
//! Invariant: identity is (service, id) and never depends on weight, zone or metadata. Limits: an address is
//! resolved already; host names are the business of discovery.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// Where an endpoint is reached.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Address {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// A unix stream socket.
    Unix(Arc<Path>),
}

/// `127.0.0.1:80`, `[::1]:80` or `unix:/path`, as the configuration writes them.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One reachable instance: address, id and the facts that decide its share.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Identity within the service, stable over changes of everything but the address.
    pub id: Arc<str>,
    /// Where it is reached; a new one under the same id is a new generation.
    pub address: Address,
    /// Share relative to the other endpoints of its level; zero takes no picks.
    pub weight: u32,
    /// Level, lowest first: a higher one takes what the lower ones cannot carry.
    pub priority: u32,
    /// Failure domain, where known.
    pub zone: Option<Arc<str>>,
    /// The host name that it was written with, where it was one; its certificate is verified by it.
    pub host: Option<Arc<str>>,
    /// The name that another balancer knew it by, which its places under that one's layout follow from.
    pub hash_key: Option<Arc<str>>,
    /// Free labels from the source; no decision reads them.
    pub metadata: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_are_shown_as_they_are_configured() {
        let v4 = Address::Tcp("127.0.0.1:80".parse().unwrap());
        let v6 = Address::Tcp("[::1]:80".parse().unwrap());
        let unix = Address::Unix(Path::new("/run/a.sock").into());
        assert_eq!(
            [v4.to_string(), v6.to_string(), unix.to_string()],
            ["127.0.0.1:80", "[::1]:80", "unix:/run/a.sock"]
        );
    }
}
