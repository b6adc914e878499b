//! Which route takes a request, and what its action makes of it, over the wire.
#![allow(clippy::unwrap_used, reason = "a test")]

use isobar_tests::{Isobar, Origin, Response};

/// A proxy with these routes in front of endpoints that answer with the name of their service: `a`, `b` and, echoing
/// the request, `echo`.
struct Stage {
    isobar: Isobar,
    _origins: [Origin; 3],
}

impl Stage {
    fn start(listeners: &str, routes: &str) -> Self {
        let origins = [Origin::answering("a"), Origin::answering("b"), Origin::echoing()];
        let [a, b, echo] = origins.each_ref().map(|origin| origin.address);
        let isobar = Isobar::start(&format!(
            "{listeners}\n{routes}\n[services.a]\nendpoints = [\"{a}\"]\n[services.b]\nendpoints = [\"{b}\"]\n\
             [services.echo]\nendpoints = [\"{echo}\"]\n"
        ));
        Self { isobar, _origins: origins }
    }

    fn web(routes: &str) -> Self {
        Self::start("[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"", routes)
    }

    /// The answer to a request line, a host and further field lines.
    fn ask(&self, line: &str, host: &str, fields: &str) -> Response {
        let mut client = self.isobar.connect();
        client.send(format!("{line} HTTP/1.1\r\nhost: {host}\r\n{fields}\r\n"));
        client.response(line.split(' ').next().unwrap())
    }

    /// The service that took the request, or the error.
    fn taker(&self, line: &str, host: &str, fields: &str) -> String {
        let response = self.ask(line, host, fields);
        if response.status == 200 { response.text() } else { response.error().to_owned() }
    }
}

#[test]
fn the_first_route_whose_conditions_all_hold_takes_the_request() {
    let stage = Stage::web(
        "[[routes]]\nhost = [\"shop.test\", \"*.shop.test\"]\npath = \"/cart\"\nmethods = [\"GET\"]\n\
         headers = { x-canary = \"1\", x-version = \"~v[12]\", x-present = \"*\" }\nservice = \"a\"\n\
         [[routes]]\nhost = \"shop.test\"\nservice = \"b\"\n",
    );
    let all = "x-canary: 1\r\nX-Version: v2\r\nx-present: \r\n";
    let rows = [
        ("GET /cart", "shop.test", all, "a"),
        ("GET /cart/items?q=1", "SHOP.Test:8080", all, "a"),
        ("GET /cart", "eu.shop.test", all, "a"),
        ("GET /cart", "x.eu.shop.test", all, "a"),
        ("GET http://shop.test/cart", "shop.test", all, "a"),
        ("GET /carts", "shop.test", all, "b"),
        ("GET /CART", "shop.test", all, "b"),
        ("DELETE /cart", "shop.test", all, "b"),
        ("GET /cart", "shop.test", "x-canary: 1\r\nx-version: v3\r\nx-present: y\r\n", "b"),
        ("GET /cart", "shop.test", "x-canary: 10\r\nx-version: v1\r\nx-present: y\r\n", "b"),
        ("GET /cart", "shop.test", "x-canary: 1\r\nx-version: v1\r\n", "b"),
        ("GET /other", "eu.shop.test", all, "no-route"),
        ("GET /cart", "myshop.test", all, "no-route"),
        ("GET /cart", "shop.test.evil", all, "no-route"),
    ];
    for (line, host, fields, expected) in rows {
        assert_eq!(stage.taker(line, host, fields), expected, "{line} at {host} with {fields:?}");
    }
    stage.isobar.assert_no_leak();
}

#[test]
fn paths_match_by_segments_exactly_or_by_a_whole_expression() {
    let stage = Stage::web(
        "[[routes]]\npath_exact = \"/only\"\nservice = \"a\"\n[[routes]]\npath_regex = '/item/[0-9]+'\nservice = \"a\"\n\
         [[routes]]\npath = \"/tree/\"\nservice = \"a\"\n",
    );
    for (path, expected) in [
        ("/only", "a"),
        ("/only?x=/y", "a"),
        ("/only/", "no-route"),
        ("/only/x", "no-route"),
        ("/item/12", "a"),
        ("/item/12/", "no-route"),
        ("/x/item/12", "no-route"),
        ("/tree", "a"),
        ("/tree/leaf", "a"),
        ("/trees", "no-route"),
        ("/other/../only", "a"),
        ("/only/%2e%2e/tree/x", "a"),
    ] {
        assert_eq!(stage.taker(&format!("GET {path}"), "test", ""), expected, "{path}");
    }
}

#[test]
fn a_route_serves_only_its_listeners_and_a_listener_s_service_takes_the_rest() {
    let stage = Stage::start(
        "[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\nservice = \"b\"\n\
         [[listeners]]\nname = \"inside\"\nlisten = \"127.0.0.1:0\"",
        "[[routes]]\nlisteners = [\"inside\"]\npath = \"/x\"\nservice = \"a\"",
    );
    assert_eq!(stage.taker("GET /x", "test", ""), "b");
    let mut inside = isobar_tests::Client::connect(stage.isobar.listener("inside"));
    inside.send("GET /x HTTP/1.1\r\nhost: test\r\n\r\nGET /y HTTP/1.1\r\nhost: test\r\n\r\n");
    assert_eq!(inside.response("GET").text(), "a");
    let refused = inside.response("GET");
    assert_eq!((refused.status, refused.error()), (404, "no-route"));
}

#[test]
fn a_split_keeps_its_weights_and_a_weight_of_zero_takes_nothing() {
    const N: usize = 600;
    let stage = Stage::web(
        "[[routes]]\npath = \"/some\"\nsplit = [{ service = \"a\", weight = 3 }, { service = \"b\", weight = 1 }]\n\
         [[routes]]\npath = \"/none\"\nsplit = [{ service = \"a\", weight = 0 }, { service = \"b\", weight = 1 }]\n",
    );
    let mut client = stage.isobar.connect();
    let mut count = |path: &str| {
        let mut n_a = 0;
        for _ in 0..N {
            client.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n"));
            n_a += usize::from(client.response("GET").text() == "a");
        }
        n_a
    };
    // 450 expected, standard deviation 10.6: six of them are left to each side.
    let n_a = count("/some");
    assert!((386..=514).contains(&n_a), "{n_a} of {N}");
    assert_eq!(count("/none"), 0);
}

#[test]
fn a_redirect_fills_its_template_and_keeps_the_connection() {
    let stage = Stage::web(
        "[[routes]]\npath = \"/old\"\nredirect = { to = \"https://{host}{path}{query}\", status = 308 }\n\
         response_headers = { set = { x-by = \"route\" } }\n\
         [[routes]]\npath = \"/plain\"\nredirect = { to = \"/new\" }\n",
    );
    let response = stage.ask("GET /old/a%20b?x=1&y={path}", "shop.test:8080", "");
    assert_eq!(response.status, 308);
    assert_eq!(response.header("location"), Some("https://shop.test/old/a%20b?x=1&y={path}"));
    assert_eq!(response.header("x-by"), Some("route"));
    assert!(response.header("date").is_some() && response.error().is_empty());
    let mut client = stage.isobar.connect();
    for method in ["GET", "HEAD", "POST", "GET"] {
        client.send(format!("{method} /plain HTTP/1.1\r\nhost: test\r\ncontent-length: 3\r\n\r\nabc"));
        let response = client.response(method);
        assert_eq!((response.status, response.header("location")), (307, Some("/new")), "{method}");
    }
}

#[test]
fn a_location_cannot_be_made_to_leave_its_line_or_its_path() {
    let stage = Stage::web("[[routes]]\nredirect = { to = \"https://{host}{path}\" }\n");
    for target in ["/a%0d%0aset-cookie:%20x=1", "/%0a", "//evil.test/x", "/./..//evil.test"] {
        let response = stage.ask(&format!("GET {target}"), "shop.test", "");
        assert!(response.header("set-cookie").is_none(), "{target}: {}", response.head);
        let location = response.header("location").unwrap_or_default();
        assert!(response.status == 400 || location.starts_with("https://shop.test/"), "{target}: {location}");
    }
}

#[test]
fn a_redirect_to_a_path_of_this_host_cannot_be_made_to_lead_to_another() {
    let stage = Stage::web("[[routes]]\nredirect = { to = \"{path}/\", status = 308 }\n");
    for target in
        ["//evil.test/x", "///evil.test", "/./..//evil.test", "/%2e//evil.test", "http://test//evil.test"]
    {
        let response = stage.ask(&format!("GET {target}"), "test", "");
        let location = response.header("location").unwrap_or("/");
        let is_local = location.starts_with('/') && !location.starts_with("//");
        assert!(response.status == 400 || is_local, "{target}: {location}");
    }
}

#[test]
fn a_fixed_response_is_sent_as_written_and_without_a_body_to_head() {
    let stage = Stage::web(
        "[[routes]]\npath = \"/gone\"\nrespond = { status = 410, body = \"gone for good\" }\n\
         response_headers = { add = { x-many = [\"1\", \"2\"] } }\n\
         [[routes]]\npath = \"/empty\"\nrespond = { status = 204 }\n",
    );
    let mut client = stage.isobar.connect();
    // The bodies of the requests are taken: none of their bytes is read as the next request.
    for method in ["GET", "HEAD", "POST", "PUT"] {
        client.send(format!("{method} /gone HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\nbody"));
        let response = client.response(method);
        assert_eq!((response.status, response.header("content-length")), (410, Some("13")));
        assert_eq!(response.text(), if method == "HEAD" { "" } else { "gone for good" });
        assert_eq!(response.head.matches("x-many: ").count(), 2, "{}", response.head);
    }
    client.send("GET /empty HTTP/1.1\r\nhost: test\r\n\r\n");
    let empty = client.response("GET");
    assert_eq!((empty.status, empty.header("content-length")), (204, None));
    drop(client);
    stage.isobar.assert_no_leak();
}

#[test]
fn an_answer_of_the_proxy_s_own_does_not_wait_for_a_body_that_has_not_come() {
    let stage = Stage::web("[[routes]]\nrespond = { status = 200, body = \"done\" }\n");
    let mut client = stage.isobar.connect();
    client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 1000000\r\n\r\nbegin");
    let response = client.response("POST");
    assert_eq!((response.text().as_str(), response.header("connection")), ("done", Some("close")));
}

#[test]
fn a_rewrite_changes_what_the_endpoint_sees_and_nothing_else() {
    let stage = Stage::web(
        "[[routes]]\npath = \"/strip/me\"\nservice = \"echo\"\nrewrite = { strip_prefix = \"/strip/me\" }\n\
         [[routes]]\npath = \"/fixed\"\nservice = \"echo\"\nrewrite = { path = \"/new/place\", host = \"inside:81\" }\n\
         [[routes]]\nservice = \"echo\"\n",
    );
    for (target, line) in [
        ("/strip/me/a/b?q=%2f", "GET /a/b?q=%2f HTTP/1.1"),
        ("/strip/me", "GET / HTTP/1.1"),
        ("/strip/me?x", "GET /?x HTTP/1.1"),
        ("/strip/me/", "GET / HTTP/1.1"),
        ("/strip/./me/a", "GET /a HTTP/1.1"),
        ("/fixed/x?y=1", "GET /new/place?y=1 HTTP/1.1"),
        ("/a/../b/./c%20d?e=../f", "GET /b/c%20d?e=../f HTTP/1.1"),
        ("http://test?only=query", "GET /?only=query HTTP/1.1"),
    ] {
        let text = stage.ask(&format!("GET {target}"), "test", "").text();
        assert_eq!(text.lines().next(), Some(line), "{target}");
        let host = if target.starts_with("/fixed") { "host: inside:81\r\n" } else { "host: test\r\n" };
        assert_eq!(text.matches("host: ").count(), 2, "one host, one x-forwarded-host: {text}");
        assert!(text.contains(host) && text.contains("x-forwarded-host: test\r\n"), "{text}");
    }
}

#[test]
fn header_changes_remove_then_set_then_add_on_both_ways() {
    let routes = "[[routes]]\nservice = \"echo\"\n\
         request_headers = { set = { x-env = \"prod\" }, add = { x-tag = [\"b\", \"c\"] }, remove = [\"x-debug\"] }\n\
         response_headers = { set = { x-frame-options = \"DENY\" }, add = { x-tag = [\"1\", \"2\"] }, remove = [\"server\", \"x-origin\"] }\n";
    let origin = Origin::start(|visit| {
        while let Some(head) = visit.head() {
            let fields = "Server: old\r\nX-Origin: 1\r\nx-origin: 2\r\nX-Frame-Options: ALLOW\r\nx-tag: 0\r\nx-kept: yes\r\n";
            visit.send(format!("HTTP/1.1 200 OK\r\n{fields}content-length: {}\r\n\r\n{head}", head.len()));
        }
    });
    let isobar = Isobar::start(&format!(
        "[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n{routes}[services.echo]\nendpoints = [\"{}\"]\n",
        origin.address
    ));
    let mut client = isobar.connect();
    client.send(
        "GET / HTTP/1.1\r\nhost: test\r\nX-Env: mine\r\nx-env: too\r\nX-Debug: 1\r\nx-tag: a\r\nx-kept: yes\r\n\r\n",
    );
    let response = client.response("GET");
    let seen = response.text().to_lowercase();
    let values = |name: &str| -> Vec<String> {
        let prefix = format!("{name}: ");
        seen.lines().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_owned).collect()
    };
    assert_eq!(values("x-env"), ["prod"]);
    assert_eq!(values("x-tag"), ["a", "b", "c"]);
    assert!(values("x-debug").is_empty());
    assert_eq!(values("x-kept"), ["yes"]);
    assert!(
        response.header("server").is_none() && response.header("x-origin").is_none(),
        "{}",
        response.head
    );
    assert_eq!(response.head.to_lowercase().matches("x-frame-options").count(), 1);
    assert_eq!(response.head.to_lowercase().matches("x-tag: ").count(), 3, "{}", response.head);
    assert_eq!((response.header("x-frame-options"), response.header("x-kept")), (Some("DENY"), Some("yes")));
}

