//! Placement by key against those whose rules the layouts follow, and what policies promise on the wire.
//!
//! Endpoints answer with their own address, so each proxy in turn tells where a key belongs.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use isobar_tests::real::{Program, command, free_address};
use isobar_tests::servers::{open_folder, write};
use isobar_tests::{Client, Isobar, Origin, wait_for};
use serde_json::Value;

/// Keys that are compared with another balancer.
const N_KEYS: usize = 10_000;

/// Requests that are sent before the first of their answers is read.
const PIPELINED: usize = 50;

/// Weights of the endpoints that are compared: heavy, light and equal ones.
const WEIGHTS: [u32; 7] = [1, 1, 2, 3, 5, 10, 1];

/// Endpoints that answer with their address.
fn origins(n: usize) -> Vec<Origin> {
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

fn addresses(origins: &[Origin]) -> Vec<SocketAddr> {
    origins.iter().map(|origin| origin.address).collect()
}

/// A proxy with a service `app` of these endpoints, each with further fields.
fn isobar(policy: &str, workers: usize, endpoints: &[(SocketAddr, String)]) -> Isobar {
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

fn weighted(addresses: &[SocketAddr]) -> Vec<(SocketAddr, String)> {
    addresses.iter().zip(WEIGHTS).map(|(address, weight)| (*address, format!("weight = {weight}"))).collect()
}

/// Keys of several lengths, bytes and endings.
fn keys() -> Vec<String> {
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
fn placed(proxy: SocketAddr, keys: &[String]) -> Vec<String> {
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

/// Holds the endpoints of all keys against each other.
fn assert_same(theirs: SocketAddr, ours: &Isobar) {
    let keys = keys();
    let (theirs, ours) = (placed(theirs, &keys), placed(ours.listener("web"), &keys));
    let differ: Vec<_> = keys.iter().zip(theirs.iter().zip(&ours)).filter(|(_, (a, b))| a != b).collect();
    assert!(
        differ.is_empty(),
        "{} of {N_KEYS} keys differ, such as {:?}",
        differ.len(),
        &differ[..differ.len().min(5)]
    );
    let distinct: std::collections::BTreeSet<_> = ours.iter().collect();
    assert_eq!(distinct.len(), WEIGHTS.len(), "every endpoint has keys");
}

fn nginx(folder: &Path, addresses: &[SocketAddr]) -> (Program, SocketAddr) {
    let (address, at) = (free_address(), folder.display());
    let servers: Vec<String> = addresses
        .iter()
        .zip(WEIGHTS)
        .map(|(address, weight)| format!("server {address} weight={weight};\n"))
        .collect();
    let servers = servers.concat();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {at}/{name};\n"))
        .concat();
    let text = format!(
        "daemon off; master_process off; pid {at}/nginx.pid; error_log {at}/nginx.log;\nevents {{}}\n\
         http {{ access_log off; keepalive_requests 1000000;\n{temporary}\
         upstream app {{ hash $arg_k consistent;\n{servers}keepalive 64; }}\n\
         server {{ listen {address}; location / {{ proxy_pass http://app; proxy_http_version 1.1;\n\
         proxy_set_header Connection \"\"; }} }} }}\n"
    );
    let mut nginx = command("nginx");
    nginx.arg("-e").arg(folder.join("nginx.log")).arg("-c").arg(write(folder, "nginx.conf", &text));
    (Program::start(nginx).listening_at(address), address)
}

#[test]
fn every_key_has_the_endpoint_that_nginx_gives_it() {
    let (origins, folder) = (origins(WEIGHTS.len()), open_folder());
    let addresses = addresses(&origins);
    let (_nginx, theirs) = nginx(folder.path(), &addresses);
    let policy = "{ name = \"ring-hash\", layout = \"nginx\", key = \"query:k\" }";
    assert_same(theirs, &isobar(policy, 1, &weighted(&addresses)));
}

/// A server of HAProxy: its address and further words.
fn haproxy(folder: &Path, servers: &[(SocketAddr, String)]) -> (Program, SocketAddr) {
    let address = free_address();
    let servers: Vec<String> = servers
        .iter()
        .enumerate()
        .map(|(n, (address, words))| format!("  server s{n} {address} {words}\n"))
        .collect();
    let servers = servers.concat();
    let text = format!(
        "defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
         frontend web\n  bind {address}\n  default_backend app\n\
         backend app\n  balance url_param k\n  hash-type consistent\n{servers}"
    );
    let mut haproxy = command("haproxy");
    haproxy.arg("-db").arg("-f").arg(write(folder, "haproxy.cfg", &text));
    (Program::start(haproxy).listening_at(address), address)
}

#[test]
fn every_key_has_the_endpoint_that_haproxy_gives_it() {
    let (origins, folder) = (origins(WEIGHTS.len()), open_folder());
    let addresses = addresses(&origins);
    let servers: Vec<_> = addresses
        .iter()
        .zip(WEIGHTS)
        .map(|(address, weight)| (*address, format!("weight {weight}")))
        .collect();
    let (_haproxy, theirs) = haproxy(folder.path(), &servers);
    let policy = "{ name = \"ring-hash\", layout = \"haproxy\", key = \"query:k\" }";
    assert_same(theirs, &isobar(policy, 1, &weighted(&addresses)));
}

#[test]
fn haproxy_s_ids_are_told_by_hash_keys() {
    let (origins, folder) = (origins(WEIGHTS.len()), open_folder());
    let addresses = addresses(&origins);
    let ids = [70, 3, 200, 11, 5, 4_000, 12];
    let servers: Vec<_> =
        addresses.iter().zip(ids).map(|(address, id)| (*address, format!("id {id}"))).collect();
    let (_haproxy, theirs) = haproxy(folder.path(), &servers);
    let endpoints: Vec<_> =
        addresses.iter().zip(ids).map(|(address, id)| (*address, format!("hash_key = \"{id}\""))).collect();
    let policy = "{ name = \"ring-hash\", layout = \"haproxy\", key = \"query:k\" }";
    assert_same(theirs, &isobar(policy, 1, &endpoints));
}

fn envoy(folder: &Path, policy: &str, addresses: &[SocketAddr]) -> (Program, SocketAddr) {
    let address = free_address();
    let endpoints: Vec<String> = addresses
        .iter()
        .zip(WEIGHTS)
        .map(|(address, weight)| {
            format!(
                "          - load_balancing_weight: {weight}\n            endpoint: {{ address: {{ socket_address: \
                 {{ address: 127.0.0.1, port_value: {} }} }} }}\n",
                address.port()
            )
        })
        .collect();
    let text = ENVOY
        .replace("@PORT@", &address.port().to_string())
        .replace("@POLICY@", policy)
        .replace("@ENDPOINTS@\n", &endpoints.concat());
    let mut envoy = command("envoy");
    envoy.args([
        "--concurrency",
        "1",
        "--log-level",
        "error",
        "--use-dynamic-base-id",
        "--disable-hot-restart",
    ]);
    envoy.arg("-c").arg(write(folder, "envoy.yaml", &text));
    (Program::start(envoy).listening_at(address), address)
}

const ENVOY: &str = r#"static_resources:
  listeners:
  - name: web
    address: { socket_address: { address: 127.0.0.1, port_value: @PORT@ } }
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: { prefix: "/" }
                route: { cluster: app, hash_policy: [{ header: { header_name: x-key } }] }
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: app
    type: STATIC
    lb_policy: @POLICY@
    connect_timeout: 5s
    load_assignment:
      cluster_name: app
      endpoints:
      - lb_endpoints:
@ENDPOINTS@
"#;

#[test]
fn every_key_has_the_endpoint_that_envoy_s_ring_gives_it() {
    let (origins, folder) = (origins(WEIGHTS.len()), open_folder());
    let addresses = addresses(&origins);
    let (_envoy, theirs) = envoy(folder.path(), "RING_HASH", &addresses);
    let policy = "{ name = \"ring-hash\", layout = \"envoy\", key = \"header:x-key\" }";
    assert_same(theirs, &isobar(policy, 1, &weighted(&addresses)));
}

#[test]
fn every_key_has_the_endpoint_that_envoy_s_maglev_gives_it() {
    let (origins, folder) = (origins(WEIGHTS.len()), open_folder());
    let addresses = addresses(&origins);
    let (_envoy, theirs) = envoy(folder.path(), "MAGLEV", &addresses);
    let policy = "{ name = \"maglev\", layout = \"envoy\", key = \"header:x-key\" }";
    assert_same(theirs, &isobar(policy, 1, &weighted(&addresses)));
}

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
fn a_busy_endpoint_gets_nothing_by_least_request_while_another_is_idle() {
    let gate = Arc::new(Gate::default());
    let (slow, quick) = (gated(&gate), Origin::answering("quick"));
    let isobar = isobar("\"least-request\"", 2, &plain(&[slow.address, quick.address]));
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
