//! Waiting for a condition, with a bound.

use std::time::{Duration, Instant};

/// Longest wait for anything that must happen: far above what a loaded machine needs, so that reaching it is a failure.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What happens "within a second" by a promise of the product has happened by then, on a machine that does much else.
pub const SECOND_WITH_SLACK: Duration = Duration::from_secs(3);

/// Looks until `found` gives something; panics with `what` when the patience is over.
pub fn wait_for<T>(what: &str, found: impl FnMut() -> Option<T>) -> T {
    wait_up_to(PATIENCE, what, found)
}

/// As `wait_for`, for what is promised to happen within `bound`.
pub fn wait_up_to<T>(bound: Duration, what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + bound;
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
