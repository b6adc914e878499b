//! What a change means to requests: those in flight, those that follow, and the connections to endpoints.

use crate::endpoint::Endpoint;
use crate::world::{World, listener, service, wait_for};

#[test]
fn a_request_in_flight_finishes_under_the_settings_that_it_began_with() {
    let (old, new) = (Endpoint::start("old"), Endpoint::start("new"));
    let before = listener("web", "a")
        + "[[routes]]\nname = \"r\"\nservice = \"a\"\n\
        response_headers = { set = { \"x-setting\" = \"before\" } }\n"
        + &service("a", &old);
    let after = listener("web", "b") + &service("b", &new);
    for workers in [1, 2] {
        let world = World::start(workers, &before);
        let mut caller = world.connect("web");
        caller.request("/held");
        old.await_held(workers);
        world.apply(&after);
        old.release();
        let answer = caller.answer().unwrap();
        assert_eq!(answer.body, "old");
        assert!(answer.head.contains("x-setting: before"), "{}", answer.head);
        assert!(!answer.closes());
    }
}

#[test]
fn the_next_request_on_a_kept_connection_is_served_under_the_new_settings() {
    let (old, new) = (Endpoint::start("old"), Endpoint::start("new"));
    let world = World::start(2, &(listener("web", "a") + &service("a", &old)));
    let mut caller = world.connect("web");
    assert_eq!(caller.ask("/").body, "old");
    world.apply(&(listener("web", "b") + &service("b", &new)));
    assert_eq!(caller.ask("/").body, "new");
    world.apply(
        &(listener("web", "b")
            + "[[routes]]\nname = \"r\"\nrespond = { status = 418, body = \"here\" }\n"
            + &service("b", &new)),
    );
    assert_eq!(caller.ask("/").status, 418);
}

#[test]
fn limits_of_a_listener_hold_for_the_next_request_on_a_kept_connection() {
    let endpoint = Endpoint::start("a");
    let text = |limits: &str| listener("web", "a") + limits + "\n" + &service("a", &endpoint);
    let world = World::start(1, &text(""));
    let mut caller = world.connect("web");
    let long = format!("/{}", "x".repeat(3000));
    assert_eq!(caller.ask(&long).status, 200);
    world.apply(&text("limits = { target = \"2KiB\" }"));
    assert_eq!(caller.ask(&long).status, 414);
}

#[test]
fn a_pipelined_request_behind_one_in_flight_is_served_under_the_new_settings() {
    let (old, new) = (Endpoint::start("old"), Endpoint::start("new"));
    let world = World::start(1, &(listener("web", "a") + &service("a", &old)));
    let mut caller = world.connect("web");
    caller.send("GET /held HTTP/1.1\r\nhost: h\r\n\r\nGET / HTTP/1.1\r\nhost: h\r\n\r\n");
    old.await_held(1);
    world.apply(&(listener("web", "b") + &service("b", &new)));
    old.release();
    assert_eq!(caller.answer().unwrap().body, "old");
    assert_eq!(caller.answer().unwrap().body, "new");
}

#[test]
fn connections_to_endpoints_that_stay_are_used_again() {
    let (kept, other) = (Endpoint::start("kept"), Endpoint::start("other"));
    let world = World::start(1, &(listener("web", "a") + &service("a", &kept)));
    let mut caller = world.connect("web");
    for round in 0..5 {
        assert_eq!(caller.ask("/").body, "kept");
        // Another place in the list, other settings, another service beside it: the cluster is the same.
        let first = if round % 2 == 0 { service("b", &other) } else { String::new() };
        let pool = format!("pool = {{ idle = {} }}\n", 10 + round);
        world.apply(&(listener("web", "a") + &first + &service("a", &kept) + &pool));
    }
    assert_eq!(kept.n_connections(), 1);
}

#[test]
fn connections_of_a_service_that_is_gone_close_and_none_is_kept_later() {
    let (gone, other) = (Endpoint::start("gone"), Endpoint::start("other"));
    let world = World::start(1, &(listener("web", "a") + &service("a", &gone)));
    let (mut idle, mut busy) = (world.connect("web"), world.connect("web"));
    busy.request("/held");
    gone.await_held(1);
    assert_eq!(idle.ask("/").body, "gone");
    assert_eq!(gone.n_open(), 2);
    world.apply(&(listener("web", "b") + &service("b", &other)));
    wait_for("the idle connection to close", || gone.n_open() == 1);
    gone.release();
    assert_eq!(busy.answer().unwrap().body, "gone");
    wait_for("the used connection to close", || gone.n_open() == 0);
}

#[test]
fn a_cluster_published_elsewhere_under_the_same_name_is_another_cluster() {
    let (first, second) = (Endpoint::start("first"), Endpoint::start("second"));
    let world = World::start(1, &(listener("web", "a") + &service("a", &first)));
    let mut caller = world.connect("web");
    assert_eq!(caller.ask("/").body, "first");
    world.apply(&(listener("web", "a") + &service("a", &second)));
    assert_eq!(caller.ask("/").body, "second");
    wait_for("the first cluster's connection to close", || first.n_open() == 0);
}

#[test]
fn a_smaller_pool_closes_what_is_over_it() {
    let endpoint = Endpoint::start("a");
    let text = |idle: usize| {
        listener("web", "a") + &service("a", &endpoint) + &format!("pool = {{ idle = {idle} }}\n")
    };
    let world = World::start(1, &text(8));
    let mut callers: Vec<_> = (0..3).map(|_| world.connect("web")).collect();
    for caller in &mut callers {
        caller.request("/held");
    }
    endpoint.await_held(3);
    (0..3).for_each(|_| endpoint.release());
    for caller in &mut callers {
        assert_eq!(caller.answer().unwrap().body, "a");
    }
    assert_eq!(endpoint.n_open(), 3);
    world.apply(&text(1));
    wait_for("two of them to close", || endpoint.n_open() == 1);
    assert_eq!(callers[0].ask("/").body, "a");
    assert_eq!(endpoint.n_connections(), 3);
}

#[test]
fn a_tunnel_outlives_the_route_that_opened_it() {
    let (old, new) = (Endpoint::start("old"), Endpoint::start("new"));
    let world = World::start(1, &(listener("web", "a") + &service("a", &old)));
    let mut caller = world.connect("web");
    caller.open_tunnel();
    world.apply(&(listener("web", "b") + &service("b", &new)));
    caller.send("still here");
    assert_eq!(caller.exactly(10), "still here");
}
