//! WebSocket through the proxy: a real client and server, Autobahn's cases, and upgrades that a route does not allow.
//!
//! Limits: the cases about sheer size and about compression (9, 12, 13) are left out; they test the peers' speed.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::net::SocketAddr;

use isobar_tests::real::{Program, command, peer, run};
use isobar_tests::{Isobar, Origin, one_service};
use serde_json::Value;

fn start(endpoint: SocketAddr, route: &str) -> Isobar {
    Isobar::start(&format!(
        "[runtime]\nworkers = 2\n[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n\
         [[routes]]\npath = \"/\"\nservice = \"app\"\n{route}\n[services.app]\nendpoints = [\"{endpoint}\"]\n"
    ))
}

#[test]
fn a_real_client_and_a_real_server_talk_websocket_through_the_proxy() {
    let (_echo, echo) = Program::announced(peer("echo_server.py"));
    let isobar = start(echo, "");
    let mut client = peer("echo_client.py");
    client.arg(format!("ws://{}/chat", isobar.listener("web")));
    let output = run(client);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "echoed");
    isobar.assert_no_leak();
}

/// What each case of Autobahn's came to against the server at `address`: behaviour and behaviour at the close.
fn cases(address: SocketAddr) -> BTreeMap<String, (String, String)> {
    let folder = tempfile::tempdir().unwrap();
    let mut kosoku = command("kosoku");
    kosoku.args(["-x", "9.*", "-x", "12.*", "-x", "13.*", "-p", "4", "-o"]).arg(folder.path());
    // It fails where a case failed; the report says which.
    kosoku.arg(address.to_string()).output().unwrap();
    let report = std::fs::read_to_string(folder.path().join("index.json")).expect("kosoku writes a report");
    let report: Value = serde_json::from_str(&report).unwrap();
    let server = report.as_object().unwrap().values().next().unwrap().as_object().unwrap();
    let word = |case: &Value, name: &str| case[name].as_str().unwrap().to_owned();
    server
        .iter()
        .map(|(name, case)| (name.clone(), (word(case, "behavior"), word(case, "behaviorClose"))))
        .collect()
}

fn has_failed(case: &(String, String)) -> bool {
    let good = ["OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED"];
    !good.contains(&case.0.as_str()) || !good.contains(&case.1.as_str())
}

#[test]
fn autobahn_s_cases_fail_only_where_they_fail_without_a_proxy() {
    let (_echo, echo) = Program::announced(peer("echo_server.py"));
    let isobar = start(echo, "");
    let direct = cases(echo);
    let through = cases(isobar.listener("web"));
    assert!(direct.len() > 200, "only {} cases ran", direct.len());
    assert_eq!(direct.len(), through.len());
    let worse: Vec<_> =
        through.iter().filter(|(name, case)| has_failed(case) && !has_failed(&direct[*name])).collect();
    assert!(worse.is_empty(), "fail only behind the proxy: {worse:?}");
    isobar.assert_no_leak();
}

const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nhost: test\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\
                         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[test]
fn an_upgrade_that_the_route_does_not_allow_goes_on_as_a_plain_request() {
    let origin = Origin::echoing();
    let isobar = start(origin.address, "upgrades = []");
    let mut client = isobar.connect();
    for _ in 0..2 {
        client.send(HANDSHAKE);
        let response = client.response("GET");
        assert_eq!(response.status, 200, "{}", response.head);
        let seen = response.text().to_lowercase();
        assert!(seen.starts_with("get /chat http/1.1\r\n"), "{seen}");
        assert!(!seen.contains("\r\nupgrade:"), "{seen}");
        assert!(
            !seen.lines().any(|line| line.starts_with("connection:") && line.contains("upgrade")),
            "{seen}"
        );
    }
    drop(client);
    isobar.assert_no_leak();
}

#[test]
fn an_allowed_upgrade_that_the_endpoint_declines_keeps_the_connection() {
    let origin = Origin::answering("plain");
    let isobar = start(origin.address, "");
    let mut client = isobar.connect();
    for _ in 0..3 {
        client.send(HANDSHAKE);
        let response = client.response("GET");
        assert_eq!((response.status, response.text().as_str()), (200, "plain"));
    }
    let head = origin.heads()[0].to_lowercase();
    assert!(head.contains("\r\nupgrade: websocket\r\n"), "{head}");
    assert!(head.contains("\r\nsec-websocket-key: "), "{head}");
    drop(client);
    isobar.assert_no_leak();
}

#[test]
fn a_switch_that_nobody_asked_for_is_a_bad_gateway() {
    let origin = Origin::start(|visit| {
        while visit.head().is_some() {
            visit.send(
                "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
            );
        }
    });
    let isobar = start(origin.address, "upgrades = []");
    let mut client = isobar.connect();
    client.send(HANDSHAKE);
    let response = client.response("GET");
    assert_eq!(response.status, 502, "{}", response.head);
    assert_eq!(response.error(), "bad-response");
}

#[test]
fn bytes_right_behind_both_heads_pass_and_each_direction_ends_alone() {
    let origin = Origin::start(|visit| {
        if visit.head().is_some() {
            visit.send(
                "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nfirst",
            );
            let heard = visit.take(usize::MAX);
            visit.send(format!("heard {}", String::from_utf8_lossy(&heard)));
        }
    });
    let isobar = start(origin.address, "");
    let mut client = isobar.connect();
    client.send(format!("{HANDSHAKE}early"));
    let response = client.response("GET");
    assert_eq!(response.status, 101, "{}", response.head);
    assert_eq!(client.exactly(5).unwrap(), b"first");
    client.send(" late");
    client.half_close();
    assert_eq!(client.exactly(16).as_deref(), Some(b"heard early late".as_slice()));
    assert!(client.is_closed_by_peer());
    isobar.assert_no_leak();
}

#[test]
fn a_tunnel_that_one_side_ended_is_not_kept_by_the_silence_of_the_other() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let origin = Origin::start(move |visit| {
        if visit.head().is_some() {
            visit.send(
                "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
            );
            // Neither answers nor closes until the test is over, which ends the wait with an error.
            let _ = held.lock().unwrap().recv();
        }
    });
    let isobar = Isobar::start(&one_service(&[origin.address], "timeouts = { body_idle = \"200ms\" }", ""));
    let mut client = isobar.connect();
    client.send(HANDSHAKE);
    assert_eq!(client.response("GET").status, 101);
    client.half_close();
    assert!(client.is_closed_by_peer());
    isobar.assert_no_leak();
    drop(release);
}
