//! Settings from the command line alone: `--listen`, `--to` and `--policy`.
//!
//! Invariant: whatever is not given has the default of the configuration's description.

use std::cell::RefCell;

use isobar_core::PolicyKind;

use crate::address::AddressError;
use crate::diagnose::Reports;
use crate::fields::{Context, Fields};
use crate::include::NoFiles;
use crate::keys;
use crate::listeners::listener;
use crate::place::Sources;
use crate::runtime::read_runtime;
use crate::service_settings::{EndpointSettings, HashKey};
use crate::services::service;
use crate::settings::{AddressText, ListenerSettings, Settings};
use crate::suggest::nearest;

/// The name of the service and of the first listener.
const NAME: &str = "default";

/// One service `default` with these endpoints behind these listeners; admin interface and access log are off.
///
/// # Errors
/// Every flag that is wrong, each with what to write instead.
pub fn from_flags(listen: &[String], to: &[String], policy: Option<&str>) -> Result<Settings, Vec<String>> {
    let mut errors = Vec::new();
    if listen.is_empty() {
        errors.push("--listen is missing: say where to listen, such as --listen :8080".to_owned());
    }
    if to.is_empty() {
        errors.push("--to is missing: say where requests go, such as --to 127.0.0.1:9001".to_owned());
    }
    let listen = addresses("--listen", listen, AddressText::parse_listen, &mut errors);
    let endpoints = addresses("--to", to, str::parse, &mut errors);
    check_clashes(&listen, &mut errors);
    check_endpoints(&endpoints, &mut errors);
    let policy = policy.map_or(Some(PolicyKind::default()), |name| {
        PolicyKind::from_name(name).or_else(|| {
            errors.push(unknown_policy(name));
            None
        })
    });
    let Some(policy) = policy.filter(|_| errors.is_empty()) else { return Err(errors) };
    Ok(settings(listen, endpoints, policy))
}

fn settings(listen: Vec<AddressText>, endpoints: Vec<AddressText>, policy: PolicyKind) -> Settings {
    let (sources, reports) = (Sources::default(), Reports::default());
    let (service_mentions, listener_mentions) = (RefCell::default(), RefCell::default());
    let (files, secret_files) = (&NoFiles, RefCell::default());
    let cx = Context {
        sources: &sources,
        reports: &reports,
        files,
        secret_files,
        service_mentions,
        listener_mentions,
    };
    let listeners = listen.into_iter().enumerate().map(|(index, listen)| ListenerSettings {
        name: if index == 0 { NAME.to_owned() } else { format!("{NAME}-{}", index + 1) },
        listen,
        service: Some(NAME.to_owned()),
        ..listener(&Fields::absent(&cx, &keys::LISTENER))
    });
    let runtime = read_runtime(&cx, &[]);
    let mut service = service(NAME.to_owned(), &Fields::absent(&cx, &keys::SERVICE), &runtime);
    (service.policy, service.hash_key) = (policy.into(), policy.is_keyed().then_some(HashKey::ClientIp));
    service.endpoints = endpoints
        .into_iter()
        .map(|address| EndpointSettings {
            address,
            id: None,
            weight: 1,
            priority: 0,
            zone: None,
            hash_key: None,
        })
        .collect();
    Settings {
        runtime,
        admin: None,
        access_log: None,
        listeners: listeners.collect(),
        routes: Vec::new(),
        services: vec![service],
    }
}

fn addresses(
    flag: &str,
    texts: &[String],
    parse: impl Fn(&str) -> Result<AddressText, AddressError>,
    errors: &mut Vec<String>,
) -> Vec<AddressText> {
    let mut addresses = Vec::new();
    for text in texts {
        match parse(text) {
            Ok(address) => addresses.push(address),
            Err(error) => errors.push(format!("{flag} {text}: {error} ({})", error.hint)),
        }
    }
    addresses
}

fn check_clashes(listen: &[AddressText], errors: &mut Vec<String>) {
    for (index, address) in listen.iter().enumerate() {
        if let Some(first) = listen[..index].iter().find(|first| first.clashes_with(address)) {
            errors.push(format!("--listen {address}: it cannot be listened on together with {first}"));
        }
    }
}

fn check_endpoints(endpoints: &[AddressText], errors: &mut Vec<String>) {
    for (index, address) in endpoints.iter().enumerate() {
        match address {
            AddressText::Tcp { host, port } if host.is_empty() => {
                errors.push(format!(
                    "--to {address}: the host is missing (write 127.0.0.1:{port} for this machine)"
                ));
            }
            AddressText::Tcp { port: 0, .. } => {
                errors.push(format!(
                    "--to {address}: nothing listens on port 0 (write a port from 1 to 65535)"
                ));
            }
            _ if endpoints[..index].contains(address) => {
                errors.push(format!(
                    "--to {address}: it is given twice (for weights use a configuration file)"
                ));
            }
            _ => {}
        }
    }
}

fn unknown_policy(name: &str) -> String {
    let names: Vec<&str> = PolicyKind::ALL.iter().map(|policy| policy.name()).collect();
    match nearest(name, names.iter().copied()) {
        Some(near) => format!("--policy {name}: there is no such policy (did you mean {near}?)"),
        None => format!("--policy {name}: there is no such policy (use {})", names.join(", ")),
    }
}
