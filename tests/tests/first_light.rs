//! The main road: requests in, answers out, in order, unchanged.
#![allow(clippy::unwrap_used, reason = "a test")]

use isobar_tests::{Isobar, Origin};

/// One listener `web` on a free port and one service over these endpoints.
fn config(workers: usize, policy: &str, endpoints: &[(&Origin, u32)]) -> String {
    let endpoints: Vec<String> = endpoints
        .iter()
        .map(|(origin, weight)| format!("{{ address = \"{}\", weight = {weight} }}", origin.address))
        .collect();
    format!(
        "[runtime]\nworkers = {workers}\n[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\nservice = \"app\"\n\
         [services.app]\npolicy = \"{policy}\"\nendpoints = [{}]\n",
        endpoints.join(", ")
    )
}

#[test]
fn weights_5_1_1_give_nginx_s_sequence_with_any_number_of_workers() {
    for workers in [1, 2, 4] {
        let origins = ["a", "b", "c"].map(Origin::answering);
        let endpoints = [(&origins[0], 5), (&origins[1], 1), (&origins[2], 1)];
        let isobar = Isobar::start(&config(workers, "round-robin", &endpoints));
        let mut kept = isobar.connect();
        for _ in 0..3 {
            let mut sequence = String::new();
            for _ in 0..7 {
                kept.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
                sequence += &kept.response("GET").text();
            }
            assert_eq!(sequence, "aabacaa", "kept connection, {workers} workers");
        }
        let sequence: String = (0..14).map(|_| isobar.get("/").text()).collect();
        assert_eq!(sequence, "aabacaaaabacaa", "a connection a request, {workers} workers");
        drop(kept);
        isobar.assert_no_leak();
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::echoing();
    let isobar = Isobar::start(&config(2, "p2c", &[(&origin, 1)]));
    let mut client = isobar.connect();
    let mut requests = String::new();
    for n in 0..50 {
        let head = format!("POST /{n} HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\n");
        requests.push_str(&head);
        let body = format!("n{n:03}");
        requests.push_str(&body);
    }
    client.send(requests);
    for n in 0..50 {
        let response = client.response("POST");
        assert_eq!(response.status, 200);
        assert!(response.text().starts_with(&format!("POST /{n} HTTP/1.1\r\n")), "{}", response.text());
        assert!(response.text().ends_with(&format!("n{n:03}")));
    }
    drop(client);
    isobar.assert_no_leak();
}
