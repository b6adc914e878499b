//! `peak-ewma` with endpoints that become slow, recover, and fail fast.
//!
//! An endpoint that takes its time is what is tested, so here a delay is no synchronisation.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use isobar_tests::keyed::isobar;
use isobar_tests::{Isobar, Load, Origin, wait_up_to};

const POLICY: &str = "\"peak-ewma\"";

/// How quick the endpoints are while they are well, and how slow one of them becomes.
const WELL: u64 = 5;
const SLOW: u64 = 50;

/// Answers that a share is judged by: enough that chance moves it by a few percent.
const WINDOW: usize = 400;

/// Beside what is promised, for a machine that does much else.
const SLACK: Duration = Duration::from_secs(10);

fn delayed(name: &'static str, millis: &Arc<AtomicU64>) -> Origin {
    let millis = Arc::clone(millis);
    Origin::start(move |visit| {
        while visit.head().is_some() {
            std::thread::sleep(Duration::from_millis(millis.load(Ordering::SeqCst)));
            visit.answer(name);
        }
    })
}

fn before(origins: &[&Origin]) -> Isobar {
    let endpoints: Vec<_> = origins.iter().map(|origin| (origin.address, "weight = 1".to_owned())).collect();
    isobar(POLICY, 2, &endpoints)
}

/// Waits until the share of "a" in the answers of a window is as it should be.
fn wait_for_share(load: &Load, what: &str, bound: Duration, is_right: impl Fn(f64) -> bool) {
    let (mut all, mut own) = (load.n_answers(), load.n_from("a"));
    wait_up_to(bound + SLACK, what, || {
        let (all_now, own_now) = (load.n_answers(), load.n_from("a"));
        if all_now < all + WINDOW {
            return None;
        }
        let share = (own_now - own) as f64 / (all_now - all) as f64;
        (all, own) = (all_now, own_now);
        is_right(share).then_some(())
    });
}

#[test]
fn an_endpoint_that_becomes_slow_soon_gets_a_third_of_its_share_and_all_of_it_again_when_it_recovers() {
    let delays = [WELL, WELL, WELL].map(|millis| Arc::new(AtomicU64::new(millis)));
    let [a, b, c] = [("a", 0), ("b", 1), ("c", 2)].map(|(name, place)| delayed(name, &delays[place]));
    let isobar = before(&[&a, &b, &c]);
    let load = Load::on(isobar.listener("web"));
    load.wait_for_each(&["a", "b", "c"]);
    delays[0].store(SLOW, Ordering::SeqCst);
    wait_for_share(&load, "the slow one to get a third of its share", Duration::from_secs(3), |share| {
        share <= 1.0 / 9.0
    });
    delays[0].store(WELL, Ordering::SeqCst);
    wait_for_share(&load, "the recovered one to get its share", Duration::from_secs(10), |share| {
        share >= 0.8 / 3.0
    });
    load.end_without_failure();
}

#[test]
fn an_endpoint_that_fails_fast_attracts_no_more_than_its_share() {
    let is_broken = Arc::new(AtomicBool::new(true));
    let broken = Arc::clone(&is_broken);
    let failing = Origin::start(move |visit| {
        while visit.head().is_some() {
            let broken = broken.load(Ordering::SeqCst);
            let status = if broken { "500 Internal Server Error" } else { "200 OK" };
            let body = if broken { "broken" } else { "a" };
            visit.send(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
        }
    });
    let well = Arc::new(AtomicU64::new(WELL));
    let [b, c] = ["b", "c"].map(|name| delayed(name, &well));
    let isobar = before(&[&failing, &b, &c]);
    // A load would take the refusals for failures of the proxy.
    let mut n_broken = 0;
    for _ in 0..WINDOW {
        n_broken += usize::from(isobar.get("/").status == 500);
    }
    assert!(n_broken <= WINDOW / 3, "{n_broken} of {WINDOW} went to who fails fast");
    assert!(n_broken > 0, "it was never tried");
    is_broken.store(false, Ordering::SeqCst);
    let load = Load::on(isobar.listener("web"));
    wait_for_share(&load, "the mended one to get its share", Duration::from_secs(30), |share| {
        share >= 0.8 / 3.0
    });
    load.end_without_failure();
}