#[test]
fn a_refusal_is_json_for_those_who_ask_for_it() {
    let stage = Stage::web("[[routes]]\npath = \"/none\"\nservice = \"a\"\n");
    let plain = stage.ask("GET /", "test", "");
    assert!(plain.text().starts_with("no-route: "), "{}", plain.text());
    assert!(plain.header("content-type").unwrap().starts_with("text/plain"));
    let json = stage.ask("GET /", "test", "accept: application/json\r\n");
    let value: serde_json::Value = serde_json::from_str(&json.text()).unwrap();
    assert_eq!(value["error"]["code"], "no-route");
    assert_eq!(json.header("content-type"), Some("application/json"));
    let head = stage.ask("HEAD /", "test", "");
    assert_eq!((head.status, head.error(), head.text().as_str()), (404, "no-route", ""));
}

#[test]
fn a_service_without_weight_is_503_and_one_without_weight_at_a_level_goes_on_to_the_next() {
    let (first, second) = (Origin::answering("first"), Origin::answering("second"));
    let config = |second_weight: u32| {
        format!(
            "[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\nservice = \"app\"\n[services.app]\nendpoints = [\
             {{ address = \"{}\", weight = 0 }}, {{ address = \"{}\", weight = {second_weight}, priority = 1 }}]\n",
            first.address, second.address
        )
    };
    let none = Isobar::start(&config(0));
    let response = none.get("/");
    assert_eq!((response.status, response.error()), (503, "no-endpoints"));
    none.assert_no_leak();
    assert_eq!(Isobar::start(&config(1)).get("/").text(), "second");
    assert_eq!(first.n_connections(), 0);
}
