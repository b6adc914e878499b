//! The hash of the part of a request that its service places requests by.
//!
//! Invariants: computed once a request, without allocation; the same request has the same hash on every worker, whatever
//! protocol it came by. A part that is absent or empty is no key. Limits: values are taken as they are written, the first
//! where a name is repeated.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use isobar_config::HashKey;
use isobar_core::HostForm;
use isobar_http1::{HeaderId, RequestHead, authority_host};

use crate::caller::{Caller, rule_about_ours};
use crate::plan::Placement;

/// Bytes of an address as text, at most: IPv6 that ends in the form of IPv4.
const ADDRESS_TEXT_MAX: usize = 45;

/// The hash; `normal_path` is the path that was routed on where it differs from the one received, else empty. `proxies`
/// are those that are believed, where `peer` is one of them.
pub(super) fn hash(
    placement: &Placement,
    request: &RequestHead,
    head: &[u8],
    normal_path: &[u8],
    peer: Option<IpAddr>,
    proxies: Option<&[IpNet]>,
    caller: Option<&Caller>,
) -> Option<u64> {
    let hash = |value: &[u8]| (!value.is_empty()).then(|| placement.layout.hash(value));
    match &placement.key {
        HashKey::ClientIp => {
            let said = proxies.and_then(|proxies| forwarded_for(request, head, proxies));
            let mut text = [0; ADDRESS_TEXT_MAX];
            let mut rest = &mut text[..];
            write!(rest, "{}", said.or(peer)?).ok()?;
            let n_free = rest.len();
            hash(&text[..ADDRESS_TEXT_MAX - n_free])
        }
        HashKey::Header(name) => {
            let mut of_ours = None;
            // Ours tell of the caller's certificate; what a caller sends under such a name is not believed.
            match rule_about_ours(caller, name, &mut |value| {
                of_ours = hash(value);
                true
            }) {
                Some(_) => of_ours,
                None => hash(header(request, head, name)?),
            }
        }
        HashKey::Cookie(name) => hash(
            request.fields_named(HeaderId::Cookie, head).find_map(|field| cookie(field, name.as_bytes()))?,
        ),
        HashKey::Query(name) => hash(parameter(request.query.of(head), name.as_bytes())?),
        HashKey::Path => {
            let path = if normal_path.is_empty() { request.path.of(head) } else { normal_path };
            hash(if path.is_empty() { b"/" } else { path })
        }
        HashKey::Host => hash(HostForm::new(authority_host(request.authority.of(head))).as_bytes()),
    }
}

/// Whom a chain of proxies that are believed forwards for: of the addresses in `x-forwarded-for` the last one that is not
/// a proxy of theirs, else the first; what stands before a word that is no address was written by nobody known.
fn forwarded_for(request: &RequestHead, head: &[u8], proxies: &[IpNet]) -> Option<IpAddr> {
    let (mut first, mut last_other) = (None, None);
    let fields = request.fields_named(HeaderId::XForwardedFor, head);
    for word in fields.flat_map(|field| field.split(|byte| *byte == b',')) {
        let Some(address) = address(word.trim_ascii()) else {
            (first, last_other) = (None, None);
            continue;
        };
        first = first.or(Some(address));
        if !proxies.iter().any(|network| network.contains(&address)) {
            last_other = Some(address);
        }
    }
    last_other.or(first)
}

/// An address, with or without a port.
fn address(word: &[u8]) -> Option<IpAddr> {
    let word = std::str::from_utf8(word).ok()?;
    let bare = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')).unwrap_or(word);
    let address = bare.parse().ok().or_else(|| Some(word.parse::<SocketAddr>().ok()?.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

fn header<'a>(request: &RequestHead, head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut fields = request.fields.iter();
    let field = fields.find(|field| field.name.of(head).eq_ignore_ascii_case(name.as_bytes()))?;
    Some(field.value.of(head))
}

/// The value of a cookie in a `Cookie` field (RFC 6265, section 4.2.1).
pub(super) fn cookie<'a>(field: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    field.split(|byte| *byte == b';').find_map(|pair| value(pair.trim_ascii(), name))
}

/// The value of a parameter in a query, which begins with `?`.
fn parameter<'a>(query: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    query.strip_prefix(b"?")?.split(|byte| *byte == b'&').find_map(|pair| value(pair, name))
}

