//! Reads every file that `tls` names and makes of them what speaks TLS.
//!
//! Invariants: each file is read once a load, however many listeners name it; a load that fails gives every problem there
//! is and nothing else.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use isobar_config::{CertificateFiles, ClientAuth, ListenerTls, ServiceTls, Settings};
use rustls::crypto::{CryptoProvider, aws_lc_rs as crypto};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};

use crate::digest::{Digest, Fingerprint};
use crate::identity::Own;
use crate::names::ByName;
use crate::originator::Originator;
use crate::pem;
use crate::problem::{Problem, TlsProblems};
use crate::terminator::{Demand, Terminator};
use crate::tickets::{TicketKeys, Ticketer};

/// Reads a whole file.
pub type ReadFile<'a> = dyn Fn(&Path) -> io::Result<Vec<u8>> + 'a;

/// When a certificate of a listener or service ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateExpiry {
    /// Its file.
    pub file: PathBuf,
    /// Since 1970.
    pub not_after: Duration,
}

/// What speaks TLS in one configuration.
#[derive(Debug, Clone, Default)]
pub struct TlsSet {
    /// In the order of the settings; `None` speaks plain HTTP.
    pub listeners: Vec<Option<Terminator>>,
    /// In the order of the settings; `None` is spoken to in the clear.
    pub services: Vec<Option<Originator>>,
    /// Our own certificates, each file once, in the order of the settings.
    pub expiries: Vec<CertificateExpiry>,
    /// Over everything that was read: two loads of the same settings with the same have the same certificates.
    pub fingerprint: Fingerprint,
}

/// Every file that the settings name.
pub fn paths(settings: &Settings) -> BTreeSet<PathBuf> {
    let pair = |files: &CertificateFiles| [files.certificate.clone(), files.key.clone()];
    let of_listener = |tls: &ListenerTls| {
        tls.certificates.iter().flat_map(pair).chain(tls.client_ca.clone()).collect::<Vec<_>>()
    };
    let of_service =
        |tls: &ServiceTls| tls.certificate.iter().flat_map(pair).chain(tls.ca.clone()).collect::<Vec<_>>();
    let listeners = settings.listeners.iter().filter_map(|listener| listener.tls.as_ref());
    let services = settings.services.iter().filter_map(|service| service.tls.as_ref());
    listeners.flat_map(of_listener).chain(services.flat_map(of_service)).collect()
}

/// Loads everything.
///
/// # Errors
/// Every problem of every file.
pub fn load(settings: &Settings, read: &ReadFile<'_>, keys: &Arc<TicketKeys>) -> Result<TlsSet, TlsProblems> {
    let mut loader = Loader {
        read,
        keys,
        provider: Arc::new(crypto::default_provider()),
        files: HashMap::new(),
        system: None,
        problems: Vec::new(),
        set: TlsSet::default(),
    };
    for listener in &settings.listeners {
        let user = format!("listener \"{}\"", listener.name);
        let made = listener.tls.as_ref().and_then(|tls| loader.listener(&user, &listener.name, tls));
        loader.set.listeners.push(made);
    }
    for service in &settings.services {
        let user = format!("service \"{}\"", service.name);
        let made = service.tls.as_ref().and_then(|tls| loader.service(&user, tls));
        loader.set.services.push(made);
    }
    loader.finish(settings)
}

/// Whom the system trusts.
#[derive(Clone)]
struct SystemRoots {
    /// Empty where it trusts nobody.
    roots: Arc<RootCertStore>,
    fingerprint: Fingerprint,
}

struct Loader<'a> {
    read: &'a ReadFile<'a>,
    keys: &'a Arc<TicketKeys>,
    provider: Arc<CryptoProvider>,
    files: HashMap<PathBuf, Option<Arc<[u8]>>>,
    /// The system's roots, once a service needed them.
    system: Option<SystemRoots>,
    problems: Vec<Problem>,
    set: TlsSet,
}

