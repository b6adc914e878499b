//! A service of very many endpoints, nearly all of them dead, behind probes.
//!
//! `ISOBAR_SOAK=1` tries 10,000 instead of 500.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::SocketAddr;

use isobar_tests::{Isobar, Load, Origin, one_service, wait_for};

/// Dead endpoints, and with `ISOBAR_SOAK=1`: with the one that lives, as many as a configuration may have.
const N_DEAD: u32 = 500;
const N_DEAD_SOAK: u32 = 9_999;

/// What the proxy may hold in all: a base for its program, workers and logs, and a part for each endpoint.
const BASE_KIB: u64 = 32 * 1024;
const ENDPOINT_KIB: u64 = 8;

/// Ports below 1024 are given to no client, and nothing listens at the first.
const DEAD_PORT: u16 = 1;

/// An address of its own for each `n`, far from the one that everybody uses.
fn dead(n: u32) -> SocketAddr {
    let [_, high, middle, low] = n.to_be_bytes();
    SocketAddr::from(([127, 1 + high, middle, low], DEAD_PORT))
}

#[test]
fn thousands_of_dead_endpoints_are_probed_within_bounds_and_the_one_that_lives_serves_all() {
    let n_dead = if std::env::var_os("ISOBAR_SOAK").is_some() { N_DEAD_SOAK } else { N_DEAD };
    let origin = Origin::answering("a");
    let endpoints: Vec<SocketAddr> = (0..n_dead).map(dead).chain([origin.address]).collect();
    let isobar = Isobar::start(&format!(
        "[runtime]\nworkers = 2\n{}",
        one_service(
            &endpoints,
            "",
            "min_healthy_percent = 0\nhealth = { tcp = true, interval = \"1s\", failing_interval = \"1s\" }"
        )
    ));
    let n_in = |state: &str| isobar.count(&["isobar_endpoints{", &format!("state=\"{state}\"")]);
    let n_failed = || isobar.count(&["isobar_probes_total", "result=\"failed\""]);
    wait_for("a verdict on each", || {
        (n_in("unhealthy") == u64::from(n_dead) && n_in("healthy") == 1).then_some(())
    });
    let load = Load::on(isobar.listener("web"));
    let before = n_failed();
    wait_for("two more rounds of probes", || (n_failed() >= before + 2 * u64::from(n_dead)).then_some(()));
    load.wait_for_answers(200);
    load.end_without_failure();
    let (held, bound) = (isobar.memory_kib(), BASE_KIB + ENDPOINT_KIB * u64::from(n_dead));
    assert!(held < bound, "{held} KiB are held, at most {bound} are allowed");
}
