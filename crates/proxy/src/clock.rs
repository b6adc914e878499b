//! The clock of the shell: monotonic nanoseconds for decisions, wall time for log lines.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use isobar_core::Instant;

/// A monotonic clock whose origin is the start of the proxy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: std::time::Instant::now() }
    }

    /// Now, for decisions and durations.
    pub(crate) fn now(&self) -> Instant {
        Instant(self.origin.elapsed().as_nanos() as u64)
    }
}

/// Microseconds since the Unix epoch of what happened `ago`; read anew each time, so that a corrected clock shows.
pub(crate) fn wall_micros(ago: Duration) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(ago).as_micros() as u64
}
