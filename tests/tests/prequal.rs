//! `prequal` with endpoints that tell of their load, in load probes and in their answers, that tell nothing, and that fail.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use isobar_tests::keyed::isobar;
use isobar_tests::{Isobar, Load, Origin, one_service, wait_up_to};

const PROBED: &str = "{ name = \"prequal\", probe = \"/load\" }";
const NOT_PROBED: &str = "\"prequal\"";

/// Answers that a share is judged by: enough that chance moves it by a few percent.
const WINDOW: usize = 400;

/// For a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where an endpoint tells of its load.
#[derive(Clone, Copy, PartialEq)]
enum Tells {
    InProbes,
    InAnswers,
    Nowhere,
}

/// Answers with its name; while it is busy it tells so.
fn origin(name: &'static str, tells: Tells, is_busy: &Arc<AtomicBool>) -> Origin {
    let is_busy = Arc::clone(is_busy);
    Origin::start(move |visit| {
        while let Some(head) = visit.head() {
            let is_probe = head.starts_with("GET /load ");
            let busy = "x-load-rif: 100\r\nX-Load-Latency-Ms: 500.5\r\n";
            let idle = "x-load-rif: 1\r\nX-Load-Latency-Ms: 1.5\r\n";
            let load = if is_busy.load(Ordering::SeqCst) { busy } else { idle };
            let told = (is_probe && tells == Tells::InProbes) || (!is_probe && tells == Tells::InAnswers);
            let (status, body) = if is_probe { ("404 Not Found", "none") } else { ("200 OK", name) };
            let load = if told { load } else { "" };
            visit.send(format!("HTTP/1.1 {status}\r\n{load}content-length: {}\r\n\r\n{body}", body.len()));
        }
    })
}

fn before(policy: &str, origins: &[&Origin]) -> Isobar {
    let endpoints: Vec<_> = origins.iter().map(|origin| (origin.address, "weight = 1".to_owned())).collect();
    isobar(policy, 2, &endpoints)
}

/// Waits until the share of an endpoint in the answers of a window is as it should be.
fn wait_for_share(load: &Load, name: &str, what: &str, is_right: impl Fn(f64) -> bool) {
    let (mut all, mut own) = (load.n_answers(), load.n_from(name));
    wait_up_to(PATIENCE, what, || {
        let (all_now, own_now) = (load.n_answers(), load.n_from(name));
        if all_now < all + WINDOW {
            return None;
        }
        let share = (own_now - own) as f64 / (all_now - all) as f64;
        (all, own) = (all_now, own_now);
        is_right(share).then_some(())
    });
}

#[test]
fn who_tells_of_much_load_is_left_alone_until_it_tells_of_little() {
    for (policy, tells) in [(PROBED, Tells::InProbes), (NOT_PROBED, Tells::InAnswers)] {
        let busy = ["a", "b", "c"].map(|name| Arc::new(AtomicBool::new(name == "a")));
        let [a, b, c] = [("a", 0), ("b", 1), ("c", 2)].map(|(name, place)| origin(name, tells, &busy[place]));
        let isobar = before(policy, &[&a, &b, &c]);
        let load = Load::on(isobar.listener("web"));
        load.wait_for_each(&["b", "c"]);
        wait_for_share(&load, "a", "the busy one to be left alone", |share| share <= 1.0 / 9.0);
        busy[0].store(false, Ordering::SeqCst);
        wait_for_share(&load, "a", "the one that is busy no more to get its part", |share| {
            share >= 1.0 / 6.0
        });
        load.end_without_failure();
    }
}

