//! Whether this process wants new traffic: what `/readyz` answers.

use std::sync::atomic::{AtomicU8, Ordering};

/// The phases of the process, in order; a phase is never gone back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Not every part runs yet. Left for `Ready` when all do.
    Starting,
    /// Traffic is welcome. Left for `Draining` on SIGTERM or SIGINT.
    Ready,
    /// Requests in flight finish, new ones should go elsewhere. Ends with the process.
    Draining,
}

/// The current phase, shared by the main thread (which writes) and the admin interface (which reads).
#[derive(Debug)]
pub(crate) struct Readiness(AtomicU8);

impl Readiness {
    pub(crate) fn new() -> Self {
        Self(AtomicU8::new(Phase::Starting as u8))
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.0.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            _ => Phase::Draining,
        }
    }

    /// Moves on to a phase; an earlier one than the current is ignored.
    pub(crate) fn enter(&self, phase: Phase) {
        self.0.fetch_max(phase as u8, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_only_go_forward() {
        let readiness = Readiness::new();
        assert_eq!(readiness.phase(), Phase::Starting);
        readiness.enter(Phase::Ready);
        assert_eq!(readiness.phase(), Phase::Ready);
        readiness.enter(Phase::Draining);
        readiness.enter(Phase::Ready);
        assert_eq!(readiness.phase(), Phase::Draining);
    }
}