impl Loader<'_> {
    fn finish(mut self, settings: &Settings) -> Result<TlsSet, TlsProblems> {
        if !self.problems.is_empty() {
            return Err(TlsProblems(self.problems));
        }
        let mut whole = Digest::new();
        for path in paths(settings) {
            whole.add(path.as_os_str().as_encoded_bytes());
            whole.add(self.files.get(&path).and_then(|bytes| bytes.as_deref()).unwrap_or_default());
        }
        if let Some(system) = &self.system {
            whole.add(&system.fingerprint);
        }
        self.set.fingerprint = whole.finish();
        Ok(self.set)
    }

    fn bytes(&mut self, user: &str, path: &Path) -> Option<Arc<[u8]>> {
        if let Some(known) = self.files.get(path) {
            return known.clone();
        }
        let bytes = match (self.read)(path) {
            Ok(bytes) => Some(Arc::from(bytes)),
            Err(error) => {
                let what = format!("cannot be read: {error}; check the path and who may read it");
                self.problems.push(Problem::of(user, path, what));
                None
            }
        };
        self.files.insert(path.to_owned(), bytes.clone());
        bytes
    }

    fn parse<T>(
        &mut self,
        user: &str,
        path: &Path,
        parse: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Option<T> {
        let bytes = self.bytes(user, path)?;
        parse(&bytes).map_err(|what| self.problems.push(Problem::of(user, path, what))).ok()
    }

    fn certified(&mut self, user: &str, files: &CertificateFiles) -> Option<(Vec<String>, CertifiedKey)> {
        let chain = self.parse(user, &files.certificate, pem::certificates);
        let key = self.parse(user, &files.key, pem::key);
        let (chain, key) = chain.zip(key)?;
        let own = self.parse(user, &files.certificate, |_| Own::read(&chain[0]))?;
        let provider = Arc::clone(&self.provider);
        let certified = self.parse(user, &files.key, |_| {
            CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => {
                    format!(
                        "is not the key of {}: name the two that belong together",
                        files.certificate.display()
                    )
                }
                other => format!("has a key that cannot be used: {other}"),
            })
        })?;
        let expiry = CertificateExpiry { file: files.certificate.clone(), not_after: own.not_after };
        if !self.set.expiries.contains(&expiry) {
            self.set.expiries.push(expiry);
        }
        Some((own.names, certified))
    }

    fn roots(&mut self, user: &str, path: &Path) -> Option<RootCertStore> {
        self.parse(user, path, |bytes| root_store(pem::certificates(bytes)?))
    }

    fn listener(&mut self, user: &str, name: &str, tls: &ListenerTls) -> Option<Terminator> {
        let certificates: Vec<_> = tls
            .certificates
            .iter()
            .map(|files| self.certified(user, files).map(|(names, certified)| (names, Arc::new(certified))))
            .collect();
        let roots = match &tls.client_ca {
            Some(path) => self.roots(user, path),
            None => Some(RootCertStore::empty()),
        };
        let certificates = ByName::new(certificates.into_iter().collect::<Option<_>>()?)?;
        let demand =
            Demand { mode: tls.client_auth, roots: roots?, fingerprint: self.demand_fingerprint(tls) };
        if let Err(reason) = self.keys.draw() {
            self.problems.push(Problem::without_file(user, reason.to_string()));
            return None;
        }
        let mut context = Digest::new();
        context.add(name.as_bytes());
        context.add(&demand.fingerprint);
        let ticketer = Ticketer { keys: Arc::clone(self.keys), context: context.finish() };
        Terminator::new(&self.provider, certificates, &demand, tls.min_version, ticketer)
            .map_err(|what| {
                self.problems.push(Problem { user: user.to_owned(), file: tls.client_ca.clone(), what });
            })
            .ok()
    }

    /// Over what is demanded of callers.
    fn demand_fingerprint(&self, tls: &ListenerTls) -> Fingerprint {
        let mut demand = Digest::new();
        demand.add(&[match tls.client_auth {
            ClientAuth::Off => 0,
            ClientAuth::Optional => 1,
            ClientAuth::Required => 2,
        }]);
        let roots = tls.client_ca.as_ref().and_then(|path| self.files.get(path)).and_then(Option::as_deref);
        demand.add(roots.unwrap_or_default());
        demand.finish()
    }

    fn service(&mut self, user: &str, tls: &ServiceTls) -> Option<Originator> {
        let roots = match &tls.ca {
            Some(path) => self.roots(user, path).map(Arc::new),
            None => self.system_roots(user).map(|system| system.roots),
        };
        let shown = tls.certificate.as_ref().map(|files| self.certified(user, files));
        let shown = match shown {
            None => None,
            Some(certified) => Some(certified?.1),
        };
        let sni = match tls.sni.clone().map(ServerName::try_from) {
            Some(Err(error)) => {
                self.problems
                    .push(Problem::without_file(user, format!("`tls.sni` is no host name: {error}")));
                return None;
            }
            Some(Ok(name)) => Some(name),
            None => None,
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| self.problems.push(Problem::without_file(user, error.to_string())))
            .ok()?
            .with_root_certificates(roots?);
        let config = match shown {
            None => builder.with_no_client_auth(),
            Some(certified) => {
                builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)))
            }
        };
        Some(Originator::new(config, sni, self.fingerprint(tls)))
    }

    fn fingerprint(&self, tls: &ServiceTls) -> Fingerprint {
        let mut whole = Digest::new();
        whole.add(tls.sni.as_deref().unwrap_or_default().as_bytes());
        if let (None, Some(system)) = (&tls.ca, &self.system) {
            whole.add(&system.fingerprint);
        }
        let files = tls.certificate.iter().flat_map(|files| [&files.certificate, &files.key]);
        for path in tls.ca.iter().chain(files) {
            whole.add(path.as_os_str().as_encoded_bytes());
            whole.add(self.files.get(path).and_then(|bytes| bytes.as_deref()).unwrap_or_default());
        }
        whole.finish()
    }

    fn system_roots(&mut self, user: &str) -> Option<SystemRoots> {
        let system = self.system.get_or_insert_with(SystemRoots::read).clone();
        if system.roots.is_empty() {
            let what =
                "the system trusts no CA: install its bundle (Debian: ca-certificates), or set `tls.ca`";
            self.problems.push(Problem::without_file(user, what));
            return None;
        }
        Some(system)
    }
}

impl SystemRoots {
    fn read() -> Self {
        let found = rustls_native_certs::load_native_certs();
        let (mut roots, mut whole) = (RootCertStore::empty(), Digest::new());
        for certificate in found.certs {
            whole.add(&certificate);
            // A bundle of a system may hold certificates that are too odd for the library; the others do.
            roots.add_parsable_certificates([certificate]);
        }
        Self { roots: Arc::new(roots), fingerprint: whole.finish() }
    }
}

fn root_store(certificates: Vec<CertificateDer<'static>>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|error| format!("has a certificate that cannot be a CA: {error}"))?;
    }
    Ok(roots)
}
