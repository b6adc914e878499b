//! The checked settings of `tls`: which files, which versions, whose certificates.
//!
//! Invariant: paths are relative to the configuration file's folder already; what the files hold is not known here.

use std::path::PathBuf;

/// `tls` of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListenerTls {
    /// At least one; the first is shown to callers that ask for no name that another has.
    pub certificates: Vec<CertificateFiles>,
    /// Whether callers show a certificate.
    pub client_auth: ClientAuth,
    /// Who may sign it; there unless `client_auth` is off.
    pub client_ca: Option<PathBuf>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
}

/// A certificate chain and its key, both in PEM.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CertificateFiles {
    /// The certificate, and behind it those that lead to its CA.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Whether callers show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientAuth {
    /// They are not asked.
    Off,
    /// They may show one; a wrong one is refused.
    Optional,
    /// They must.
    Required,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// `tls` of a service; its default is what `tls = true` means.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ServiceTls {
    /// Who may sign the endpoints' certificates; `None`: whom the system trusts.
    pub ca: Option<PathBuf>,
    /// The name that endpoints are asked for; `None`: the host name that the endpoint was written with, else its address.
    pub sni: Option<String>,
    /// What is shown to endpoints.
    pub certificate: Option<CertificateFiles>,
}
