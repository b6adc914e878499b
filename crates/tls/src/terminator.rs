//! TLS of one listener: what its callers are shown and asked for.
//!
//! Invariants: the session is in the ticket that the caller keeps, so nothing grows with the number of callers; with
//! `client_auth` set a certificate that is shown is verified, and `required` refuses a caller without one. A session that
//! is resumed verifies nothing by itself, so [`Terminator::still_vouches`] does: else a caller whose certificate has
//! expired could resume for ever.

use std::sync::Arc;

use isobar_config::{ClientAuth, TlsVersion};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ServerConfig, ServerConnection, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{Error, RootCertStore, SupportedProtocolVersion};

use crate::alpn;
use crate::digest::Fingerprint;
use crate::names::ByName;
use crate::tickets::Ticketer;

const FROM_TLS12: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
const FROM_TLS13: &[&SupportedProtocolVersion] = &[&TLS13];

/// See the module's page. One pointer, since every connection holds one.
#[derive(Debug, Clone)]
pub struct Terminator(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Arc<ServerConfig>,
    /// `None` where callers are not asked for a certificate.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    demand: Fingerprint,
}

/// Whose certificates callers may show.
pub(crate) struct Demand {
    pub(crate) mode: ClientAuth,
    /// Empty where `mode` is off.
    pub(crate) roots: RootCertStore,
    /// Over both.
    pub(crate) fingerprint: Fingerprint,
}

impl Demand {
    fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
        if self.mode == ClientAuth::Off {
            return Ok(None);
        }
        let roots = Arc::new(self.roots.clone());
        let mut builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
        if self.mode == ClientAuth::Optional {
            builder = builder.allow_unauthenticated();
        }
        builder.build().map(Some).map_err(|error| format!("cannot verify callers: {error}"))
    }
}

impl Terminator {
    /// The error follows the name of the file with the roots.
    pub(crate) fn new(
        provider: &Arc<CryptoProvider>,
        certificates: ByName,
        demand: &Demand,
        min_version: TlsVersion,
        ticketer: Ticketer,
    ) -> Result<Self, String> {
        let versions = if min_version == TlsVersion::Tls13 { FROM_TLS13 } else { FROM_TLS12 };
        let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(versions)
            .map_err(|error| format!("cannot be used: {error}"))?;
        let verifier = demand.verifier(provider)?;
        let builder = match &verifier {
            None => builder.with_no_client_auth(),
            Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
        };
        let mut config = builder.with_cert_resolver(Arc::new(certificates));
        // Ours goes: from the strongest down, all of which every caller of today can do in hardware or fast enough.
        config.ignore_client_order = true;
        config.alpn_protocols = alpn::to_callers();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Arc::new(ticketer);
        let config = Arc::new(config);
        Ok(Self(Arc::new(Inner { config, verifier, demand: demand.fingerprint })))
    }

    /// The state of one connection from a caller.
    ///
    /// # Errors
    /// Only where memory for it is lacking.
    pub fn accept(&self) -> Result<ServerConnection, rustls::Error> {
        ServerConnection::new(Arc::clone(&self.0.config))
    }

    /// Whether callers are asked for the same: a connection that one let in the other would let in too.
    pub fn demands_as(&self, other: &Self) -> bool {
        self.0.demand == other.0.demand
    }

    /// Verifies the certificate that came out of a resumed session, as at a full handshake.
    ///
    /// # Errors
    /// Why it is refused now.
    pub fn still_vouches(&self, chain: &[CertificateDer<'_>]) -> Result<(), Error> {
        match (&self.0.verifier, chain) {
            (Some(verifier), [own, intermediates @ ..]) => {
                verifier.verify_client_cert(own, intermediates, UnixTime::now()).map(|_| ())
            }
            _ => Ok(()),
        }
    }
}
