//! A minimal reverse proxy on Pingora, as a peer of the benchmark: one thread, two origins in turns, connections to
//! them kept, `X-Forwarded-For` added, no logging.
//!
//! Usage: `pingora-peer LISTEN ORIGIN ORIGIN`, each an `ADDRESS:PORT`.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use pingora::http::RequestHeader;
use pingora::prelude::{HttpPeer, ProxyHttp, Result, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;

/// Idle connections to the origins that are kept: as many as the load generator has.
const KEPT_CONNECTIONS: usize = 64;

/// Sends each request to the next origin.
struct Turns {
    origins: [String; 2],
    next: AtomicUsize,
}

#[async_trait]
impl ProxyHttp for Turns {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let origin = self.origins[turn % self.origins.len()].as_str();
        Ok(Box::new(HttpPeer::new(origin, false, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        (): &mut (),
    ) -> Result<()> {
        if let Some(client) = session.client_addr().and_then(|address| address.as_inet()) {
            request.append_header("X-Forwarded-For", client.ip().to_string())?;
        }
        Ok(())
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments == ["--version"] {
        println!("pingora-peer on Pingora {}", pingora_version());
        return;
    }
    let [listen, a, b] = arguments.as_slice() else {
        eprintln!("usage: pingora-peer LISTEN ORIGIN ORIGIN");
        std::process::exit(2);
    };
    let configuration =
        ServerConf { threads: 1, upstream_keepalive_pool_size: KEPT_CONNECTIONS, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, configuration);
    server.bootstrap();
    let turns = Turns { origins: [a.clone(), b.clone()], next: AtomicUsize::new(0) };
    let mut service = http_proxy_service(&server.configuration, turns);
    service.add_tcp(listen);
    server.add_service(service);
    server.run_forever();
}

/// The version in this program's own lock file.
fn pingora_version() -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let package = lock.split("[[package]]").find(|package| package.contains("name = \"pingora\""));
    package.and_then(|package| package.split('"').nth(3)).unwrap_or("of unknown version")
}
