//! Host patterns and the form in which hosts are compared.
//!
//! Invariant: hosts are compared in lower case and without a trailing dot, patterns and requests alike.
//! Limits: a host longer than `HOST_MAX` matches no pattern; IPv6 addresses are compared as text, in the
//! spelling of the pattern.

use std::net::Ipv6Addr;

/// Longest host that can be named, without a trailing dot (RFC 1035, section 2.3.4: 255 bytes on the wire,
/// which are 253 in text).
pub(crate) const HOST_MAX: usize = 253;

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
    if name.len() > HOST_MAX {
        return Err(format!("\"{text}\" is longer than {HOST_MAX} bytes"));
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
pub struct HostForm {
    bytes: [u8; HOST_MAX],
    len: usize,
}

impl HostForm {
    /// Lower case, without a trailing dot; empty, which no pattern matches, if it is too long.
    pub fn new(host: &[u8]) -> Self {
        let host = host.strip_suffix(b".").unwrap_or(host);
        let mut form = Self { bytes: [0; HOST_MAX], len: 0 };
        if let Some(target) = form.bytes.get_mut(..host.len()) {
            target.copy_from_slice(host);
            target.make_ascii_lowercase();
            form.len = host.len();
        }
        form
    }

    /// The form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_in_any_case_and_with_a_trailing_dot() {
        let exact = |text: &str| Ok(HostPattern::Exact(text.into()));
        assert_eq!(HostPattern::parse("Shop.Example.COM"), exact("shop.example.com"));
        assert_eq!(HostPattern::parse("shop.example.com."), exact("shop.example.com"));
        assert_eq!(HostPattern::parse("localhost"), exact("localhost"));
        assert_eq!(HostPattern::parse("my_service-1"), exact("my_service-1"));
        assert_eq!(HostPattern::parse("192.0.2.1"), exact("192.0.2.1"));
        assert_eq!(HostPattern::parse("[2001:DB8::1]"), exact("[2001:db8::1]"));
        assert_eq!(HostPattern::parse("*.Example.com"), Ok(HostPattern::Suffix(".example.com".into())));
    }

    #[test]
    fn what_is_not_a_host_says_what_to_write() {
        let refused = |text: &str, hint: &str| match HostPattern::parse(text) {
            Ok(pattern) => panic!("{text} was read as {pattern:?}"),
            Err(error) => assert!(error.contains(hint), "{text}: {error}"),
        };
        refused("", "leave it out");
        refused(".", "leave it out");
        refused("*", "leave the host out");
        refused("*.", "leave the host out");
        refused("a.*.com", "at the front");
        refused("**.com", "at the front");
        refused("example.com:80", "without a port");
        refused("::1", "in brackets");
        refused("[::g]", "IPv6");
        refused("b\u{fc}cher.example", "xn--");
        refused("a..b", "labels");
        refused("a b", "labels");
        refused("http://a", "without a port");
        refused(&"a".repeat(64), "labels");
        refused(&["a"; 128].join("."), "longer than 253");
    }

    #[test]
    fn the_form_of_a_host_is_lower_case_without_its_dot() {
        assert_eq!(HostForm::new(b"Shop.Example.COM.").as_bytes(), b"shop.example.com");
        assert_eq!(HostForm::new(b"").as_bytes(), b"");
        assert_eq!(HostForm::new(&[b'a'; HOST_MAX]).as_bytes(), [b'a'; HOST_MAX]);
        assert_eq!(HostForm::new(&[b'a'; HOST_MAX + 1]).as_bytes(), b"");
    }
}
