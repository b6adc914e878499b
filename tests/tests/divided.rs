//! What divides a service, seen from callers: priorities, zones and subsets.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use isobar_tests::keyed::{addresses, origins};
use isobar_tests::{Client, Isobar, Origin, wait_for};

/// A proxy with these lines of `[runtime]`, and a service of these endpoints, each with fields, and further lines.
fn isobar(runtime: &str, endpoints: &[(SocketAddr, &str)], service: &str) -> Isobar {
    let endpoints: Vec<String> = endpoints
        .iter()
        .map(|(address, fields)| format!("{{ address = \"{address}\", {fields} }}"))
        .collect();
    Isobar::start(&format!(
        "[runtime]\n{runtime}\n[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\nservice = \"app\"\n\
         [services.app]\npolicy = \"random\"\nendpoints = [{}]\n{service}\n",
        endpoints.join(", ")
    ))
}

/// How many of 1,000 answers came from each.
fn counts(isobar: &Isobar) -> BTreeMap<String, u32> {
    let mut client = Client::connect(isobar.listener("web"));
    let mut counts = BTreeMap::new();
    for _ in 0..1_000 {
        client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
        let response = client.response("GET");
        assert_eq!(response.status, 200);
        *counts.entry(response.text()).or_insert(0) += 1;
    }
    counts
}

/// An endpoint that answers its name, and 503 to probes while it is told to.
fn mortal(name: &'static str) -> (Origin, Arc<AtomicBool>) {
    let is_sick = Arc::new(AtomicBool::new(false));
    let sick = Arc::clone(&is_sick);
    let origin = Origin::start(move |visit| {
        while let Some(head) = visit.head() {
            if head.starts_with("GET /healthz ") && sick.load(Ordering::SeqCst) {
                visit.send("HTTP/1.1 503 Sick\r\ncontent-length: 0\r\n\r\n");
            } else {
                visit.answer(name);
            }
        }
    });
    (origin, is_sick)
}

#[test]
fn a_reserve_takes_what_the_first_priority_cannot_carry_and_gives_it_back() {
    let (first, second, reserve) = (mortal("first"), mortal("second"), mortal("reserve"));
    let endpoints = [
        (first.0.address, "priority = 0"),
        (second.0.address, "priority = 0"),
        (reserve.0.address, "priority = 1"),
    ];
    let isobar = isobar("", &endpoints, "health = { http = \"/healthz\", interval = \"100ms\" }");
    let await_healthy = |n: f64| {
        let healthy = || isobar.metric(&["isobar_endpoints", "state=\"healthy\""]);
        wait_for("the verdict", || (healthy() <= n && healthy() >= n).then_some(()));
    };
    await_healthy(3.0);
    assert_eq!(counts(&isobar).get("reserve"), None);
    first.1.store(true, Ordering::SeqCst);
    await_healthy(2.0);
    // One of two: 70 % stay. The standard deviation of 1,000 draws is 14.5; 73 is five of them.
    let shared = counts(&isobar);
    assert!(shared["reserve"].abs_diff(300) < 73 && !shared.contains_key("first"), "{shared:?}");
    second.1.store(true, Ordering::SeqCst);
    await_healthy(1.0);
    assert_eq!(counts(&isobar)["reserve"], 1_000);
    first.1.store(false, Ordering::SeqCst);
    second.1.store(false, Ordering::SeqCst);
    await_healthy(3.0);
    assert_eq!(counts(&isobar).get("reserve"), None);
}

#[test]
fn the_own_zone_gets_what_it_can_take() {
    let origins = origins(6);
    let zones =
        ["zone = \"a\"", "zone = \"a\"", "zone = \"b\"", "zone = \"b\"", "zone = \"b\"", "zone = \"b\""];
    let endpoints: Vec<(SocketAddr, &str)> = addresses(&origins).into_iter().zip(zones).collect();
    let of_zone = |isobar: &Isobar, zone: &str| {
        let counts = counts(isobar);
        let mine = endpoints.iter().filter(|(_, of)| of.contains(zone));
        mine.map(|(address, _)| counts.get(&address.to_string()).copied().unwrap_or(0)).sum::<u32>()
    };
    let b = isobar("zone = \"b\"", &endpoints, "zone_aware = {}");
    assert_eq!(of_zone(&b, "\"b\""), 1_000);
    // Two thirds stay; the standard deviation is 14.9.
    let a = isobar("zone = \"a\"", &endpoints, "zone_aware = {}");
    let stayed = of_zone(&a, "\"a\"");
    assert!(stayed.abs_diff(667) < 75, "{stayed}");
    let few = isobar("zone = \"a\"", &endpoints, "zone_aware = { min_endpoints = 7 }");
    let stayed = of_zone(&few, "\"a\"");
    assert!(stayed.abs_diff(333) < 75, "{stayed}");
}

#[test]
fn two_proxies_use_two_parts_of_a_service_and_each_the_same_after_a_restart() {
    let origins = origins(12);
    let endpoints: Vec<(SocketAddr, &str)> =
        addresses(&origins).into_iter().map(|address| (address, "weight = 1")).collect();
    let used = |instance: &str| {
        let runtime = format!("instance = \"{instance}\"");
        let isobar = isobar(&runtime, &endpoints, "subset = { size = 4 }");
        counts(&isobar).into_keys().collect::<Vec<_>>()
    };
    let first = used("proxy-1");
    assert_eq!(first.len(), 4);
    assert_eq!(used("proxy-1"), first);
    // Ports differ from run to run, and two proxies may agree by chance: of ten the parts are not all one.
    let others: Vec<_> = (2..12).map(|n| used(&format!("proxy-{n}"))).collect();
    assert!(others.iter().any(|other| *other != first), "{others:?}");
}
