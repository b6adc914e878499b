//! What is accepted, and what it becomes.

use std::time::Duration;

use crate::memory::{load_files, load_text};
use isobar_config::*;
use isobar_core::{
    AgentSettings, HeaderRule, HeaderTest, HostPattern, Layout, PathRule, Pattern, PointHash, PolicyKind,
    PolicySettings, RouteMatch, WeightSettings, WeightSource,
};

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
    let Loaded { settings, warnings, watched, .. } = load_text(MINIMAL).map_err(|e| e.render(false)).unwrap();
    assert!(warnings.is_empty(), "{}", warnings.render(false));
    assert_eq!(watched, Watched { files: vec!["isobar.toml".into()], folders: Vec::new() });
    assert_eq!((settings.admin, settings.access_log), (None, None));
    let runtime = RuntimeSettings {
        workers: 0,
        shutdown_delay: Duration::ZERO,
        shutdown_grace: Duration::from_secs(30),
        trusted_proxies: Vec::new(),
        zone: None,
        instance: None,
    };
    assert_eq!(settings.runtime, runtime);
    let listener = ListenerSettings {
        name: "web".to_owned(),
        listen: AddressText::Tcp { host: String::new(), port: 8080 },
        tls: None,
        timeouts: ListenerTimeouts {
            head: Duration::from_secs(10),
            body_idle: Duration::from_mins(1),
            idle: Duration::from_secs(75),
            handshake: Duration::from_secs(10),
        },
        limits: ListenerLimits {
            head: 32 << 10,
            target: 8 << 10,
            headers: 100,
            body: 0,
            connections: 0,
            handshakes: 4096,
            streams: 128,
        },
        service: Some("web".to_owned()),
        normalize_path: true,
    };
    assert_eq!(settings.listeners, [listener]);
    assert_eq!(settings.services, [service_of_defaults()]);
}

