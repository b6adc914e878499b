//! TLS to the endpoints of one service: whom they must prove to be, and what is shown to them.
//!
//! Invariants: the endpoint's certificate is verified for the name that is asked for; sessions are resumed only with the
//! same settings. What compares equal has the same identity: connections made by one may be used by the other.

use std::sync::Arc;

use isobar_core::{Address, Endpoint};
use rustls::ClientConfig;
use rustls::client::{ClientConnection, Resumption};
use rustls::pki_types::ServerName;

use crate::digest::Fingerprint;

/// Sessions to be resumed that are kept, by name: most services have one name.
const SESSIONS_MAX: usize = 256;

/// See the module's page.
#[derive(Debug, Clone)]
pub struct Originator {
    config: Arc<ClientConfig>,
    sni: Option<ServerName<'static>>,
    /// Over every file and setting that it was made of.
    fingerprint: Fingerprint,
}

/// There is no name to verify the endpoint by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a unix socket has no name to verify a certificate by: set `tls.sni` of the service")]
pub struct NoServerName;

impl PartialEq for Originator {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Eq for Originator {}

impl Originator {
    pub(crate) fn new(
        mut config: ClientConfig,
        sni: Option<ServerName<'static>>,
        fingerprint: Fingerprint,
    ) -> Self {
        config.alpn_protocols = crate::alpn::to_endpoints(false);
        config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        Self { config: Arc::new(config), sni, fingerprint }
    }

    /// The same for one worker: with sessions of its own, so that two threads share no lock, and with the protocol that is
    /// spoken.
    #[must_use]
    pub fn for_worker(&self, http2: bool) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = crate::alpn::to_endpoints(http2);
        config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        Self { config: Arc::new(config), sni: self.sni.clone(), fingerprint: self.fingerprint }
    }

    /// The name that this endpoint is asked for and verified by: `tls.sni`, else the host name that it was written with,
    /// else its address.
    ///
    /// # Errors
    /// It has no such name.
    pub fn name(&self, endpoint: &Endpoint) -> Result<ServerName<'static>, NoServerName> {
        if let Some(name) = &self.sni {
            return Ok(name.clone());
        }
        let host = endpoint.host.as_deref().and_then(|host| ServerName::try_from(host.to_owned()).ok());
        match (host, &endpoint.address) {
            (Some(host), _) => Ok(host),
            (None, Address::Tcp(address)) => Ok(ServerName::IpAddress(address.ip().into())),
            (None, Address::Unix(_)) => Err(NoServerName),
        }
    }

    /// The state of one connection to an endpoint of this name.
    ///
    /// # Errors
    /// Only where memory or randomness for it is lacking.
    pub fn connect(&self, name: ServerName<'static>) -> Result<ClientConnection, rustls::Error> {
        ClientConnection::new(Arc::clone(&self.config), name)
    }

    /// For those who drive connections by another library.
    pub fn config_for(&self, http2: bool) -> Arc<ClientConfig> {
        let protocols = crate::alpn::to_endpoints(http2);
        if self.config.alpn_protocols == protocols {
            return Arc::clone(&self.config);
        }
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = protocols;
        Arc::new(config)
    }
}
