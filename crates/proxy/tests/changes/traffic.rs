//! Many changes in a row under traffic.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::endpoint::Endpoint;
use crate::world::{Caller, World, listener, service, wait_for};

/// Changes in a row, as the issue demands.
const N_CHANGES: usize = 100;

/// Configurations that the changes go round in: services, routes, listeners and their places differ.
fn round(n: usize, endpoints: &[Endpoint; 2]) -> String {
    let (first, second) = (service("a", &endpoints[0]), service("b", &endpoints[1]));
    let respond = "[[routes]]\nname = \"r\"\npath = \"/r\"\nrespond = { status = 200, body = \"r\" }\n";
    match n % 4 {
        0 => listener("web", "a") + &first,
        1 => listener("extra", "b") + &listener("web", "b") + &first + &second,
        2 => listener("web", "b") + respond + &second,
        _ => listener("web", "a") + &listener("more", "a") + respond + &second + &first,
    }
}

fn call_until(done: &AtomicBool, keep: bool, address: std::net::SocketAddr, n_answered: &AtomicUsize) {
    let mut caller = Caller::connect(address);
    while !done.load(Ordering::SeqCst) {
        let answer = caller.ask("/");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(!answer.closes(), "a listener that stays closed a connection");
        n_answered.fetch_add(1, Ordering::SeqCst);
        if !keep {
            caller = Caller::connect(address);
        }
    }
}

#[test]
fn a_hundred_changes_under_traffic_fail_no_request() {
    for workers in [1, 2] {
        let endpoints = [Endpoint::start("a"), Endpoint::start("b")];
        let world = World::start(workers, &round(0, &endpoints));
        let (done, n_answered) = (AtomicBool::new(false), AtomicUsize::new(0));
        let web = world.port("web");
        std::thread::scope(|scope| {
            let callers: Vec<_> = (0..6)
                .map(|n| {
                    scope.spawn({
                        let (done, n_answered) = (&done, &n_answered);
                        move || call_until(done, n % 3 != 0, web, n_answered)
                    })
                })
                .collect();
            for n in 1..=N_CHANGES {
                let before = n_answered.load(Ordering::SeqCst);
                wait_for("traffic", || {
                    n_answered.load(Ordering::SeqCst) > before + 5
                        || callers.iter().any(std::thread::ScopedJoinHandle::is_finished)
                });
                world.apply(&round(n, &endpoints));
            }
            done.store(true, Ordering::SeqCst);
        });
        assert_eq!(world.port("web"), web, "the listener that stays moved");
    }
}
