//! Which host names belong to this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether a host as a URL writes it (v6 in brackets) is this machine, whoever resolves it.
pub(super) fn is_loopback_name(host: &str) -> bool {
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
