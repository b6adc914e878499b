//! Certificates and keys to what speaks TLS: one place for everything that proxy and probes must agree on.
//!
//! ```text
//! settings + files -> load -> TlsSet: Terminator for each listener, Originator for each service
//!                                     `- shown certificate by SNI, callers verified, tickets
//! ```
//!
//! Invariants: no I/O but through the reader that is passed in (and the system's roots, read once when a service needs
//! them); every problem of every file is told at once, with what to do; nothing here turns verification off; tickets of
//! one listener mean nothing to another, nor to the same one after its demands on callers changed.
//! Limits: certificates are not checked for revocation.

mod alpn;
mod digest;
mod explain;
mod identity;
mod load;
mod names;
mod originator;
mod pem;
mod problem;
mod terminator;
mod tickets;

pub use alpn::HTTP2;
pub use explain::explain;
pub use identity::PeerIdentity;
pub use load::{CertificateExpiry, ReadFile, TlsSet, load, paths};
pub use originator::{NoServerName, Originator};
pub use problem::{Problem, TlsProblems};
pub use terminator::Terminator;
pub use tickets::{NoRandomness, TICKET_KEY_LIFETIME, TicketKeys};
