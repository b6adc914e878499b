//! Where the demo listens, and the configuration that its proxy runs on.
//!
//! Invariant: the proxy is configured as any other: a text, read by `isobar_config`.

use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::path::Path;

use isobar_config::{AddressText, Loaded, NoFiles};
use tracing::warn;

use super::nature::Nature;
use super::picture::{ADMIN_DEFAULT, SERVICE};

/// Where the proxy listens unless told otherwise.
const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// The flags that name the addresses.
const LISTEN: &str = "--listen";
const ADMIN: &str = "--admin";

/// The name of the configuration in what is said about it.
const CONFIG_NAME: &str = "demo.toml";

/// An address that was asked for cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum AddressFault {
    #[error(
        "cannot listen on {address}: {source}; stop what listens there, or choose another port with {flag} (port 0 takes any that is free)"
    )]
    Taken { flag: &'static str, address: AddressText, source: io::Error },
    #[error("{LISTEN} {listen} and {ADMIN} {admin} are the same address; give them ports of their own")]
    Same { listen: AddressText, admin: AddressText },
}

/// Where proxy and admin interface listen: what was asked for; else the usual address; else, where that is taken, any
/// free port.
pub(super) fn choose_addresses(
    listen: Option<&AddressText>,
    admin: Option<&AddressText>,
) -> Result<(AddressText, AddressText), AddressFault> {
    if let (Some(listen), Some(admin)) = (listen, admin)
        && listen.clashes_with(admin)
    {
        return Err(AddressFault::Same { listen: listen.clone(), admin: admin.clone() });
    }
    // Bound only to see whether they can be, those asked for first, so that a usual one gives way to them; the proxy
    // binds them a moment later, and says so where it was too late.
    let mut held = Vec::new();
    for (flag, asked) in [(LISTEN, listen), (ADMIN, admin)] {
        let Some(address) = asked else { continue };
        let taken = |source| AddressFault::Taken { flag, address: address.clone(), source };
        held.push(bind(address).map_err(taken)?);
    }
    let mut or_usual = |flag, asked: Option<&AddressText>, usual| match asked {
        Some(address) => address.clone(),
        None => free_or_any(flag, usual, &mut held),
    };
    Ok((or_usual(LISTEN, listen, LISTEN_DEFAULT), or_usual(ADMIN, admin, ADMIN_DEFAULT)))
}

fn free_or_any(flag: &str, usual: SocketAddr, held: &mut Vec<TcpListener>) -> AddressText {
    let port = match TcpListener::bind(usual) {
        Ok(bound) => {
            held.push(bound);
            usual.port()
        }
        Err(error) => {
            warn!(%error, "{usual} cannot be had; a free port is used instead, {flag} chooses another");
            0
        }
    };
    AddressText::Tcp { host: usual.ip().to_string(), port }
}

/// Binds an address as a listener of the proxy does.
fn bind(address: &AddressText) -> io::Result<TcpListener> {
    match address {
        AddressText::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        AddressText::Tcp { host, port } if host.is_empty() => {
            TcpListener::bind((Ipv6Addr::UNSPECIFIED, *port)).or_else(|error| match error.kind() {
                io::ErrorKind::AddrInUse => Err(error),
                _ => TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)),
            })
        }
        AddressText::Tcp { host, port } => {
            let first = (host.as_str(), *port).to_socket_addrs()?.next();
            TcpListener::bind(first.ok_or(io::ErrorKind::AddrNotAvailable)?)
        }
    }
}

/// The configuration: one listener, one service, an endpoint for each instance.
///
/// Three attempts, so that a request survives the flapping instance and one that the user kills.
pub(super) fn config_text(
    listen: &AddressText,
    admin: &AddressText,
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
    isobar_config::load_text(Path::new(CONFIG_NAME), text, &NoFiles, &|_: &str| None)
        .map_err(|findings| findings.render(false))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::demo::nature::NATURES;

    fn address(text: &str) -> AddressText {
        AddressText::parse_listen(text).unwrap()
    }

    #[test]
    fn the_configuration_is_accepted_and_has_an_endpoint_for_each_instance() {
        let at: SocketAddr = "127.0.0.1:9001".parse().unwrap();
        let instances: Vec<_> = NATURES.iter().map(|nature| (nature, at)).collect();
        let text = config_text(&address(":0"), &address("[::1]:0"), &instances);
        let settings = loaded(text).unwrap().settings;
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
    fn an_address_asked_for_that_is_taken_is_an_error_that_names_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let (written, free) = (taken.local_addr().unwrap().to_string(), address("127.0.0.1:0"));
        let asked = address(&written);
        for (flag, chosen) in [
            ("--listen", choose_addresses(Some(&asked), Some(&free))),
            ("--admin", choose_addresses(Some(&free), Some(&asked))),
        ] {
            let error = chosen.unwrap_err().to_string();
            assert!(error.contains(&written) && error.contains(flag), "{error}");
        }
    }

    #[test]
    fn an_address_for_both_is_an_error_that_says_so() {
        for (listen, admin) in
            [("127.0.0.1:9900", "127.0.0.1:9900"), (":9900", "127.0.0.1:9900"), ("[::1]:1", ":1")]
        {
            let error = choose_addresses(Some(&address(listen)), Some(&address(admin))).unwrap_err();
            let told = error.to_string();
            assert!(told.contains(&format!("--listen {listen} and --admin {admin} are the same")), "{told}");
        }
    }

    #[test]
    fn a_usual_port_that_was_asked_for_elsewhere_is_left_to_it() {
        let Ok((_, admin)) = choose_addresses(Some(&address("127.0.0.1:9900")), None) else {
            // Somebody else has it, as the next law needs it.
            return;
        };
        assert_eq!(admin, address("127.0.0.1:0"));
    }

    #[test]
    fn every_form_of_an_address_that_can_be_had_is_taken_as_it_is() {
        let other = address("127.0.0.2:0");
        for text in ["127.0.0.1:0", "localhost:0", ":0", "0.0.0.0:0"] {
            let chosen = choose_addresses(Some(&address(text)), Some(&other)).unwrap();
            assert_eq!(chosen, (address(text), other.clone()));
        }
    }
}
