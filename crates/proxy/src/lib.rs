//! Listeners, data path and upstream connections: the proxy without its command line.
//!
//! ```text
//! bind -> Bound -> Proxy::start -> acceptor --> worker threads (connection tasks -> exchanges -> endpoints)
//!                  Proxy::apply -> a generation to each worker: what begins from now on is served under it
//!                  Proxy::drain -> acceptors close, workers finish
//! ```
//!
//! Invariants: a request lives and dies on one worker; no lock is shared by two workers on a request's path; there is
//! no timer per request, and no task but for a stream of HTTP/2; untrusted bytes never end the process.
//! Limits: HTTP/1.1, 1.0 and 2, in the clear and over TLS, over TCP and unix sockets.
#![allow(clippy::disallowed_methods, reason = "a shell: it reads the clock that it hands to the pure crates")]

mod access_log;
mod apply;
mod bind;
mod buffer;
mod caller;
mod clock;
mod complaints;
mod connection;
mod control;
mod deadlines;
mod exchange;
mod exposition;
mod generation;
mod grpc;
mod h2;
mod handshake;
mod heads;
mod listener;
mod load_probes;
mod matching;
mod metrics;
mod plan;
mod pump;
mod readings;
mod record;
mod refusal;
mod scratch;
mod server;
mod socket;
mod stream;
mod succession;
mod tls_stream;
mod upstream;
mod view;
mod websocket;
mod worker;

pub use access_log::LogError;
pub use apply::{Applied, ApplyError, Update};
pub use bind::{BindError, BindErrors, Bound, bind};
pub use server::{DrainReport, Inputs, Proxy, StartError};
