//! Laws of resolving: ids, order, and errors all at once. The resolver is a table.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use isobar_config::{AddressText, EndpointSettings, PoolSettings};
use isobar_core::{Address, PolicyKind};

use super::super::tests::{Table, tcp};
use super::*;

fn service(name: &str, endpoints: Vec<EndpointSettings>) -> ServiceSettings {
    ServiceSettings {
        name: name.to_owned(),
        policy: PolicyKind::P2c.into(),
        hash_key: None,
        weights: isobar_core::WeightSettings::default(),
        load_probe: None,
        endpoints,
        discovery: Vec::new(),
        health: Vec::new(),
        min_healthy_percent: 20,
        connect_timeout: Duration::from_secs(1),
        pool: PoolSettings {
            idle: 1,
            idle_timeout: Duration::from_secs(1),
            max_age: Duration::from_secs(1),
            max_connections_per_endpoint: 0,
        },
        tls: None,
        http2: false,
        debug_headers: false,
        sticky: None,
        zone_aware: None,
        subset: None,
    }
}

/// Never answers.
struct Silent;

impl Lookup for Silent {
    async fn lookup(&self, _host: &str) -> std::io::Result<Vec<std::net::SocketAddr>> {
        std::future::pending().await
    }
}

fn ids(endpoints: &[Endpoint]) -> Vec<&str> {
    endpoints.iter().map(|endpoint| &*endpoint.id).collect()
}

#[tokio::test]
async fn a_literal_keeps_its_address_as_id_and_asks_nobody() {
    let table = Table::of([]);
    let mut unix = tcp("", 0);
    unix.address = AddressText::Unix("/run/cart.sock".into());
    let written = vec![tcp("127.0.0.1", 80), tcp("0:0::1", 81), unix];
    let resolved = resolve(&[service("cart", written)], Arc::clone(&table)).await.unwrap();
    assert_eq!(ids(&resolved[0]), ["127.0.0.1:80", "[::1]:81", "unix:/run/cart.sock"]);
    assert_eq!(resolved[0][2].address, Address::Unix(std::path::Path::new("/run/cart.sock").into()));
    assert!(table.asked().is_empty());
}

#[tokio::test]
async fn a_name_is_one_endpoint_per_distinct_address_in_the_order_of_the_addresses() {
    let names = [("cart.internal", vec!["10.0.0.2", "fd00::1", "10.0.0.1", "10.0.0.2"])];
    let table = Table::of(names);
    let mut written = tcp("cart.internal", 9001);
    (written.weight, written.priority, written.zone) = (3, 1, Some("b".to_owned()));
    let resolved = resolve(&[service("cart", vec![written])], table).await.unwrap();
    let expected =
        ["cart.internal/10.0.0.1:9001", "cart.internal/10.0.0.2:9001", "cart.internal/[fd00::1]:9001"];
    assert_eq!(ids(&resolved[0]), expected);
    for endpoint in &resolved[0] {
        assert_eq!((endpoint.weight, endpoint.priority, endpoint.zone.as_deref()), (3, 1, Some("b")));
    }
}

#[tokio::test]
async fn a_written_id_takes_the_place_of_the_name_or_of_the_literal() {
    let table = Table::of([("cart", vec!["10.0.0.1"])]);
    let written =
        ["cart", "10.0.0.9"].map(|host| EndpointSettings { id: Some("first".to_owned()), ..tcp(host, 1) });
    let resolved = resolve(&[service("cart", written.to_vec())], table).await.unwrap();
    assert_eq!(ids(&resolved[0]), ["first/10.0.0.1:1", "first"]);
}

#[tokio::test]
async fn a_hash_key_is_one_endpoint_s_alone() {
    let table = Table::of([("one", vec!["10.0.0.1"]), ("two", vec!["10.0.0.1", "10.0.0.2"])]);
    let keyed = |host: &str| EndpointSettings { hash_key: Some("k".to_owned()), ..tcp(host, 1) };
    let written = vec![keyed("10.0.0.9"), keyed("one"), keyed("two"), tcp("10.0.0.8", 1)];
    let resolved = resolve(&[service("cart", written)], table).await.unwrap();
    let keys: Vec<_> = resolved[0].iter().map(|endpoint| endpoint.hash_key.as_deref()).collect();
    assert_eq!(keys, [Some("k"), Some("k"), Some("k/10.0.0.1:1"), Some("k/10.0.0.2:1"), None]);
}

#[tokio::test]
async fn a_name_is_asked_for_once_over_all_services() {
    let table = Table::of([("cart", vec!["10.0.0.1"])]);
    let services = [service("a", vec![tcp("cart", 1), tcp("cart", 2)]), service("b", vec![tcp("cart", 1)])];
    let resolved = resolve(&services, Arc::clone(&table)).await.unwrap();
    assert_eq!(ids(&resolved[0]), ["cart/10.0.0.1:1", "cart/10.0.0.1:2"]);
    assert_eq!(ids(&resolved[1]), ["cart/10.0.0.1:1"]);
    assert_eq!(table.asked(), ["cart"]);
}

#[tokio::test]
async fn every_unresolvable_name_is_told_with_its_service_endpoint_and_reason() {
    let names = [("good", vec!["10.0.0.1"]), ("hollow", vec![])];
    let table = Table::of(names);
    let labelled = EndpointSettings { id: Some("two".to_owned()), ..tcp("hollow", 2) };
    let services = [service("a", vec![tcp("bad", 1), tcp("good", 1)]), service("b", vec![labelled])];
    let errors = resolve(&services, table).await.unwrap_err();
    let parts: Vec<_> = errors
        .0
        .iter()
        .map(|e| [e.service.as_str(), e.endpoint.as_str(), e.name.as_str(), e.reason.as_str()])
        .collect();
    assert_eq!(
        parts,
        [["a", "bad:1", "bad", "no such name"], ["b", "two", "hollow", "the name has no address"]]
    );
    let text = errors.to_string();
    assert_eq!(text.lines().count(), 2);
    for part in parts.iter().flatten() {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_resolver_is_an_error_and_not_a_hang() {
    let errors = resolve(&[service("a", vec![tcp("slow", 1)])], Arc::new(Silent)).await.unwrap_err();
    assert!(errors.0[0].reason.contains("no answer"), "{errors}");
}

#[tokio::test]
async fn the_system_knows_localhost() {
    let resolved = resolve(&[service("a", vec![tcp("localhost", 7)])], Arc::new(super::super::SystemLookup))
        .await
        .unwrap();
    assert!(resolved[0].iter().any(|e| &*e.id == "localhost/127.0.0.1:7"), "{:?}", ids(&resolved[0]));
}
