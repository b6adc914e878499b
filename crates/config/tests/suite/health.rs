//! Probes: what is written and what it becomes.

use std::time::Duration;

use isobar_config::{DiscoverySettings, HealthSettings, InitialHealth, ProbeKind, ServiceSettings};

use crate::memory::load_text;

fn service(keys: &str) -> ServiceSettings {
    let around = "[[listeners]]\nname = \"web\"\nlisten = \":1\"\nservice = \"web\"\n[services.web]\n";
    let loaded = load_text(&format!("{around}{keys}"));
    loaded.unwrap_or_else(|errors| panic!("{}", errors.render(false))).settings.services.remove(0)
}

fn health(value: &str) -> Vec<HealthSettings> {
    service(&format!("endpoints = [\"a:1\"]\nhealth = {value}")).health
}

fn http(path: &str) -> HealthSettings {
    HealthSettings {
        probe: ProbeKind::Http { path: path.to_owned(), host: None, status: vec![(200, 399)] },
        interval: Duration::from_secs(2),
        failing_interval: Duration::from_millis(500),
        timeout: Duration::from_secs(1),
        healthy_after: 2,
        unhealthy_after: 3,
        initial: InitialHealth::Unknown,
        http2: false,
        port: None,
    }
}

#[test]
fn a_path_alone_has_the_documented_defaults() {
    assert_eq!(health("{ http = \"/healthz?deep=1\" }"), [http("/healthz?deep=1")]);
    assert_eq!(health("[]"), []);
}

#[test]
fn several_tables_are_several_probes_in_the_written_order() {
    let tcp = HealthSettings {
        probe: ProbeKind::Tcp,
        interval: Duration::from_mins(1),
        failing_interval: Duration::from_secs(3),
        timeout: Duration::from_millis(1),
        healthy_after: 1,
        unhealthy_after: 100,
        initial: InitialHealth::Unhealthy,
        http2: false,
        port: Some(65_535),
    };
    let written = "[{ http = \"/\", tcp = false }, { tcp = true, interval = \"1m\", failing_interval = \"3s\", timeout = \"1ms\", \
        healthy_after = 1, unhealthy_after = 100, initial = \"unhealthy\", port = 65535 }]";
    assert_eq!(health(written), [http("/"), tcp]);
}

#[test]
fn a_probe_of_grpc_asks_for_a_service_or_the_whole_server() {
    for (written, name, host) in [
        ("{ grpc = \"shop.Cart\" }", "shop.Cart", None),
        ("{ grpc = \"\", host = \"a.test\", tcp = false }", "", Some("a.test".to_owned())),
    ] {
        let read = service(&format!("endpoints = [\"a:1\"]\nprotocol = \"h2\"\nhealth = {written}")).health;
        assert_eq!(read[0].probe, ProbeKind::Grpc { service: name.to_owned(), host });
        assert!(read[0].http2);
    }
}

#[test]
fn the_failing_interval_follows_the_interval_within_its_bounds() {
    for (interval, failing) in
        [(10, 10), (100, 100), (200, 100), (400, 100), (404, 101), (3_600_000, 900_000)]
    {
        let read = health(&format!("{{ tcp = true, interval = \"{interval}ms\" }}"));
        assert_eq!(read[0].failing_interval, Duration::from_millis(failing), "{interval}");
    }
}

#[test]
fn statuses_are_numbers_or_classes_or_both() {
    let status = |written: &str| {
        let read = health(&format!("{{ http = \"/\", host = \"A.test:80\", status = {written} }}"));
        let ProbeKind::Http { status, host, .. } = read[0].probe.clone() else { panic!("{read:?}") };
        assert_eq!(host.as_deref(), Some("A.test:80"));
        status
    };
    assert_eq!(status("200"), [(200, 200)]);
    assert_eq!(status("\"2xx\""), [(200, 299)]);
    assert_eq!(status("[\"5xx\", 404, \"3xx\", \"4xx\"]"), [(500, 599), (404, 404), (300, 399), (400, 499)]);
}

#[test]
fn a_service_that_discovers_its_endpoints_needs_none_of_its_own() {
    let file = |path: &str| DiscoverySettings::File(path.into());
    let one = service("discovery = { file = \"web.toml\" }");
    assert_eq!((one.endpoints.len(), one.discovery), (0, vec![file("web.toml")]));
    let both = service("endpoints = []\ndiscovery = [{ file = \"/a.toml\" }, { file = \"../b.toml\" }]");
    assert_eq!(both.discovery, [file("/a.toml"), file("../b.toml")]);
}

#[test]
fn a_service_without_endpoints_is_only_warned_of_when_it_discovers_none() {
    let warned = |keys: &str| {
        let around = "[[listeners]]\nname = \"web\"\nlisten = \":1\"\nservice = \"web\"\n[services.web]\n";
        load_text(&format!("{around}{keys}")).unwrap().warnings.n_warnings() > 0
    };
    let discovery = "\ndiscovery = { file = \"a\" }";
    for endpoints in ["endpoints = []", "endpoints = [{ address = \"a:1\", weight = 0 }]"] {
        assert!(warned(endpoints), "{endpoints}");
        assert!(!warned(&format!("{endpoints}{discovery}")), "{endpoints}");
    }
}

#[test]
fn the_share_that_opens_reaches_from_never_to_always() {
    for percent in [0, 20, 100] {
        let read = service(&format!("endpoints = [\"a:1\"]\nmin_healthy_percent = {percent}"));
        assert_eq!(read.min_healthy_percent, percent);
    }
}
