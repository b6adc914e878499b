//! Who a caller proved to be by its certificate, in the form that requests, routes and log lines take.
//!
//! Invariants: made once a connection; a value never holds a byte that would end a header line or begin another; callers
//! cannot send these names themselves, since every incoming `x-isobar-*` is dropped and routes see ours alone.

use isobar_tls::PeerIdentity;

/// The subject, in the form of RFC 4514.
const SUBJECT: &str = "x-isobar-client-cert-subject";
/// An alternative name; a line for each.
const NAME: &str = "x-isobar-client-cert-san";

/// What names of ours begin with.
const OURS: &[u8] = b"x-isobar-";

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Caller {
    /// As it is in the certificate.
    pub(crate) identity: PeerIdentity,
    /// The header lines for endpoints.
    pub(crate) lines: Vec<u8>,
}

impl Caller {
    pub(crate) fn new(identity: PeerIdentity) -> Self {
        let mut lines = Vec::new();
        let subject = (!identity.subject.is_empty()).then_some((SUBJECT, &identity.subject));
        for (name, value) in subject.into_iter().chain(identity.names.iter().map(|value| (NAME, value))) {
            lines.extend_from_slice(name.as_bytes());
            lines.extend_from_slice(b": ");
            lines.extend(value.bytes().map(|byte| if (b' '..=b'~').contains(&byte) { byte } else { b'?' }));
            lines.extend_from_slice(b"\r\n");
        }
        Self { identity, lines }
    }

    /// Whether `test` accepts a value of the header `name`, which is in lower case.
    fn header_matches(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let identity = &self.identity;
        match name {
            SUBJECT => !identity.subject.is_empty() && test(identity.subject.as_bytes()),
            NAME => identity.names.iter().any(|value| test(value.as_bytes())),
            _ => false,
        }
    }
}

/// The answer to a rule about a header of ours, whatever the caller sent; `None` for any other header.
pub(crate) fn rule_about_ours(
    caller: Option<&Caller>,
    name: &str,
    test: &mut dyn FnMut(&[u8]) -> bool,
) -> Option<bool> {
    let is_ours = name.as_bytes().starts_with(OURS);
    is_ours.then(|| caller.is_some_and(|caller| caller.header_matches(name, test)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(subject: &str, names: &[&str]) -> Caller {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Caller::new(PeerIdentity { subject: subject.to_owned(), names })
    }

    #[test]
    fn subject_and_every_name_are_lines_and_no_value_ends_its_line() {
        let lines = caller("CN=a\r\nx: y,O=\u{e9}", &["spiffe://prod/cart", "cart.internal"]).lines;
        let expected = "x-isobar-client-cert-subject: CN=a??x: y,O=??\r\n\
                        x-isobar-client-cert-san: spiffe://prod/cart\r\nx-isobar-client-cert-san: cart.internal\r\n";
        assert_eq!(String::from_utf8_lossy(&lines), expected);
        assert!(caller("", &[]).lines.is_empty());
    }

    #[test]
    fn rules_about_ours_see_the_certificate_alone() {
        let caller = caller("CN=a", &["b", "c"]);
        let rule = |caller, name: &str, wanted: &str| {
            rule_about_ours(caller, name, &mut |value| value == wanted.as_bytes())
        };
        assert_eq!(rule(Some(&caller), NAME, "c"), Some(true));
        assert_eq!(rule(Some(&caller), NAME, "CN=a"), Some(false));
        assert_eq!(rule(Some(&caller), SUBJECT, "CN=a"), Some(true));
        assert_eq!(rule(Some(&caller), "x-isobar-endpoint", "c"), Some(false));
        assert_eq!(rule(None, NAME, "c"), Some(false));
        assert_eq!(rule(None, "x-other", "c"), None);
    }
}
