//! Bounds that many requests reach together.
#![allow(clippy::unwrap_used, reason = "a test")]

use isobar_tests::{Isobar, Origin, wait_for};

/// More than a request remembers having tried.
const N_ENDPOINTS: usize = 18;

#[test]
fn a_request_is_refused_when_every_endpoint_is_at_its_maximum() {
    let origins: Vec<Origin> = (0..N_ENDPOINTS)
        .map(|_| {
            Origin::start(|visit| {
                visit.head();
                visit.is_closed_by_peer();
            })
        })
        .collect();
    let endpoints: Vec<String> = origins.iter().map(|origin| format!("\"{}\"", origin.address)).collect();
    let isobar = Isobar::start(&format!(
        "[runtime]\nworkers = 1\n[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\nservice = \"app\"\n\
         [services.app]\nendpoints = [{}]\npool = {{ max_connections_per_endpoint = 1 }}\n",
        endpoints.join(", ")
    ));
    let mut waiting = Vec::new();
    for n in 1..=N_ENDPOINTS {
        let mut client = isobar.connect();
        client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
        waiting.push(client);
        wait_for("the request to be in flight", || {
            (isobar.metric(&["isobar_in_flight{"]) as usize == n).then_some(())
        });
    }
    let refused = isobar.get("/");
    assert_eq!((refused.status, refused.error()), (503, "overloaded"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    drop(waiting);
    isobar.assert_no_leak();
}
