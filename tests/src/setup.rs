//! Configurations and endpoints that several tests begin with.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

use crate::Origin;

/// One listener `web` with these further lines, and one service `app` over the endpoints with further lines of its own.
pub fn one_service(endpoints: &[SocketAddr], listener: &str, service: &str) -> String {
    let endpoints: Vec<String> = endpoints.iter().map(|address| format!("\"{address}\"")).collect();
    format!(
        "[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\nservice = \"app\"\n{listener}\n\
         [services.app]\npolicy = \"round-robin\"\nendpoints = [{}]\n{service}\n",
        endpoints.join(", ")
    )
}

/// An address where connections are refused.
pub fn refusing_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Saves a file whole: nobody sees a part of it.
pub fn save(path: &Path, text: impl AsRef<[u8]>) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// An endpoint that sends these bytes for a request head and then waits; the receiver tells for each connection
/// whether the proxy closed it.
pub fn watching(answer: &[u8]) -> (Origin, Receiver<bool>) {
    let answer = answer.to_vec();
    let (closed, told) = channel();
    let origin = Origin::start(move |visit| {
        if visit.head().is_some() {
            visit.send(&answer);
            // The test may have ended by now.
            let _ = closed.send(visit.is_closed_by_peer());
        }
    });
    (origin, told)
}
