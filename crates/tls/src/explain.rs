//! Why a handshake failed, in words that an operator can act upon.
//!
//! Invariant: a text is one line, whatever the other side sent.

use rustls::{AlertDescription, CertificateError, Error};

/// Names of a certificate that are told; some certificates have hundreds.
const NAMES_MAX: usize = 8;

/// Half a sentence about the peer, without its name.
pub fn explain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(problem) => explain_certificate(problem),
        Error::AlertReceived(alert) => explain_alert(*alert),
        Error::InvalidMessage(_) => "it does not speak TLS there".to_owned(),
        Error::PeerIncompatible(_) => {
            format!("it speaks no version or cipher of TLS that is spoken here ({error})")
        }
        Error::NoApplicationProtocol => "it does not speak HTTP/1.1 there".to_owned(),
        other => other.to_string(),
    }
}

fn explain_certificate(problem: &CertificateError) -> String {
    match problem {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired: renew it, or set this machine's clock".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet: set this machine's clock".to_owned()
        }
        CertificateError::NotValidForName => {
            "its certificate is for another name: set `tls.sni` of the service to a name that it has".to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let has = names(presented);
            format!(
                "its certificate is not for {} but for {has}: set `tls.sni` of the service to a name that it has",
                expected.to_str()
            )
        }
        CertificateError::UnknownIssuer => {
            "its certificate is self-signed or signed by a CA that is not trusted: name that CA in `tls.ca` of the service"
                .to_owned()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its certificate is not made for servers (extended key usage)".to_owned()
        }
        // Also what a CA of the same name with another key looks like.
        CertificateError::BadSignature => {
            "its certificate was not signed by the CA of that name that is trusted, but perhaps by its successor: name the \
             present one in `tls.ca` of the service"
                .to_owned()
        }
        CertificateError::Revoked => "its certificate has been revoked".to_owned(),
        // The verifier's own errors come without a type that is public here.
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "its certificate is marked as a CA's, as `openssl req -x509` makes them when nothing else is said: make one \
             with basicConstraints=CA:FALSE"
                .to_owned()
        }
        other if format!("{other:?}").contains("UnsupportedCertVersion") => {
            "its certificate is of the old version 1, which has no names: make one of version 3 with subjectAltName"
                .to_owned()
        }
        other => format!("its certificate is refused: {other}"),
    }
}

/// Names of a certificate as the library tells them: `DnsName("a.test")`, `IpAddress(127.0.0.1)`.
fn names(presented: &[String]) -> String {
    if presented.is_empty() {
        return "no name".to_owned();
    }
    let plain = |name: &String| {
        let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
        // They come from the other side: nothing in them may look like a line of the log.
        inner.trim_matches('"').escape_debug().to_string()
    };
    let mut told = presented.iter().take(NAMES_MAX).map(plain).collect::<Vec<_>>().join(", ");
    if presented.len() > NAMES_MAX {
        told.push_str(", and more");
    }
    told
}

fn explain_alert(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired => {
            "it demands a certificate: set `tls.certificate` and `tls.key` of the service".to_owned()
        }
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown => {
            format!("it refuses the certificate that it was shown ({alert:?})")
        }
        AlertDescription::UnrecognisedName => {
            "it has no certificate for the name it was asked for".to_owned()
        }
        AlertDescription::NoApplicationProtocol => {
            "it does not offer the protocol that it was asked for (ALPN): does it speak HTTP/2, if that is the service's \
             `protocol`?"
                .to_owned()
        }
        other => format!("it broke the handshake off ({other:?})"),
    }
}
