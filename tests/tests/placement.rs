//! Placement by key held against the programs whose rules the layouts follow.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::SocketAddr;
use std::path::Path;

use isobar_tests::Isobar;
use isobar_tests::keyed::{N_KEYS, addresses, isobar, keys, origins, placed};
use isobar_tests::real::{Program, command, free_address};
use isobar_tests::servers::{open_folder, write};

/// Weights of the endpoints that are compared: heavy, light and equal ones.
const WEIGHTS: [u32; 7] = [1, 1, 2, 3, 5, 10, 1];

fn weighted(addresses: &[SocketAddr]) -> Vec<(SocketAddr, String)> {
    addresses.iter().zip(WEIGHTS).map(|(address, weight)| (*address, format!("weight = {weight}"))).collect()
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
