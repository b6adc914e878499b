//! The clock of the shell: monotonic nanoseconds for decisions, wall time for log lines.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use isobar_core::Instant;

/// A monotonic clock whose origin is the start of the proxy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: std::time::Instant,
    /// Wall time of the origin, since the epoch.
    wall: Duration,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { origin: std::time::Instant::now(), wall }
    }

    /// Now, for decisions and durations.
    pub(crate) fn now(&self) -> Instant {
        Instant(self.origin.elapsed().as_nanos() as u64)
    }

    /// Microseconds since the Unix epoch of an instant of this clock.
    pub(crate) fn wall_micros(&self, at: Instant) -> u64 {
        self.wall.as_micros() as u64 + at.0 / 1000
    }
}
