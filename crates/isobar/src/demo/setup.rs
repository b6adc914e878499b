//! Where the demo listens, and the configuration that its proxy runs on.
//!
//! Invariant: the proxy is configured as any other: a text, read by `isobar_config`.

use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use isobar_config::Loaded;
use tracing::warn;

use super::nature::Nature;
use super::picture::SERVICE;

/// The name of the configuration in what is said about it.
const CONFIG_NAME: &str = "demo.toml";

/// An address that was asked for cannot be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address}: {source}; stop what listens there, or choose another port with {flag} (port 0 takes any that is free)"
)]
pub(super) struct AddressTaken {
    flag: &'static str,
    address: SocketAddr,
    source: io::Error,
}

/// The address to listen on: the one asked for; else the usual one; else, where that is taken, any free port.
pub(super) fn choose_address(
    flag: &'static str,
    asked: Option<SocketAddr>,
    usual: SocketAddr,
) -> Result<SocketAddr, AddressTaken> {
    // Bound only to see whether it can be; the proxy binds it a moment later, and says so where it was too late.
    let can_bind = |address| TcpListener::bind(address).map(drop);
    match asked {
        Some(address) => {
            can_bind(address).map(|()| address).map_err(|source| AddressTaken { flag, address, source })
        }
        None => Ok(can_bind(usual).map_or_else(
            |error| {
                warn!(%error, "{usual} cannot be had; a free port is used instead, {flag} chooses another");
                (Ipv4Addr::LOCALHOST, 0).into()
            },
            |()| usual,
        )),
    }
}

/// The configuration: one listener, one service, an endpoint for each instance.
///
/// Three attempts, so that a request survives the flapping instance and one that the user kills.
pub(super) fn config_text(
    listen: SocketAddr,
    admin: SocketAddr,
    instances: &[(&Nature, SocketAddr)],
) -> String {
    let mut endpoints = String::new();
    for (nature, address) in instances {
        // Writing to a String cannot fail.
        let _ = writeln!(
            endpoints,
            "  {{ id = \"{}\", address = \"{address}\", weight = {} }},",
            nature.id, nature.weight
        );
    }
    format!(
        r#"
[runtime]
shutdown_grace = "5s"

[admin]
listen = "{admin}"

[[listeners]]
name = "web"
listen = "{listen}"

[[routes]]
path = "/"
service = "{SERVICE}"
retry = {{ attempts = 3, on = ["connect-failure", "reset"] }}

[services.{SERVICE}]
debug_headers = true
health = {{ http = "/healthz", interval = "500ms", timeout = "400ms", healthy_after = 2, unhealthy_after = 2 }}
endpoints = [
{endpoints}]
"#
    )
}

/// Reads a configuration text; what is wrong with it, as text, otherwise.
pub(super) fn loaded(text: String) -> Result<Loaded, String> {
    isobar_config::load_text(Path::new(CONFIG_NAME), text, &|_: &str| None)
        .map_err(|findings| findings.render(false))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::demo::nature::NATURES;

    const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    #[test]
    fn the_configuration_is_accepted_and_has_an_endpoint_for_each_instance() {
        let address: SocketAddr = "127.0.0.1:9001".parse().unwrap();
        let instances: Vec<_> = NATURES.iter().map(|nature| (nature, address)).collect();
        let settings = loaded(config_text(LOOPBACK, LOOPBACK, &instances)).unwrap().settings;
        let service = &settings.services[0];
        assert_eq!((service.name.as_str(), service.debug_headers), (SERVICE, true));
        let endpoints: Vec<_> = service.endpoints.iter().map(|one| (one.id.as_deref(), one.weight)).collect();
        let expected: Vec<_> = NATURES.iter().map(|nature| (Some(nature.id), nature.weight)).collect();
        assert_eq!(endpoints, expected);
    }

    #[test]
    fn a_configuration_that_is_wrong_is_an_error_with_its_line() {
        assert!(loaded("[runtime]\nworker = 1\n".to_owned()).unwrap_err().contains("demo.toml:2"));
    }

    #[test]
    fn a_usual_port_that_is_taken_is_replaced_and_one_asked_for_is_an_error_that_names_it() {
        let taken = TcpListener::bind(LOOPBACK).unwrap();
        let address = taken.local_addr().unwrap();
        assert_eq!(choose_address("--listen", None, address).unwrap(), LOOPBACK);
        let error = choose_address("--listen", Some(address), LOOPBACK).unwrap_err().to_string();
        assert!(error.contains(&address.to_string()) && error.contains("--listen"), "{error}");
    }

    #[test]
    fn an_address_that_can_be_had_is_taken_as_it_is() {
        let other: SocketAddr = "127.0.0.2:0".parse().unwrap();
        assert_eq!(choose_address("--listen", None, other).unwrap(), other);
        assert_eq!(choose_address("--listen", Some(other), LOOPBACK).unwrap(), other);
    }
}
