//! Asking a resolver for the addresses of one host name.
//!
//! Invariants: every question ends within [`LOOKUP_TIMEOUT`] for the one who asked; an answer without an address is a
//! failure.
//!
//! Limits: the system's resolver tells no time to live. The length of an answer is bounded by the resolver (a DNS
//! message has at most 64 KiB).

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

/// Names asked for at the same time: each occupies a thread of the blocking pool, and a resolver that is slow for one
/// name must not make a start with hundreds of names take minutes.
pub(super) const LOOKUPS_MAX: usize = 32;

/// The longest wait for one name. The system's resolver tries each of its DNS servers for 5 seconds; two of them may
/// be down before a question is given up.
pub(super) const LOOKUP_TIMEOUT: Duration = Duration::from_secs(15);

/// Threads in the system's resolver, over all services: a resolver that hangs must leave threads of the blocking
/// pool to the reading of files.
static SYSTEM_LOOKUPS: Semaphore = Semaphore::const_new(LOOKUPS_MAX);

/// Answers which addresses a host name has.
pub trait Lookup: Send + Sync + 'static {
    /// The addresses of a host name, with port 0.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future abandons the question; nothing else changes.
    fn lookup(&self, host: &str) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;
}

/// The system's resolver: what `getaddrinfo` says, so also `/etc/hosts` and whatever nsswitch names.
#[derive(Debug, Clone, Copy)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    async fn lookup(&self, host: &str) -> io::Result<Vec<SocketAddr>> {
        let permit = SYSTEM_LOOKUPS.acquire().await.map_err(io::Error::other)?;
        let host = host.to_owned();
        // An abandoned question still occupies its thread, so the permit belongs to the thread and not to the future.
        let question = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            (host.as_str(), 0).to_socket_addrs().map(Iterator::collect)
        });
        question.await.map_err(io::Error::other)?
    }
}

/// What the resolver said about a name: at least one address, or why there is none.
pub(super) type Answer = Result<Vec<SocketAddr>, String>;

/// Asks for one name.
pub(super) async fn ask<L: Lookup>(lookup: Arc<L>, name: String) -> Answer {
    // In a task of its own, so that a resolver that panics fails this question and nothing else.
    let question = tokio::spawn(async move {
        match tokio::time::timeout(LOOKUP_TIMEOUT, lookup.lookup(&name)).await {
            Err(_) => Err(format!("no answer within {} s", LOOKUP_TIMEOUT.as_secs())),
            Ok(Err(error)) => Err(error.to_string()),
            Ok(Ok(addresses)) if addresses.is_empty() => Err("the name has no address".to_owned()),
            Ok(Ok(addresses)) => Ok(addresses),
        }
    });
    question.await.unwrap_or_else(|_| Err("the resolver gave no answer".to_owned()))
}
