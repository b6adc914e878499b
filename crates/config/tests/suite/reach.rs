//! The warning about routes that no request reaches, held against the table that routes requests.

use isobar_core::{RequestView, RouteTable};
use proptest::prelude::*;

use crate::memory::load_text;

const HOSTS: [&str; 4] = ["", "host = \"a.test\"", "host = \"*.test\"", "host = [\"b.a.test\", \"a.test\"]"];
const PATHS: [&str; 7] = [
    "",
    "path = \"/\"",
    "path = \"/a\"",
    "path = \"/a/b\"",
    "path_exact = \"/a\"",
    "path_exact = \"/ab\"",
    "path_regex = \"/a.*\"",
];
const METHODS: [&str; 3] = ["", "methods = \"GET\"", "methods = [\"GET\", \"PUT\"]"];
const HEADERS: [&str; 3] = ["", "headers = { x = \"1\" }", "headers = { x = \"1\", y = \"*\" }"];

struct Request {
    host: &'static str,
    path: &'static str,
    method: &'static str,
    headers: &'static [&'static str],
}

impl RequestView for Request {
    fn method(&self) -> &[u8] {
        self.method.as_bytes()
    }

    fn host(&self) -> &[u8] {
        self.host.as_bytes()
    }

    fn path(&self) -> &[u8] {
        self.path.as_bytes()
    }

    fn header_matches(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.headers.contains(&name) && test(b"1")
    }
}

/// Every request that the conditions above can tell apart.
fn requests() -> Vec<Request> {
    let mut requests = Vec::new();
    for host in ["a.test", "b.a.test", "c.test", "d"] {
        for path in ["/", "/a", "/ab", "/a/", "/a/b", "/a/b/c", "/x"] {
            for method in ["GET", "PUT", "POST"] {
                for headers in [&[][..], &["x"], &["y"], &["x", "y"]] {
                    requests.push(Request { host, path, method, headers });
                }
            }
        }
    }
    requests
}

proptest! {
    #[test]
    fn a_route_that_is_called_unreachable_takes_no_request(
        routes in prop::collection::vec((0..4usize, 0..7usize, 0..3usize, 0..3usize), 2..5),
    ) {
        let mut text = "[[listeners]]\nname = \"web\"\nlisten = \":1\"\n".to_owned();
        for (number, (host, path, method, headers)) in routes.iter().enumerate() {
            let conditions = [HOSTS[*host], PATHS[*path], METHODS[*method], HEADERS[*headers]].join("\n");
            let number = number.to_string();
            text.extend(["[[routes]]\nrespond = { status = 200 }\nname = \"", &number, "\"\n", &conditions, "\n"]);
        }
        let loaded = load_text(&text).unwrap();
        let table = RouteTable::compile((0..).zip(loaded.settings.routes.iter().map(|route| route.matches.clone())));
        let reached: Vec<u32> = requests().iter().filter_map(|request| table.find(request)).collect();
        for (number, route) in (0..).zip(&routes) {
            let title = format!("no request reaches the route \"{number}\"");
            let warned = loaded.warnings.iter().any(|finding| finding.message == title);
            prop_assert!(!(warned && reached.contains(&number)), "{route:?}\n{text}");
            let repeated = routes[..number as usize].contains(route);
            prop_assert!(warned || !repeated, "{route:?} is repeated, and nothing is said\n{text}");
        }
    }
}
