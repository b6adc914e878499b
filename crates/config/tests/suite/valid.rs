//! What is accepted, and what it becomes.

use std::time::Duration;

use crate::memory::load_text;
use isobar_config::*;
use isobar_core::PolicyKind;

const MINIMAL: &str = r#"
[[listeners]]
name = "web"
listen = ":8080"
service = "web"

[services.web]
endpoints = ["127.0.0.1:9001"]
"#;

#[test]
fn a_minimal_file_has_the_documented_defaults() {
    let Loaded { settings, warnings, files } = load_text(MINIMAL).map_err(|e| e.render(false)).unwrap();
    assert!(warnings.is_empty(), "{}", warnings.render(false));
    assert_eq!(files, [std::path::PathBuf::from("isobar.toml")]);
    assert_eq!((settings.admin, settings.access_log), (None, None));
    let runtime = RuntimeSettings {
        workers: 0,
        shutdown_delay: Duration::ZERO,
        shutdown_grace: Duration::from_secs(30),
        trusted_proxies: Vec::new(),
    };
    assert_eq!(settings.runtime, runtime);
    let listener = ListenerSettings {
        name: "web".to_owned(),
        listen: AddressText::Tcp { host: String::new(), port: 8080 },
        timeouts: ListenerTimeouts {
            head: Duration::from_secs(10),
            body_idle: Duration::from_mins(1),
            idle: Duration::from_secs(75),
        },
        limits: ListenerLimits { head: 32 << 10, target: 8 << 10, headers: 100, body: 0, connections: 0 },
        service: Some("web".to_owned()),
        normalize_path: true,
    };
    assert_eq!(settings.listeners, [listener]);
    let service = ServiceSettings {
        name: "web".to_owned(),
        policy: PolicyKind::P2c,
        endpoints: vec![EndpointSettings {
            address: AddressText::Tcp { host: "127.0.0.1".to_owned(), port: 9001 },
            id: None,
            weight: 1,
            priority: 0,
            zone: None,
        }],
        connect_timeout: Duration::from_secs(1),
        pool: PoolSettings {
            idle: 64,
            idle_timeout: Duration::from_secs(55),
            max_age: Duration::from_hours(1),
            max_connections_per_endpoint: 0,
        },
        debug_headers: false,
    };
    assert_eq!(settings.services, [service]);
}

#[test]
fn flags_give_the_settings_of_the_equivalent_file() {
    let file = MINIMAL.replace("\"web\"", "\"default\"").replace("services.web", "services.default");
    let from_file = load_text(&file).unwrap().settings;
    let from_flags = from_flags(&[":8080".to_owned()], &["127.0.0.1:9001".to_owned()], None).unwrap();
    assert_eq!(from_flags, from_file);
}
