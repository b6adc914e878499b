//! What policies promise, seen from a caller and from the endpoints.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use isobar_tests::keyed::{addresses, isobar, keys, origins, placed};
use isobar_tests::{Client, Origin, wait_for};
use serde_json::Value;

const BY_KEY: [&str; 3] = ["ring-hash", "maglev", "rendezvous"];

fn by_parameter(name: &str) -> String {
    format!("{{ name = \"{name}\", key = \"query:k\" }}")
}

fn plain(addresses: &[SocketAddr]) -> Vec<(SocketAddr, String)> {
    addresses.iter().map(|address| (*address, "weight = 1".to_owned())).collect()
}

#[test]
fn a_key_has_one_endpoint_on_every_worker_and_after_a_restart() {
    let origins = origins(5);
    let keys: Vec<String> = keys().into_iter().step_by(50).collect();
    for name in BY_KEY {
        let start = || isobar(&by_parameter(name), 4, &plain(&addresses(&origins)));
        let first = start();
        let before = placed(first.listener("web"), &keys);
        // Held open, so that the acceptor gives some to each worker.
        let mut held: Vec<Client> = (0..8).map(|_| first.connect()).collect();
        for (key, endpoint) in keys.iter().zip(&before).take(20) {
            for client in &mut held {
                client.send(format!("GET /other?k={key} HTTP/1.1\r\nhost: test\r\n\r\n"));
                assert_eq!(client.response("GET").text(), *endpoint, "{name}");
            }
        }
        drop(held);
        drop(first);
        let second = start();
        assert_eq!(placed(second.listener("web"), &keys), before, "{name}");
    }
}

#[test]
fn a_log_line_tells_the_hash_of_the_key_where_there_is_one() {
    let origins = origins(2);
    let isobar = isobar(&by_parameter("maglev"), 1, &plain(&addresses(&origins)));
    for path in ["/?k=a", "/other?b=c&k=a&d", "/none"] {
        isobar.get(path);
    }
    let file = isobar.dir.path().join("access.log");
    let lines: Vec<Value> = wait_for("lines of the access log", || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let lines: Vec<Value> = text.lines().map_while(|line| serde_json::from_str(line).ok()).collect();
        (lines.len() == 3).then_some(lines)
    });
    let keys: Vec<_> = lines.iter().map(|line| line["key"].as_str()).collect();
    // XXH64 of "a", as published with the function.
    let a = Some("d24ec4f1a98c6e5b");
    assert_eq!(keys, [a, a, None]);
}

#[test]
fn requests_without_a_key_go_to_every_endpoint() {
    let origins = origins(3);
    for name in BY_KEY {
        let isobar = isobar(&by_parameter(name), 1, &plain(&addresses(&origins)));
        let mut seen = BTreeMap::new();
        let mut client = isobar.connect();
        wait_for("an answer from each", || {
            client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
            *seen.entry(client.response("GET").text()).or_insert(0) += 1;
            (seen.len() == 3).then_some(())
        });
    }
}

#[test]
fn an_endpoint_that_dies_moves_only_its_keys_and_gets_them_back() {
    let is_dead = Arc::new(AtomicBool::new(false));
    let dead = Arc::clone(&is_dead);
    let mortal = Origin::start(move |visit| {
        let address = visit.stream.local_addr().unwrap().to_string();
        while visit.head().is_some() && !dead.load(Ordering::SeqCst) {
            visit.answer(&address);
        }
    });
    let others = origins(4);
    let mut all = vec![mortal.address];
    all.extend(addresses(&others));
    let keys: Vec<String> = keys().into_iter().step_by(20).collect();
    for name in BY_KEY {
        let isobar = isobar(&by_parameter(name), 2, &plain(&all));
        let at = isobar.listener("web");
        let before = placed(at, &keys);
        is_dead.store(true, Ordering::SeqCst);
        let after = placed(at, &keys);
        is_dead.store(false, Ordering::SeqCst);
        let mortal = mortal.address.to_string();
        assert!(before.contains(&mortal), "{name}");
        for (was, is) in before.iter().zip(&after) {
            assert!(was == is || *was == mortal, "{name}: {was} {is}");
            assert_ne!(*is, mortal, "{name}");
        }
        assert_eq!(placed(at, &keys), before, "{name}");
    }
}

/// Holds requests until it is opened.
#[derive(Default)]
struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn pass(&self) {
        let mut is_open = self.is_open.lock().unwrap();
        while !*is_open {
            is_open = self.opened.wait(is_open).unwrap();
        }
    }

    fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

/// An endpoint whose answers wait for the gate.
fn gated(gate: &Arc<Gate>) -> Origin {
    let gate = Arc::clone(gate);
    Origin::start(move |visit| {
        while visit.head().is_some() {
            gate.pass();
            visit.answer("");
        }
    })
}

/// How many of `n` requests of one key are at each endpoint while none is answered.
fn held(policy: &str, n: usize) -> Vec<usize> {
    let gate = Arc::new(Gate::default());
    let origins: Vec<Origin> = (0..3).map(|_| gated(&gate)).collect();
    let isobar = isobar(policy, 2, &plain(&addresses(&origins)));
    let mut clients: Vec<Client> = (0..n).map(|_| isobar.connect()).collect();
    let arrived = || origins.iter().map(|origin| origin.heads().len()).collect::<Vec<_>>();
    for (n, client) in (1..).zip(&mut clients) {
        client.send("GET /?k=hot HTTP/1.1\r\nhost: test\r\n\r\n");
        wait_for("the request at an endpoint", || (arrived().iter().sum::<usize>() == n).then_some(()));
    }
    let counts = arrived();
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response("GET").status, 200);
    }
    counts
}

#[test]
fn a_hot_key_overflows_to_others_only_where_load_is_bounded() {
    for name in BY_KEY {
        let mut unbounded = held(&by_parameter(name), 12);
        unbounded.sort_unstable();
        assert_eq!(unbounded, [0, 0, 12], "{name}");
        // A fair share of 12 is 4, and a quarter more is 5.
        let bounded = held(&format!("{{ name = \"{name}\", key = \"query:k\", bounded_load = 1.25 }}"), 12);
        assert!(bounded.iter().all(|n| *n <= 5), "{name}: {bounded:?}");
        assert!(bounded.contains(&5), "{name}: {bounded:?}");
    }
}

#[test]
fn a_busy_endpoint_gets_nothing_by_least_request_while_another_is_less_busy() {
    let gate = Arc::new(Gate::default());
    let (slow, quick) = (gated(&gate), Origin::answering("quick"));
    // An answer may arrive a moment before its attempt counts as ended: the weight leaves room for that.
    let endpoints = [(slow.address, "weight = 1".to_owned()), (quick.address, "weight = 5".to_owned())];
    let isobar = isobar("\"least-request\"", 2, &endpoints);
    let mut stuck = Vec::new();
    while slow.heads().is_empty() {
        let mut client = isobar.connect();
        client.send("GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        wait_for("the request at an endpoint", || {
            client.stream.set_nonblocking(true).unwrap();
            let is_answered = client.stream.peek(&mut [0]).is_ok();
            client.stream.set_nonblocking(false).unwrap();
            (is_answered || !slow.heads().is_empty()).then_some(())
        });
        stuck.push(client);
    }
    for _ in 0..200 {
        assert_eq!(isobar.get("/").text(), "quick");
    }
    assert_eq!(slow.heads().len(), 1);
    gate.open();
}
