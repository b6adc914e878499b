//! Listeners that come, go and stay.

use isobar_proxy::ApplyError;

use crate::endpoint::Endpoint;
use crate::world::{Caller, World, listener, service, wait_for};

#[test]
fn an_added_listener_serves_and_a_removed_one_finishes_and_then_refuses() {
    for workers in [1, 2] {
        let endpoint = Endpoint::start("a");
        let both = listener("web", "a") + &listener("extra", "a") + &service("a", &endpoint);
        let one = listener("web", "a") + &service("a", &endpoint);
        let world = World::start(workers, &one);
        let applied = world.apply(&both);
        assert_eq!(applied.added.len(), 1);
        let (mut stays, mut flies, mut idle) =
            (world.connect("web"), world.connect("extra"), world.connect("extra"));
        for caller in [&mut stays, &mut flies, &mut idle] {
            assert_eq!(caller.ask("/").body, "a");
        }
        flies.request("/held");
        endpoint.await_held(1);
        let applied = world.apply(&one);
        assert_eq!((applied.added, applied.removed), (vec![], vec!["extra".to_owned()]));
        assert!(Caller::try_connect(world.port("extra")).is_err(), "a removed listener accepts");
        endpoint.release();
        let answer = flies.answer().unwrap();
        assert!(answer.body == "a" && answer.closes(), "{answer:?}");
        assert!(flies.is_closed());
        assert!(idle.is_closed(), "an idle connection outlives its listener");
        let answer = stays.ask("/");
        assert!(answer.body == "a" && !answer.closes(), "{answer:?}");
    }
}

#[test]
fn connections_of_a_removed_listener_end_under_the_last_settings_that_had_it() {
    let (old, new) = (Endpoint::start("old"), Endpoint::start("new"));
    let world = World::start(1, &(listener("web", "a") + &listener("extra", "a") + &service("a", &old)));
    let mut caller = world.connect("extra");
    assert_eq!(caller.ask("/").body, "old");
    world.apply(&(listener("web", "b") + &service("b", &new)));
    // Already on its way when the listener was removed, as far as the caller can know.
    let answer = caller.ask("/");
    assert!(answer.body == "old" && answer.closes(), "{answer:?}");
}

#[test]
fn a_failed_bind_changes_nothing() {
    let (old, new) = (Endpoint::start("old"), Endpoint::start("new"));
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let before = listener("web", "a") + &service("a", &old);
    let world = World::start(2, &before);
    let mut caller = world.connect("web");
    assert_eq!(caller.ask("/").body, "old");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let bad = listener("web", "b")
        + &listener("free", "b")
        + &format!(
            "[[listeners]]\nname = \"unix\"\nlisten = \"unix:{}\"\nservice = \"b\"\n",
            socket.display()
        )
        + &format!(
            "[[listeners]]\nname = \"bad\"\nlisten = \"{}\"\nservice = \"b\"\n",
            taken.local_addr().unwrap()
        )
        + &service("b", &new);
    let error = world.try_apply(&bad).unwrap_err();
    assert!(matches!(error, ApplyError::Bind(_)));
    let text = error.to_string();
    assert!(text.contains("\"bad\"") && text.contains("running configuration"), "{text}");
    assert!(!text.contains("\"free\""), "{text}");
    assert!(!socket.exists(), "a bind that was given up left its file behind");
    assert_eq!(caller.ask("/").body, "old");
    assert_eq!(world.connect("web").ask("/").body, "old");
    assert!((world.metric("isobar_listening{listener=\"free\"}")).abs() < f64::EPSILON);
    drop(taken);
    world.apply(&bad);
    assert_eq!(caller.ask("/").body, "new");
    assert_eq!(world.connect("bad").ask("/").body, "new");
}

#[test]
fn the_address_of_a_removed_listener_can_be_bound_by_the_next_change() {
    let endpoint = Endpoint::start("a");
    let world = World::start(2, &(listener("web", "a") + &service("a", &endpoint)));
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let fixed =
        |name: &str| format!("[[listeners]]\nname = \"{name}\"\nlisten = \"{free}\"\nservice = \"a\"\n");
    for round in 0..20 {
        let name = format!("n{round}");
        world.apply(&(listener("web", "a") + &fixed(&name) + &service("a", &endpoint)));
        assert_eq!(Caller::connect(free).ask("/").body, "a");
        world.apply(&(listener("web", "a") + &service("a", &endpoint)));
    }
}

