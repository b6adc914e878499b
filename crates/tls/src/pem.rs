//! PEM files to certificates and keys (RFC 7468).
//!
//! Invariant: the error is a half sentence that follows the file's name and says what to do.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Certificates of one file: a system's bundle has some 150.
const CERTIFICATES_MAX: usize = 10_000;

/// Every certificate of a file, at least one.
pub(crate) fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut certificates = Vec::new();
    for found in CertificateDer::pem_slice_iter(bytes) {
        certificates.push(found.map_err(|error| format!("is not sound PEM: {error}"))?);
        if certificates.len() > CERTIFICATES_MAX {
            return Err(format!("has more than {CERTIFICATES_MAX} certificates; name a smaller file"));
        }
    }
    if certificates.is_empty() {
        return Err("has no certificate: expected PEM with -----BEGIN CERTIFICATE-----".to_owned());
    }
    Ok(certificates)
}

/// The first private key of a file.
pub(crate) fn key(bytes: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    const ENCRYPTED: &[u8] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
    PrivateKeyDer::from_pem_slice(bytes).map_err(|_| {
        if bytes.windows(ENCRYPTED.len()).any(|window| window == ENCRYPTED) {
            "has an encrypted key: write it without a passphrase, with openssl pkey -in OLD -out NEW"
                .to_owned()
        } else {
            "has no private key: expected PEM with -----BEGIN PRIVATE KEY-----".to_owned()
        }
    })
}
