//! What a certificate says of whom it belongs to and how long it holds.
//!
//! Invariant: what cannot be read gives nothing, never a panic; verification is the library's business, not done here.

use std::time::Duration;

use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// Bytes of a subject or a name that are kept: they are repeated in log lines and in every request.
const TEXT_MAX: usize = 512;

/// Alternative names that are kept: callers have one or two, and each is a header line of every request.
const NAMES_MAX: usize = 16;

/// Who a verified certificate belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeerIdentity {
    /// The subject in the form of RFC 4514, most specific part first; empty where the certificate has none.
    pub subject: String,
    /// The first alternative names, in order: host names, URIs and mail addresses.
    pub names: Vec<String>,
}

impl PeerIdentity {
    /// Reads a certificate that was verified.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let Ok(parsed) = Certificate::from_der(certificate) else { return Self::default() };
        let subject = shortened(parsed.tbs_certificate().subject().to_string());
        let names = alternative_names(&parsed).into_iter().filter_map(|name| match name {
            GeneralName::DnsName(text)
            | GeneralName::UniformResourceIdentifier(text)
            | GeneralName::Rfc822Name(text) => Some(shortened(text.to_string())),
            _ => None,
        });
        Self { subject, names: names.take(NAMES_MAX).collect() }
    }
}

fn shortened(mut text: String) -> String {
    if text.len() > TEXT_MAX {
        text.truncate(text.floor_char_boundary(TEXT_MAX));
    }
    text
}

fn alternative_names(certificate: &Certificate) -> Vec<GeneralName> {
    let found = certificate.tbs_certificate().get_extension::<SubjectAltName>();
    found.ok().flatten().map(|(_, names)| names.0).unwrap_or_default()
}

/// What is read of a certificate of ours.
pub(crate) struct Own {
    /// Host names, lower case; a wildcard as it is written.
    pub(crate) names: Vec<String>,
    /// Since 1970.
    pub(crate) not_after: Duration,
}

impl Own {
    /// Reads a certificate; the error follows the file's name.
    pub(crate) fn read(certificate: &CertificateDer<'_>) -> Result<Self, String> {
        let parsed = Certificate::from_der(certificate)
            .map_err(|error| format!("holds a certificate that cannot be read: {error}"))?;
        let names = alternative_names(&parsed).into_iter().filter_map(|name| match name {
            GeneralName::DnsName(text) => Some(text.to_string().to_ascii_lowercase()),
            _ => None,
        });
        Ok(Self {
            names: names.collect(),
            not_after: parsed.tbs_certificate().validity().not_after.to_unix_duration(),
        })
    }
}
