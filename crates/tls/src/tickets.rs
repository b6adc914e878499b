//! Session tickets (RFC 5077; RFC 8446, section 4.6.1): the session, sealed, is kept by the caller.
//!
//! Stateless: what a worker sealed any other opens, since all share the keys. The control side rotates them.
//!
//! Invariants: sealing and opening take no lock; a ticket holds for one key lifetime at least and two at most; one that
//! was sealed under another context (another listener, other demands on callers) does not open. Limits: a restart
//! forgets the keys, and callers make full handshakes again.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand;
use rustls::server::ProducesTickets;

use crate::digest::Fingerprint;

/// How often keys are rotated: a key that leaks opens the sessions of two such spans, so shorter is safer; a phone that
/// comes back after lunch should still resume.
pub const TICKET_KEY_LIFETIME: Duration = Duration::from_hours(6);

/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// Bytes in front of what is sealed.
const NONCE_BYTES: usize = 12;
/// Bytes of a ticket that are looked at: a session with a client's certificates has a few thousand.
const TICKET_BYTES_MAX: usize = 32 * 1024;

/// Keys of one span, and of the one before.
struct Pair {
    current: Arc<RandomizedNonceKey>,
    previous: Option<Arc<RandomizedNonceKey>>,
}

/// The keys of the process: none before the first listener that speaks TLS is loaded, since the first key takes some
/// 100ms, in which the library gathers randomness.
#[derive(Default)]
pub struct TicketKeys {
    pair: ArcSwapOption<Pair>,
}

/// The system has no randomness to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no key for session tickets can be made: the system gives no random numbers")]
pub struct NoRandomness;

impl TicketKeys {
    /// Draws the first key where there is none yet. For one thread at a time.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub(crate) fn draw(&self) -> Result<(), NoRandomness> {
        if self.pair.load().is_none() {
            self.pair.store(Some(Arc::new(Pair { current: fresh_key()?, previous: None })));
        }
        Ok(())
    }

    /// Seals with a new key from now on, opens with the present one until the next call, and forgets the one before. What was
    /// never drawn is not rotated.
    ///
    /// # Errors
    /// The system gives no random numbers; the keys stay as they are.
    pub fn rotate(&self) -> Result<(), NoRandomness> {
        if let Some(pair) = &*self.pair.load() {
            let previous = Some(Arc::clone(&pair.current));
            self.pair.store(Some(Arc::new(Pair { current: fresh_key()?, previous })));
        }
        Ok(())
    }
}

fn fresh_key() -> Result<Arc<RandomizedNonceKey>, NoRandomness> {
    let mut bytes = [0; KEY_BYTES];
    rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
    RandomizedNonceKey::new(&AES_256_GCM, &bytes).map(Arc::new).map_err(|_| NoRandomness)
}

/// Seals and opens the tickets of one listener.
pub(crate) struct Ticketer {
    pub(crate) keys: Arc<TicketKeys>,
    /// What a ticket is good for.
    pub(crate) context: Fingerprint,
}

impl std::fmt::Debug for Ticketer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Keys never reach a log.
        f.debug_struct("Ticketer").finish_non_exhaustive()
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        TICKET_KEY_LIFETIME.as_secs() as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = plain.to_vec();
        let pair = self.keys.pair.load();
        let nonce =
            pair.as_ref()?.current.seal_in_place_append_tag(Aad::from(self.context), &mut sealed).ok()?;
        let mut ticket = Vec::with_capacity(NONCE_BYTES + sealed.len());
        ticket.extend_from_slice(nonce.as_ref());
        ticket.extend_from_slice(&sealed);
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        if ticket.len() > TICKET_BYTES_MAX {
            return None;
        }
        let (nonce, sealed) = ticket.split_at_checked(NONCE_BYTES)?;
        let pair = self.keys.pair.load();
        let pair = pair.as_ref()?;
        let open = |key: &RandomizedNonceKey| {
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let mut bytes = sealed.to_vec();
            let n = key.open_in_place(nonce, Aad::from(self.context), &mut bytes).ok()?.len();
            bytes.truncate(n);
            Some(bytes)
        };
        open(&pair.current).or_else(|| pair.previous.as_deref().and_then(open))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn drawn_keys() -> Arc<TicketKeys> {
        let keys = Arc::<TicketKeys>::default();
        keys.draw().unwrap();
        keys
    }

    fn ticketer(keys: &Arc<TicketKeys>, context: u8) -> Ticketer {
        Ticketer { keys: Arc::clone(keys), context: [context; 32] }
    }

    #[test]
    fn a_ticket_opens_until_its_key_was_rotated_twice() {
        let keys = drawn_keys();
        let ticket = ticketer(&keys, 1).encrypt(b"session").unwrap();
        for expected in [true, true, false, false] {
            let opened = ticketer(&keys, 1).decrypt(&ticket);
            assert_eq!(opened.as_deref(), expected.then_some(&b"session"[..]));
            keys.rotate().unwrap();
        }
    }

    #[test]
    fn a_key_is_drawn_once_and_nothing_is_sealed_before() {
        let keys = Arc::<TicketKeys>::default();
        keys.rotate().unwrap();
        assert_eq!(ticketer(&keys, 1).encrypt(b"session"), None);
        keys.draw().unwrap();
        let ticket = ticketer(&keys, 1).encrypt(b"session").unwrap();
        keys.draw().unwrap();
        assert_eq!(ticketer(&keys, 1).decrypt(&ticket).as_deref(), Some(&b"session"[..]));
    }

    #[test]
    fn a_ticket_of_another_context_does_not_open() {
        let keys = drawn_keys();
        let ticket = ticketer(&keys, 1).encrypt(b"session").unwrap();
        assert_eq!(ticketer(&keys, 2).decrypt(&ticket), None);
    }

    #[test]
    fn whatever_bytes_come_are_no_ticket() {
        let keys = drawn_keys();
        let ticketer = ticketer(&keys, 1);
        let ticket = ticketer.encrypt(b"session").unwrap();
        for n in 0..ticket.len() {
            assert_eq!(ticketer.decrypt(&ticket[..n]), None);
            let mut bent = ticket.clone();
            bent[n] ^= 1;
            assert_eq!(ticketer.decrypt(&bent), None);
        }
        assert_eq!(ticketer.decrypt(&vec![0; TICKET_BYTES_MAX + 1]), None);
    }
}
