//! What divides a service and binds its callers: sticky cookies, zones and subsets.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::memory::{load_files, load_text};
use isobar_config::{ServiceSettings, StickySettings};
use isobar_core::{StickyKey, Subset, ZoneAware};

const MINIMAL: &str = r#"
[[listeners]]
name = "web"
listen = ":8080"
service = "web"

[services.web]
endpoints = ["127.0.0.1:9001"]
"#;

/// A service with this `sticky`, and a file `keys/cart.key` beside it.
fn sticky(value: &str, secret: &str) -> Result<StickySettings, String> {
    let text = MINIMAL.replace("endpoints =", &format!("sticky = {value}\nendpoints ="));
    let loaded = load_files(&[("conf/isobar.toml", &text), ("conf/keys/cart.key", secret)]);
    let mut settings = loaded.map_err(|errors| errors.lines().join("; "))?.settings;
    Ok(settings.services.remove(0).sticky.unwrap())
}

#[test]
fn a_sticky_cookie_has_a_name_a_time_and_a_key_of_the_service_or_of_a_secret() {
    let of_service = StickySettings { cookie: "isobar".into(), ttl: None, key: StickyKey::of_service("web") };
    assert_eq!(sticky("{}", ""), Ok(of_service));
    let secret = "0123456789abcdef";
    let whole = "{ cookie = \"cart-at\", ttl = \"90m\", key_file = \"keys/cart.key\" }";
    let ttl = Some(Duration::from_mins(90));
    let of_secret = StickySettings { cookie: "cart-at".into(), ttl, key: StickyKey::of_secret(secret) };
    assert_eq!(sticky(whole, &format!("{secret}\n")), Ok(of_secret));
}

#[test]
fn a_sticky_cookie_that_cannot_be_is_refused_by_its_place() {
    for (value, told) in [
        ("{ cookie = \"a b\" }", "cannot be a cookie's name"),
        ("{ cookie = \"\" }", "cannot be a cookie's name"),
        ("{ ttl = \"0s\" }", "`sticky.ttl` is \"0s\", but must be from 1s"),
        ("{ key_file = \"keys/none.key\" }", "conf/keys/none.key cannot be read: no such file"),
        ("{ key_file = \"keys/cart.key\" }", "conf/keys/cart.key holds less than 16 characters"),
        ("true", "must be a table"),
    ] {
        let findings = sticky(value, " fifteen letters \n").unwrap_err();
        assert!(findings.contains(told) && findings.contains("isobar.toml:8"), "{findings}");
    }
}

#[test]
fn the_file_of_a_secret_is_watched_also_while_it_cannot_be_read() {
    let text = MINIMAL.replace("endpoints =", "sticky = { key_file = \"cart.key\" }\nendpoints =");
    let watched: Vec<PathBuf> = vec!["conf/isobar.toml".into(), "conf/cart.key".into()];
    let files = [("conf/isobar.toml", &*text), ("conf/cart.key", "0123456789abcdef")];
    assert_eq!(load_files(&files).unwrap().watched.files, watched);
    assert_eq!(load_files(&files[..1]).unwrap_err().watched().files, watched);
}

#[test]
fn services_that_use_one_cookie_are_told_of_it() {
    let two =
        format!("{MINIMAL}sticky = {{}}\n[services.cart]\nendpoints = [\"127.0.0.1:9002\"]\nsticky = {{}}\n");
    let warnings = load_text(&two).unwrap().warnings.lines().join("; ");
    assert!(warnings.contains("uses the cookie \"isobar\" of another"), "{warnings}");
}

/// The service of a file with these lines in `[runtime]` and in the service, on a host of the name `host-7`.
fn divided(runtime: &str, service: &str) -> Result<ServiceSettings, String> {
    let text = format!("[runtime]\n{runtime}\n{MINIMAL}{service}\n");
    let loaded = load_files(&[("isobar.toml", &text), ("/proc/sys/kernel/hostname", "host-7\n")]);
    loaded.map(|loaded| loaded.settings.services[0].clone()).map_err(|errors| errors.lines().join("; "))
}

#[test]
fn zones_and_subsets_belong_to_the_proxy_that_the_runtime_names() {
    let plain = divided("zone = \"b\"", "zone_aware = {}\nsubset = { size = 20 }").unwrap();
    let zone_aware = ZoneAware { zone: "b".into(), min_endpoints: 6, proxies: BTreeMap::new() };
    assert_eq!((plain.zone_aware, plain.subset), (Some(zone_aware), Some(Subset::new(20, "host-7"))));
    let told = "zone_aware = { min_endpoints = 2, proxies = { a = 0, b = 3 } }\nsubset = { size = 1 }";
    let told = divided("zone = \"b\"\ninstance = \"proxy-1\"", told).unwrap();
    let proxies = BTreeMap::from([("a".into(), 0), ("b".into(), 3)]);
    let zone_aware = ZoneAware { zone: "b".into(), min_endpoints: 2, proxies };
    assert_eq!((told.zone_aware, told.subset), (Some(zone_aware), Some(Subset::new(1, "proxy-1"))));
}

#[test]
fn zones_and_subsets_that_cannot_be_are_refused() {
    for (runtime, service, told) in [
        ("", "zone_aware = {}", "`zone_aware` needs the zone of this proxy"),
        ("zone = \"c\"", "zone_aware = { proxies = { a = 1 } }", "has none in \"c\", where this proxy is"),
        ("zone = \"a\"", "zone_aware = { proxies = { a = -1 } }", "but must be from 0 to 1000000"),
        ("zone = \"a\"", "zone_aware = { proxies = { a = \"1\" } }", "must be a whole number"),
        ("zone = \"a\"", "zone_aware = { proxies = [] }", "must be a table"),
        ("zone = \"a\"", "zone_aware = { proxies = { \"a b\" = 1, a = 1 } }", "a zone"),
        ("zone = \"a b\"", "", "`runtime.zone`"),
        ("", "subset = {}", "needs `size`"),
        ("", "subset = { size = 0 }", "`subset.size` is 0, but must be from 1"),
    ] {
        let findings = divided(runtime, service).unwrap_err();
        assert!(findings.contains(told), "{findings}");
    }
    let text = format!("{MINIMAL}subset = {{ size = 2 }}\n");
    let findings = load_text(&text).unwrap_err().lines().join("; ");
    assert!(findings.contains("`subset` needs a name for this proxy"), "{findings}");
}