#[test]
fn a_renamed_listener_keeps_its_socket_and_its_connections() {
    let endpoint = Endpoint::start("a");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = |name: &str| {
        format!("[[listeners]]\nname = \"{name}\"\nlisten = \"{free}\"\nservice = \"a\"\n")
            + &service("a", &endpoint)
    };
    let world = World::start(2, &text("one"));
    let mut caller = Caller::connect(free);
    assert_eq!(caller.ask("/").body, "a");
    let applied = world.apply(&text("two"));
    assert!(applied.added.is_empty() && applied.removed.is_empty(), "{applied:?}");
    assert_eq!(caller.ask("/").body, "a");
    world.await_metric("isobar_connections_open{listener=\"two\"}", 1.0);
    drop(caller);
    world.await_metric("isobar_connections_open{listener=\"two\"}", 0.0);
}

#[test]
fn a_listener_on_a_unix_socket_comes_and_goes_with_its_file() {
    let endpoint = Endpoint::start("a");
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let unix =
        format!("[[listeners]]\nname = \"unix\"\nlisten = \"unix:{}\"\nservice = \"a\"\n", socket.display());
    let world = World::start(1, &(listener("web", "a") + &service("a", &endpoint)));
    for _ in 0..10 {
        world.apply(&(listener("web", "a") + &unix + &service("a", &endpoint)));
        assert!(std::os::unix::net::UnixStream::connect(&socket).is_ok());
        world.apply(&(listener("web", "a") + &service("a", &endpoint)));
        assert!(!socket.exists());
    }
}

#[test]
fn a_larger_maximum_of_connections_lets_the_waiting_in() {
    let endpoint = Endpoint::start("a");
    let text = |n: usize| {
        listener("web", "a") + &format!("limits = {{ connections = {n} }}\n") + &service("a", &endpoint)
    };
    for workers in [1, 2] {
        let world = World::start(workers, &text(1));
        let mut callers: Vec<_> = (0..4).map(|_| world.connect("web")).collect();
        assert_eq!(callers[0].ask("/").body, "a");
        world.await_metric("isobar_connections_open{", 1.0);
        world.apply(&text(4));
        for caller in &mut callers {
            assert_eq!(caller.ask("/").body, "a");
        }
    }
}

#[test]
fn callers_that_wait_at_a_full_listener_are_let_in_one_by_one() {
    let endpoint = Endpoint::start("a");
    let text = listener("web", "a") + "limits = { connections = 1 }\n" + &service("a", &endpoint);
    let world = World::start(2, &text);
    let mut callers: Vec<_> = (0..5).map(|_| world.connect("web")).collect();
    for caller in &mut callers {
        caller.request("/");
    }
    // No new connection comes that would tell the acceptor of those that wait.
    for mut caller in callers {
        assert_eq!(caller.answer().unwrap().body, "a");
    }
}

#[test]
fn a_drain_after_changes_finishes_what_is_in_flight_and_no_change_follows_it() {
    for workers in [1, 2] {
        let endpoint = Endpoint::start("a");
        let one = listener("web", "a") + &service("a", &endpoint);
        let two = listener("web", "a") + &listener("extra", "a") + &service("a", &endpoint);
        let world = World::start(workers, &one);
        world.apply(&two);
        let mut callers = [world.connect("web"), world.connect("extra")];
        for caller in &mut callers {
            caller.request("/held");
        }
        endpoint.await_held(2);
        world.apply(&two);
        world.proxy().drain();
        assert!(matches!(world.try_apply(&one), Err(ApplyError::Draining)));
        wait_for("the listeners to close", || {
            ["web", "extra"].iter().all(|name| Caller::try_connect(world.port(name)).is_err())
        });
        endpoint.release();
        endpoint.release();
        for mut caller in callers {
            let answer = caller.answer().unwrap();
            assert!(answer.body == "a" && answer.closes(), "{answer:?}");
        }
        wait_for("the last connection to end", || world.proxy().open_connections() == 0);
    }
}
