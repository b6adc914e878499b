//! Host patterns and the form in which hosts are compared.
//!
//! Invariant: hosts are compared in lower case and without a trailing dot, patterns and requests alike.
//! Limit: a host longer than `HOST_MAX` matches no pattern.

use std::net::Ipv6Addr;

/// Longest host that can be named: 253 bytes of a domain name (RFC 1035, section 2.3.4, in its text form)
/// and the trailing dot.
pub(crate) const HOST_MAX: usize = 254;

/// Longest label of a domain name (RFC 1035, section 2.3.4).
const LABEL_MAX: usize = 63;

/// Which hosts a route serves.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum HostPattern {
    /// This host, in lower case.
    Exact(String),
    /// Every host that ends so and has one or more labels before: `.example.com` for `*.example.com`.
    Suffix(String),
}

impl HostPattern {
    /// Reads `shop.example.com`, `*.example.com`, `192.0.2.1` or `[2001:db8::1]`, in any case.
    ///
    /// # Errors
    /// What is wrong and what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let host = lower.strip_suffix('.').unwrap_or(&lower);
        if host == "*" {
            return Err("\"*\" alone: leave the host out to match every host".into());
        }
        if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return match inner.parse::<Ipv6Addr>() {
                Ok(_) => Ok(Self::Exact(host.into())),
                Err(_) => Err(format!("\"{text}\" is not an IPv6 address in brackets")),
            };
        }
        let (name, suffix) = match host.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (host, false),
        };
        check_name(name, text)?;
        Ok(if suffix { Self::Suffix(format!(".{name}")) } else { Self::Exact(name.into()) })
    }
}

fn check_name(name: &str, text: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("a host must not be empty: leave it out to match every host".into());
    }
    if name.len() >= HOST_MAX {
        return Err(format!("\"{text}\" is longer than {} bytes", HOST_MAX - 1));
    }
    if name.contains('*') {
        return Err(format!(
            "\"{text}\": \"*\" stands only for whole labels at the front, as in \"*.example.com\""
        ));
    }
    if name.contains(':') {
        return Err(format!("\"{text}\": write the host without a port, an IPv6 address in brackets"));
    }
    if !name.is_ascii() {
        return Err(format!("\"{text}\": write an international name in its \"xn--\" form"));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let label_is_sound = |label: &str| (1..=LABEL_MAX).contains(&label.len()) && label.bytes().all(plain);
    if !name.split('.').all(label_is_sound) {
        return Err(format!(
            "\"{text}\" is not a host name: labels of 1 to {LABEL_MAX} letters, digits, \"-\" or \"_\", with dots between"
        ));
    }
    Ok(())
}

/// Holds a host in the form that it is compared in, without allocation.
pub(crate) struct HostForm {
    bytes: [u8; HOST_MAX],
    len: usize,
}

impl HostForm {
    /// Lower case, without a trailing dot; empty, which no pattern matches, if it is too long.
    pub(crate) fn new(host: &[u8]) -> Self {
        let host = host.strip_suffix(b".").unwrap_or(host);
        let mut form = Self { bytes: [0; HOST_MAX], len: 0 };
        if let Some(target) = form.bytes.get_mut(..host.len()) {
            target.copy_from_slice(host);
            target.make_ascii_lowercase();
            form.len = host.len();
        }
        form
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
