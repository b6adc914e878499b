//! Which Host headers belong to this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::extract::Request;
use axum::http::header::HOST;
use axum::http::uri::Authority;

/// Whether every name that the request gives its receiver (the Host field, and the target where it is absolute) is a
/// loopback one. A request without a Host, or with several, gives none that could be trusted.
pub(super) fn is_loopback(request: &Request) -> bool {
    let mut fields = request.headers().get_all(HOST).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else {
        return false;
    };
    let named = Authority::try_from(field.as_bytes());
    named.is_ok_and(|authority| is_loopback_name(authority.host()))
        && request.uri().host().is_none_or(is_loopback_name)
}

fn is_loopback_name(host: &str) -> bool {
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match v6 {
        Some(v6) => v6.parse::<Ipv6Addr>().is_ok_and(|ip| IpAddr::V6(ip).to_canonical().is_loopback()),
        None => host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_cannot_leave_this_machine_are_loopback() {
        for host in ["localhost", "LocalHost", "127.0.0.1", "127.8.8.8", "[::1]", "[::ffff:127.0.0.1]"] {
            assert!(is_loopback_name(host), "{host}");
        }
        for host in
            ["", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[::2]", "::1", "0.0.0.0"]
        {
            assert!(!is_loopback_name(host), "{host}");
        }
    }
}
