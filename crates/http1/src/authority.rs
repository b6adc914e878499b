//! Authorities: `host[:port]` as it stands in `Host` and in absolute targets.
//!
//! Stricter than RFC 3986 section 3.2 where readers are known to differ: no user information, no empty host, no empty
//! port, no comma. An address in brackets must be a real IPv6 address without a zone.

use crate::class::is_host_byte;
use std::net::Ipv6Addr;

/// Whether `bytes` is a host name or address with an optional port of at most 65535.
pub fn is_authority(bytes: &[u8]) -> bool {
    let host = authority_host(bytes);
    let port = &bytes[host.len()..];
    is_host(host) && (port.is_empty() || is_port(&port[1..]))
}

/// The host of an authority, without its port; brackets stay.
pub fn authority_host(authority: &[u8]) -> &[u8] {
    // The colons inside brackets are not the one before the port.
    let from = match authority.first() {
        Some(b'[') => authority.iter().position(|&b| b == b']').unwrap_or(0),
        _ => 0,
    };
    match authority[from..].iter().position(|&b| b == b':') {
        Some(colon) => &authority[..from + colon],
        None => authority,
    }
}

fn is_host(host: &[u8]) -> bool {
    if let [b'[', address @ .., b']'] = host {
        return str::from_utf8(address).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok());
    }
    if host.is_empty() {
        return false;
    }
    let mut rest = host;
    while let [first, behind @ ..] = rest {
        if is_host_byte(*first) {
            rest = behind;
            continue;
        }
        match rest {
            [b'%', high, low, behind @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                rest = behind;
            }
            _ => return false,
        }
    }
    true
}

fn is_port(port: &[u8]) -> bool {
    // Five digits at most, so the number cannot overflow.
    (1..=5).contains(&port.len())
        && port.iter().all(u8::is_ascii_digit)
        && port.iter().fold(0_u32, |n, b| n * 10 + u32::from(b - b'0')) <= 65535
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_told_from_the_rest() {
        let good = [
            "a",
            "a.b",
            "a.b.",
            "A-b_c.d",
            "127.0.0.1",
            "127.0.0.1:80",
            "[::1]",
            "[::1]:8080",
            "[2001:db8::1:0]",
            "[::ffff:1.2.3.4]:1",
            "a:0",
            "a:65535",
            "xn--bcher-kva.example",
            "a%20b",
            "a!$&'()*+;=b",
            "999.1.1.1",
        ];
        for text in good {
            assert!(is_authority(text.as_bytes()), "{text}");
        }
        let bad = [
            "",
            ":",
            ":80",
            "a:",
            "a:b",
            "a:65536",
            "a:000080",
            "a:1:2",
            "a b",
            "a/b",
            "a?b",
            "a#b",
            "a@b",
            "u:p@b",
            "a,b",
            "a\\b",
            "a\"b",
            "a%2",
            "a%zz",
            "%",
            "[",
            "]",
            "[]",
            "[::1",
            "::1",
            "[::1]x",
            "[::1]:",
            "[::1]:x",
            "[::1]:99999",
            "[1.2.3.4]",
            "[v1.a]",
            "[fe80::1%eth0]",
            "[fe80::1%25eth0]",
            "a]",
            "[a]",
            "[::1]]",
            "bücher",
            "a\tb",
            "a\0",
            "a|b",
        ];
        for text in bad {
            assert!(!is_authority(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn the_host_is_what_stands_before_the_port() {
        for (authority, host) in [
            ("a", "a"),
            ("a:80", "a"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            (":80", ""),
            ("[", "["),
            ("", ""),
        ] {
            assert_eq!(authority_host(authority.as_bytes()), host.as_bytes(), "{authority}");
        }
    }
}