fn service_of_defaults() -> ServiceSettings {
    ServiceSettings {
        name: "web".to_owned(),
        policy: PolicyKind::P2c.into(),
        hash_key: None,
        weights: isobar_core::WeightSettings::default(),
        load_probe: None,
        endpoints: vec![EndpointSettings {
            address: AddressText::Tcp { host: "127.0.0.1".to_owned(), port: 9001 },
            id: None,
            weight: 1,
            priority: 0,
            zone: None,
            hash_key: None,
        }],
        discovery: Vec::new(),
        health: Vec::new(),
        min_healthy_percent: 20,
        connect_timeout: Duration::from_secs(1),
        pool: PoolSettings {
            idle: 64,
            idle_timeout: Duration::from_secs(55),
            max_age: Duration::from_hours(1),
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

#[test]
fn flags_give_the_settings_of_the_equivalent_file() {
    let file = MINIMAL.replace("\"web\"", "\"default\"").replace("services.web", "services.default");
    let from_file = load_text(&file).unwrap().settings;
    let from_flags = from_flags(&[":8080".to_owned()], &["127.0.0.1:9001".to_owned()], None).unwrap();
    assert_eq!(from_flags, from_file);
}

fn accepted(text: &str) -> Settings {
    load_text(text).unwrap_or_else(|errors| panic!("{}", errors.render(false))).settings
}

/// A listener, a service and these routes.
fn routed(routes: &str) -> Settings {
    let around = "[[listeners]]\nname = \"web\"\nlisten = \":8080\"\n[services.web]\nendpoints = [\"127.0.0.1:9001\"]\n";
    accepted(&format!("{around}{routes}"))
}

#[test]
fn the_fullest_sample_becomes_what_it_says() {
    let text = include_str!("../../../../docs/guide/examples/everything.toml");
    let settings = load_files(&[("conf/isobar.toml", text)]).unwrap().settings;
    let log = AccessLogSettings { to: LogTarget::File("conf/access.log".into()), format: LogFormat::Text };
    assert_eq!(settings.access_log, Some(log));
    let networks: Vec<String> = settings.runtime.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"]);
    let [item, cart, home, gone, ..] = &settings.routes[..] else { panic!("{:?}", settings.routes) };
    let text = |text: &str| text.to_owned();
    let pattern = |text: &str| Pattern::new(text).unwrap();
    let header = |name: &str, test| HeaderRule { name: name.to_owned(), test };
    let expected = RouteSettings {
        name: text("item"),
        listeners: vec![text("web")],
        matches: RouteMatch {
            hosts: vec![
                HostPattern::Exact(text("shop.example.com")),
                HostPattern::Suffix(text(".shop.example.com")),
            ],
            path: PathRule::Regex(pattern(r"/item/\d+")),
            methods: vec![text("GET"), text("HEAD")],
            headers: vec![
                header("x-version", HeaderTest::Regex(pattern("v[12]"))),
                header("x-canary", HeaderTest::Exact(text("1"))),
                header("authorization", HeaderTest::Present),
            ],
        },
        action: RouteAction::Forward(vec![SplitEntry { service: text("web"), weight: 1 }]),
        rewrite: Rewrite {
            path: PathRewrite::Replace(text("/item.html")),
            host: Some(text("items.internal:8000")),
        },
        request_headers: HeaderEdits {
            set: vec![(text("x-env"), text("prod"))],
            add: vec![(text("x-tag"), text("a")), (text("x-tag"), text("b"))],
            remove: vec![text("x-debug")],
        },
        response_headers: HeaderEdits {
            set: Vec::new(),
            add: vec![(text("vary"), text("origin"))],
            remove: vec![text("server")],
        },
        timeout: Some(Duration::from_secs(15)),
        retry: RetrySettings { per_try_timeout: Some(Duration::from_secs(5)), ..RetrySettings::default() },
        upgrades: vec![text("websocket")],
    };
    assert_eq!(item, &expected);
    let split = |service: &str, weight| SplitEntry { service: service.to_owned(), weight };
    assert_eq!(cart.action, RouteAction::Forward(vec![split("web", 95), split("next", 5)]));
    assert_eq!(cart.rewrite.path, PathRewrite::StripPrefix(text("/cart")));
    assert_eq!(home.action, RouteAction::Redirect { to: text("https://{host}{path}{query}"), status: 308 });
    assert_eq!(gone.action, RouteAction::Respond { status: 410, body: text("gone") });
    let [web, next, spare, moved] = &settings.services[..] else { panic!("{:?}", settings.services) };
    let second = EndpointSettings {
        address: AddressText::Tcp { host: text("127.0.0.1"), port: 9002 },
        id: Some(text("web-2")),
        weight: 3,
        priority: 1,
        zone: Some(text("b")),
        hash_key: Some(text("10.0.0.12:8000")),
    };
    assert_eq!(web.endpoints[1], second);
    assert_eq!(web.discovery, [DiscoverySettings::File("conf/discovered/cart.toml".into())]);
    let probed = PolicySettings { load_probes: true, ..PolicyKind::Prequal.into() };
    assert_eq!((next.policy, &next.load_probe), (probed, &Some(text("/load"))));
    assert_eq!(spare.policy, PolicyKind::P2c.into());
    assert_eq!((moved.policy.layout, moved.policy.point_hash), (Layout::Envoy, PointHash::Murmur2));
    assert_eq!(next.endpoints[0].address, AddressText::Unix("conf/next.sock".into()));
}

#[test]
fn the_admin_interface_answers_to_names_in_lower_case_and_finds_its_token_beside_the_file() {
    let text = format!("admin = {{ token_file = \"admin.token\", hosts = [\"Proxy.Internal\"] }}\n{MINIMAL}");
    let settings = load_files(&[("conf/isobar.toml", &text)]).unwrap().settings;
    let admin = AdminSettings {
        listen: "127.0.0.1:9900".parse().unwrap(),
        token_file: Some("conf/admin.token".into()),
        hosts: vec!["proxy.internal".to_owned()],
    };
    assert_eq!(settings.admin, Some(admin));
}

/// Whoever has no token may not be let in from elsewhere without a word.
#[test]
fn an_admin_interface_that_others_reach_is_warned_of_unless_it_has_a_token() {
    let n_warnings =
        |admin: &str| load_text(&format!("admin = {admin}\n{MINIMAL}")).unwrap().warnings.n_warnings();
    assert_eq!(n_warnings("{ listen = \":9900\" }"), 1);
    assert_eq!(n_warnings("{ listen = \":9900\", token_file = \"/t\" }"), 0);
    assert_eq!(n_warnings("{ listen = \"[::1]:9900\" }"), 0);
}

#[test]
fn services_and_headers_keep_the_written_order() {
    let text = "[[listeners]]\nname = \"l\"\nlisten = \":1\"\n[[routes]]\nsplit = [{ service = \"z\" }, { service = \"a\" }, { service = \"m\" }]\n\
        request_headers.set = { z = \"1\", a = \"2\" }\n\
        [services.z]\nendpoints = [\"a:1\"]\n[services.a]\nendpoints = [\"a:1\"]\n[services.m]\nendpoints = [\"a:1\"]\n";
    let settings = accepted(text);
    let names: Vec<_> = settings.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["z", "a", "m"]);
    let set: Vec<_> = settings.routes[0].request_headers.set.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(set, ["z", "a"]);
}

#[test]
fn a_route_without_a_name_is_called_by_host_and_path() {
    let routes = "[[routes]]\nhost = \"*.a.test\"\npath = \"/x\"\nservice = \"web\"\n\
        [[routes]]\npath = \"/x\"\nmethods = \"GET\"\nservice = \"web\"\n\
        [[routes]]\npath = \"/x\"\nservice = \"web\"\n\
        [[routes]]\nname = \"*\"\nhost = \"b.test\"\nservice = \"web\"\n\
        [[routes]]\nservice = \"web\"\n";
    let names: Vec<_> = routed(routes).routes.into_iter().map(|route| route.name).collect();
    assert_eq!(names, ["*.a.test/x", "/x", "/x#2", "*", "*#2"]);
}

#[test]
fn upgrades_and_retries_can_be_turned_off() {
    let routes = "[[routes]]\nservice = \"web\"\nupgrades = []\nretry = { attempts = 1, on = [] }\n";
    let route = routed(routes).routes.remove(0);
    assert!(route.upgrades.is_empty());
    let off =
        RetrySettings { attempts: 1, on_connect_failure: false, on_reset: false, ..RetrySettings::default() };
    assert_eq!(route.retry, off);
}

#[test]
fn the_default_target_follows_a_smaller_head() {
    let settings =
        accepted(&MINIMAL.replace("service = \"web\"", "service = \"web\"\nlimits = { head = \"4KiB\" }"));
    let limits = settings.listeners[0].limits;
    assert_eq!((limits.head, limits.target), (4096, 4096));
}

#[test]
fn a_variable_is_replaced_once_and_an_escaped_one_never() {
    let routes = "[[routes]]\nservice = \"web\"\nrequest_headers.set = { a = \"x${PORT}y${PORT}\", b = \"${NESTED}\", \
        c = \"$${PORT}\", d = \"$PORT {PORT} $\", e = \"a$${b}${PORT}\" }\n";
    let set = routed(routes).routes.remove(0).request_headers.set;
    let values: Vec<_> = set.iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!(values, ["x8080y8080", "${PORT}", "${PORT}", "$PORT {PORT} $", "a${b}8080"]);
}

#[test]
fn included_files_add_in_order_and_resolve_their_own_paths() {
    let loaded = load_files(&[
        (
            "etc/isobar.toml",
            "include = [\"d/*.toml\", \"d/b.toml\", \"isobar.toml\"]\n[[listeners]]\nname = \"l\"\nlisten = \":1\"",
        ),
        (
            "etc/d/b.toml",
            "[[routes]]\npath = \"/b\"\nservice = \"b\"\n[services.b]\nendpoints = [\"unix:b.sock\"]",
        ),
        ("etc/d/a.toml", "[[routes]]\npath = \"/a\"\nservice = \"b\"\n[access_log]\nto = \"log\""),
        ("etc/d/.hidden.toml", "this is not read"),
    ]);
    let Loaded { settings, watched, .. } = loaded.unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    let files: Vec<_> = watched.files.iter().map(|path| path.to_str().unwrap()).collect();
    assert_eq!(files, ["etc/isobar.toml", "etc/d/a.toml", "etc/d/b.toml"]);
    let names: Vec<_> = settings.routes.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(names, ["/a", "/b"]);
    assert_eq!(settings.access_log.unwrap().to, LogTarget::File("etc/d/log".into()));
    assert_eq!(settings.services[0].endpoints[0].address, AddressText::Unix("etc/d/b.sock".into()));
}

#[test]
fn an_unreadable_main_file_is_one_error_without_a_place() {
    let errors =
        load(std::path::Path::new("none.toml"), &crate::memory::Memory::default(), &crate::memory::env);
    assert_eq!(errors.unwrap_err().lines(), ["cannot read none.toml: no such file"]);
}

#[test]
fn two_unix_sockets_and_two_system_chosen_ports_do_not_clash() {
    let listener = |name: &str, listen: &str| {
        format!("[[listeners]]\nname = \"{name}\"\nlisten = \"{listen}\"\nservice = \"web\"\n")
    };
    let service = "[services.web]\nendpoints = [\"a:1\"]\n";
    let fits =
        |a: &str, b: &str| load_text(&format!("{}{}{service}", listener("a", a), listener("b", b))).is_ok();
    assert!(fits("unix:/a", "unix:/b") && fits(":0", ":0") && fits("127.0.0.1:80", "127.0.0.2:80"));
    assert!(fits("0.0.0.0:80", "[::1]:80") && fits("localhost:80", "localhost:81"));
    assert!(!fits("unix:/a", "unix:/a") && !fits(":80", ":80") && !fits("0.0.0.0:80", "10.0.0.1:80"));
    assert!(
        !fits("127.0.0.1:80", ":80") && !fits("[::]:80", "[::1]:80") && !fits("LOCALHOST:80", "localhost:80")
    );
}

#[test]
fn flags_that_are_wrong_are_all_told_at_once() {
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let errors = from_flags(
        &texts(&["8080", "*:8080", "127.0.0.1:80:80", ":80", "127.0.0.1:80"]),
        &texts(&["http://a:1", "9001", "*:9001", ":9001", "a:0", "a:1", "a:1"]),
        Some("roundrobin"),
    );
    assert_eq!(
        errors.unwrap_err(),
        [
            "--listen 8080: the host is missing (write \":8080\" for every interface, or \"127.0.0.1:8080\")",
            "--listen *:8080: `*` is not a host (write \":8080\" for every interface, or \"127.0.0.1:8080\")",
            "--listen 127.0.0.1:80:80: it has too many colons (write \"127.0.0.1:80\")",
            "--to http://a:1: an address has no `http://` (write \"a:1\")",
            "--to 9001: the host is missing (write \"127.0.0.1:9001\")",
            "--to *:9001: `*` is not a host (write \"HOST:9001\")",
            "--listen 127.0.0.1:80: it cannot be listened on together with :80",
            "--to :9001: the host is missing (write 127.0.0.1:9001 for this machine)",
            "--to a:0: nothing listens on port 0 (write a port from 1 to 65535)",
            "--to a:1: it is given twice (for weights use a configuration file)",
            "--policy roundrobin: there is no such policy (did you mean round-robin?)",
        ]
    );
    let missing = from_flags(&[], &[], None).unwrap_err();
    assert_eq!(missing.len(), 2, "{missing:?}");
}

#[test]
fn each_flag_takes_part() {
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let settings =
        from_flags(&texts(&[":1", "unix:/s"]), &texts(&["a:1", "[::1]:2"]), Some("random")).unwrap();
    let names: Vec<_> = settings.listeners.iter().map(|listener| listener.name.as_str()).collect();
    assert_eq!(names, ["default", "default-2"]);
    assert_eq!(settings.listeners[1].listen, AddressText::Unix("/s".into()));
    assert_eq!(settings.services[0].policy, PolicyKind::Random.into());
    assert_eq!(settings.services[0].endpoints[1].address.to_string(), "[::1]:2");
    assert_eq!(settings.services[0].hash_key, None);
    let keyed = from_flags(&texts(&[":1"]), &texts(&["a:1"]), Some("maglev")).unwrap();
    assert_eq!(keyed.services[0].hash_key, Some(HashKey::ClientIp));
}

/// A service with this policy.
fn policy(value: &str) -> (PolicySettings, Option<HashKey>) {
    let service = accepted(&MINIMAL.replace("endpoints =", &format!("policy = {value}\nendpoints =")))
        .services
        .remove(0);
    (service.policy, service.hash_key)
}

#[test]
fn every_option_of_a_policy_by_key_is_taken() {
    let text = include_str!("../../../../docs/guide/examples/everything.toml");
    let settings = load_files(&[("conf/isobar.toml", text)]).unwrap().settings;
    let web = &settings.services[0];
    let policy = PolicySettings {
        kind: PolicyKind::Maglev,
        layout: Layout::Envoy,
        table_size: 65_537,
        bounded_load_percent: Some(125),
        ..PolicyKind::Maglev.into()
    };
    assert_eq!((web.policy, &web.hash_key), (policy, &Some(HashKey::Header("x-user".to_owned()))));
}

#[test]
fn the_function_of_a_ring_s_points_is_taken_and_the_default_is_the_page_s() {
    let hash = |text: &str| policy(text).0.point_hash;
    assert_eq!(hash("{ name = \"ring-hash\", layout = \"envoy\", hash = \"murmur2\" }"), PointHash::Murmur2);
    assert_eq!(hash("{ name = \"ring-hash\", layout = \"envoy\" }"), PointHash::Xxhash);
}

#[test]
fn every_option_of_live_weights_is_taken_and_the_defaults_are_those_of_the_page() {
    let full = include_str!("../../../../docs/guide/examples/everything.toml");
    let short = MINIMAL
        .replace("endpoints =", "weights = { from = \"reported\", agent = { port = 9999 } }\nendpoints =");
    let next = load_files(&[("conf/isobar.toml", full)]).unwrap().settings.services.remove(1);
    let reported = WeightSettings {
        source: WeightSource::Reported { blackout: Duration::from_secs(10), error_penalty_percent: 100 },
        update: Duration::from_secs(1),
        expiry: Duration::from_mins(3),
        agents: Some(AgentSettings { port: 9999, interval: Duration::from_secs(2) }),
    };
    for service in [next, accepted(&short).services.remove(0)] {
        assert_eq!(service.weights, reported);
    }
    let weights = |value: &str| {
        accepted(&MINIMAL.replace("endpoints =", &format!("weights = {value}\nendpoints ="))).services[0]
            .weights
    };
    let measured = WeightSettings { source: WeightSource::Measured, agents: None, ..reported };
    assert_eq!(weights("{ from = \"measured\" }"), measured);
    assert_eq!(weights("{ from = \"configured\" }"), WeightSettings::default());
}

#[test]
fn policies_by_key_hash_the_caller_s_address_unless_told_otherwise() {
    let ring = PolicySettings::from(PolicyKind::RingHash);
    assert_eq!(policy("\"ring-hash\""), (ring, Some(HashKey::ClientIp)));
    assert_eq!(policy("{ name = \"ring-hash\" }"), (ring, Some(HashKey::ClientIp)));
    assert_eq!(policy("\"least-request\""), (PolicyKind::LeastRequest.into(), None));
    let decay = Duration::from_millis(500);
    let quick = PolicySettings { decay, ..PolicyKind::PeakEwma.into() };
    assert_eq!(policy("{ name = \"peak-ewma\", decay = \"500ms\" }"), (quick, None));
    let five = PolicySettings { choices: 5, ..PolicyKind::P2c.into() };
    assert_eq!(policy("{ name = \"p2c\", choices = 5 }"), (five, None));
    let probed = PolicySettings { load_probes: true, ..PolicyKind::Prequal.into() };
    assert_eq!(policy("{ name = \"prequal\", probe = \"/load\" }"), (probed, None));
    assert_eq!(policy("\"prequal\""), (PolicyKind::Prequal.into(), None));
    for (written, key) in [
        ("client-ip", HashKey::ClientIp),
        ("header:X-User", HashKey::Header("x-user".to_owned())),
        ("cookie:Sid", HashKey::Cookie("Sid".to_owned())),
        ("query:user[id]", HashKey::Query("user[id]".to_owned())),
        ("path", HashKey::Path),
        ("host", HashKey::Host),
    ] {
        let (_, found) = policy(&format!("{{ name = \"rendezvous\", key = \"{written}\" }}"));
        assert_eq!(found, Some(key));
    }
}

#[test]
fn a_bound_on_load_is_a_number_in_hundredths() {
    for (written, percent) in [("1.01", 101), ("1.25", 125), ("2", 200), ("1.5e0", 150), ("10.0", 1000)] {
        let (policy, _) =
            policy(&format!("{{ name = \"ring-hash\", layout = \"haproxy\", bounded_load = {written} }}"));
        assert_eq!(
            (policy.bounded_load_percent, policy.layout),
            (Some(percent), Layout::Haproxy),
            "{written}"
        );
    }
}
