//! Certificates of a run, and TLS as its callers speak it.
//!
//! Invariants: every caller offers TLS 1.3, one cipher suite and one group, so that all peers do the same arithmetic
//! whatever they prefer; the key of the peers is ECDSA P-256; no caller resumes a session.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::error::BenchError;
use crate::layout::Layout;

/// The name that the certificate is for.
pub(crate) const HOST: &str = "bench.local";
/// The one cipher suite, as OpenSSL calls it.
pub(crate) const CIPHER_SUITE: &str = "TLS_AES_128_GCM_SHA256";
/// The one group, as OpenSSL calls it.
pub(crate) const GROUP: &str = "X25519";

/// Files of one run: fresh with each, so that no key is ever committed.
#[derive(Debug)]
pub(crate) struct Certificates {
    /// The certificate of the peers.
    pub(crate) certificate: PathBuf,
    /// Its key.
    pub(crate) key: PathBuf,
    /// Both in one file, as one of the peers wants them.
    pub(crate) both: PathBuf,
    /// The authority that signed it.
    pub(crate) authority: PathBuf,
    /// What OpenSSL is told through its environment.
    openssl: PathBuf,
    roots: Arc<RootCertStore>,
}

impl Certificates {
    /// Makes an authority and one certificate.
    pub(crate) fn make(layout: &Layout) -> Result<Self, BenchError> {
        let folder = layout.fresh_run_folder("certificates")?;
        let (authority, certificate, key) = issue().map_err(|error| wrong(&error))?;
        let openssl = format!(
            "openssl_conf = main\n[main]\nssl_conf = ssl\n[ssl]\nsystem_default = default\n[default]\n\
             MinProtocol = TLSv1.3\nCiphersuites = {CIPHER_SUITE}\nGroups = {GROUP}\n"
        );
        let save = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).map_err(BenchError::file(&path))?;
            Ok::<_, BenchError>(path)
        };
        let authority = save("authority.pem", &authority)?;
        Ok(Self {
            roots: read_roots(&authority)?,
            authority,
            certificate: save("peer.pem", &certificate)?,
            key: save("peer.key", &key)?,
            both: save("both.pem", &format!("{certificate}{key}"))?,
            openssl: save("openssl.cnf", &openssl)?,
        })
    }

    /// Makes a program that stands on OpenSSL speak TLS as [`Certificates::callers`] do.
    pub(crate) fn bind_openssl(&self, command: &mut Command) {
        command.env("OPENSSL_CONF", &self.openssl);
    }

    /// As [`callers`], believing the authority of this run.
    pub(crate) fn callers(&self, protocols: &[&[u8]]) -> Result<Arc<ClientConfig>, BenchError> {
        callers(Arc::clone(&self.roots), protocols)
    }
}

/// The authority in a file, to be believed.
pub(crate) fn read_roots(path: &Path) -> Result<Arc<RootCertStore>, BenchError> {
    let authority = CertificateDer::from_pem_file(path).map_err(|error| wrong(&error))?;
    let mut roots = RootCertStore::empty();
    roots.add(authority).map_err(|error| wrong(&error))?;
    Ok(Arc::new(roots))
}

/// TLS of our own callers, who verify what they are shown; `protocols` is what they offer by ALPN.
pub(crate) fn callers(
    roots: Arc<RootCertStore>,
    protocols: &[&[u8]],
) -> Result<Arc<ClientConfig>, BenchError> {
    let provider = CryptoProvider {
        cipher_suites: vec![cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![kx_group::X25519],
        ..aws_lc_rs::default_provider()
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| wrong(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

fn wrong(error: &dyn std::error::Error) -> BenchError {
    BenchError::Machine(format!("no certificates: {error}"))
}

/// The authority's certificate, and certificate and key of the peers, as PEM.
fn issue() -> Result<(String, String, String), rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, "Bench CA");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    // ECDSA P-256 is what this generates unless told otherwise.
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec![HOST.to_owned()])?.signed_by(&key, &authority)?;
    Ok((authority.pem(), certificate.pem(), key.serialize_pem()))
}
