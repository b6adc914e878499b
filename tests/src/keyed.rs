//! Requests with keys, and endpoints whose answers tell where a key belongs.
//!
//! Invariant: the key is the parameter `k` of the query and the header `x-key` alike. Limits: keys need no escape.

use std::net::SocketAddr;

use crate::{Client, Isobar, Origin};

/// Keys that are compared with another balancer.
pub const N_KEYS: usize = 10_000;

/// Requests that are sent before the first of their answers is read.
const PIPELINED: usize = 50;

/// Endpoints that answer with their address.
pub fn origins(n: usize) -> Vec<Origin> {
    (0..n)
        .map(|_| {
            Origin::start(|visit| {
                let address = visit.stream.local_addr().unwrap().to_string();
                while visit.head().is_some() {
                    visit.answer(&address);
                }
            })
        })
        .collect()
}

/// Where they listen.
pub fn addresses(origins: &[Origin]) -> Vec<SocketAddr> {
    origins.iter().map(|origin| origin.address).collect()
}

/// A proxy with a service `app` of these endpoints, each with further fields.
pub fn isobar(policy: &str, workers: usize, endpoints: &[(SocketAddr, String)]) -> Isobar {
    let endpoints: Vec<String> = endpoints
        .iter()
        .map(|(address, fields)| format!("{{ address = \"{address}\", {fields} }}"))
        .collect();
    Isobar::start(&format!(
        "[runtime]\nworkers = {workers}\n[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\nservice = \"app\"\n\
         [access_log]\nto = \"access.log\"\n[services.app]\npolicy = {policy}\nendpoints = [{}]\n",
        endpoints.join(", ")
    ))
}

/// Keys of several lengths, bytes and endings.
pub fn keys() -> Vec<String> {
    (0..N_KEYS)
        .map(|n| match n % 4 {
            0 => n.to_string(),
            1 => format!("user-{n}"),
            2 => format!("{:x}{:x}", n * 2_654_435_761, n),
            _ => format!("{}.{}~{n}", "k".repeat(n % 40), n % 7),
        })
        .collect()
}

/// The body of the answer to each key, as parameter `k` and header `x-key`, over one connection.
pub fn placed(proxy: SocketAddr, keys: &[String]) -> Vec<String> {
    let mut client = Client::connect(proxy);
    let mut bodies = Vec::new();
    for some in keys.chunks(PIPELINED) {
        let requests: Vec<String> = some
            .iter()
            .map(|key| format!("GET /?a=b&k={key} HTTP/1.1\r\nhost: test\r\nx-key: {key}\r\n\r\n"))
            .collect();
        client.send(requests.concat());
        bodies.extend(some.iter().map(|_| {
            let answer = client.response("GET");
            assert_eq!(answer.status, 200);
            answer.text()
        }));
    }
    bodies
}
