//! What is counted over a change.

use crate::endpoint::Endpoint;
use crate::world::{World, listener, service};

const ROUTED: &str = "isobar_requests_total{service=\"a\",route=\"r\",code=\"2xx\"";

fn text(first: &str, endpoint: &Endpoint) -> String {
    listener("web", "a")
        + first
        + "[[routes]]\nname = \"r\"\npath = \"/r\"\nservice = \"a\"\n"
        + &service("a", endpoint)
}

#[test]
fn counters_of_names_that_go_on_go_on() {
    let endpoint = Endpoint::start("a");
    let world = World::start(2, &text("", &endpoint));
    let mut caller = world.connect("web");
    // Every second configuration has a route in front, so that places move.
    let front = "[[routes]]\nname = \"front\"\npath = \"/f\"\nrespond = { status = 200, body = \"\" }\n";
    for n in 1..=6 {
        assert_eq!(caller.ask("/r").body, "a");
        let count = f64::from(n);
        world.await_metric(ROUTED, count);
        world.apply(&text(if n % 2 == 0 { "" } else { front }, &endpoint));
        world.await_metric(ROUTED, count);
        world.await_metric("isobar_attempts_total{service=\"a\"}", count);
        world.await_metric("isobar_upstream_connections_total{service=\"a\"}", 1.0);
        world.await_metric("isobar_request_duration_seconds_count{service=\"a\"}", count);
        world.await_metric("isobar_connections_total{listener=\"web\"}", 1.0);
    }
}

#[test]
fn a_request_that_began_before_a_change_is_counted_after_it() {
    let endpoint = Endpoint::start("a");
    let routed = |path: &str| {
        listener("web", "a")
            + &format!("[[routes]]\nname = \"r\"\npath = \"{path}\"\nservice = \"a\"\n")
            + &service("a", &endpoint)
    };
    let world = World::start(1, &routed("/held"));
    let mut caller = world.connect("web");
    caller.request("/held");
    endpoint.await_held(1);
    world.apply(&routed("/elsewhere"));
    endpoint.release();
    assert_eq!(caller.answer().unwrap().status, 200);
    world.await_metric(ROUTED, 1.0);
}

#[test]
fn open_connections_are_told_rightly_over_renames_removals_and_returns() {
    let endpoint = Endpoint::start("a");
    let named = |name: &str| listener("web", "a") + &listener(name, "a") + &service("a", &endpoint);
    let world = World::start(2, &named("x"));
    let mut first = world.connect("x");
    assert_eq!(first.ask("/").body, "a");
    world.await_metric("isobar_connections_open{listener=\"x\"}", 1.0);
    // The same name on another socket, while the first still has a request in flight.
    first.request("/held");
    endpoint.await_held(1);
    world.apply(&named("y"));
    world.apply(&named("x"));
    world.await_metric("isobar_connections_open{listener=\"x\"}", 0.0);
    let mut second = world.connect("x");
    assert_eq!(second.ask("/").body, "a");
    world.await_metric("isobar_connections_open{listener=\"x\"}", 1.0);
    endpoint.release();
    assert!(first.answer().unwrap().closes());
    assert!(first.is_closed());
    world.await_metric("isobar_connections_open{listener=\"x\"}", 1.0);
    drop(second);
    world.await_metric("isobar_connections_open{listener=\"x\"}", 0.0);
}

#[test]
fn a_series_is_shown_once_however_many_listeners_share_it() {
    let endpoint = Endpoint::start("a");
    let world = World::start(1, &(listener("web", "a") + &listener("extra", "a") + &service("a", &endpoint)));
    for name in ["web", "extra"] {
        assert_eq!(world.connect(name).ask("/").body, "a");
    }
    let shared = "isobar_requests_total{service=\"a\",route=\"default\",code=\"2xx\"";
    world.await_metric(shared, 2.0);
    let mut shown = String::new();
    world.proxy().render_metrics(&mut shown);
    assert_eq!(shown.lines().filter(|line| line.starts_with(shared)).count(), 1);
}
