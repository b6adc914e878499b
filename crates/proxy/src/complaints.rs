//! What an operator is told of endpoints that cannot be spoken to over TLS: once in a while, not for each attempt.
//!
//! Limits: each worker tells for itself.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use isobar_core::Instant;

/// Silence about an endpoint after its trouble was told: long enough not to fill a disk, short enough to see that it lasts.
const SILENCE: Duration = Duration::from_mins(1);

/// Endpoints that are remembered; past it the oldest trouble is forgotten, and may be told again early.
const ENDPOINTS_MAX: usize = 256;

/// When the trouble of which endpoint was told last.
#[derive(Debug, Default)]
pub(crate) struct Complaints(RefCell<HashMap<Box<str>, Instant>>);

impl Complaints {
    /// Whether the trouble of this endpoint is to be told now.
    pub(crate) fn is_due(&self, endpoint: &str, now: Instant) -> bool {
        let mut told = self.0.borrow_mut();
        if told.get(endpoint).is_some_and(|at| now.since(*at) < SILENCE) {
            return false;
        }
        if told.len() >= ENDPOINTS_MAX
            && let Some(oldest) = told.iter().min_by_key(|(_, at)| at.0).map(|(endpoint, _)| endpoint.clone())
        {
            told.remove(&oldest);
        }
        told.insert(endpoint.into(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_that_lasts_is_told_once_a_minute() {
        let complaints = Complaints::default();
        let at = |seconds| Instant(0).after(Duration::from_secs(seconds));
        let told: Vec<u64> = (0..150).filter(|second| complaints.is_due("a", at(*second))).collect();
        assert_eq!(told, [0, 60, 120]);
        assert!(complaints.is_due("b", at(150)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let complaints = Complaints::default();
        for endpoint in 0..2 * ENDPOINTS_MAX {
            assert!(complaints.is_due(&endpoint.to_string(), Instant(endpoint as u64)));
        }
        assert_eq!(complaints.0.borrow().len(), ENDPOINTS_MAX);
    }
}
