//! Connections of one workload that are opened, kept, and asked on, in the protocol that the workload speaks.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::ClientConfig;

use crate::error::BenchError;
use crate::http2;
use crate::secure::Certificates;
use crate::wire::{self, Kept};
use crate::workload::Workload;

/// A stream of either kind.
trait Duplex: Read + Write {}
impl<T: Read + Write> Duplex for T {}

/// See the module's page.
pub(crate) enum Held {
    Http1(Http1),
    Http2(http2::Connections),
}

/// Those of HTTP/1.1.
pub(crate) struct Http1 {
    address: SocketAddr,
    workload: Workload,
    tls: Option<Arc<ClientConfig>>,
    open: Vec<Box<dyn Duplex>>,
}

impl Held {
    /// None yet.
    pub(crate) fn new(
        address: SocketAddr,
        workload: Workload,
        certificates: &Certificates,
    ) -> Result<Self, BenchError> {
        let protocols: &[&[u8]] = if workload.is_http2() { &[b"h2"] } else { &[b"http/1.1"] };
        let tls = if workload.is_tls() { Some(certificates.callers(protocols)?) } else { None };
        if workload.is_http2() {
            return http2::Connections::new(address, workload, tls).map(Self::Http2);
        }
        Ok(Self::Http1(Http1 { address, workload, tls, open: Vec::new() }))
    }

    /// Opens one more, and asks once on it.
    pub(crate) fn open(&mut self) -> Result<(), BenchError> {
        let of = match self {
            Self::Http2(connections) => return connections.open(),
            Self::Http1(of) => of,
        };
        let mut stream: Box<dyn Duplex> = match &of.tls {
            Some(config) => Box::new(wire::connect_tls(of.address, config)?),
            None => Box::new(wire::connect(of.address)?),
        };
        wire::ask(&mut *stream, of.workload.path(), &of.workload.reply(), Kept::Yes)?;
        of.open.push(stream);
        Ok(())
    }

    /// Asks once more on each.
    pub(crate) fn ask_all(&mut self) -> Result<(), BenchError> {
        let of = match self {
            Self::Http2(connections) => return connections.ask_all(),
            Self::Http1(of) => of,
        };
        let (path, reply) = (of.workload.path(), of.workload.reply());
        of.open.iter_mut().try_for_each(|stream| wire::ask(&mut **stream, path, &reply, Kept::Yes))
    }

    /// Asks for nothing for `span`.
    pub(crate) fn rest(&self, span: Duration) {
        match self {
            Self::Http2(connections) => connections.rest(span),
            Self::Http1(_) => thread::sleep(span),
        }
    }
}