fn value<'a>(pair: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    pair.strip_prefix(name)?.strip_prefix(b"=")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use isobar_core::Layout;
    use isobar_http1::{HeadLimits, HeadProgress};
    use isobar_tls::PeerIdentity;

    const LIMITS: HeadLimits = HeadLimits { head_bytes: 4096, target_bytes: 1024, n_headers: 50 };

    fn of(text: &str, key: HashKey, caller: Option<&Caller>) -> Option<u64> {
        let mut request = RequestHead::new();
        request.parse(text.as_bytes(), &mut HeadProgress::default(), &LIMITS).unwrap().unwrap();
        let placement = Placement { key, layout: Layout::Isobar };
        hash(&placement, &request, text.as_bytes(), b"", Some("192.0.2.1".parse().unwrap()), None, caller)
    }

    fn hashed(value: &str) -> u64 {
        Layout::Isobar.hash(value.as_bytes())
    }

    const REQUEST: &str = "GET /a%20b?x=1&user=&user=2&y=a=b HTTP/1.1\r\nHost: Shop.Example.COM.:8080\r\n\
        X-User: anna\r\nx-user: berta\r\nX-Empty:\r\nx-isobar-client-cert-subject: CN=thief\r\n\
        Cookie: a=1; sid=7\r\ncookie: sid=8;b=2;quoted=\"q\"\r\n\r\n";

    #[test]
    fn each_part_of_a_request_is_hashed_as_it_is_written() {
        let text = str::to_owned;
        for (key, value) in [
            (HashKey::ClientIp, "192.0.2.1"),
            (HashKey::Header(text("x-user")), "anna"),
            (HashKey::Cookie(text("sid")), "7"),
            (HashKey::Cookie(text("b")), "2"),
            (HashKey::Cookie(text("quoted")), "\"q\""),
            (HashKey::Query(text("x")), "1"),
            (HashKey::Query(text("y")), "a=b"),
            (HashKey::Path, "/a%20b"),
            (HashKey::Host, "shop.example.com"),
        ] {
            assert_eq!(of(REQUEST, key.clone(), None), Some(hashed(value)), "{key:?}");
        }
    }

    #[test]
    fn what_is_absent_or_empty_is_no_key() {
        let text = str::to_owned;
        for key in [
            HashKey::Header(text("x-other")),
            HashKey::Header(text("x-empty")),
            HashKey::Cookie(text("si")),
            HashKey::Cookie(text("SID")),
            // The first one counts, and it is empty.
            HashKey::Query(text("user")),
            HashKey::Query(text("use")),
        ] {
            assert_eq!(of(REQUEST, key.clone(), None), None, "{key:?}");
        }
        let placement = Placement { key: HashKey::ClientIp, layout: Layout::Isobar };
        assert_eq!(
            hash(&placement, &RequestHead::new(), b"", b"", None, None, None),
            None,
            "a unix socket has no address"
        );
    }

    #[test]
    fn a_header_of_ours_is_that_of_the_certificate() {
        let key = || HashKey::Header("x-isobar-client-cert-subject".to_owned());
        let caller = Caller::new(PeerIdentity { subject: "CN=anna".to_owned(), names: Vec::new() });
        assert_eq!(of(REQUEST, key(), Some(&caller)), Some(hashed("CN=anna")));
        assert_eq!(of(REQUEST, key(), None), None);
    }

    #[test]
    fn the_longest_address_and_a_target_without_a_path_are_keys() {
        let placement = |key| Placement { key, layout: Layout::Isobar };
        let address = "1111:2222:3333:4444:5555:6666:7777:8888";
        let found = hash(
            &placement(HashKey::ClientIp),
            &RequestHead::new(),
            b"",
            b"",
            Some(address.parse().unwrap()),
            None,
            None,
        );
        assert_eq!(found, Some(hashed(address)));
        assert_eq!(of("GET http://a HTTP/1.1\r\nhost: a\r\n\r\n", HashKey::Path, None), Some(hashed("/")));
        let routed = hash(&placement(HashKey::Path), &RequestHead::new(), b"", b"/b", None, None, None);
        assert_eq!(routed, Some(hashed("/b")));
    }

    #[test]
    fn behind_trusted_proxies_the_key_is_the_last_address_that_is_none_of_them() {
        let proxies: Vec<IpNet> =
            ["10.0.0.0/8", "2001:db8::/32"].iter().map(|network| network.parse().unwrap()).collect();
        let of = |lines: &str, believed: bool| {
            let text = format!("GET / HTTP/1.1\r\nhost: a\r\n{lines}\r\n");
            let mut request = RequestHead::new();
            request.parse(text.as_bytes(), &mut HeadProgress::default(), &LIMITS).unwrap().unwrap();
            let placement = Placement { key: HashKey::ClientIp, layout: Layout::Isobar };
            let peer = Some("10.0.0.1".parse().unwrap());
            let proxies = believed.then_some(&proxies[..]);
            hash(&placement, &request, text.as_bytes(), b"", peer, proxies, None)
        };
        for (lines, client) in [
            ("", "10.0.0.1"),
            ("x-forwarded-for: 192.0.2.9\r\n", "192.0.2.9"),
            // Whoever comes to the outermost proxy may write anything before its own address.
            ("x-forwarded-for: 198.51.100.1, 192.0.2.9, 10.1.2.3\r\n", "192.0.2.9"),
            ("x-forwarded-for: 198.51.100.1\r\nX-Forwarded-For: 192.0.2.9,10.1.2.3\r\n", "192.0.2.9"),
            ("x-forwarded-for: 10.9.9.9, 2001:db8::1\r\n", "10.9.9.9"),
            ("x-forwarded-for: 192.0.2.9, unknown, 10.1.2.3\r\n", "10.1.2.3"),
            ("x-forwarded-for: 192.0.2.9, unknown\r\n", "10.0.0.1"),
            ("x-forwarded-for: , ,\r\n", "10.0.0.1"),
            ("x-forwarded-for: 192.0.2.9:4711\r\n", "192.0.2.9"),
            ("x-forwarded-for: [2001:DB9::1]:4711\r\n", "2001:db9::1"),
            ("x-forwarded-for: [2001:db9:0::1]\r\n", "2001:db9::1"),
            ("x-forwarded-for: ::ffff:192.0.2.9\r\n", "192.0.2.9"),
            ("x-forwarded-for: 192.0.2.999\r\n", "10.0.0.1"),
        ] {
            assert_eq!(of(lines, true), Some(hashed(client)), "{lines}");
            assert_eq!(of(lines, false), Some(hashed("10.0.0.1")), "a stranger is not believed");
        }
    }
}
