//! The route table against a scan in written order, and each rule by example.

use std::cell::Cell;

use isobar_core::{
    HeaderRule, HeaderTest, HostPattern, PathRule, Pattern, RequestView, RouteMatch, RouteTable,
};
use proptest::prelude::*;

#[derive(Clone, Debug, Default)]
struct Request {
    method: String,
    host: String,
    path: String,
    headers: Vec<(String, String)>,
    /// How often a route asked for the method: once for each route that was tried.
    tried: Cell<u32>,
}

impl RequestView for Request {
    fn method(&self) -> &[u8] {
        self.tried.set(self.tried.get() + 1);
        self.method.as_bytes()
    }
    fn host(&self) -> &[u8] {
        self.host.as_bytes()
    }
    fn path(&self) -> &[u8] {
        self.path.as_bytes()
    }
    fn header_matches(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.headers.iter().any(|(header, value)| header == name && test(value.as_bytes()))
    }
}

fn get(host: &str, path: &str) -> Request {
    Request { method: "GET".into(), host: host.into(), path: path.into(), ..Default::default() }
}

/// The rules as the interface page words them, one route after another.
fn scan(routes: &[(u32, RouteMatch)], request: &Request) -> Option<u32> {
    let lower = request.host.to_lowercase();
    let host = lower.strip_suffix('.').unwrap_or(&lower);
    let segments = |path: &str| -> Vec<String> { path.split('/').map(String::from).collect() };
    let host_fits = |pattern: &HostPattern| match pattern {
        HostPattern::Exact(name) => host == name,
        HostPattern::Suffix(suffix) => {
            host.strip_suffix(suffix.as_str()).is_some_and(|labels| !labels.is_empty())
        }
    };
    let path_fits = |rule: &PathRule| match rule {
        PathRule::Any => true,
        PathRule::Exact(path) => request.path == *path,
        PathRule::Prefix(prefix) => {
            prefix.trim_end_matches('/').is_empty()
                || segments(&request.path).starts_with(&segments(prefix.trim_end_matches('/')))
        }
        PathRule::Regex(pattern) => pattern.matches(request.path.as_bytes()),
    };
    let header_fits = |rule: &HeaderRule| {
        request.headers.iter().filter(|(name, _)| *name == rule.name).any(|(_, value)| match &rule.test {
            HeaderTest::Present => true,
            HeaderTest::Exact(exact) => value == exact,
            HeaderTest::Regex(pattern) => pattern.matches(value.as_bytes()),
        })
    };
    let fits = |rule: &RouteMatch| {
        (rule.hosts.is_empty() || rule.hosts.iter().any(host_fits))
            && path_fits(&rule.path)
            && (rule.methods.is_empty() || rule.methods.contains(&request.method))
            && rule.headers.iter().all(header_fits)
    };
    routes.iter().find(|(_, rule)| fits(rule)).map(|(id, _)| *id)
}

fn pattern(text: &str) -> Pattern {
    match Pattern::new(text) {
        Ok(pattern) => pattern,
        Err(error) => panic!("{error}"),
    }
}

/// Few labels, so that hosts, suffixes and requests meet.
fn host_name() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(&["a", "b", "com"][..]), 1..4)
        .prop_map(|labels| labels.join("."))
}

/// Few segments, some of them a prefix of another as text.
fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(&["x", "xy", "y", ""][..]), 0..4)
        .prop_map(|segments| format!("/{}", segments.join("/")))
}

fn rule() -> impl Strategy<Value = RouteMatch> {
    let host = prop_oneof![
        host_name().prop_map(HostPattern::Exact),
        host_name().prop_map(|name| HostPattern::Suffix(format!(".{name}"))),
    ];
    let path = prop_oneof![
        1 => Just(PathRule::Any),
        4 => path().prop_map(PathRule::Prefix),
        2 => path().prop_map(PathRule::Exact),
        1 => prop::sample::select(&["/x.*", "(/y)+", ".*/"][..]).prop_map(|text| PathRule::Regex(pattern(text))),
    ];
    let method = prop::sample::select(&["GET", "POST"][..]).prop_map(String::from);
    let test = prop_oneof![
        Just(HeaderTest::Present),
        Just(HeaderTest::Exact("1".into())),
        Just(HeaderTest::Regex(pattern("[0-9]"))),
    ];
    let header = (prop::sample::select(&["x-a", "x-b"][..]), test)
        .prop_map(|(name, test)| HeaderRule { name: name.into(), test });
    (
        prop::collection::vec(host, 0..3),
        path,
        prop::collection::vec(method, 0..2),
        prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(header, 1..3)],
    )
        .prop_map(|(hosts, path, methods, headers)| RouteMatch { hosts, path, methods, headers })
}