#[test]
fn load_probes_are_no_requests_and_their_connections_are_kept() {
    let idle = Arc::new(AtomicBool::new(false));
    let [a, b] = ["a", "b"].map(|name| origin(name, Tells::InProbes, &idle));
    let isobar = before(PROBED, &[&a, &b]);
    let n_probes =
        |origin: &Origin| origin.heads().iter().filter(|head| head.starts_with("GET /load ")).count();
    let mut n_requests = 0;
    wait_up_to(PATIENCE, "some load probes", || {
        n_requests += 1;
        assert_eq!(isobar.get("/").status, 200);
        (n_probes(&a) + n_probes(&b) > 100).then_some(())
    });
    let forwarded = a.heads().len() + b.heads().len() - n_probes(&a) - n_probes(&b);
    assert_eq!(forwarded, n_requests);
    let n_connections = a.n_connections() + b.n_connections();
    assert!(n_connections < 20, "{n_connections} connections");
    assert!(a.heads().iter().any(|head| head.to_ascii_lowercase().contains("\r\nhost: 127.0.0.1")));
}

#[test]
fn load_probes_go_over_http2_where_endpoints_speak_it() {
    let busy = ["a", "b"].map(|name| Arc::new(AtomicBool::new(name == "a")));
    let [a, b] = [("a", 0), ("b", 1)].map(|(name, place)| origin(name, Tells::InProbes, &busy[place]));
    // Proxies before them, which speak it.
    let [before_a, before_b] = [&a, &b].map(|origin| Isobar::start(&one_service(&[origin.address], "", "")));
    let addresses = [before_a.listener("web"), before_b.listener("web")];
    let service = one_service(&addresses, "", "protocol = \"h2\"");
    let isobar = Isobar::start(&service.replace("\"round-robin\"", PROBED));
    let load = Load::on(isobar.listener("web"));
    wait_for_share(&load, "a", "the busy one to be left alone", |share| share <= 1.0 / 6.0);
    for origin in [&a, &b] {
        assert!(origin.heads().iter().any(|head| head.starts_with("GET /load ")));
    }
    load.end_without_failure();
}

#[test]
fn endpoints_that_tell_nothing_all_take_their_part() {
    let idle = Arc::new(AtomicBool::new(false));
    let [a, b, c] = ["a", "b", "c"].map(|name| origin(name, Tells::Nowhere, &idle));
    let isobar = before(PROBED, &[&a, &b, &c]);
    let load = Load::on(isobar.listener("web"));
    for name in ["a", "b", "c"] {
        wait_for_share(&load, name, "an endpoint to get its part", |share| (0.1..0.6).contains(&share));
    }
    load.end_without_failure();
}

#[test]
fn an_endpoint_that_fails_fast_attracts_no_more_than_its_share_whatever_it_tells() {
    let idle = Arc::new(AtomicBool::new(false));
    let failing = Origin::start(|visit| {
        while visit.head().is_some() {
            let head = "HTTP/1.1 500 Internal Server Error\r\nx-load-rif: 0\r\nx-load-latency-ms: 0";
            visit.send(format!("{head}\r\ncontent-length: 6\r\n\r\nbroken"));
        }
    });
    let [b, c] = ["b", "c"].map(|name| origin(name, Tells::InProbes, &idle));
    let isobar = before(PROBED, &[&failing, &b, &c]);
    let n_broken = (0..WINDOW).filter(|_| isobar.get("/").status == 500).count();
    assert!(n_broken <= WINDOW / 3, "{n_broken} of {WINDOW} went to who fails fast");
    assert!(n_broken > 0, "it was never tried");
}

#[test]
fn a_load_probe_that_hangs_delays_no_request() {
    let idle = Arc::new(AtomicBool::new(false));
    let hanging = Origin::start(|visit| {
        while let Some(head) = visit.head() {
            if head.starts_with("GET /load ") {
                // Until the other side gives up.
                let _ = visit.head();
                return;
            }
            visit.answer("a");
        }
    });
    let b = origin("b", Tells::InProbes, &idle);
    let isobar = before(PROBED, &[&hanging, &b]);
    for _ in 0..WINDOW {
        assert_eq!(isobar.get("/").status, 200);
    }
}
