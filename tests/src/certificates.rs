//! Certificates of every kind, sound and not, made by the test that needs them.
//!
//! Invariants: keys are fresh in every run; files lie in a folder that goes with this value, beside `ca.pem` of the authority
//! that signed them.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tempfile::TempDir;

use crate::save;

/// An authority and a folder of certificates that it signed.
pub struct Certificates {
    folder: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    /// A fresh authority of this name.
    pub fn of(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        save(&folder.path().join("ca.pem"), authority.pem());
        Self { folder, authority }
    }

    /// One with `web.pem` for localhost and this machine's address.
    pub fn for_localhost() -> Self {
        let certificates = Self::of("Test CA");
        certificates.issue("web", &["localhost", "127.0.0.1"]);
        certificates
    }

    /// Where a file is.
    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Where a file is, as text.
    pub fn at(&self, file: &str) -> String {
        self.path(file).to_str().unwrap().to_owned()
    }

    /// Writes `FILE.pem` and `FILE.key`, for these names.
    pub fn issue(&self, file: &str, names: &[&str]) {
        self.issue_with(file, names, |_| {});
    }

    /// As `issue`, with a chance to change what is signed.
    pub fn issue_with(&self, file: &str, names: &[&str], change: impl FnOnce(&mut CertificateParams)) {
        let (params, key) = draft(file, names, change);
        self.keep(file, &params.signed_by(&key, &self.authority).unwrap().pem(), &key);
    }

    /// As `issue`, signed by its own key.
    pub fn issue_self_signed(&self, file: &str, names: &[&str]) {
        let (params, key) = draft(file, names, |_| {});
        self.keep(file, &params.self_signed(&key).unwrap().pem(), &key);
    }

    /// The key first: with another certificate beside it the two do not fit for a moment, whichever comes first.
    fn keep(&self, file: &str, certificate: &str, key: &KeyPair) {
        save(&self.path(&format!("{file}.key")), key.serialize_pem());
        save(&self.path(&format!("{file}.pem")), certificate);
    }

    /// A line of configuration: this certificate as the entry of a list.
    pub fn pair(&self, file: &str) -> String {
        let (certificate, key) = (self.at(&format!("{file}.pem")), self.at(&format!("{file}.key")));
        format!("certificate = \"{certificate}\", key = \"{key}\"")
    }

    /// `tls` of a listener with these certificates and these further keys.
    pub fn listener(&self, files: &[&str], further: &str) -> String {
        let pairs: Vec<String> = files.iter().map(|file| format!("{{ {} }}", self.pair(file))).collect();
        format!("tls = {{ certificates = [{}]{further} }}", pairs.join(", "))
    }

    /// A server that shows this certificate, and with `asks` demands one of this authority.
    pub fn server(&self, file: &str, asks: bool) -> Arc<ServerConfig> {
        let (chain, key) = self.read(file);
        let builder = ServerConfig::builder();
        let builder = if asks {
            builder.with_client_cert_verifier(WebPkiClientVerifier::builder(self.roots()).build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }

    /// A client that trusts this authority, and shows the certificate of this file, if one is named.
    pub fn client(&self, shows: Option<&str>) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder().with_root_certificates(self.roots());
        Arc::new(match shows.map(|file| self.read(file)) {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
        })
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        Arc::new(roots)
    }

    fn read(&self, file: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::pem_file_iter(self.path(&format!("{file}.pem"))).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{file}.key"))).unwrap();
        (chain.map(Result::unwrap).collect(), key)
    }
}

fn draft(
    file: &str,
    names: &[&str],
    change: impl FnOnce(&mut CertificateParams),
) -> (CertificateParams, KeyPair) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.is_ca = IsCa::ExplicitNoCa;
    params.distinguished_name.push(DnType::CommonName, file);
    change(&mut params);
    (params, KeyPair::generate().unwrap())
}