fn request() -> impl Strategy<Value = Request> {
    let host = (host_name(), any::<bool>(), any::<bool>()).prop_map(|(name, upper, dot)| {
        let name = if upper { name.to_uppercase() } else { name };
        if dot { name + "." } else { name }
    });
    let header = (prop::sample::select(&["x-a", "x-b"][..]), prop::sample::select(&["1", "2", "no"][..]))
        .prop_map(|(name, value)| (name.to_owned(), value.to_owned()));
    let method = prop::sample::select(&["GET", "POST", "get"][..]).prop_map(String::from);
    (method, host, prop_oneof![9 => path(), 1 => Just("*".to_owned())], prop::collection::vec(header, 0..3))
        .prop_map(|(method, host, path, headers)| Request {
            method,
            host,
            path,
            headers,
            tried: Cell::new(0),
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn the_table_finds_what_a_scan_in_written_order_finds(
        rules in prop::collection::vec(rule(), 0..120),
        requests in prop::collection::vec(request(), 1..40),
    ) {
        let routes: Vec<(u32, RouteMatch)> = (1_000..).zip(rules).collect();
        let table = RouteTable::compile(routes.clone());
        for request in requests {
            prop_assert_eq!(table.find(&request), scan(&routes, &request), "{:?}", request);
        }
    }

    #[test]
    fn no_request_makes_the_table_panic(host in "\\PC{0,300}", path in "\\PC{0,300}", rules in prop::collection::vec(rule(), 0..40)) {
        RouteTable::compile((0..).zip(rules)).find(&get(&host, &path));
    }
}

fn table_of(rule: RouteMatch) -> RouteTable {
    RouteTable::compile([(7, rule)])
}

fn on_path(path: PathRule) -> RouteTable {
    table_of(RouteMatch { path, ..Default::default() })
}

#[test]
fn a_prefix_takes_whole_segments() {
    for prefix in ["/cart", "/cart/"] {
        let table = on_path(PathRule::Prefix(prefix.into()));
        for taken in ["/cart", "/cart/", "/cart/x", "/cart/x/y"] {
            assert_eq!(table.find(&get("a", taken)), Some(7), "{prefix} {taken}");
        }
        for left in ["/", "/carts", "/car", "/x/cart", "/CART"] {
            assert_eq!(table.find(&get("a", left)), None, "{prefix} {left}");
        }
    }
    let root = on_path(PathRule::Prefix("/".into()));
    assert!(["/", "/x", "/x/y", "*"].iter().all(|path| root.find(&get("a", path)) == Some(7)));
}

#[test]
fn a_wildcard_takes_one_or_more_labels_and_never_none() {
    let hosts = vec![HostPattern::Suffix(".example.com".into())];
    let table = table_of(RouteMatch { hosts, ..Default::default() });
    for taken in ["a.example.com", "a.b.example.com", "A.EXAMPLE.COM", "a.example.com."] {
        assert_eq!(table.find(&get(taken, "/")), Some(7), "{taken}");
    }
    for left in ["example.com", ".example.com", "badexample.com", "a.example.org", ""] {
        assert_eq!(table.find(&get(left, "/")), None, "{left}");
    }
}

#[test]
fn a_host_too_long_for_a_name_takes_only_routes_of_every_host() {
    let long = format!("{}.example.com", "a".repeat(250));
    let named = RouteMatch { hosts: vec![HostPattern::Suffix(".example.com".into())], ..Default::default() };
    let table = RouteTable::compile([(1, named), (2, RouteMatch::default())]);
    assert_eq!(table.find(&get(&long, "/")), Some(2));
    assert_eq!(table.find(&get("a.example.com", "/")), Some(1));
}

#[test]
fn the_written_order_beats_the_more_exact_rule() {
    let host = |host: HostPattern| RouteMatch { hosts: vec![host], ..Default::default() };
    let any = RouteMatch { path: PathRule::Prefix("/api".into()), ..Default::default() };
    let suffix = host(HostPattern::Suffix(".example.com".into()));
    let exact = host(HostPattern::Exact("a.example.com".into()));
    let table = RouteTable::compile([(1, any), (2, suffix), (3, exact)]);
    assert_eq!(table.find(&get("a.example.com", "/api/x")), Some(1));
    assert_eq!(table.find(&get("a.example.com", "/")), Some(2));
    assert_eq!(table.find(&get("b.example.org", "/")), None);
}

#[test]
fn any_value_of_a_repeated_header_satisfies_its_rule() {
    let headers = vec![HeaderRule { name: "x-canary".into(), test: HeaderTest::Exact("1".into()) }];
    let table = table_of(RouteMatch { headers, ..Default::default() });
    let with = |values: &[&str]| Request {
        headers: values.iter().map(|value| ("x-canary".to_owned(), (*value).to_owned())).collect(),
        ..get("a", "/")
    };
    assert_eq!(table.find(&with(&["0", "1"])), Some(7));
    assert_eq!(table.find(&with(&["0", "11"])), None);
    assert_eq!(table.find(&with(&[])), None);
}

#[test]
fn a_request_among_ten_thousand_routes_tries_a_handful() {
    // By host, by wildcard and by path alone, one route for each number, and one that takes the rest.
    let rules = (0..10_000_u32).map(|n| match n % 4 {
        0 => RouteMatch { hosts: vec![HostPattern::Exact(format!("h{n}.test"))], ..Default::default() },
        1 => RouteMatch { hosts: vec![HostPattern::Suffix(format!(".w{n}.test"))], ..Default::default() },
        2 => RouteMatch { path: PathRule::Prefix(format!("/p{n}")), ..Default::default() },
        _ => RouteMatch { path: PathRule::Exact(format!("/e{n}")), ..Default::default() },
    });
    let table = RouteTable::compile((0..).zip(rules.chain([RouteMatch::default()])));
    for n in 0..10_000_u32 {
        let request = match n % 4 {
            0 => get(&format!("h{n}.test"), "/"),
            1 => get(&format!("x.w{n}.test"), "/"),
            2 => get("a", &format!("/p{n}/x")),
            _ => get("a", &format!("/e{n}")),
        };
        assert_eq!(table.find(&request), Some(n));
        assert!(request.tried.get() <= 3, "{n}: {} tried", request.tried.get());
    }
    assert_eq!(table.find(&get("other", "/other")), Some(10_000));
}
