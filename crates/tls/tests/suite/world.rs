//! Files of certificates in memory, settings that name them, and both ends of a handshake.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use isobar_config::{FileSource, Settings};
use isobar_tls::{TicketKeys, TlsProblems, TlsSet, load};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, Connection, Error, RootCertStore, ServerConfig};

/// An authority, and the files that were made so far.
pub(crate) struct World {
    authority: CertifiedIssuer<'static, KeyPair>,
    pub(crate) files: HashMap<PathBuf, Vec<u8>>,
}

/// A chain of one, and its key.
pub(crate) struct Issued {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

struct OneFile(String);

impl FileSource for OneFile {
    fn read(&self, _: &Path) -> io::Result<String> {
        Ok(self.0.clone())
    }

    fn expand(&self, _: &Path, _: &str) -> io::Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }
}

/// Settings of this text; its paths begin at the root.
pub(crate) fn settings(text: &str) -> Settings {
    let loaded = isobar_config::load(Path::new("/isobar.toml"), &OneFile(text.to_owned()), &|_| None);
    loaded.unwrap_or_else(|errors| panic!("{}", errors.render(false))).settings
}

impl World {
    /// `/ca.pem` is there.
    pub(crate) fn new() -> Self {
        Self::of("Test CA")
    }

    /// With an authority of this name.
    pub(crate) fn of(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let files = HashMap::from([("/ca.pem".into(), authority.pem().into_bytes())]);
        Self { authority, files }
    }

    /// Makes `/NAME.pem` and `/NAME.key` for these names, after `change`.
    pub(crate) fn issue_with(
        &mut self,
        name: &str,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        self.files.insert(format!("/{name}.pem").into(), certificate.pem().into_bytes());
        self.files.insert(format!("/{name}.key").into(), key.serialize_pem().into_bytes());
        Issued {
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        }
    }

    pub(crate) fn issue(&mut self, name: &str, names: &[&str]) -> Issued {
        self.issue_with(name, names, |_| {})
    }

    /// Loads what this text names.
    pub(crate) fn try_load(&self, text: &str, keys: &Arc<TicketKeys>) -> Result<TlsSet, TlsProblems> {
        let read = |path: &Path| self.files.get(path).cloned().ok_or(io::ErrorKind::NotFound.into());
        load(&settings(text), &read, keys)
    }

    pub(crate) fn load(&self, text: &str) -> TlsSet {
        self.try_load(text, &Arc::default()).unwrap()
    }

    pub(crate) fn problems(&self, text: &str) -> String {
        self.try_load(text, &Arc::default()).unwrap_err().to_string()
    }

    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        roots
    }

    /// A caller that trusts the authority.
    pub(crate) fn caller(&self, shows: Option<Issued>) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder().with_root_certificates(self.roots());
        Arc::new(match shows {
            None => builder.with_no_client_auth(),
            Some(Issued { chain, key }) => builder.with_client_auth_cert(chain, key).unwrap(),
        })
    }
}

/// An endpoint that shows this.
pub(crate) fn endpoint(Issued { chain, key }: Issued) -> ServerConfig {
    ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap()
}

/// One listener with these keys of `tls`.
pub(crate) fn listener(tls: &str) -> String {
    format!("[[listeners]]\nname = \"web\"\nlisten = \":1\"\ntls = {{ {tls} }}\n")
}

/// One service with this `tls`.
pub(crate) fn service(tls: &str) -> String {
    let listener = "[[listeners]]\nname = \"web\"\nlisten = \":1\"\nservice = \"app\"\n";
    format!("{listener}[services.app]\nendpoints = [\"a:1\"]\ntls = {tls}\n")
}

/// Lets two ends speak until neither has anything to say, or one of them cannot go on.
pub(crate) fn speak(one: &mut Connection, other: &mut Connection) -> Result<(), Error> {
    loop {
        let mut is_quiet = true;
        for place in 0..2 {
            let (from, to) = if place == 0 { (&mut *one, &mut *other) } else { (&mut *other, &mut *one) };
            let mut bytes = Vec::new();
            while from.wants_write() {
                from.write_tls(&mut bytes).unwrap();
            }
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                is_quiet = false;
                to.read_tls(&mut rest).unwrap();
                to.process_new_packets()?;
            }
        }
        if is_quiet {
            return Ok(());
        }
    }
}
