//! Which certificate is shown for which name.
//!
//! Invariants: an exact name is found before a wildcard; a wildcard stands for exactly one label (RFC 9525, section 6.3);
//! of two certificates with the same name the one written first is shown; a caller that asks for no name, or for one
//! that none has, is shown the first.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// The certificates of a listener by name.
#[derive(Debug)]
pub(crate) struct ByName {
    first: Arc<CertifiedKey>,
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what follows `*.`.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
}

impl ByName {
    /// `None` where there is no certificate at all.
    pub(crate) fn new(certificates: Vec<(Vec<String>, Arc<CertifiedKey>)>) -> Option<Self> {
        let first = Arc::clone(&certificates.first()?.1);
        let (mut exact, mut wildcard) = (HashMap::new(), HashMap::new());
        for (names, certificate) in certificates {
            for name in names {
                let (table, key) = match name.strip_prefix("*.") {
                    Some(rest) => (&mut wildcard, rest.to_owned()),
                    None => (&mut exact, name),
                };
                table.entry(key).or_insert_with(|| Arc::clone(&certificate));
            }
        }
        Some(Self { first, exact, wildcard })
    }

    /// The certificate for a name in lower case.
    fn find(&self, name: &str) -> &Arc<CertifiedKey> {
        let of_wildcard = || name.split_once('.').and_then(|(_, rest)| self.wildcard.get(rest));
        self.exact.get(name).or_else(of_wildcard).unwrap_or(&self.first)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        Some(Arc::clone(name.as_deref().map_or(&self.first, |name| self.find(name))))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;
    use rustls::crypto::aws_lc_rs::sign::any_supported_type;
    use rustls::pki_types::PrivateKeyDer;

    use super::*;

    fn certificate() -> Arc<CertifiedKey> {
        let key = rcgen::KeyPair::generate().unwrap().serialize_der();
        let key = any_supported_type(&PrivateKeyDer::try_from(key).unwrap()).unwrap();
        Arc::new(CertifiedKey::new(Vec::new(), key))
    }

    /// By trying every certificate in written order, exact names first.
    fn naive<'a>(certificates: &'a [(Vec<String>, Arc<CertifiedKey>)], asked: &str) -> &'a Arc<CertifiedKey> {
        let having = |name: String| certificates.iter().find(move |(names, _)| names.contains(&name));
        let wildcard = asked.split_once('.').map(|(_, rest)| format!("*.{rest}"));
        let found = having(asked.to_owned()).or_else(|| wildcard.and_then(having));
        &found.unwrap_or(&certificates[0]).1
    }

    proptest! {
        #[test]
        fn the_certificate_for_a_name_is_the_one_that_trying_all_finds(
            names in prop::collection::vec(prop::collection::vec(r"(\*|a|b)(\.(a|b)){0,2}", 0..4), 1..5),
            asked in r"(a|b|c)(\.(a|b)){0,3}",
        ) {
            let certificates: Vec<_> = names.into_iter().map(|names| (names, certificate())).collect();
            let by_name = ByName::new(certificates.clone()).unwrap();
            prop_assert!(Arc::ptr_eq(by_name.find(&asked), naive(&certificates, &asked)));
        }
    }

    #[test]
    fn without_certificates_there_is_nothing_to_show() {
        assert!(ByName::new(Vec::new()).is_none());
    }
}
