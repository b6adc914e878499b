//! The moment: nanoseconds since an origin that the process chose.
//!
//! Invariant: arithmetic saturates at both ends and never panics. Limit: 2^64 ns are 584 years, so a
//! saturated value means "never". Moments of two processes cannot be compared.

use std::time::Duration;

/// Nanoseconds since an arbitrary origin of the process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Instant(pub u64);

impl Instant {
    /// The moment `wait` later, at most the last representable one.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        let wait_ns = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(wait_ns))
    }

    /// The time that has passed since `earlier`; zero where `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_and_since_undo_each_other() {
        let start = Instant(1_000);
        assert_eq!(start.after(Duration::from_millis(2)), Instant(2_001_000));
        assert_eq!(start.after(Duration::from_millis(2)).since(start), Duration::from_millis(2));
    }

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Instant(5).after(Duration::MAX), Instant(u64::MAX));
        assert_eq!(Instant(5).since(Instant(6)), Duration::ZERO);
    }
}
